import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SlotPool } from '../../../src/agent/worker/slot-pool.js';

describe('a pool of slots', () => {
  it('gives each slot behind the reserved ones once, lowest first, then says what has run out', () => {
    const pool = new SlotPool('key', 5, 2);
    expect([pool.take(), pool.take(), pool.take()]).toEqual([2, 3, 4]);
    expect(() => pool.take()).toThrow('no key slot left');
  });

  it('never has one slot taken twice, whatever the order of taking and giving back', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(9)), (steps) => {
        const pool = new SlotPool('endpoint', 8, 1);
        const held: number[] = [];
        for (const step of steps) {
          if (step < 6 && held.length < 7) held.push(pool.take());
          else if (held.length > 0) pool.release(held.splice(step % held.length, 1)[0]);
          expect(new Set(held).size).toBe(held.length);
          expect(held.every((slot) => slot >= 1 && slot < 8)).toBe(true);
        }
      }),
    );
  });
});
