import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseRuleEnd } from '../../../src/agent/config/address.js';
import { nodeIdOf } from '../../../src/crypto/identity/name.js';
import { findDeadRules } from '../../../src/intercept/rule-check.js';
import type { NodeEnd, RuleMatch, RulePrefix } from '../../../src/intercept/rules.js';
import { naiveFirst } from '../../support/intercept/naive-rules.js';

const ends = (...texts: string[]): (RulePrefix | NodeEnd)[] =>
  texts.map((text) => {
    const parsed = parseRuleEnd(text);
    if ('refusal' in parsed) throw new Error(parsed.refusal);
    return parsed;
  });
const ports = (...ranges: [number, number][]) => ranges.map(([first, last]) => ({ first, last }));
const self = nodeIdOf('a');
const dead = (inbound: boolean, ...matches: RuleMatch[]) =>
  findDeadRules(
    matches.map((match) => ({ match })),
    { self, inbound },
  ).map(({ rule, by }) => [rule, by]);

describe('a rule', () => {
  test('that an earlier one takes all of is found, with that one', () => {
    expect(dead(false, {}, { protocols: [6] })).toEqual([[1, [0]]]);
    expect(dead(false, { to: ends('10.0.0.0/8') }, { to: ends('10.1.0.0/16'), dscp: 3 })).toEqual([[1, [0]]]);
    expect(dead(false, { to: ends('group:db') }, { to: ends('group:db', 'group:web') })).toEqual([]);
    expect(dead(false, { users: [1, 2] }, { users: [2], protocols: [6] })).toEqual([[1, [0]]]);
    expect(dead(false, { cgroups: ['a'] }, { cgroups: ['a/b'] }, { cgroups: ['ab'] })).toEqual([[1, [0]]]);
  });

  test('that several earlier ones share is found, with all of them', () => {
    const [low, high] = [
      { protocols: [6], ports: ports([0, 99]) },
      { protocols: [6], ports: ports([100, 200]) },
    ];
    expect(dead(false, low, high, { protocols: [6], ports: ports([10, 20], [150, 160]) })).toEqual([
      [2, [0, 1]],
    ]);
    expect(dead(false, low, high, { protocols: [6], ports: ports([10, 20], [150, 260]) })).toEqual([]);
    expect(dead(false, low, high, { protocols: [6, 17], ports: ports([10, 20]) })).toEqual([]);
  });

  test('that asks for what never is, is found alone', () => {
    expect(dead(false, { to: ends('10.0.0.1'), from: ends('fd77::1') })).toEqual([[0, []]]);
    expect(dead(false, { to: ends('10.0.0.1', 'node:b'), from: ends('fd77::1') })).toEqual([]);
    expect(dead(false, { from: ends('node:b') }, { to: ends('node:a') }, { from: ends('node:a') })).toEqual([
      [0, []],
      [1, []],
    ]);
    expect(dead(true, { from: ends('node:a') }, { from: ends('node:b') }, { to: ends('node:b') })).toEqual([
      [0, []],
      [2, []],
    ]);
  });
});

test('no packet ever meets a rule that is called dead', () => {
  const port = fc.constantFrom(0, 22, 80, 81, 443);
  const match: fc.Arbitrary<RuleMatch> = fc.record(
    {
      to: fc.array(fc.constantFrom(...ends('10.0.0.0/8', '10.1.0.0/16', 'fd77::/16', 'node:b', 'group:db')), {
        minLength: 1,
        maxLength: 2,
      }),
      protocols: fc.constantFrom([6], [17], [6, 17]),
      ports: fc.array(
        fc.tuple(port, port).map(([a, b]) => ({ first: Math.min(a, b), last: Math.max(a, b) })),
        { minLength: 1, maxLength: 2 },
      ),
      users: fc.constantFrom([1], [2], [1, 2]),
    },
    { requiredKeys: [] },
  );
  const input = fc.record({
    version: fc.constant(4),
    protocol: fc.constantFrom(6, 17, 1),
    source: fc.constant([0, 0, 0xffff, 1]),
    destination: fc.constantFrom(
      [0, 0, 0xffff, 0x0a010001],
      [0, 0, 0xffff, 0x0a020001],
      [0, 0, 0xffff, 0x0b000001],
    ),
    sourcePort: fc.constant(1),
    destinationPort: fc.oneof(port, fc.constant(-1)),
    sourceNode: fc.constant(self),
    destinationNode: fc.constantFrom(0, nodeIdOf('b'), 7),
    dscp: fc.constant(0),
    choosesByDscp: fc.constant(true),
    user: fc.constantFrom(1, 2, 3),
    group: fc.constant(9),
    cgroups: fc.constant(0),
  });
  fc.assert(
    fc.property(
      fc.array(match, { minLength: 2, maxLength: 8 }),
      fc.array(input, { minLength: 30, maxLength: 30 }),
      (matches, inputs) => {
        const called = dead(false, ...matches).map(([rule]) => rule);
        for (const packet of inputs)
          expect(called).not.toContain(naiveFirst(matches, { db: [7] }, [], packet));
      },
    ),
    { numRuns: 500 },
  );
});
