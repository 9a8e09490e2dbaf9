import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseRulePrefix } from '../../../src/agent/config/address.js';
import { compileRules, NO_SENDER } from '../../../src/intercept/rules.js';
import type { Rule, RuleInput, RuleMatch, RulePrefix } from '../../../src/intercept/rules.js';
import {
  ORIGIN_DEFAULT,
  ORIGIN_DSCP,
  ORIGIN_RULE,
  SERVICE_BEST_EFFORT,
  SERVICE_REALTIME,
  SERVICE_REDUNDANT,
  SERVICE_RELIABLE,
} from '../../../src/intercept/services.js';
import * as routed from '../../../src/overlay/wire/routed.js';

const prefix = (text: string): RulePrefix => {
  const parsed = parseRulePrefix(text);
  if ('refusal' in parsed) throw new Error(parsed.refusal);
  return parsed;
};

const packet = (from: string, to: string, rest: Partial<RuleInput> = {}): RuleInput => {
  const destination = prefix(to);
  return {
    version: destination.version,
    protocol: 6,
    source: prefix(from).words,
    destination: destination.words,
    sourcePort: 40_000,
    destinationPort: 80,
    dscp: 0,
    choosesByDscp: true,
    sourceNode: 0,
    destinationNode: 0,
    user: NO_SENDER,
    group: NO_SENDER,
    cgroups: 0,
    ...rest,
  };
};

const drops = (match: RuleMatch, input: RuleInput): boolean =>
  compileRules([{ match, action: { do: 'drop' } }])(input).do === 'drop';

test('without a match a packet goes over the overlay with the service of its protocol', () => {
  const chosen = (rules: Rule[], protocol: number) =>
    compileRules(rules)(packet('10.0.0.1', '10.0.0.2', { protocol }));
  const expected = { do: 'overlay', origin: ORIGIN_DEFAULT, rule: -1 };
  for (const rules of [[], [{ match: { dscp: 1 }, action: { do: 'drop' as const } }]]) {
    expect(chosen(rules, 6)).toEqual({ ...expected, service: SERVICE_RELIABLE });
    expect(chosen(rules, 17)).toEqual({ ...expected, service: SERVICE_BEST_EFFORT });
    expect(chosen(rules, 1)).toEqual({ ...expected, service: SERVICE_BEST_EFFORT });
  }
});

test('the first rule that matches decides', () => {
  const classify = compileRules([
    { match: { to: [prefix('10.0.0.2')] }, action: { do: 'overlay', service: 0 } },
    { match: { to: [prefix('10.0.0.0/8')] }, action: { do: 'drop' } },
    { match: {}, action: { do: 'overlay', service: 0 } },
  ]);
  const passed = { do: 'overlay', service: 0, origin: ORIGIN_RULE, rule: 0 };
  const dropped = { do: 'drop', service: 0, origin: ORIGIN_RULE, rule: 1 };
  expect(classify(packet('10.0.0.1', '10.0.0.2'))).toEqual(passed);
  expect(classify(packet('10.0.0.1', '10.0.0.3'))).toEqual(dropped);
  expect(classify(packet('10.0.0.1', '11.0.0.3')).rule).toBe(2);
});

test("a rule's service goes before the socket's DSCP, that before the default", () => {
  const defaults = { tcp: SERVICE_BEST_EFFORT, udp: SERVICE_REALTIME, other: SERVICE_RELIABLE };
  const rules: Rule[] = [
    { match: { to: [prefix('10.0.0.2')] }, action: { do: 'overlay', service: SERVICE_BEST_EFFORT } },
    { match: { to: [prefix('10.0.0.3')] }, action: { do: 'overlay', service: undefined } },
  ];
  const classify = compileRules(rules, defaults);
  const chosen = (to: string, dscp: number, protocol = 6) => {
    const { service, origin, rule } = classify(packet('10.0.0.1', to, { dscp, protocol }));
    return [service, origin, rule];
  };
  expect(chosen('10.0.0.2', 46)).toEqual([SERVICE_BEST_EFFORT, ORIGIN_RULE, 0]);
  for (const [to, rule] of [
    ['10.0.0.3', 1],
    ['10.0.0.4', -1],
  ] as const) {
    expect(chosen(to, 11)).toEqual([SERVICE_RELIABLE, ORIGIN_DSCP, rule]);
    expect(chosen(to, 46)).toEqual([SERVICE_REALTIME, ORIGIN_DSCP, rule]);
    expect(chosen(to, 15)).toEqual([SERVICE_REDUNDANT, ORIGIN_DSCP, rule]);
    expect(chosen(to, 10)).toEqual([SERVICE_BEST_EFFORT, ORIGIN_DEFAULT, rule]);
    expect(chosen(to, 0, 17)).toEqual([SERVICE_REALTIME, ORIGIN_DEFAULT, rule]);
    expect(chosen(to, 0, 255)).toEqual([SERVICE_RELIABLE, ORIGIN_DEFAULT, rule]);
  }
});

