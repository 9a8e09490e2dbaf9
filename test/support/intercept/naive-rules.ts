/** What rules mean, rule by rule and bit by bit: the oracle for the index. */
import type { NodeEnd, NodeGroups, RuleInput, RuleMatch, RulePrefix } from '../../../src/intercept/rules.js';

export function naiveFirst(
  matches: readonly RuleMatch[],
  groups: NodeGroups,
  cgroups: readonly string[],
  input: RuleInput,
): number {
  return matches.findIndex((match) => naiveMatches(match, groups, cgroups, input));
}

function naiveMatches(
  match: RuleMatch,
  groups: NodeGroups,
  cgroups: readonly string[],
  input: RuleInput,
): boolean {
  const suits: boolean[] = [
    !match.to ||
      match.to.some((end) => holds(end, groups, input.version, input.destination, input.destinationNode)),
    !match.from ||
      match.from.some((end) => holds(end, groups, input.version, input.source, input.sourceNode)),
    !match.protocols || match.protocols.includes(input.protocol),
    !match.ports ||
      match.ports.some(({ first, last }) => first <= input.destinationPort && input.destinationPort <= last),
    !match.sourcePorts ||
      match.sourcePorts.some(({ first, last }) => first <= input.sourcePort && input.sourcePort <= last),
    match.dscp === undefined || match.dscp === input.dscp,
    !match.users || match.users.includes(input.user),
    !match.groups ||
      match.groups.some(({ gid, members }) => gid === input.group || members.includes(input.user)),
    !match.cgroups || match.cgroups.some((path) => ((input.cgroups >>> cgroups.indexOf(path)) & 1) === 1),
  ];
  return suits.every((suit) => suit);
}

function holds(
  end: RulePrefix | NodeEnd,
  groups: NodeGroups,
  version: number,
  words: ArrayLike<number>,
  node: number,
): boolean {
  if ('node' in end) return end.node === node;
  if ('group' in end) return (groups[end.group] ?? []).includes(node);
  if (end.version !== version) return false;
  return bits(end.words).slice(0, end.bits) === bits(Array.from(words)).slice(0, end.bits);
}

function bits(words: readonly number[]): string {
  return words.map((word) => (word >>> 0).toString(2).padStart(32, '0')).join('');
}
