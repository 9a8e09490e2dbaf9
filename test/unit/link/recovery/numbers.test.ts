import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { add21, difference21, isAfter21 } from '../../../../src/overlay/link/recovery/numbers.js';

const SPACE = 2 ** 21;
const number = fc.integer({ min: 0, max: SPACE - 1 });

describe('numbers of 21 bits', () => {
  it('wrap forward and backward', () => {
    expect([add21(SPACE - 1, 1), add21(0, -1), add21(5, SPACE)]).toEqual([0, SPACE - 1, 5]);
    expect([difference21(0, SPACE - 1), difference21(SPACE - 1, 0)]).toEqual([1, -1]);
    expect([isAfter21(0, SPACE - 1), isAfter21(SPACE - 1, 0), isAfter21(7, 7)]).toEqual([true, false, false]);
  });

  it('have differences that lead from one to the other, in −2²⁰ … 2²⁰−1', () => {
    fc.assert(
      fc.property(number, number, (to, from) => {
        const difference = difference21(to, from);
        expect(difference).toBeGreaterThanOrEqual(-SPACE / 2);
        expect(difference).toBeLessThan(SPACE / 2);
        expect(add21(from, difference)).toBe(to);
        expect(isAfter21(to, from)).toBe(difference > 0);
      }),
    );
  });
});