test("service numbers are the routed header's", () => {
  expect([SERVICE_BEST_EFFORT, SERVICE_RELIABLE, SERVICE_REALTIME]).toEqual([
    routed.SERVICE_BEST_EFFORT,
    routed.SERVICE_RELIABLE,
    routed.SERVICE_REALTIME,
  ]);
});

test('every key of a match has to fit', () => {
  const match = {
    to: [prefix('10.0.0.0/8')],
    from: [prefix('10.0.0.1')],
    protocols: [6],
    ports: [{ first: 80, last: 81 }],
    dscp: 46,
  };
  const fits = { dscp: 46 };
  expect(drops(match, packet('10.0.0.1', '10.9.9.9', fits))).toBe(true);
  expect(drops(match, packet('10.0.0.1', '10.9.9.9', { ...fits, destinationPort: 81 }))).toBe(true);
  expect(drops(match, packet('10.0.0.2', '10.9.9.9', fits))).toBe(false);
  expect(drops(match, packet('10.0.0.1', '11.9.9.9', fits))).toBe(false);
  expect(drops(match, packet('10.0.0.1', '10.9.9.9', { ...fits, protocol: 17 }))).toBe(false);
  expect(drops(match, packet('10.0.0.1', '10.9.9.9', { ...fits, destinationPort: 82 }))).toBe(false);
  expect(drops(match, packet('10.0.0.1', '10.9.9.9', { ...fits, destinationPort: 79 }))).toBe(false);
  expect(drops(match, packet('10.0.0.1', '10.9.9.9', { dscp: 0 }))).toBe(false);
});

test('a packet without ports matches no rule that names one', () => {
  const match = { protocols: [6], ports: [{ first: 0, last: 65_535 }] };
  expect(drops(match, packet('10.0.0.1', '10.0.0.2', { destinationPort: -1 }))).toBe(false);
});

test('a prefix of one family holds nothing of the other', () => {
  expect(drops({ to: [prefix('::/0')] }, packet('10.0.0.1', '10.0.0.2'))).toBe(false);
  expect(drops({ to: [prefix('0.0.0.0/0')] }, packet('fd77::1', 'fd77::2'))).toBe(false);
  expect(drops({ to: [prefix('::/0')] }, packet('fd77::1', 'fd77::2'))).toBe(true);
  expect(drops({ to: [prefix('0.0.0.0/0')] }, packet('10.0.0.1', '255.0.0.2'))).toBe(true);
});

test('signed and unsigned words are the same address', () => {
  const unsigned = packet('255.0.0.1', '255.0.0.2');
  const signed = { ...unsigned, destination: Int32Array.from(unsigned.destination) };
  expect(drops({ to: [prefix('255.0.0.2')] }, unsigned)).toBe(true);
  expect(drops({ to: [prefix('255.0.0.2')] }, signed)).toBe(true);
});

test('prefixes match as a comparison of their leading bits does', () => {
  const word = fc.integer({ min: 0, max: 0xffff_ffff });
  const address = fc.tuple(word, word, word, word);
  const bitsOf = (words: readonly number[]): string =>
    words.map((w) => (w >>> 0).toString(2).padStart(32, '0')).join('');
  fc.assert(
    fc.property(
      address,
      address,
      fc.integer({ min: 0, max: 128 }),
      fc.integer({ min: 0, max: 128 }),
      (a, noise, bits, shared) => {
        // An address that has its first `shared` bits in common with the prefix, so that both outcomes occur.
        const text = bitsOf(a).slice(0, shared) + bitsOf(noise).slice(shared);
        const b = [0, 1, 2, 3].map((i) => parseInt(text.slice(32 * i, 32 * i + 32), 2));
        const match = { to: [{ version: 6 as const, words: a, bits }] };
        const input = packet('fd77::1', 'fd77::2', { destination: b });
        expect(drops(match, input)).toBe(bitsOf(a).slice(0, bits) === text.slice(0, bits));
      },
    ),
  );
});
