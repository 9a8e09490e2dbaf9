/**
 * The rules of `intercept.rules`, compiled to a function that the way in asks once per flow (`flow-cache.ts`). First match wins, found by
 * `rule-index.ts`; a packet that no rule names goes over the overlay. Where no service is named it is the one that the socket's DSCP
 * asks for, else the default of the protocol.
 *
 * Addresses are four 32-bit words, most significant first, an IPv4 address as ::ffff:a.b.c.d, as they lie in
 * endpoints and forwarding tables. Signed and unsigned words are equally good.
 */
import { type IndexedEnds, type PortRange, RuleIndex } from './rule-index.js';
import {
  DEFAULT_SERVICES,
  defaultService,
  ORIGIN_DEFAULT,
  ORIGIN_DSCP,
  ORIGIN_RULE,
  type ServiceDefaults,
  serviceOfDscp,
} from './services.js';

export interface RulePrefix {
  version: 4 | 6;
  words: readonly [number, number, number, number];
  /** Length over the 128 bits of the mapped form: an IPv4 /24 is 120. */
  bits: number;
}

/** A node by its id, or all nodes of a group, as certificates say. */
export type NodeEnd = { readonly node: number } | { readonly group: string };

/** A group of the host's users: its number, and the users whom it has as members. */
export interface UserGroup {
  readonly gid: number;
  readonly members: readonly number[];
}

export interface RuleMatch {
  /** Any of these: an address within a prefix, or one that a node owns. */
  to?: readonly (RulePrefix | NodeEnd)[];
  from?: readonly (RulePrefix | NodeEnd)[];
  /** IP protocol numbers. */
  protocols?: readonly number[];
  /** Destination ports, both ends included. */
  ports?: readonly PortRange[];
  sourcePorts?: readonly PortRange[];
  /** 0..63 */
  dscp?: number;
  /** User ids. */
  users?: readonly number[];
  groups?: readonly UserGroup[];
  /** Paths below the root of the unified hierarchy, without a slash in front. */
  cgroups?: readonly string[];
}

export interface Rule {
  match: RuleMatch;
  /** A service number; undefined: by DSCP, then the protocol's default. A rejected packet is dropped, and its sender told. */
  action: { do: 'overlay'; service: number | undefined } | { do: 'drop' | 'reject' | 'direct' };
}

/** What a rule can ask about a packet. One object per caller, refilled per packet. */
export interface RuleInput {
  version: number;
  /** Of the innermost header that the packet view reached: TCP, UDP, ICMP … */
  protocol: number;
  /** 4 words each. */
  source: ArrayLike<number>;
  destination: ArrayLike<number>;
  /** Ids of the nodes that own them; 0 for nobody. */
  sourceNode: number;
  destinationNode: number;
  /** -1 where the packet has none (ICMP, a fragment behind the first). */
  sourcePort: number;
  destinationPort: number;
  dscp: number;
  /** Whether its DSCP may choose its service. */
  choosesByDscp: boolean;
  /** User and group of the socket that sends; NO_SENDER where there is none, or none known. */
  user: number;
  group: number;
  /** Bit i: the socket lies in the i-th of `cgroupsOf(rules)`. */
  cgroups: number;
}

/** As the kernel has it: no user has this number. */
export const NO_SENDER = 0xffff_ffff;

/** Cgroups that rules can tell apart: the bits of a mark. */
export const MAX_CGROUPS = 32;

/** The cgroups that rules name, in the order of their bits in `RuleInput.cgroups`. */
export function cgroupsOf(rules: readonly Rule[]): string[] {
  return [...new Set(rules.flatMap(({ match }) => match.cgroups ?? []))].sort();
}

/** The groups of nodes that rules name. */
export function nodeGroupsOf(rules: readonly { match: RuleMatch }[]): string[] {
  const ends = rules.flatMap(({ match }) => [...(match.to ?? []), ...(match.from ?? [])]);
  return [...new Set(ends.flatMap((end) => ('group' in end ? [end.group] : [])))].sort();
}

/** Node ids of each group of nodes. */
export type NodeGroups = Readonly<Record<string, readonly number[]>>;

export interface Verdict {
  /** `refuse`: its sender may not use the overlay (`access.ts`). */
  readonly do: 'overlay' | 'drop' | 'direct' | 'reject' | 'refuse';
  /** Of an overlay verdict, else 0. */
  readonly service: number;
  /** ORIGIN_…: what chose the service; ORIGIN_RULE for a dropped packet. */
  readonly origin: number;
  /** Index of the rule that matched, -1 for none. */
  readonly rule: number;
}

