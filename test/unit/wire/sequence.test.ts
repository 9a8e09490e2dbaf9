import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  add16,
  add32,
  difference16,
  difference32,
  elapsed32,
  isAfter16,
  isAfter32,
} from '../../../src/overlay/wire/sequence.js';

const u32 = fc.integer({ min: 0, max: 0xffffffff });
const u16 = fc.integer({ min: 0, max: 0xffff });

describe('wrapping sequence numbers', () => {
  it('order across the wrap as before it', () => {
    expect(isAfter32(3, 0xfffffffe)).toBe(true);
    expect(isAfter32(0xfffffffe, 3)).toBe(false);
    expect(isAfter32(7, 7)).toBe(false);
    expect(isAfter16(3, 0xfffe)).toBe(true);
    expect(isAfter16(0xfffe, 3)).toBe(false);
    expect(isAfter16(7, 7)).toBe(false);
    expect(elapsed32(5, 0xfffffffb)).toBe(10);
  });

  it('add and difference undo each other, 32 bits', () => {
    fc.assert(
      fc.property(u32, fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), (s, n) => {
        expect(add32(s, n)).toBe(Number(BigInt.asUintN(32, BigInt(s) + BigInt(n))));
        expect(difference32(add32(s, n), s)).toBe(n);
        expect(isAfter32(add32(s, n), s)).toBe(n > 0);
      }),
    );
  });

  it('add and difference undo each other, 16 bits', () => {
    fc.assert(
      fc.property(u16, fc.integer({ min: -(2 ** 15), max: 2 ** 15 - 1 }), (s, n) => {
        expect(add16(s, n)).toBe(Number(BigInt.asUintN(16, BigInt(s) + BigInt(n))));
        expect(difference16(add16(s, n), s)).toBe(n);
        expect(isAfter16(add16(s, n), s)).toBe(n > 0);
      }),
    );
  });
});
