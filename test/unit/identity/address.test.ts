import fc from 'fast-check';
import { IPv6, IPv4CidrRange, IPv4 } from 'ip-num';
import { isIPv4, isIPv6 } from 'node:net';
import { describe, expect, it } from 'vitest';
import { constraintOf, prefixFromConstraint } from '../../../src/crypto/identity/address.js';
import {
  addressFromBytes,
  parseAddress,
  parsePrefix,
  prefixContains,
  prefixOf,
} from '../../../src/crypto/identity/index.js';
import { address, prefix } from './fixture.js';

const anyAddress = fc
  .constantFrom(4, 16)
  .chain((size) => fc.uint8Array({ minLength: size, maxLength: size }))
  .map((bytes) => addressFromBytes(bytes))
  .filter((read) => read !== undefined);

describe('addresses', () => {
  it.each([
    ['10.77.0.1', '10.77.0.1'],
    ['FD77:0:0::1', 'fd77::1'],
    ['::', '::'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['1:0:0:0:0:0:0:0', '1::'],
  ])('%s is written %s (RFC 5952)', (text, canonical) => {
    expect(parseAddress(text)?.text).toBe(canonical);
  });

  it.each([
    '',
    '10.77.0',
    '10.77.0.256',
    '010.0.0.1',
    ' 10.0.0.1',
    '10.0.0.1 ',
    '1e1.0.0.1',
    'fd77::1%eth0',
    'fd77:::1',
    '1::2::3',
    ':1::',
    '::12345',
    '1:2:3:4:5:6:7',
    '::ffff:10.0.0.1',
    'localhost',
    '10.0.0.1/32',
  ])('%j is refused', (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });

  it('every address survives its own text, and ip-num reads the same number from it', () => {
    fc.assert(
      fc.property(anyAddress, (one) => {
        expect(parseAddress(one.text)).toEqual(one);
        const read = one.family === 4 ? IPv4.fromString(one.text) : IPv6.fromString(one.text);
        expect(read.getValue()).toBe(BigInt(`0x${Buffer.from(one.bytes).toString('hex')}`));
      }),
    );
  });

  it('no string is taken that node:net would not take', () => {
    const text = fc.string({ unit: fc.constantFrom(...'0123456789abcdef:.%/ '), maxLength: 24 });
    fc.assert(
      fc.property(text, (candidate) => {
        if (parseAddress(candidate) !== undefined) expect(isIPv4(candidate) || isIPv6(candidate)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('prefixes', () => {
  it('host bits are refused with the prefix that was meant', () => {
    expect(parsePrefix('10.20.0.1/16')).toEqual({
      ok: false,
      text: expect.stringContaining('did you mean 10.20.0.0/16'),
    });
    expect(parsePrefix('fd77::1/48')).toEqual({
      ok: false,
      text: expect.stringContaining('did you mean fd77::/48'),
    });
  });

  it.each([
    '10.0.0.0',
    '10.0.0.0/33',
    'fd77::/129',
    '10.0.0.0/-1',
    '10.0.0.0/8/8',
    '/8',
    '10.0.0.0/1e1',
    'x/8',
  ])('%j is refused', (text) => {
    expect(parsePrefix(text).ok).toBe(false);
  });

  it('containment agrees with ip-num', () => {
    const v4 = fc.uint8Array({ minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(v4, v4, fc.integer({ min: 1, max: 32 }), fc.boolean(), (a, b, length, near) => {
        const base = addressFromBytes(a)!;
        const other = near ? addressFromBytes(Uint8Array.of(a[0], a[1], b[2], b[3]))! : addressFromBytes(b)!;
        const range = prefixOf(base, length);
        const oracle = IPv4CidrRange.fromCidr(range.text).contains(
          IPv4CidrRange.fromCidr(`${other.text}/32`),
        );
        expect(prefixContains(range, other)).toBe(oracle);
      }),
    );
  });

  it('a prefix never holds an address of the other family', () => {
    expect(prefixContains(prefix('0.0.0.0/0'), address('fd77::1'))).toBe(false);
    expect(prefixContains(prefix('::/0'), address('10.0.0.1'))).toBe(false);
  });

  it('name constraints survive their bytes', () => {
    fc.assert(
      fc.property(anyAddress, fc.nat(128), (one, bits) => {
        const range = prefixOf(one, Math.min(bits, one.bytes.length * 8));
        expect(prefixFromConstraint(constraintOf(range))).toEqual(range);
      }),
    );
  });

  it('a mask with holes, host bits or a wrong length is no name constraint', () => {
    expect(prefixFromConstraint(Uint8Array.of(10, 0, 0, 0, 255, 0, 255, 0))).toBeUndefined();
    expect(prefixFromConstraint(Uint8Array.of(10, 0, 0, 1, 255, 255, 0, 0))).toBeUndefined();
    expect(prefixFromConstraint(Uint8Array.of(10, 0, 0, 0))).toBeUndefined();
  });
});
