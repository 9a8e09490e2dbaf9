/**
 * Rules that can never match because of what this node ever sees, as far as its own certificate and its CA's tell. What other nodes' certificates
 * say isn't known here: a prefix may be behind any of them.
 */
import { isBroadcast, isLinkLocal, isLoopback, isMulticast } from './address.js';
import { type NodeEnd, prefixHolds, type RuleMatch, type RulePrefix } from './rules.js';

export interface Sight {
  /** The overlay's prefixes: here only certificates make addresses anybody's. */
  overlay: readonly RulePrefix[];
  /** This node's overlay addresses. */
  addresses: readonly RulePrefix[];
  /** All that its certificate makes its own: overlay and real addresses, and routes. */
  owned: readonly RulePrefix[];
  /** Whether rules are asked only about packets from this node's own prefixes to other nodes' (mode split, without participants or `forward`). */
  nodesOnly: boolean;
}

interface Asker {
  self: number;
  inbound: boolean;
}

type End = RulePrefix | NodeEnd;

/** Why no packet that this node sees has such ends; undefined where one may, or where that isn't certain. */
export function unseenWhy(
  { to, from }: RuleMatch,
  { overlay, addresses, owned, nodesOnly }: Sight,
  { self, inbound }: Asker,
): string | undefined {
  // `node`: whether a node that is named has to be this one, or another.
  const all = (ends: readonly End[] | undefined, suits: (prefix: RulePrefix) => boolean, node: boolean) =>
    ends?.every((end) => ('words' in end ? suits(end) : 'node' in end && (end.node === self) === node)) ??
    false;
  const isSelf = (prefix: RulePrefix) => addresses.some((own) => prefixHolds(own, prefix));
  const isForeign = (prefix: RulePrefix) => !touches(prefix, owned);
  const isForeignInside = (prefix: RulePrefix) =>
    isForeign(prefix) && overlay.some((whole) => prefixHolds(whole, prefix));
  if (inbound) {
    if (all(from, isSelf, true)) return 'from: what comes in is never sent by this node itself';
    return all(to, isForeignInside, false) ? 'to: what comes in is for this node' : undefined;
  }
  if (all(to, isSelf, true)) return 'to: packets for this node itself never enter the overlay';
  if (!nodesOnly) return undefined;
  if (all(from, isForeign, false))
    return 'from: packets that enter here are sent by this node, not by others';
  const isHere = (prefix: RulePrefix) => isSelf(prefix) || isLoopbackPrefix(prefix);
  if (all(to, isHere, true)) return 'to: packets for this host itself never enter the overlay';
  const isLinks = (prefix: RulePrefix) =>
    isHere(prefix) || (!touches(prefix, overlay) && (isManyPrefix(prefix) || isLinkLocalPrefix(prefix)));
  // Nothing keeps a certificate from having a route for them.
  return all(to, isLinks, true)
    ? "to: multicast, broadcast and link-local addresses don't enter the overlay in mode split, unless another node's certificate has a route for them"
    : undefined;
}

/** 224.0.0.0/4, ff00::/8 or 255.255.255.255, or what lies within. */
export function isManyPrefix({ version, words, bits }: RulePrefix): boolean {
  return (
    (bits >= (version === 4 ? 100 : 8) && isMulticast(...words)) || (bits === 128 && isBroadcast(...words))
  );
}

function isLinkLocalPrefix({ version, words, bits }: RulePrefix): boolean {
  return bits >= (version === 4 ? 112 : 10) && isLinkLocal(...words);
}

function isLoopbackPrefix({ version, words, bits }: RulePrefix): boolean {
  return bits >= (version === 4 ? 104 : 128) && isLoopback(...words);
}

function touches(prefix: RulePrefix, others: readonly RulePrefix[]): boolean {
  return others.some((other) => prefixHolds(other, prefix) || prefixHolds(prefix, other));
}
