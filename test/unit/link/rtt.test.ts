import { describe, expect, it } from 'vitest';
import { RttEstimator } from '../../../src/overlay/link/rtt.js';

const MS = 1000;
const S = 1000 * MS;

describe('the round-trip estimator', () => {
  it('smooths by the gains of RFC 6298', () => {
    const rtt = new RttEstimator();
    rtt.sample(100 * MS, 0);
    expect([rtt.smoothed, rtt.variation]).toEqual([100 * MS, 50 * MS]);
    rtt.sample(180 * MS, 1);
    expect([rtt.smoothed, rtt.variation]).toEqual([110 * MS, 57.5 * MS]);
    expect(rtt.timeout(0)).toBe(110 * MS + 4 * 57.5 * MS);
  });

  it('times out after a second before the first sample, never below 50 ms or above 2 s', () => {
    const rtt = new RttEstimator();
    expect(rtt.timeout(0)).toBe(1 * S);
    for (let i = 0; i < 50; i++) rtt.sample(100, i);
    expect([rtt.timeout(0), rtt.timeout(1), rtt.timeout(2)]).toEqual([50 * MS, 100 * MS, 200 * MS]);
    expect(rtt.timeout(10)).toBe(2 * S);
  });

  it('forgets a base that the path no longer has, after five to ten minutes', () => {
    const rtt = new RttEstimator();
    expect(rtt.base).toBe(0);
    rtt.sample(5 * MS, 0);
    for (let at = 1; at <= 290; at++) rtt.sample(30 * MS, at * S);
    expect(rtt.base).toBe(5 * MS);
    for (let at = 291; at <= 601; at++) rtt.sample(30 * MS, at * S);
    expect(rtt.base).toBe(30 * MS);
  });
});
