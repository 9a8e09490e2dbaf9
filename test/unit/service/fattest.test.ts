import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Fattest } from '../../../src/overlay/service/fattest.js';

describe('the fattest flow', () => {
  it('is nobody while nobody holds anything', () => {
    const fattest = new Fattest(4);
    expect(fattest.find()).toBe(-1);
    fattest.set(2, 1500);
    expect(fattest.find()).toBe(2);
    fattest.set(2, 0);
    expect(fattest.find()).toBe(-1);
  });

  it('holds at least four fifths of what any flow holds, up to 2 GiB, whatever changes', () => {
    const weight = fc.oneof(fc.constant(0), fc.nat(5000), fc.nat(2 ** 31 - 1));
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(7), weight), { maxLength: 200 }), (changes) => {
        const fattest = new Fattest(8);
        const held = new Array<number>(8).fill(0);
        for (const [flow, bytes] of changes) {
          fattest.set(flow, (held[flow] = bytes));
          const most = Math.max(...held);
          const found = fattest.find();
          if (most === 0) expect(found).toBe(-1);
          // Below 256 bytes all are alike.
          else if (most >= 256) expect(held[found]).toBeGreaterThanOrEqual(0.8 * most);
          else expect(held[found]).toBeGreaterThan(0);
        }
      }),
    );
  });
});
