import fc from 'fast-check';
import { IPv4, IPv4CidrRange, IPv6, IPv6CidrRange } from 'ip-num';
import { describe, expect, it } from 'vitest';

import type { OwnedPrefix } from '../../../src/overlay/route/prefix-table.js';
import { NO_OWNER, NOBODY, PrefixTable } from '../../../src/overlay/route/prefix-table.js';

const v4 = (text: string, owner: number): OwnedPrefix => {
  const [address, length] = text.split('/');
  return { bytes: Uint8Array.from(address.split('.').map(Number)), length: Number(length), owner };
};
const number4 = (text: string): number => Number(IPv4.fromString(text).getValue());
const words = (bytes: Uint8Array): [number, number, number, number] => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
  return [view.getUint32(0), view.getUint32(4), view.getUint32(8), view.getUint32(12)];
};

/** The longest prefix whose first bits are the address's, the last of equal ones. */
function naive(prefixes: readonly OwnedPrefix[], address: Uint8Array): number {
  const bits = (bytes: Uint8Array): string =>
    [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  let best: OwnedPrefix | undefined;
  for (const prefix of prefixes) {
    if (prefix.bytes.length !== address.length || prefix.length < (best?.length ?? 0)) continue;
    if (bits(address).startsWith(bits(prefix.bytes).slice(0, prefix.length))) best = prefix;
  }
  return best?.owner ?? NO_OWNER;
}

/** Few different bytes, so that prefixes nest and addresses hit them. */
const address = (size: number) =>
  fc
    .uint8Array({ minLength: size, maxLength: size })
    .chain((bytes) =>
      fc
        .constantFrom(0, 1, 127, 128, 255)
        .map((fill) => bytes.map((byte, i) => (i < 2 ? [0, 10, 255][byte % 3] : fill))),
    );
const prefix = (size: number): fc.Arbitrary<OwnedPrefix> =>
  fc.record({
    bytes: address(size),
    length: fc.integer({ min: 0, max: size * 8 }),
    owner: fc.integer({ min: 0, max: 9 }),
  });

describe('the prefix table', () => {
  it('finds the longest prefix at its edges', () => {
    const table = PrefixTable.build([
      v4('10.0.0.0/8', NOBODY),
      v4('10.1.0.0/16', 1),
      v4('10.1.2.0/24', 2),
      v4('10.1.2.3/32', 3),
    ]);
    const cases: [string, number][] = [
      ['9.255.255.255', NO_OWNER],
      ['10.0.0.0', NOBODY],
      ['10.0.255.255', NOBODY],
      ['10.1.0.0', 1],
      ['10.1.1.255', 1],
      ['10.1.2.0', 2],
      ['10.1.2.2', 2],
      ['10.1.2.3', 3],
      ['10.1.2.4', 2],
      ['10.1.3.0', 1],
      ['10.2.0.0', NOBODY],
      ['10.255.255.255', NOBODY],
      ['11.0.0.0', NO_OWNER],
    ];
    for (const [text, owner] of cases) expect([text, table.lookup4(number4(text))]).toEqual([text, owner]);
  });

  it('owns nothing when it is empty', () => {
    const table = PrefixTable.build([]);
    expect(table.lookup4(0xffffffff)).toBe(NO_OWNER);
    expect(table.lookup6(0, 0, 0, 1)).toBe(NO_OWNER);
  });

  it('reaches the last address of each family', () => {
    const whole = { bytes: new Uint8Array(16), length: 0, owner: 4 };
    const last = { bytes: new Uint8Array(16).fill(255), length: 128, owner: 5 };
    const table = PrefixTable.build([v4('0.0.0.0/0', 1), v4('255.255.255.255/32', 2), whole, last]);
    expect([table.lookup4(0xfffffffe), table.lookup4(0xffffffff)]).toEqual([1, 2]);
    const m = 0xffffffff;
    expect([table.lookup6(m, m, m, m - 1), table.lookup6(m, m, m, m)]).toEqual([4, 5]);
  });

  it('agrees with a search through all prefixes, for IPv4', () => {
    fc.assert(
      fc.property(
        fc.array(prefix(4), { maxLength: 30 }),
        fc.array(address(4), { minLength: 20 }),
        (prefixes, addresses) => {
          const table = PrefixTable.build(prefixes);
          for (const bytes of [...addresses, ...prefixes.map((p) => p.bytes)]) {
            expect(table.lookup4(new DataView(bytes.buffer).getUint32(0))).toBe(naive(prefixes, bytes));
          }
        },
      ),
      { seed: 41, numRuns: 150 },
    );
  });

  it('agrees with a search through all prefixes, for IPv6, also from the other thread', () => {
    fc.assert(
      fc.property(
        fc.array(prefix(16), { maxLength: 30 }),
        fc.array(address(16), { minLength: 20 }),
        (prefixes, addresses) => {
          const table = PrefixTable.from(PrefixTable.build(prefixes).buffers());
          for (const bytes of [...addresses, ...prefixes.map((p) => p.bytes)]) {
            expect(table.lookup6(...words(bytes))).toBe(naive(prefixes, bytes));
          }
        },
      ),
      { seed: 42, numRuns: 150 },
    );
  });

  it('agrees with ip-num on the first and last address of a prefix and their neighbours', () => {
    for (const text of ['10.20.0.0/16', '192.0.2.64/26', '10.77.0.5/32', '128.0.0.0/1']) {
      const range = IPv4CidrRange.fromCidr(text);
      const table = PrefixTable.build([v4(text, 7)]);
      const first = Number(range.getFirst().getValue());
      const last = Number(range.getLast().getValue());
      for (const at of [first - 1, first, last, last + 1].filter((n) => n >= 0 && n <= 0xffffffff)) {
        const inside =
          new IPv4(at).getValue() >= range.getFirst().getValue() &&
          new IPv4(at).getValue() <= range.getLast().getValue();
        expect(table.lookup4(at)).toBe(inside ? 7 : NO_OWNER);
      }
    }
    for (const text of ['fd77::/48', '2001:db8:0:40::/58', 'fd77::5/128']) {
      const range = IPv6CidrRange.fromCidr(text);
      const bytesOf = (value: bigint): Uint8Array =>
        Uint8Array.from({ length: 16 }, (_, i) => Number((value >> BigInt(120 - 8 * i)) & 255n));
      const first = range.getFirst().getValue();
      const last = range.getLast().getValue();
      const length = Number(text.split('/')[1]);
      const table = PrefixTable.build([
        { bytes: bytesOf(IPv6.fromString(text.split('/')[0]).getValue()), length, owner: 7 },
      ]);
      const owners = [first - 1n, first, last, last + 1n].map((at) => table.lookup6(...words(bytesOf(at))));
      expect(owners).toEqual([NO_OWNER, 7, 7, NO_OWNER]);
    }
  });
});
