/**
 * What the rules say of packets to many hosts (multicast, broadcast), as chains of nftables. Such packets don't enter the device: the kernel
 * sends them by the interface of their source. So the kernel judges them itself, by the same rules in the same order:
 *
 *   capture (nft-plan.ts) ─► many_ip, many_ip6: what a link's hosts live by passes
 *                            `drop`, `reject`: dropped; no ICMP error answers what goes to many (RFC 1122 §3.2.2, RFC 4443 §2.4 e)
 *                            `direct`, `overlay`, no rule: goes its way, as the overlay doesn't carry multicast yet
 *
 * What is judged here is what this host sends: a node as `from` is this one, or no packet's. Nobody owns what goes to many, so a node as `to` is
 * no packet's. Pure.
 */
import { DHCP_PORTS, LINK_ICMPV6_TYPES, PROTOCOL_IGMP } from '../intercept/link-protocols.js';
import { hasPorts } from '../intercept/packet.js';
import type { PortRange } from '../intercept/rule-index.js';
import {
  maskPrefix,
  prefixHolds,
  type NodeEnd,
  type NodeGroups,
  type Rule,
  type RulePrefix,
  type UserGroup,
} from '../intercept/rules.js';

/** The rules' lines by address family, first match wins. */
export interface ManyLines {
  readonly ip: readonly string[];
  readonly ip6: readonly string[];
}

export interface ManyContext {
  /** This node's id. */
  readonly self: number;
  /** Who is in the groups of nodes that rules name. */
  readonly groups: NodeGroups;
  /** Whether the host has a cgroup of this path: nft knows no others, and they have no sockets. */
  readonly hasCgroup: (path: string) => boolean;
}

export const NO_LINES: ManyLines = { ip: [], ip6: [] };

/** The nftables counter of what is dropped. */
export const MANY_COUNTER = 'many_dropped';

const SPARED: ManyLines = {
  ip: [`meta l4proto ${PROTOCOL_IGMP} accept`, `udp dport ${setOf(DHCP_PORTS[4])} accept`],
  ip6: [`icmpv6 type ${setOf(LINK_ICMPV6_TYPES)} accept`, `udp dport ${setOf(DHCP_PORTS[6])} accept`],
};

export function planMany(rules: readonly Rule[], context: ManyContext): ManyLines {
  const lines = (version: Version) =>
    withoutTail(rules.flatMap((rule) => headsOf(rule, version, context).map((head) => head + wordOf(rule))));
  return { ip: lines(4), ip6: lines(6) };
}

/** The chains, for a table's text. */
export function manyChains({ ip, ip6 }: ManyLines): string[] {
  const chain = (name: string, lines: readonly string[]) => [
    `chain ${name} {`,
    ...lines.map((line) => `  ${line}`),
    '}',
  ];
  return [...chain('many_ip', [...SPARED.ip, ...ip]), ...chain('many_ip6', [...SPARED.ip6, ...ip6])];
}

const DROP = `counter name ${MANY_COUNTER} drop`;

function wordOf({ action }: Rule): string {
  return action.do === 'drop' || action.do === 'reject' ? DROP : 'accept';
}

/** What the last line that drops leaves passes anyway. */
function withoutTail(lines: readonly string[]): string[] {
  return lines.slice(0, lines.findLastIndex((line) => line.endsWith(DROP)) + 1);
}

type Version = 4 | 6;

/** Of one question: matches of which one has to hold, none of which does where there are none. Undefined: not asked. */
type Alternatives = readonly string[] | undefined;

