import { describe, expect, it } from 'vitest';

import { linkCost, METRICS, metricOf } from '../../../src/overlay/route/metric.js';
import { Random } from '../../support/sim/random.js';

const MS = 1000;

describe('what a link costs', () => {
  it('is the delay and a little per hop where nothing is lost, by every metric', () => {
    for (const metric of METRICS) expect(linkCost(metric, 10 * MS, 0)).toBe(10_100);
  });

  it('grows with delay and with loss, by every metric', () => {
    for (const metric of METRICS) {
      for (let delay = 1; delay < 200_000; delay *= 3) {
        for (let step = 0; step < 100; step++) {
          const cost = linkCost(metric, delay, step / 100);
          expect(cost).toBeGreaterThan(delay);
          expect(linkCost(metric, delay, (step + 1) / 100)).toBeGreaterThan(cost);
          expect(linkCost(metric, delay + 100, step / 100)).toBeGreaterThan(cost);
        }
      }
    }
  });

  it('has a lossy direct link lose against two good hops, by every metric', () => {
    for (const metric of METRICS) {
      const around = 2 * linkCost(metric, 8 * MS, 0);
      expect(linkCost(metric, 10 * MS, 0)).toBeLessThan(around);
      expect(linkCost(metric, 10 * MS, 0.08)).toBeGreaterThan(around);
    }
  });

  it('is for realtime the expected latency with one request and one retransmission', () => {
    // 1 − p in time, else the request arrives with (1 − p)² … as the published formula counts it; drawn at random instead of summed.
    const [delay, loss, gap, late] = [10 * MS, 0.1, 10 * MS, 600 * MS];
    const random = new Random(11);
    let sum = 0;
    const rounds = 400_000;
    for (let i = 0; i < rounds; i++) {
      if (random.real() >= loss) sum += delay;
      else sum += random.real() < (1 - loss) ** 2 ? 3 * delay + gap : late;
    }
    expect(linkCost('realtime', delay, loss) - linkCost('realtime', 0, 0)).toBeCloseTo(sum / rounds, -3);
  });

  it('is for reliable about what a flow in order waits for, drawn at random', () => {
    // A packet comes when it and all of the flow's before it have; eight of them pass in the time of one recovery.
    const [delay, loss, gap] = [10 * MS, 0.05, 10 * MS];
    const random = new Random(12);
    const recovery = 2 * delay + gap;
    const rounds = 200_000;
    let sum = 0;
    let latest = 0;
    for (let i = 0; i < rounds; i++) {
      const sent = (i * recovery) / 16;
      let at = sent + delay;
      while (random.real() < loss) at += recovery;
      latest = Math.max(latest, at);
      sum += latest - sent;
    }
    const cost = linkCost('reliable', delay, loss) - linkCost('reliable', 0, 0);
    expect(Math.abs(cost / (sum / rounds) - 1)).toBeLessThan(0.15);
  });

  it('has reliable flows leave a link that begins to lose 10 % for a path that is 8 ms longer, not for one that is 15 ms longer', () => {
    const cost = (ms: number, loss: number) =>
      linkCost('reliable', ms * 1000, loss) + linkCost('reliable', ms * 1000, 0);
    expect(cost(5, 0.1)).toBeGreaterThan(cost(9, 0));
    expect(cost(5, 0.1)).toBeLessThan(cost(12.5, 0));
  });

  it('goes by the service that a frame names; unknown ones as best effort', () => {
    expect([0, 1, 2, 3, 4, 15].map((service) => METRICS[metricOf(service)])).toEqual([
      ...['best-effort', 'reliable', 'realtime', 'realtime', 'best-effort', 'best-effort'],
    ]);
  });
});
