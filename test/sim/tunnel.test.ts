/** Inner TCP flows through a link's queue, pace, recovery and order, across a bottleneck: two control loops in a row. */
import { describe, expect, it } from 'vitest';
import { Tunnel } from '../support/forward/tunnel.js';
import { Bottleneck, quantile, type BottleneckOptions } from '../support/sim/bottleneck.js';
import { Flow } from '../support/sim/bottleneck-flow.js';
import { CubicTcp } from '../support/sim/cubic-tcp.js';
import { seedOf } from '../support/sim/simulator.js';

const MS = 1000;
const S = 1000 * MS;
/** Bytes per µs. */
const MBIT = 0.125;
const SEED = seedOf(1);
const SEEDS = [0, 1].map((i) => SEED + i);

const pathOf = (options: Partial<BottleneckOptions>): Bottleneck =>
  new Bottleneck({ rate: 10 * MBIT, oneWay: 20 * MS, queueTime: 100 * MS, jitter: 300, ...options });

const delivered = (flows: readonly Flow[]): number => flows.reduce((sum, flow) => sum + flow.delivered, 0);

describe(`inner flows beside a flow that fills the queue (seed ${SEED})`, () => {
  for (const queueTime of [25 * MS, 100 * MS]) {
    for (const [who, count, ours, theirs] of [
      ['one, at once', 1, 0, 10 * MS],
      ['ten, at once', 10, 0, 10 * MS],
      ['one, first', 1, 0, 4 * S],
    ] as const) {
      it.each(SEEDS)(`get one share of 60 s with ${queueTime / MS} ms of queue: ${who}, seed %d`, (seed) => {
        const path = pathOf({ queueTime, seed });
        const tunnel = new Tunnel(path);
        const inner = Array.from({ length: count }, () => new Flow(tunnel.flow(), new CubicTcp()));
        const outer = new Flow(path, new CubicTcp());
        for (const flow of inner) path.at(ours, () => flow.start());
        path.at(theirs, () => outer.start());
        path.runUntil(theirs);
        const before = delivered(inner);
        path.runUntil(theirs + 60 * S);
        const own = delivered(inner) - before;
        const share = own / (own + outer.delivered);
        expect(share).toBeGreaterThan(0.38);
        expect(share).toBeLessThan(0.63);
      });
    }
  }
});

describe(`an inner flow alone (seed ${SEED})`, () => {
  it.each([0, 0.01, 0.05])('keeps the link busy and its queue short at %d loss', (loss) => {
    for (const seed of SEEDS) {
      const path = pathOf({ seed, loss });
      const tunnel = new Tunnel(path);
      new Flow(tunnel.flow(), new CubicTcp()).start();
      path.runUntil(3 * S);
      const { carried } = path;
      const first = path.queueSamples.length;
      path.runUntil(33 * S);
      const queue = path.queueSamples.slice(first);
      expect((path.carried - carried) / (30 * S * path.rate)).toBeGreaterThan(0.95);
      expect(quantile(queue, 0.5)).toBeLessThan(8 * MS);
      expect(quantile(queue, 0.95)).toBeLessThan(11 * MS);
    }
  });
});
