import { describe, expect, test } from 'vitest';
import { parseRuleEnd, parseRulePrefix } from '../../../src/agent/config/address.js';
import { nodeIdOf } from '../../../src/crypto/identity/name.js';
import { type Sight, unseenWhy } from '../../../src/intercept/rule-sight.js';
import type { NodeEnd, RuleMatch, RulePrefix } from '../../../src/intercept/rules.js';

const prefix = (text: string) => parseRulePrefix(text) as RulePrefix;
const ends = (text: string) => text.split(' ').map((each) => parseRuleEnd(each) as RulePrefix | NodeEnd);

/** Node a: 10.77.0.1 and fd77::1 in the overlay, 192.0.2.1 outside, a subnet inside the overlay and one outside. */
const sight: Sight = {
  overlay: ['10.77.0.0/16', 'fd77::/48'].map(prefix),
  addresses: ['10.77.0.1', 'fd77::1'].map(prefix),
  owned: ['10.77.0.1', 'fd77::1', '192.0.2.1', '10.77.9.0/24', '192.168.5.0/24'].map(prefix),
  nodesOnly: true,
};
const LINKS = /^to: multicast, broadcast and link-local .* unless another node's certificate has a route/;
const HERE = /^to: packets for this host itself never enter/;
const SELF = /^to: packets for this node itself never enter/;
const OTHERS = /^from: packets that enter here are sent by this node/;
const IN_SELF = /^from: what comes in is never sent by this node/;
const IN_OTHERS = /^to: what comes in is for this node/;

type Row = readonly [key: 'to' | 'from', ends: string, why: RegExp | undefined];
const sees = (inbound: boolean, nodesOnly: boolean, rows: readonly Row[]) => {
  for (const [key, text, why] of rows) {
    const match: RuleMatch = { [key]: ends(text) };
    const found = unseenWhy(match, { ...sight, nodesOnly }, { self: nodeIdOf('a'), inbound });
    if (why === undefined) expect(found, `${key} ${text}`).toBeUndefined();
    else expect(found, `${key} ${text}`).toMatch(why);
  }
};

describe('what a node sends', () => {
  test('where only nodes are reached: never to the link or itself, never from others', () => {
    sees(false, true, [
      ['to', '239.0.0.0/8', LINKS],
      ['to', '224.0.0.0/4 ff02::fb', LINKS],
      ['to', '255.255.255.255', LINKS],
      ['to', '169.254.0.0/16 fe80::/10', LINKS],
      ['to', '127.0.0.1 224.0.0.1', LINKS],
      ['to', '127.0.0.0/8 ::1', HERE],
      ['to', '10.77.0.1 127.0.0.1', HERE],
      ['to', '10.77.0.1 fd77::1', SELF],
      ['to', '10.77.0.1 node:a', SELF],
      ['from', '10.77.0.2', OTHERS],
      ['from', '10.77.8.0/24 node:b', OTHERS],
      ['from', '172.16.0.0/12', OTHERS],
    ]);
  });

  test('near misses are no misses', () => {
    sees(false, true, [
      ['to', '224.0.0.0/3', undefined],
      ['to', 'fe00::/7', undefined],
      ['to', '255.255.255.254/31', undefined],
      ['to', '169.254.0.0/15', undefined],
      ['to', 'fe80::/9', undefined],
      ['to', '126.0.0.0/7', undefined],
      ['to', '::/127', undefined],
      ['to', '239.0.0.0/8 10.77.0.2', undefined],
      ['to', '239.0.0.0/8 group:db', undefined],
      ['to', '10.77.0.0/31', undefined],
      ['to', '10.77.0.2', undefined],
      ['to', '10.77.9.0/24', undefined],
      ['to', '172.16.0.0/12', undefined],
      ['to', '0.0.0.0/0', undefined],
      ['from', '10.77.0.1', undefined],
      ['from', '10.77.0.0/24', undefined],
      ['from', '10.77.9.7', undefined],
      ['from', '192.168.0.0/16', undefined],
      ['from', '192.0.2.1', undefined],
      ['from', '10.77.0.2 group:db', undefined],
      ['from', '::/0', undefined],
    ]);
  });

  test('where more may be reached (mode full, participants, forward) only its own addresses are certain', () => {
    sees(false, false, [
      ['to', '10.77.0.1', SELF],
      ['to', '10.77.0.1 127.0.0.1', undefined],
      ['to', '239.0.0.0/8', undefined],
      ['to', '169.254.169.254', undefined],
      ['from', '10.77.0.2', undefined],
    ]);
  });

  test("what lies in the overlay's own prefixes is never called the link's", () => {
    const wide = { ...sight, overlay: [prefix('128.0.0.0/1')] };
    expect(
      unseenWhy({ to: ends('239.1.1.1') }, wide, { self: nodeIdOf('a'), inbound: false }),
    ).toBeUndefined();
  });
});

test('what comes in is never from this node, nor for an address of the overlay that it lacks', () => {
  for (const nodesOnly of [true, false])
    sees(true, nodesOnly, [
      ['from', '10.77.0.1', IN_SELF],
      ['from', 'fd77::1 node:a', IN_SELF],
      ['to', '10.77.0.2', IN_OTHERS],
      ['to', '10.77.8.0/24 node:b', IN_OTHERS],
      ['from', '10.77.0.1 10.77.0.2', undefined],
      ['from', '10.77.0.0/31', undefined],
      ['from', '10.77.9.1', undefined],
      ['from', '192.168.5.1', undefined],
      ['to', '10.77.0.1', undefined],
      ['to', '10.77.0.0/24', undefined],
      ['to', '10.77.9.9', undefined],
      ['to', '10.77.8.0/23', undefined],
      ['to', '10.76.0.0/15', undefined],
      ['to', '192.168.5.1', undefined],
      ['to', '172.16.0.1', undefined],
      ['to', '10.77.0.2 group:db', undefined],
    ]);
});
