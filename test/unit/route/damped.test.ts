import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { Damped } from '../../../src/overlay/route/damped.js';

const SECOND = 1_000_000;
const TUNING = { ratio: 0.25, worse: 10, better: 5, after: 30 * SECOND, afterMost: 120 * SECOND };

describe('a damped number', () => {
  it('tells worse at once, better when it has lasted, small changes never', () => {
    const number = new Damped(100, TUNING);
    expect(number.measure(0, 120, false)).toBe(false);
    expect(number.measure(0, 130, false)).toBe(true);
    expect(number.told).toBe(130);
    expect(number.measure(SECOND, 50, false)).toBe(false);
    expect(number.measure(2 * SECOND, 60, false)).toBe(false);
    expect(number.nextTimeout()).toBe(31 * SECOND);
    expect(number.timeout(30 * SECOND)).toBe(false);
    expect(number.timeout(31 * SECOND)).toBe(true);
    expect(number.told).toBe(60);
  });

  it('forgets better news that did not last', () => {
    const number = new Damped(100, TUNING);
    number.measure(0, 50, false);
    number.measure(SECOND, 100, false);
    expect(number.nextTimeout()).toBe(Infinity);
  });

  it('believes better news that turned out wrong for twice as long the next time', () => {
    const number = new Damped(100, TUNING);
    const spells: number[] = [];
    let now = 0;
    for (let round = 0; round < 5; round++) {
      number.measure(now, 10, false);
      spells.push((number.nextTimeout() - now) / SECOND);
      now = number.nextTimeout();
      number.timeout(now);
      now += SECOND;
      number.measure(now, 100, false);
    }
    expect(spells).toEqual([30, 60, 120, 120, 120]);
    now += 1000 * SECOND;
    number.measure(now, 10, false);
    number.timeout(now + 120 * SECOND);
    number.measure(now + 500 * SECOND, 100, false);
    number.measure(now + 501 * SECOND, 10, false);
    expect(number.nextTimeout()).toBe(now + 531 * SECOND);
  });

  it('never tells less than what was measured of late, nor much more for longer than good news takes', () => {
    const steps = fc.array(fc.tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 0, max: 1000 })), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(steps, (list) => {
        const number = new Damped(100, TUNING);
        const history: [number, number][] = [[0, 100]];
        let now = 0;
        for (const [seconds, value] of list) {
          now += seconds * SECOND;
          number.timeout(now);
          number.measure(now, value, false);
          history.push([now, value]);
          const recent = history.filter(([at]) => now - at <= TUNING.afterMost).map(([, v]) => v);
          const before = history.filter(([at]) => now - at > TUNING.afterMost).at(-1)?.[1] ?? 100;
          const slack = (v: number) => Math.max(v * TUNING.ratio, TUNING.worse);
          expect(number.told + slack(number.told)).toBeGreaterThanOrEqual(value);
          expect(number.told).toBeLessThanOrEqual(
            2 * Math.max(before, 100, ...recent, ...history.map(([, v]) => v)),
          );
        }
      }),
    );
  });
});
