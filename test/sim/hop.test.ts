import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LANE_REALTIME } from '../../src/overlay/wire/lanes.js';
import { HopPair } from '../support/forward/hop-pair.js';
import type { LinkOptions } from '../support/sim/link.js';
import { seedOf, Simulator } from '../support/sim/simulator.js';

const MS = 1000;
const S = 1000 * MS;
const DELAY = 10 * MS;
const SEED = seedOf(1);
const SEEDS = [0, 1, 2, 3].map((i) => SEED + i);

const pairOf = (seed: number, options: Partial<LinkOptions> = {}, slots?: number): HopPair =>
  new HopPair(new Simulator(seed), { latency: DELAY, ...options }, slots);
const firstN = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);

/** All reliable frames so far were delivered once and in order, but for those that came void. */
function expectOrder(pair: HopPair, count: number): void {
  expect(pair.delivered).toEqual(firstN(count).filter((sequence) => !pair.voided.has(sequence)));
}

const share = (numbers: readonly number[], beyond: number): number =>
  numbers.filter((each) => each > beyond).length / numbers.length;
const delays = (pair: HopPair): number[] => pair.deliveredAt.map((at, i) => at - pair.offeredAt[i]!);

describe(`a reliable flow is delivered once and in order (seed ${SEED})`, () => {
  it.each<[string, Partial<LinkOptions>]>([
    ['on a clean link', {}],
    ['with 1 % loss', { loss: 0.01 }],
    ['with 20 % loss each way', { loss: 0.2 }],
    ['with reordering', { jitter: 15 * MS }],
    ['with duplication', { duplication: 0.2 }],
    ['with all of it', { loss: 0.1, jitter: 10 * MS, duplication: 0.1 }],
  ])('%s', (_, options) => {
    for (const seed of SEEDS) {
      const pair = pairOf(seed, options);
      pair.feed(2000, 2 * MS);
      pair.sim.runUntil(15 * S);
      expect([seed, pair.isIdle, pair.outbound.stats.expired]).toEqual([seed, true, 0]);
      expectOrder(pair, 2000);
    }
  });

  it('with losses in bursts', () => {
    for (const seed of SEEDS) {
      const pair = pairOf(seed);
      pair.burst = { loss: 0.05, length: 5 };
      pair.feed(3000, 2 * MS);
      pair.sim.runUntil(15 * S);
      expect([seed, pair.isIdle, pair.outbound.stats.expired]).toEqual([seed, true, 0]);
      expectOrder(pair, 3000);
    }
  });

  it('with two acknowledgements in three lost', () => {
    const pair = pairOf(SEED);
    const send = pair.link.send.bind(pair.link);
    let acks = 0;
    pair.link.send = (end, bytes) => {
      if (end === 0 || acks++ % 3 === 0) send(end, bytes);
    };
    pair.feed(2000, 2 * MS);
    pair.sim.runUntil(15 * S);
    expectOrder(pair, 2000);
    expect(pair.outbound.stats.expired).toBe(0);
  });

  it('whatever the losses, reorderings and outages below its deadline', () => {
    const outage = fc.record({
      at: fc.integer({ min: 0, max: 3000 }),
      lasts: fc.integer({ min: 1, max: 200 }),
      way: fc.constantFrom(0 as const, 1 as const),
    });
    const schedule = fc.record({
      seed: fc.nat(),
      loss: fc.double({ min: 0, max: 0.15, noNaN: true }),
      jitter: fc.nat(8 * MS),
      duplication: fc.double({ min: 0, max: 0.2, noNaN: true }),
      outages: fc.array(outage, { maxLength: 2 }),
      interval: fc.integer({ min: 1000, max: 20_000 }),
      burst: fc.option(fc.integer({ min: 1, max: 6 }), { nil: undefined }),
    });
    fc.assert(
      fc.property(schedule, ({ seed, outages, interval, burst, ...options }) => {
        const pair = pairOf(seed, options);
        if (burst !== undefined) pair.burst = { loss: 0.04, length: burst };
        for (const { at, lasts, way } of outages) {
          pair.sim.at(at * MS, () => (pair.link.passes[way] = false));
          pair.sim.at((at + lasts) * MS, () => (pair.link.passes[way] = true));
        }
        pair.feed(300, interval);
        pair.feed(300, interval, LANE_REALTIME, 200);
        pair.sim.runUntil(20 * S);
        expect(pair.isIdle).toBe(true);
        expectOrder(pair, 300);
        expect(new Set(pair.realtime).size).toBe(pair.realtime.length);
      }),
      { numRuns: 60, seed: SEED },
    );
  });
});

