import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseRuleEnd } from '../../../src/agent/config/address.js';
import { nodeIdOf } from '../../../src/crypto/identity/name.js';
import {
  cgroupsOf,
  type NodeEnd,
  NO_SENDER,
  type Rule,
  type RuleMatch,
  type RulePrefix,
} from '../../../src/intercept/rules.js';
import { manyChains, planMany } from '../../../src/tun/many-plan.js';
import { naiveFirst } from '../../support/intercept/naive-rules.js';
import { type NftPacket, nftVerdict } from '../../support/intercept/nft-lines.js';

const SELF = nodeIdOf('a');
const context = { self: SELF, groups: { db: [SELF] }, hasCgroup: (path: string) => path !== 'gone' };
const DROP = 'counter name many_dropped drop';

const ends = (...texts: string[]): (RulePrefix | NodeEnd)[] =>
  texts.map((text) => {
    const parsed = parseRuleEnd(text);
    if ('refusal' in parsed) throw new Error(parsed.refusal);
    return parsed;
  });
const rule = (match: RuleMatch, verdict: 'drop' | 'reject' | 'direct' | 'overlay' = 'drop'): Rule => ({
  match,
  action: verdict === 'overlay' ? { do: verdict, service: undefined } : { do: verdict },
});
const plan = (...rules: Rule[]) => planMany(rules, context);

describe('the lines of', () => {
  test.each<[string, RuleMatch, string[], string[]]>([
    ['everything', {}, [DROP], [DROP]],
    ['a destination', { to: ends('239.0.0.0/8') }, [`ip daddr { 239.0.0.0/8 } ${DROP}`], []],
    ['a group of IPv6', { to: ends('ff0e::1:2') }, [], [`ip6 daddr { ff0e:0:0:0:0:0:1:2/128 } ${DROP}`]],
    ['all of a family', { to: ends('0.0.0.0/0') }, [DROP], []],
    [
      'prefixes within others',
      { to: ends('239.1.2.3', '239.0.0.0/8', '239.0.0.0/8', '192.0.2.255') },
      [`ip daddr { 239.0.0.0/8, 192.0.2.255/32 } ${DROP}`],
      [],
    ],
    [
      'both families',
      { from: ends('192.0.2.1', 'fd77::1') },
      [`ip saddr { 192.0.2.1/32 } ${DROP}`],
      [`ip6 saddr { fd77:0:0:0:0:0:0:1/128 } ${DROP}`],
    ],
    ['a node as destination', { to: ends('node:b', 'group:db') }, [], []],
    ['this node as source', { from: ends('node:a') }, [DROP], [DROP]],
    ['a group that this node is in, as source', { from: ends('group:db', '192.0.2.1') }, [DROP], [DROP]],
    ['another node as source', { from: ends('node:b') }, [], []],
    [
      'ports, joined where they touch',
      {
        protocols: [17, 1],
        ports: [
          { first: 20, last: 30 },
          { first: 5, last: 5 },
          { first: 31, last: 40 },
        ],
      },
      [`meta l4proto { 17 } th dport { 5, 20-40 } ${DROP}`],
      [`meta l4proto { 17 } th dport { 5, 20-40 } ${DROP}`],
    ],
    [
      'source ports of any protocol that has some',
      { sourcePorts: [{ first: 5353, last: 5353 }] },
      [`meta l4proto { 6, 17, 33, 132, 136 } th sport { 5353 } ${DROP}`],
      [`meta l4proto { 6, 17, 33, 132, 136 } th sport { 5353 } ${DROP}`],
    ],
    ['a DSCP', { dscp: 46 }, [`ip dscp { 46 } ${DROP}`], [`ip6 dscp { 46 } ${DROP}`]],
    ['users', { users: [0, 33] }, [`meta skuid { 0, 33 } ${DROP}`], [`meta skuid { 0, 33 } ${DROP}`]],
  ])('%s', (_, match, ip, ip6) => {
    expect(plan(rule(match))).toEqual({ ip, ip6 });
  });

  test('groups and cgroups: one for each way to match', () => {
    const match = { groups: [{ gid: 4, members: [7, 8] }], cgroups: ['a/b', 'gone', 'c'] };
    expect(plan(rule(match)).ip).toEqual([
      `meta skgid { 4 } socket cgroupv2 level 2 "a/b" ${DROP}`,
      `meta skgid { 4 } socket cgroupv2 level 1 "c" ${DROP}`,
      `meta skuid { 7, 8 } socket cgroupv2 level 2 "a/b" ${DROP}`,
      `meta skuid { 7, 8 } socket cgroupv2 level 1 "c" ${DROP}`,
    ]);
    expect(plan(rule({ cgroups: ['gone'] })).ip).toEqual([]);
  });

  test('rules that let pass, as far as one that drops comes after them', () => {
    const [udp, tcp] = [{ protocols: [17] }, { protocols: [6] }];
    expect(
      plan(rule(udp, 'direct'), rule(tcp, 'overlay'), rule({ dscp: 1 }, 'reject'), rule({}, 'direct')).ip,
    ).toEqual(['meta l4proto { 17 } accept', 'meta l4proto { 6 } accept', `ip dscp { 1 } ${DROP}`]);
    expect(plan(rule(udp, 'direct'), rule({}, 'overlay'))).toEqual({ ip: [], ip6: [] });
  });
});

