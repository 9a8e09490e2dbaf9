import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  cgroupsOf,
  indexRules,
  NO_SENDER,
  nodeGroupsOf,
  type NodeEnd,
  type Rule,
  type RuleInput,
  type RuleMatch,
  type RulePrefix,
} from '../../../src/intercept/rules.js';
import { naiveFirst } from '../../support/intercept/naive-rules.js';

/** Few values of each kind, so that rules and packets often meet. */
const v4: fc.Arbitrary<RulePrefix> = fc
  .tuple(
    fc.constantFrom(0x0a000001, 0x0a000002, 0x0a800001, 0xc0000201),
    fc.constantFrom(0, 8, 9, 24, 31, 32),
  )
  .map(([word, length]) => ({ version: 4, words: [0, 0, 0xffff, word], bits: 96 + length }));
const v6: fc.Arbitrary<RulePrefix> = fc
  .tuple(fc.constantFrom(1, 2, 0x80000001), fc.constantFrom(0, 16, 97, 127, 128))
  .map(([word, bits]) => ({ version: 6, words: [0xfd770000, 0, 0, word], bits }));
const node: fc.Arbitrary<NodeEnd> = fc.constantFrom(
  { node: 1 },
  { node: 2 },
  { group: 'db' },
  { group: 'web' },
);
const ends = fc.array(fc.oneof(v4, v6, node), { minLength: 1, maxLength: 4 });
const port = fc.constantFrom(0, 22, 79, 80, 81, 443, 65_534, 65_535);
const ports = fc.array(
  fc.tuple(port, port).map(([a, b]) => ({ first: Math.min(a, b), last: Math.max(a, b) })),
  { minLength: 1, maxLength: 3 },
);
const id = fc.constantFrom(0, 33, 1000, 4_294_967_294);
const some = <T>(item: fc.Arbitrary<T>) => fc.array(item, { minLength: 1, maxLength: 3 });
const match: fc.Arbitrary<RuleMatch> = fc.record(
  {
    to: ends,
    from: ends,
    protocols: some(fc.constantFrom(1, 6, 17, 58)),
    ports,
    sourcePorts: ports,
    dscp: fc.constantFrom(0, 11, 46, 63),
    users: some(id),
    groups: some(fc.record({ gid: id, members: fc.array(id, { maxLength: 2 }) })),
    cgroups: some(fc.constantFrom('a', 'a/b', 'c')),
  },
  { requiredKeys: [] },
);
const portOrNone = fc.oneof(port, fc.constant(-1));
const input: fc.Arbitrary<RuleInput> = fc
  .tuple(
    fc.boolean(),
    fc.record({
      protocol: fc.constantFrom(1, 6, 17, 58, 255),
      sourcePort: portOrNone,
      destinationPort: portOrNone,
      sourceNode: fc.nat(3),
      destinationNode: fc.nat(3),
      dscp: fc.constantFrom(0, 11, 46, 63),
      user: fc.oneof(id, fc.constant(NO_SENDER)),
      group: fc.oneof(id, fc.constant(NO_SENDER)),
      cgroups: fc.nat(7),
    }),
    v4,
    v4,
    v6,
    v6,
  )
  .map(([isSix, rest, from4, to4, from6, to6]) => ({
    ...rest,
    choosesByDscp: true,
    version: isSix ? 6 : 4,
    source: (isSix ? from6 : from4).words,
    destination: (isSix ? to6 : to4).words,
  }));

const groups = { db: [1, 3], web: [2] };
const asRules = (matches: readonly RuleMatch[]): Rule[] =>
  matches.map((each) => ({ match: each, action: { do: 'drop' } }));

test('the index finds the rule that asking each in turn finds', () => {
  fc.assert(
    fc.property(
      fc.array(match, { maxLength: 70 }),
      fc.array(input, { minLength: 20, maxLength: 60 }),
      (matches, inputs) => {
        const rules = asRules(matches);
        const index = indexRules(rules, groups);
        for (const packet of inputs) {
          expect(index.first(packet)).toBe(naiveFirst(matches, groups, cgroupsOf(rules), packet));
        }
      },
    ),
    { numRuns: 300 },
  );
});

test('of a thousand rules the first is found, wherever it stands', () => {
  const matches = Array.from({ length: 1000 }, (_, i): RuleMatch => ({
    protocols: [6],
    ports: [{ first: i, last: i }],
  }));
  const index = indexRules(asRules([...matches, ...matches]), {});
  const packet: RuleInput = {
    version: 4,
    protocol: 6,
    source: [0, 0, 0xffff, 1],
    destination: [0, 0, 0xffff, 2],
    sourcePort: 1,
    destinationPort: 0,
    sourceNode: 1,
    destinationNode: 2,
    dscp: 0,
    choosesByDscp: true,
    user: NO_SENDER,
    group: NO_SENDER,
    cgroups: 0,
  };
  for (const destinationPort of [0, 31, 32, 500, 999]) {
    expect(index.first({ ...packet, destinationPort })).toBe(destinationPort);
  }
  expect(index.first({ ...packet, destinationPort: 1000 })).toBe(-1);
});

test('a group that nobody is in matches nothing', () => {
  const rules = asRules([{ to: [{ group: 'ghosts' }] }, {}]);
  expect(nodeGroupsOf(rules)).toEqual(['ghosts']);
  fc.assert(
    fc.property(input, (packet) => {
      expect(indexRules(rules, {}).first(packet)).toBe(1);
    }),
    { numRuns: 50 },
  );
});