describe('a realtime flow', () => {
  it('is delivered once or not at all, and mostly once, without waiting', () => {
    for (const seed of SEEDS) {
      const pair = pairOf(seed, { loss: 0.05, jitter: 5 * MS, duplication: 0.1 });
      pair.feed(2000, 5 * MS, LANE_REALTIME, 200);
      pair.sim.runUntil(15 * S);
      expect(new Set(pair.realtime).size).toBe(pair.realtime.length);
      expect(pair.realtime.length).toBeGreaterThan(2000 * 0.99);
      expect(pair.isIdle).toBe(true);
    }
  });

  it('passes a link that reliable traffic fills', () => {
    const pair = pairOf(SEED, { loss: 0.01 }, 8192);
    pair.feed(20_000, 100);
    pair.feed(400, 5 * MS, LANE_REALTIME, 200);
    pair.sim.runUntil(10 * S);
    expect(pair.realtime.length).toBeGreaterThan(395);
  });
});

describe('a queue that overflows', () => {
  it('drops, and nobody waits at the exit for what it dropped', () => {
    const pair = pairOf(SEED, {}, 8192);
    pair.feed(8000, 0);
    pair.sim.runUntil(30 * S);
    const { dropped } = pair.outbound.stats;
    expect(dropped).toBeGreaterThan(1000);
    expect(pair.delivered.length).toBe(8000 - dropped);
    const pauses = pair.delivered.map(
      (s, i) => pair.deliveredAt[s - 1]! - pair.deliveredAt[(pair.delivered[i - 1] ?? s) - 1]!,
    );
    expect(Math.max(...pauses)).toBeLessThan(300 * MS);
  });
});

describe('what a loss costs', () => {
  it('is a round trip and the time to the next frame, seldom more', () => {
    const pair = pairOf(SEED);
    pair.burst = { loss: 0.02, length: 1 };
    pair.feed(4000, 16 * MS, undefined, 1400);
    pair.sim.runUntil(80 * S);
    const late = delays(pair);
    expect(share(late, DELAY)).toBeLessThan(0.04);
    expect(share(late, 3 * DELAY + 17 * MS)).toBeLessThan(0.002);
    expect(pair.sent).toBeLessThan(4000 * 2.05);
  });
});

describe('a link that dies in mid-transfer', () => {
  it.each([0, 1] as const)(
    'from end %i, unnoticed, gives frames up at their deadline and resumes by itself',
    (way) => {
      for (const seed of SEEDS) {
        const pair = pairOf(seed, { loss: 0.01 }, 4096);
        pair.feed(30_000, 2 * MS);
        pair.sim.runUntil(3 * S);
        const before = pair.delivered.length;
        pair.link.passes[way] = false;
        pair.sim.runUntil(33 * S);
        // Their deadline, and the longest time between two looks at it.
        expect(pair.pool.used).toBeLessThanOrEqual((1000 + 2000 + 100) / 2);
        pair.link.passes[way] = true;
        pair.sim.runUntil(36 * S);
        const resumed = pair.delivered.length;
        expect(resumed).toBeGreaterThan(before);
        pair.sim.runUntil(75 * S);
        expect(pair.delivered.length).toBeGreaterThan(resumed + 10_000);
        expect(pair.isIdle).toBe(true);
        expect(new Set(pair.delivered).size).toBe(pair.delivered.length);
      }
    },
  );

  it('and is noticed, goes on where it stopped when it comes back in time: in order and nothing lost', () => {
    for (const seed of SEEDS) {
      const pair = pairOf(seed, { loss: 0.02 });
      pair.feed(3000, 2 * MS);
      for (let at = 500 * MS; at < 5 * S; at += 900 * MS) {
        pair.sim.at(at, () => pair.link.passes.fill(false));
        pair.sim.at(at + 100 * MS, () => pair.suspend());
        pair.sim.at(at + 400 * MS, () => {
          pair.link.passes.fill(true);
          pair.resume();
        });
      }
      pair.sim.runUntil(15 * S);
      expect([seed, pair.isIdle, pair.outbound.stats.expired]).toEqual([seed, true, 0]);
      expectOrder(pair, 3000);
    }
  });
});