export type Classify = (input: RuleInput) => Verdict;

/** The classifier allocates nothing: it returns one of the verdicts made here. `groups`: who is in the groups that rules name. */
export function compileRules(
  rules: readonly Rule[],
  defaults: Readonly<ServiceDefaults> = DEFAULT_SERVICES,
  groups: NodeGroups = {},
): Classify {
  const unnamed = byDscpOrDefault(-1, defaults);
  const outcomes = rules.map(({ action }, index) => outcomeOf(action, index, defaults));
  const index = indexRules(rules, groups);
  return (input) => {
    const rule = index.first(input);
    return rule < 0 ? unnamed(input) : outcomes[rule](input);
  };
}

/** An index over what rules ask. */
export function indexRules(rules: readonly { match: RuleMatch }[], groups: NodeGroups): RuleIndex {
  const cgroups = cgroupsOf(rules as readonly Rule[]);
  return new RuleIndex(
    rules.map(({ match: { to, from, cgroups: named, ...rest } }) => ({
      ...rest,
      ...(to && { to: endsOf(to, groups) }),
      ...(from && { from: endsOf(from, groups) }),
      ...(named && { cgroupBits: named.reduce((bits, path) => bits | (1 << cgroups.indexOf(path)), 0) }),
    })),
  );
}

function endsOf(ends: readonly (RulePrefix | NodeEnd)[], groups: NodeGroups): IndexedEnds {
  return {
    prefixes: ends.filter((end) => 'words' in end),
    nodes: ends.flatMap((end) =>
      'node' in end ? [end.node] : 'group' in end ? (groups[end.group] ?? []) : [],
    ),
  };
}

function outcomeOf(action: Rule['action'], rule: number, defaults: Readonly<ServiceDefaults>): Classify {
  if (action.do === 'overlay' && action.service === undefined) return byDscpOrDefault(rule, defaults);
  const service = action.do === 'overlay' ? action.service! : 0;
  const verdict = Object.freeze<Verdict>({ do: action.do, service, origin: ORIGIN_RULE, rule });
  return () => verdict;
}

function byDscpOrDefault(rule: number, defaults: Readonly<ServiceDefaults>): Classify {
  const verdict = (service: number, origin: number) =>
    Object.freeze<Verdict>({ do: 'overlay', service, origin, rule });
  const byDscp = Array.from({ length: 64 }, (_, dscp) => {
    const service = serviceOfDscp(dscp);
    return service < 0 ? undefined : verdict(service, ORIGIN_DSCP);
  });
  const byProtocol = Array.from({ length: 256 }, (_, protocol) =>
    verdict(defaultService(protocol, defaults), ORIGIN_DEFAULT),
  );
  return ({ dscp, protocol, choosesByDscp }) =>
    (choosesByDscp ? byDscp[dscp] : undefined) ?? byProtocol[protocol];
}

/** A prefix as it is compared: words outside its length are zero. */
export interface MaskedPrefix {
  version: number;
  words: readonly number[];
  masks: readonly number[];
}

export function inPrefix(prefix: MaskedPrefix, version: number, address: ArrayLike<number>): boolean {
  const { words, masks } = prefix;
  return (
    prefix.version === version &&
    (address[0] & masks[0]) === words[0] &&
    (address[1] & masks[1]) === words[1] &&
    (address[2] & masks[2]) === words[2] &&
    (address[3] & masks[3]) === words[3]
  );
}

/** Whether `inner` lies within `outer`. */
export function prefixHolds(outer: RulePrefix, inner: RulePrefix): boolean {
  return outer.bits <= inner.bits && inPrefix(maskPrefix(outer), inner.version, inner.words);
}

export function maskPrefix(prefix: RulePrefix): MaskedPrefix {
  const masks = prefix.words.map((_, i) => wordMask(prefix.bits - 32 * i));
  return { version: prefix.version, masks, words: prefix.words.map((word, i) => word & masks[i]) };
}

/** Mask of the first `bits` bits of a word; JavaScript shifts by 32 as by 0, so the ends stand apart. */
function wordMask(bits: number): number {
  if (bits <= 0) return 0;
  return bits >= 32 ? -1 : -1 << (32 - bits);
}
