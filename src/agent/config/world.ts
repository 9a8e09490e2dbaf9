/**
 * What `causeway explain` knows before any agent runs: a configuration, the certificates that it names, and those of other nodes that lie at hand.
 */
import { networkInterfaces } from 'node:os';
import { dirname } from 'node:path';
import {
  addressFromBytes,
  type NodeCertificate,
  type OverlayPrefix,
  prefixOf,
} from '../../crypto/identity/index.js';
import { parseAddress } from '../../crypto/identity/address.js';
import { Access } from '../../intercept/access.js';
import type { AddressOwner, World } from '../../intercept/explain.js';
import { compileInbound } from '../../intercept/inbound.js';
import { compileRules, inPrefix, maskPrefix, nodeGroupsOf } from '../../intercept/rules.js';
import { resolveClaims } from '../../overlay/route/claims.js';
import { NO_OWNER, NOBODY, PrefixTable } from '../../overlay/route/prefix-table.js';
import { knownNodesFile, writtenNodes } from '../known-nodes.js';
import { groupMembers } from '../node-groups.js';
import { toRulePrefix } from './address.js';
import { certificatesAt } from './certificates.js';
import type { Config } from './config.js';
import { loadIdentity } from './preflight.js';

export interface KnownWorld extends World {
  readonly self: NodeCertificate;
  /** All known certificates, this node's among them. */
  readonly nodes: readonly NodeCertificate[];
}

/**
 * `certificates`: files, or folders of them; by default the folder of this node's own. Certificates that aren't nodes', or that no trusted root
 * signed, are passed over in folders; a file that is named has to be one. What the agent wrote down counts too. Throws ConfigError.
 */
export function knownWorld(
  config: Config,
  certificates: readonly string[] | undefined,
  wall: number,
): KnownWorld {
  const identity = loadIdentity(config, wall);
  const self = identity.verified.certificate;
  const named = (certificates ?? [dirname(config.pki.cert)]).flatMap((path) =>
    certificatesAt(path, identity, wall),
  );
  const written = writtenNodes(knownNodesFile(config.node), identity, wall);
  const others = newestOf([...named, ...written]);
  const nodes = [self, ...others.filter(({ nodeId }) => nodeId !== self.nodeId)];
  const overlay = identity.trust.overlayPrefixes;
  const { mode, participants, fallback, exit, rules, inbound } = config.intercept;
  const groups = groupMembers(
    nodeGroupsOf([...rules, ...(inbound ?? [])]),
    nodes.map((certificate) => ({ certificate })),
  );
  const classify = compileRules(rules, config.services.default, groups);
  const access = new Access(config.access);
  const inside = overlay.map((prefix) => maskPrefix(toRulePrefix(prefix)));
  const broadcasts = hostBroadcasts();
  return {
    self,
    selfId: self.nodeId,
    nodes,
    mode,
    exit,
    fallback,
    judge: (input) => access.judge(classify, input),
    inbound: inbound && compileInbound(inbound, groups),
    ownerOf: ownersOf(nodes, self, overlay, participants),
    isInside: (version, words) => inside.some((prefix) => inPrefix(prefix, version, words)),
    isBroadcast: (words) => broadcasts.has(words[3]! >>> 0),
  };
}

/** One of each node. */
function newestOf(certificates: readonly NodeCertificate[]): NodeCertificate[] {
  const byAge = [...certificates].sort((a, b) => a.notBefore - b.notBefore);
  return [...new Map(byAge.map((certificate) => [certificate.nodeId, certificate])).values()];
}

/** The last address of each of the host's IPv4 networks, as a word; one of two addresses has no broadcast (RFC 3021). */
function hostBroadcasts(): Set<number> {
  const word = (text: string) => toRulePrefix(prefixOf(parseAddress(text)!, 32)).words[3];
  const found = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const networks = found.filter(({ family, netmask }) => family === 'IPv4' && word(netmask) << 30 === 0);
  return new Set(networks.map(({ address, netmask }) => (word(address) | ~word(netmask)) >>> 0));
}

function ownersOf(
  nodes: readonly NodeCertificate[],
  self: NodeCertificate,
  overlay: readonly OverlayPrefix[],
  participants: boolean,
): World['ownerOf'] {
  // Real addresses of others count where the configuration says so; of this host they always do.
  const claimants = nodes.map((node) => (participants || node === self ? node : { ...node, real: [] }));
  const { prefixes } = resolveClaims(claimants);
  const claims = [...overlay.map((prefix) => ({ ...prefix, owner: NOBODY })), ...prefixes];
  const table = PrefixTable.build(claims);
  const named = claims.map(({ bytes, length, owner }) => {
    const prefix = prefixOf(addressFromBytes(bytes)!, length);
    return { owner, length, text: prefix.text, masked: maskPrefix(toRulePrefix(prefix)) };
  });
  const textOf = (owner: number, version: number, words: readonly number[]) =>
    named
      .filter((claim) => claim.owner === owner && inPrefix(claim.masked, version, words))
      .reduce((best, claim) => (claim.length > best.length ? claim : best)).text;
  return (version, words): AddressOwner => {
    const [w0, w1, w2, w3] = words as [number, number, number, number];
    const owner = version === 4 ? table.lookup4(w3) : table.lookup6(w0, w1, w2, w3);
    if (owner === NO_OWNER) return { kind: 'outside' };
    const prefix = textOf(owner, version, words);
    if (owner === NOBODY) return { kind: 'nobody', prefix };
    const { name, nodeId } = nodes[owner]!;
    return { kind: 'node', name, nodeId, prefix, isSelf: nodes[owner] === self };
  };
}