describe('an end that begins anew', () => {
  it('as the receiver costs repetitions only', () => {
    for (const seed of SEEDS) {
      const pair = pairOf(seed, { loss: 0.03 });
      pair.feed(3000, 2 * MS);
      for (let at = 500 * MS; at < 6 * S; at += 700 * MS) pair.sim.at(at, () => pair.startReceiver());
      pair.sim.runUntil(12 * S);
      expect([seed, pair.isIdle, pair.outbound.stats.expired]).toEqual([seed, true, 0]);
      expectOrder(pair, 3000);
    }
  });

  it('as the sender, whatever epoch it begins with, is understood within some two seconds', () => {
    for (let seed = SEED; seed < SEED + 16; seed++) {
      const pair = pairOf(seed, { loss: 0.02 });
      pair.feed(500, 2 * MS);
      pair.sim.runUntil(3 * S);
      const { epoch } = pair.outbound.reliable;
      pair.startSender();
      // A new process makes a new session, and with it a new receiver; without that, an epoch that is the same by chance goes unnoticed.
      if (pair.outbound.reliable.epoch === epoch) pair.startReceiver();
      pair.feed(4000, 2 * MS);
      pair.sim.runUntil(6 * S);
      const late = pair.delivered.length;
      pair.sim.runUntil(20 * S);
      expect([seed, pair.isIdle]).toEqual([seed, true]);
      expect(late).toBeGreaterThan(500 + 500);
      expect(new Set(pair.delivered).size).toBe(pair.delivered.length);
      // The last of them all arrived.
      expect(pair.delivered.slice(-1000)).toEqual(firstN(4500).slice(-1000));
    }
  });
});

describe('a next link blackholed for a minute under full load', () => {
  it.each(['unnoticed', 'noticed'])(
    '%s, holds no more than its store and its queue, and traffic resumes',
    (how) => {
      const pair = pairOf(SEED, {}, 2048);
      pair.feed(350_000, 200, undefined, 1400);
      pair.sim.runUntil(2 * S);
      const before = pair.delivered.length;
      expect(before).toBeGreaterThan(0);
      pair.link.passes.fill(false);
      if (how === 'noticed') pair.sim.after(500 * MS, () => pair.suspend());
      let most = 0;
      const sent = pair.sent;
      for (let second = 0; second < 60; second++) {
        pair.sim.runFor(S);
        most = Math.max(most, pair.pool.used);
        expect(pair.outbound.queue.bytes).toBeLessThanOrEqual(8 * 1024 * 1024);
        expect(pair.outbound.bytesInFlight).toBeLessThan(4 * 1024 * 1024);
      }
      expect(most).toBeLessThanOrEqual(2048);
      expect(pair.refused).toBeGreaterThan(100_000);
      expect(pair.sent - sent).toBeLessThan(how === 'noticed' ? 3000 : 10_000);
      pair.link.passes.fill(true);
      if (how === 'noticed') pair.resume();
      pair.sim.runFor(5 * S);
      const resumed = pair.delivered.length;
      expect(resumed).toBeGreaterThan(before + 1000);
      pair.sim.runFor(10 * S);
      expect(pair.isIdle).toBe(true);
      expect(new Set(pair.delivered).size).toBe(pair.delivered.length);
    },
  );
});

it('the same seed gives the same run', () => {
  const hashes = [1, 2].map(() => {
    const pair = pairOf(7, { loss: 0.1, jitter: 5 * MS, duplication: 0.1 });
    pair.feed(500, 2 * MS);
    pair.sim.runUntil(3 * S);
    return pair.sim.traceHash;
  });
  expect(hashes[0]).toBe(hashes[1]);
});
