/**
 * Rules that can never match, and why: because nothing is what they ask for (or nothing that this node sees, `rule-sight.ts`), or because the
 * rules before them take all of it. The second is found where every single case of a rule (one of its destinations, one of its ports …) lies
 * within one earlier rule; what only several together take of a single case isn't found.
 */
import type { PortRange } from './rule-index.js';
import { isManyPrefix, type Sight, unseenWhy } from './rule-sight.js';
import { type NodeEnd, prefixHolds, type RuleMatch, type RulePrefix, type UserGroup } from './rules.js';

export interface DeadRule {
  rule: number;
  /** The earlier rules that leave it nothing; none where it makes no sense by itself. */
  by: number[];
  why: string;
}

export interface CheckContext {
  /** This node's id. */
  self: number;
  /** Whether the rules are about packets that come in; else about those that this node sends. */
  inbound: boolean;
  /** Absent where its certificate isn't known. */
  sight?: Sight | undefined;
}

/** Cases of a rule that are looked at, at most. */
const CASES_MAX = 4096;

type End = RulePrefix | NodeEnd;

export function findDeadRules(rules: readonly { match: RuleMatch }[], context: CheckContext): DeadRule[] {
  return rules.flatMap(({ match }, rule) => {
    const { sight } = context;
    const senseless = nonsenseOf(match, context) ?? (sight && unseenWhy(match, sight, context));
    if (senseless !== undefined) return [{ rule, by: [], why: senseless }];
    const by = takers(rules.slice(0, rule), match);
    return by ? [{ rule, by, why: 'everything that it matches' }] : [];
  });
}

/** Whether it names destinations, all of them multicast or the limited broadcast. */
export function meansManyOnly({ to }: RuleMatch): boolean {
  const isMany = (end: End) => 'words' in end && isManyPrefix(end);
  return to !== undefined && to.every(isMany);
}

function nonsenseOf({ to, from }: RuleMatch, { self, inbound }: CheckContext): string | undefined {
  const versions = (ends: readonly End[] | undefined) =>
    ends?.every((end) => 'words' in end) ? ends.map((end) => (end as RulePrefix).version) : undefined;
  const [there, here] = [versions(to), versions(from)];
  if (there && here && !there.some((version) => here.includes(version)))
    return 'no packet goes from an IPv4 to an IPv6 address, or back';
  const isOnly = (ends: readonly End[] | undefined, suits: (node: number) => boolean) =>
    ends?.every((end) => 'node' in end && suits(end.node)) ?? false;
  if (inbound) {
    if (isOnly(from, (node) => node === self)) return 'from: what comes in is never sent by this node itself';
    return isOnly(to, (node) => node !== self) ? 'to: what comes in is for this node' : undefined;
  }
  if (isOnly(from, (node) => node !== self))
    return 'from: packets that enter here are sent by this node, not by others';
  return isOnly(to, (node) => node === self)
    ? 'to: packets for this node itself never enter the overlay'
    : undefined;
}

/** The rules that each take a case of the match, if together they take all. */
function takers(earlier: readonly { match: RuleMatch }[], match: RuleMatch): number[] | undefined {
  const cases = casesOf(match);
  const found = new Set<number>();
  for (const single of cases) {
    const taker = earlier.findIndex((rule) => covers(rule.match, single));
    if (taker < 0) return undefined;
    found.add(taker);
  }
  return [...found].sort((a, b) => a - b);
}

/** The match, apart by all that it lists; whole where that would be too many. */
function casesOf(match: RuleMatch): RuleMatch[] {
  const lists = ['to', 'from', 'protocols', 'ports', 'sourcePorts', 'users', 'groups', 'cgroups'] as const;
  const count = lists.reduce((product, key) => product * (match[key]?.length ?? 1), 1);
  if (count > CASES_MAX) return [match];
  return lists.reduce<RuleMatch[]>(
    (cases, key) =>
      match[key] === undefined
        ? cases
        : cases.flatMap((each) =>
            match[key]!.map((value: unknown) => ({ ...each, [key]: [value] }) as RuleMatch),
          ),
    [match],
  );
}

/** Whether `wide` matches all that `narrow` matches. */
function covers(wide: RuleMatch, narrow: RuleMatch): boolean {
  const within = <T>(
    outer: readonly T[] | undefined,
    inner: readonly T[] | undefined,
    holds: (a: T, b: T) => boolean,
  ) => outer === undefined || (inner?.every((b) => outer.some((a) => holds(a, b))) ?? false);
  const same = <T>(a: T, b: T) => a === b;
  return (
    within(wide.to, narrow.to, endHolds) &&
    within(wide.from, narrow.from, endHolds) &&
    within(wide.protocols, narrow.protocols, same) &&
    within(wide.ports, narrow.ports, rangeHolds) &&
    within(wide.sourcePorts, narrow.sourcePorts, rangeHolds) &&
    (wide.dscp === undefined || wide.dscp === narrow.dscp) &&
    within(wide.users, narrow.users, same) &&
    within(wide.groups, narrow.groups, groupHolds) &&
    within(wide.cgroups, narrow.cgroups, (a, b) => a === b || b.startsWith(`${a}/`))
  );
}

function endHolds(outer: End, inner: End): boolean {
  if ('words' in outer) return 'words' in inner && prefixHolds(outer, inner);
  if ('node' in outer) return 'node' in inner && outer.node === inner.node;
  return 'group' in inner && outer.group === inner.group;
}

function rangeHolds(outer: PortRange, inner: PortRange): boolean {
  return outer.first <= inner.first && inner.last <= outer.last;
}

function groupHolds(outer: UserGroup, inner: UserGroup): boolean {
  return outer.gid === inner.gid;
}
