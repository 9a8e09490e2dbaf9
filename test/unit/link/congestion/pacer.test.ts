import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Pacer } from '../../../../src/overlay/link/congestion/pacer.js';

const MS = 1000;
/** 10 Mbit/s and 1 Gbit/s in bytes per µs. */
const SLOW = 1.25;
const FAST = 125;

describe('the pacer', () => {
  it('lets two packets go at once on a slow link, then as fast as the link carries', () => {
    const pacer = new Pacer();
    expect(pacer.allowance(0, SLOW)).toBe(3000);
    pacer.spend(1500);
    expect(pacer.nextTime(0, 1500, SLOW)).toBe(0);
    pacer.spend(1500);
    expect(pacer.nextTime(0, 1500, SLOW)).toBe(1200);
    expect(pacer.allowance(1200, SLOW)).toBe(1500);
  });

  it('holds a millisecond of a fast link, however long nothing went', () => {
    const pacer = new Pacer();
    expect(pacer.allowance(0, FAST)).toBe(FAST * MS);
    pacer.spend(FAST * MS);
    expect(pacer.allowance(100, FAST)).toBe(100 * FAST);
    expect(pacer.allowance(500 * MS, FAST)).toBe(FAST * MS);
  });

  it('lets more than the bucket holds go when it is full, and makes what follows wait for it', () => {
    const pacer = new Pacer();
    expect(pacer.nextTime(0, 65_000, SLOW)).toBe(0);
    pacer.spend(65_000);
    expect(pacer.nextTime(0, 1250, SLOW)).toBe((65_000 - 3000 + 1250) / SLOW);
  });

  it('lets go at once what a late timer kept back, but not what nobody asked for', () => {
    const pacer = new Pacer();
    pacer.allowance(0, FAST);
    pacer.spend(FAST * MS);
    expect(pacer.nextTime(0, 1250, FAST)).toBe(10);
    expect(pacer.allowance(4010, FAST)).toBe(FAST * 4010);
    pacer.spend(FAST * 4010);
    expect(pacer.allowance(9 * MS, FAST)).toBe(FAST * MS);
    pacer.spend(FAST * MS);
    expect(pacer.nextTime(9 * MS, 1250, FAST)).toBe(9 * MS + 10);
    expect(pacer.allowance(60 * MS, FAST)).toBe(FAST * 11 * MS);
  });

  it('takes no credit from a clock that stands still or goes back', () => {
    const pacer = new Pacer();
    pacer.allowance(1000, SLOW);
    pacer.spend(3000);
    expect(pacer.allowance(1000, SLOW)).toBe(0);
    expect(pacer.allowance(500, SLOW)).toBe(0);
    expect(pacer.allowance(1800, SLOW)).toBe(1000);
  });

  it('never lets more go than the burst and the rate allow, and always lets it go in the end', () => {
    const waits = fc.array(fc.tuple(fc.integer({ min: 0, max: 20_000 }), fc.integer({ min: 1, max: 1500 })));
    fc.assert(
      fc.property(waits, fc.double({ min: 0.01, max: 1000, noNaN: true }), (schedule, rate) => {
        const pacer = new Pacer();
        let now = 0;
        let spent = 0;
        for (const [wait, bytes] of schedule) {
          now = pacer.nextTime(now + wait, bytes, rate);
          expect(pacer.nextTime(now, bytes, rate)).toBe(now);
          pacer.spend(bytes);
          spent += bytes;
          expect(spent).toBeLessThanOrEqual(Math.max(3000, rate * MS) + rate * now + 1e-6 * spent);
        }
      }),
    );
  });
});
