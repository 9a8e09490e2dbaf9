import { describe, expect, it } from 'vitest';
import { Bottleneck, quantile, type BottleneckOptions } from '../support/sim/bottleneck.js';
import { CausewayControl, Flow } from '../support/sim/bottleneck-flow.js';
import { CubicTcp } from '../support/sim/cubic-tcp.js';

const MS = 1000;
const S = 1000 * MS;
const SEEDS = [1, 2, 3];
/** Bytes per µs. */
const MBIT = 0.125;

const ours = (path: Bottleneck): Flow => new Flow(path, new CausewayControl(path.now));
const cubic = (path: Bottleneck): Flow => new Flow(path, new CubicTcp());
const modeOf = (flow: Flow): string => (flow.control as CausewayControl).controller.mode;

/** What happened from now until `end`, µs: share of the rate that was used, and the queue. */
function measure(path: Bottleneck, end: number): { used: number; queue: (share: number) => number } {
  const { now, carried } = path;
  const first = path.queueSamples.length;
  path.runUntil(end);
  return {
    used: (path.carried - carried) / ((end - now) * path.rate),
    queue: (share) => quantile(path.queueSamples.slice(first), share),
  };
}

/** Share of what was delivered from now until `end` that is the first flow's. */
function shareUntil(path: Bottleneck, end: number, flows: readonly Flow[]): number {
  const before = flows.map((flow) => flow.delivered);
  path.runUntil(end);
  const got = flows.map((flow, i) => flow.delivered - before[i]);
  return got[0] / got.reduce((x, y) => x + y);
}

describe('a link alone at a bottleneck', () => {
  const paths: [string, BottleneckOptions][] = [
    ['10 Mbit/s, 10 ms', { rate: 10 * MBIT, oneWay: 10 * MS, queueTime: 50 * MS }],
    ['100 Mbit/s, 40 ms', { rate: 100 * MBIT, oneWay: 40 * MS, queueTime: 50 * MS }],
  ];
  const losses: [number, number][] = [
    [0, 1],
    [0.01, 1],
    [0.05, 1],
    [0.01, 3],
    [0.05, 3],
  ];
  for (const [name, options] of paths) {
    it.each(losses)(`fills ${name} with hardly a queue at %d loss in runs of %d`, (loss, burst) => {
      const path = new Bottleneck({ ...options, loss, burst });
      const flow = ours(path);
      flow.start();
      path.runUntil(2 * S);
      expect(quantile(path.queueSamples, 1)).toBeLessThan(45 * MS);
      const { used, queue } = measure(path, 25 * S);
      expect(used).toBeGreaterThan(0.95);
      expect(queue(0.5)).toBeLessThan(7 * MS);
      expect(queue(0.95)).toBeLessThan(10 * MS);
      expect(modeOf(flow)).toBe('delay');
    });
  }

  it('is no limit on a fast link whose acknowledgements come in fits', () => {
    const path = new Bottleneck({ rate: 1000 * MBIT, oneWay: 50, queueTime: 20 * MS, stall: [MS, 4 * MS] });
    ours(path).start();
    path.runUntil(300 * MS);
    expect(measure(path, 2 * S).used).toBeGreaterThan(0.95);
  });

  it.each(SEEDS)('fills a link though its process is starved for milliseconds, seed %d', (seed) => {
    const options = { rate: 100 * MBIT, oneWay: 13 * MS, queueTime: 50 * MS, seed };
    const path = new Bottleneck({ ...options, stall: [100, 8 * MS] });
    ours(path).start();
    expect(measure(path, S).used).toBeGreaterThan(0.35);
    const { used, queue } = measure(path, 10 * S);
    expect(used).toBeGreaterThan(0.9);
    expect(queue(0.95)).toBeLessThan(15 * MS);
  });

  it('wastes little behind a queue too short to be seen', () => {
    const path = new Bottleneck({ rate: 10 * MBIT, oneWay: 20 * MS, queueTime: 3 * MS });
    const flow = ours(path);
    flow.start();
    path.runUntil(20 * S);
    expect(flow.delivered).toBeGreaterThan(0.75 * path.rate * 20 * S);
    expect(flow.lost).toBeLessThan(0.5 * flow.delivered);
  });

  it('keeps below a threshold at which packets are marked', () => {
    const path = new Bottleneck({ rate: 10 * MBIT, oneWay: 10 * MS, queueTime: 50 * MS, markAbove: 10 * MS });
    ours(path).start();
    path.runUntil(2 * S);
    const { used, queue } = measure(path, 20 * S);
    expect(used).toBeGreaterThan(0.95);
    expect(queue(0.95)).toBeLessThan(10 * MS);
  });
});