/** What has to hold of a packet, in as many ways as it may. */
function headsOf({ match }: Rule, version: Version, { self, groups, hasCgroup }: ManyContext): string[] {
  const ip = version === 4 ? 'ip' : 'ip6';
  const isSelf = (end: NodeEnd) =>
    'node' in end ? end.node === self : (groups[end.group]?.includes(self) ?? false);
  const questions: Alternatives[] = [
    ends(`${ip} daddr`, match.to, version, () => false),
    ends(`${ip} saddr`, match.from, version, isSelf),
    one('meta l4proto', protocolsOf(match)),
    one('th dport', match.ports && rangesOf(match.ports)),
    one('th sport', match.sourcePorts && rangesOf(match.sourcePorts)),
    one(`${ip} dscp`, match.dscp === undefined ? undefined : [match.dscp]),
    one('meta skuid', match.users),
    match.groups && groupsOf(match.groups),
    match.cgroups?.filter(hasCgroup).map(cgroupOf),
  ];
  return questions.reduce<string[]>(
    (heads, found) =>
      found === undefined ? heads : heads.flatMap((head) => found.map((each) => `${head}${each} `)),
    [''],
  );
}

function one(what: string, values: readonly (number | string)[] | undefined): Alternatives {
  return values && among(what, values);
}

function among(what: string, values: readonly (number | string)[]): string[] {
  return values.length === 0 ? [] : [`${what} ${setOf(values)}`];
}

function setOf(values: readonly (number | string)[]): string {
  return `{ ${[...new Set(values)].join(', ')} }`;
}

function ends(
  what: string,
  asked: readonly (RulePrefix | NodeEnd)[] | undefined,
  version: Version,
  isMeant: (end: NodeEnd) => boolean,
): Alternatives {
  if (asked === undefined) return undefined;
  const prefixes = asked.filter((end) => 'words' in end).filter((prefix) => prefix.version === version);
  const isAny =
    prefixes.some((prefix) => lengthOf(prefix) === 0) ||
    asked.some((end) => !('words' in end) && isMeant(end));
  return isAny ? undefined : one(what, widest(prefixes).map(prefixText));
}

/** Without those that lie in others: nft refuses sets that overlap. */
function widest(prefixes: readonly RulePrefix[]): RulePrefix[] {
  const sorted = [...prefixes].sort((a, b) => a.bits - b.bits);
  return sorted.filter((prefix, i) => !sorted.slice(0, i).some((outer) => prefixHolds(outer, prefix)));
}

function lengthOf({ version, bits }: RulePrefix): number {
  return version === 4 ? bits - 96 : bits;
}

function prefixText(prefix: RulePrefix): string {
  const words = maskPrefix(prefix).words.map((word) => word >>> 0);
  const address =
    prefix.version === 4
      ? [24, 16, 8, 0].map((shift) => (words[3]! >>> shift) & 0xff).join('.')
      : words.flatMap((word) => [word >>> 16, word & 0xffff].map((half) => half.toString(16))).join(':');
  return `${address}/${lengthOf(prefix)}`;
}

/** `th` reads any header as if it began with ports. */
function protocolsOf({ protocols, ports, sourcePorts }: Rule['match']): readonly number[] | undefined {
  if (ports === undefined && sourcePorts === undefined) return protocols;
  return (protocols ?? Array.from({ length: 256 }, (_, protocol) => protocol)).filter(hasPorts);
}

/** Ascending, those that touch or overlap as one. */
function rangesOf(ranges: readonly PortRange[]): string[] {
  const joined: { first: number; last: number }[] = [];
  for (const { first, last } of [...ranges].sort((a, b) => a.first - b.first)) {
    const before = joined.at(-1);
    if (before && first <= before.last + 1) before.last = Math.max(before.last, last);
    else joined.push({ first, last });
  }
  return joined.map(({ first, last }) => (first === last ? String(first) : `${first}-${last}`));
}

function groupsOf(groups: readonly UserGroup[]): string[] {
  const gids = groups.map(({ gid }) => gid);
  const members = groups.flatMap((group) => group.members);
  return [...among('meta skgid', gids), ...among('meta skuid', members)];
}

function cgroupOf(path: string): string {
  return `socket cgroupv2 level ${path.split('/').length} "${path}"`;
}