test('what a link’s hosts live by passes before any rule', () => {
  const text = manyChains(plan(rule({}))).join('\n');
  const [ip, ip6] = text.split('chain many_ip6');
  for (const chain of [ip!, ip6!]) expect(chain.trimEnd().split('\n').at(-2)).toBe(`  ${DROP}`);
  for (const part of ['meta l4proto 2 accept', 'udp dport { 67, 68 } accept']) expect(ip).toContain(part);
  expect(ip6).toContain('udp dport { 546, 547 } accept');
  // Neighbour solicitation and advertisement, MLD's reports of both versions.
  for (const type of [135, 136, 131, 143])
    expect(ip6).toMatch(new RegExp(`icmpv6 type \\{[^}]*\\b${type}\\b`));
});

// --- against what rules mean ---

/** Few values of each kind, so that rules and packets often meet. */
const v4 = fc
  .tuple(
    fc.constantFrom(0xe00000fb, 0xe00000fa, 0xef010203, 0xffffffff, 0xc00002ff),
    fc.constantFrom(0, 4, 31, 32),
  )
  .map(([word, length]): RulePrefix => ({ version: 4, words: [0, 0, 0xffff, word], bits: 96 + length }));
const v6 = fc
  .tuple(fc.constantFrom(0xff020000, 0xff0e0000), fc.constantFrom(1, 2), fc.constantFrom(0, 8, 16, 127, 128))
  .map(([head, word, bits]): RulePrefix => ({ version: 6, words: [head, 0, 0, word], bits }));
const some = <T>(item: fc.Arbitrary<T>) => fc.array(item, { minLength: 1, maxLength: 3 });
const node = fc.constantFrom<NodeEnd>({ node: SELF }, { node: 2 }, { group: 'db' }, { group: 'web' });
const end = fc.oneof(
  { weight: 4, arbitrary: v4 },
  { weight: 4, arbitrary: v6 },
  { weight: 1, arbitrary: node },
);
const port = fc.constantFrom(0, 22, 79, 80, 81, 5353, 65_535);
const range = fc.tuple(port, port).map(([a, b]) => ({ first: Math.min(a, b), last: Math.max(a, b) }));
const id = fc.constantFrom(0, 33, 1000);
const match: fc.Arbitrary<RuleMatch> = fc.record(
  {
    to: some(end),
    from: some(end),
    protocols: some(fc.constantFrom(1, 6, 17, 58)),
    ports: some(range),
    sourcePorts: some(range),
    dscp: fc.constantFrom(0, 46),
    users: some(id),
    groups: some(fc.record({ gid: id, members: fc.array(id, { maxLength: 2 }) })),
    cgroups: some(fc.constantFrom('a', 'a/b', 'c')),
  },
  { requiredKeys: [] },
);
const packet: fc.Arbitrary<Omit<NftPacket, 'cgroups'>> = fc
  .tuple(
    fc.boolean(),
    fc.record({
      dscp: fc.constantFrom(0, 46),
      user: fc.oneof(id, fc.constant(NO_SENDER)),
      group: fc.oneof(id, fc.constant(NO_SENDER)),
      paths: fc.constantFrom([], ['a'], ['a', 'a/b'], ['c']),
    }),
    fc.constantFrom(1, 6, 17, 58),
    fc.tuple(port, port, fc.boolean()),
    fc.tuple(v4, v4, v6, v6),
  )
  .map(([isSix, rest, protocol, [source, destination, hasNone], [from4, to4, from6, to6]]) => {
    const isPortless = hasNone || ![6, 17].includes(protocol);
    return {
      ...rest,
      protocol,
      version: isSix ? 6 : 4,
      sourcePort: isPortless ? -1 : source,
      destinationPort: isPortless ? -1 : destination,
      source: (isSix ? from6 : from4).words,
      destination: (isSix ? to6 : to4).words,
      sourceNode: SELF,
      destinationNode: 0,
      choosesByDscp: true,
    };
  });

test('nftables drop what the first rule that matches drops, and nothing else', () => {
  const verdict = fc.constantFrom('drop', 'reject', 'direct', 'overlay');
  const groups = { db: [SELF], web: [2] };
  fc.assert(
    fc.property(
      fc.array(fc.tuple(match, verdict), { maxLength: 12 }),
      fc.array(packet, { minLength: 20, maxLength: 40 }),
      (drawn, packets) => {
        const rules = drawn.map(([each, word]) => rule(each, word));
        const cgroups = cgroupsOf(rules);
        const lines = planMany(rules, { self: SELF, groups, hasCgroup: () => true });
        for (const each of packets) {
          const bits = cgroups.reduce((sum, path, i) => sum | (each.paths.includes(path) ? 1 << i : 0), 0);
          const asked = { ...each, cgroups: bits };
          const first = naiveFirst(
            drawn.map(([one]) => one),
            groups,
            cgroups,
            asked,
          );
          const word = first < 0 ? undefined : rules[first].action.do;
          const wanted = word === 'drop' || word === 'reject' ? 'drop' : 'accept';
          expect(nftVerdict(each.version === 4 ? lines.ip : lines.ip6, asked)).toBe(wanted);
        }
      },
    ),
    { numRuns: 500 },
  );
});