describe('a link beside a flow that fills the queue', () => {
  for (const queueTime of [25 * MS, 100 * MS]) {
    for (const [name, startOurs, startCubic] of [
      ['it came first', 0, 5 * S],
      ['the other came first', 5 * S, 0],
      ['both came at once', 0, 0],
    ] as const) {
      it.each(SEEDS)(`gets its share of a queue of ${queueTime / MS} ms: ${name}, seed %d`, (seed) => {
        const path = new Bottleneck({ rate: 10 * MBIT, oneWay: 20 * MS, queueTime, jitter: 100, seed });
        const flows = [ours(path), cubic(path)];
        path.at(startOurs, () => flows[0].start());
        path.at(startCubic, () => flows[1].start());
        path.runUntil(5 * S);
        const share = shareUntil(path, 65 * S, flows);
        expect(share).toBeGreaterThan(0.35);
        expect(share).toBeLessThan(0.65);
      });
    }

    it(`keeps the queue of ${queueTime / MS} ms short again once the other is gone`, () => {
      const path = new Bottleneck({ rate: 10 * MBIT, oneWay: 20 * MS, queueTime });
      const flows = [ours(path), cubic(path)];
      flows.forEach((flow) => flow.start());
      path.runUntil(20 * S);
      flows[1].stop();
      path.runUntil(36 * S);
      expect(modeOf(flows[0])).toBe('delay');
      const { used, queue } = measure(path, 50 * S);
      expect(used).toBeGreaterThan(0.98);
      expect(queue(0.95)).toBeLessThan(10 * MS);
    });
  }
});

describe('several links at one bottleneck', () => {
  it.each(SEEDS)('share it evenly, with a short queue, though each came later, seed %d', (seed) => {
    const path = new Bottleneck({ rate: 10 * MBIT, oneWay: 20 * MS, queueTime: 100 * MS, jitter: 200, seed });
    const flows = Array.from({ length: 4 }, () => ours(path));
    flows.forEach((flow, i) => path.at(5 * i * S, () => flow.start()));
    path.runUntil(25 * S);
    const before = flows.map((flow) => flow.delivered);
    const { queue } = measure(path, 60 * S);
    const got = flows.map((flow, i) => flow.delivered - before[i]);
    expect(Math.min(...got) / Math.max(...got)).toBeGreaterThan(0.5);
    expect(queue(0.95)).toBeLessThan(15 * MS);
  });
});

describe('a link whose path changes', () => {
  const options = { rate: 10 * MBIT, oneWay: 20 * MS, queueTime: 100 * MS, jitter: 100 };
  const changes: [string, (path: Bottleneck) => void][] = [
    ['half the rate', (path) => (path.rate /= 2)],
    ['four times the rate', (path) => (path.rate *= 4)],
    ['20 ms more', (path) => (path.oneWay += 20 * MS)],
    ['3 ms more', (path) => (path.oneWay += 3 * MS)],
    ['10 ms less', (path) => (path.oneWay -= 10 * MS)],
  ];
  it.each(changes)('follows within four seconds: %s', (_name, change) => {
    const path = new Bottleneck(options);
    const flow = ours(path);
    flow.start();
    path.runUntil(13 * S);
    change(path);
    path.runUntil(17 * S);
    const { used, queue } = measure(path, 22 * S);
    expect(used).toBeGreaterThan(0.95);
    expect(queue(0.5)).toBeLessThan(8 * MS);
    expect(modeOf(flow)).toBe('delay');
  });

  it('goes on after silence on both ways', () => {
    const path = new Bottleneck(options);
    const flow = ours(path);
    flow.start();
    path.runUntil(5 * S);
    path.loss = 1;
    path.runUntil(8 * S);
    path.loss = 0;
    path.runUntil(11 * S);
    expect(measure(path, 16 * S).used).toBeGreaterThan(0.95);
  });

  it('lets no burst go when there is much to send after little', () => {
    const path = new Bottleneck(options);
    const flow = ours(path);
    flow.start();
    path.runUntil(5 * S);
    flow.offered = 0.5 * MBIT;
    path.runUntil(15 * S);
    flow.offered = Infinity;
    const { used, queue } = measure(path, 20 * S);
    expect(used).toBeGreaterThan(0.95);
    expect(queue(1)).toBeLessThan(25 * MS);
  });
});
