import { describe, expect, it } from 'vitest';
import type { LinkOptions } from '../support/sim/link.js';
import { Simulator } from '../support/sim/simulator.js';
import { DEADLINE, RecoveryPair } from './recovery-pair.js';

const MS = 1000;
const S = 1000 * MS;
const DELAY = 10 * MS;
const SEEDS = [1, 2, 3, 4, 5];

const pairOf = (seed: number, options: Partial<LinkOptions> = {}): RecoveryPair =>
  new RecoveryPair(new Simulator(seed), { latency: DELAY, ...options });

const framesOf = (pair: RecoveryPair): number[] =>
  pair.delivered.map((each) => each.frame).sort((a, b) => a - b);
const firstN = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** µs beyond the way that the link takes, by frame. */
function delays(pair: RecoveryPair): number[] {
  return pair.delivered.map(({ frame, at }) => at - pair.sentAt.get(frame)! - DELAY);
}

const shareOver = (numbers: readonly number[], limit: number): number =>
  numbers.filter((each) => each > limit).length / numbers.length;

describe('every frame is delivered once', () => {
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
      pair.feed(0, 2000, 2 * MS);
      pair.sim.runUntil(10 * S);
      expect([seed, pair.isIdle, pair.expired, pair.rejected]).toEqual([seed, true, [], []]);
      expect(framesOf(pair)).toEqual(firstN(2000));
      expect(pair.sender.bytesInFlight).toBe(0);
    }
  });

  it('with losses in bursts', () => {
    for (const seed of SEEDS) {
      const pair = pairOf(seed);
      pair.burst = { loss: 0.05, length: 5 };
      pair.feed(0, 5000, 2 * MS);
      pair.sim.runUntil(15 * S);
      expect([pair.expired, framesOf(pair)]).toEqual([[], firstN(5000)]);
      expect(pair.estimate.loss).toBeGreaterThan(0.02);
      expect(pair.estimate.burst).toBeGreaterThan(3.5);
      expect(pair.estimate.burst).toBeLessThan(7);
    }
  });

  it('with two acknowledgements in three lost', () => {
    const pair = pairOf(1);
    const { link } = pair;
    const send = link.send.bind(link);
    link.send = (end, bytes) => {
      if (end === 0 || pair.sim.random.chance(0.33)) send(end, bytes);
    };
    pair.feed(0, 2000, 2 * MS);
    pair.sim.runUntil(10 * S);
    expect([pair.expired, framesOf(pair)]).toEqual([[], firstN(2000)]);
  });

  it('through random short outages of either way, none longer than the deadline', () => {
    for (const seed of SEEDS) {
      const pair = pairOf(seed, { loss: 0.02, jitter: 3 * MS });
      const { random } = pair.sim;
      for (let at = 200 * MS; at < 10 * S; at += 1500 * MS) {
        const way = random.integer(2) as 0 | 1;
        pair.sim.at(at, () => (pair.link.passes[way] = false));
        pair.sim.at(at + random.integer(250 * MS), () => (pair.link.passes[way] = true));
      }
      pair.feed(0, 3000, 3 * MS);
      pair.sim.runUntil(20 * S);
      expect([pair.expired, framesOf(pair)]).toEqual([[], firstN(3000)]);
    }
  });
});

describe('a loss is recovered', () => {
  it('within a round trip and the time to the next frame', () => {
    const pair = pairOf(1, { loss: 0 });
    pair.burst = { loss: 0.02, length: 1 };
    pair.feed(0, 5000, 16 * MS);
    pair.sim.runUntil(100 * S);
    const late = delays(pair);
    expect(framesOf(pair)).toEqual(firstN(5000));
    expect(shareOver(late, 0)).toBeLessThan(0.03);
    expect(shareOver(late, 2 * DELAY + 16 * MS)).toBeLessThan(0.0015);
    expect(pair.counters.transmissions).toBeLessThan(5000 * 1.022 + 5);
    expect(pair.counters.spurious).toBe(0);
  });

  it('without a frame behind it, by a probe', () => {
    const pair = pairOf(1);
    pair.feed(0, 50, 10 * MS);
    pair.sim.runUntil(600 * MS);
    pair.link.passes[0] = false;
    pair.feed(50, 1, 0);
    pair.sim.runUntil(601 * MS);
    pair.link.passes[0] = true;
    pair.sim.runUntil(2 * S);
    expect([pair.counters.probes, framesOf(pair).length]).toEqual([1, 51]);
    expect(delays(pair).at(-1)).toBeLessThan(30 * MS);
  });

  it('with few needless repetitions once the path was seen to reorder', () => {
    const pair = pairOf(1, { jitter: 6 * MS });
    pair.feed(0, 10_000, 1 * MS);
    pair.sim.runUntil(20 * S);
    expect(framesOf(pair)).toEqual(firstN(10_000));
    expect(pair.counters.spurious).toBeGreaterThan(0);
    expect(pair.counters.spurious).toBeLessThan(60);
  });
});

describe('acknowledgements', () => {
  it('are few and short on a clean link, and stay short on a lossy one', () => {
    const bytes = [0, 0.05].map((loss) => {
      const pair = pairOf(1);
      pair.burst = { loss, length: 1 };
      pair.feed(0, 10_000, MS);
      pair.sim.runUntil(20 * S);
      return pair.counters.ackBytes / pair.counters.acks;
    });
    expect(bytes[0]).toBe(14);
    expect(bytes[1]).toBeLessThan(14 + 4 * 4);
  });
});

describe('an end that loses its state', () => {
  it('as the receiver costs repetitions, and no acknowledgement of before is believed', () => {
    for (const seed of SEEDS) {
      const pair = pairOf(seed, { loss: 0.05 });
      pair.feed(0, 3000, 2 * MS);
      for (let at = 500 * MS; at < 6 * S; at += 700 * MS) pair.sim.at(at, () => pair.restartReceiver());
      pair.sim.runUntil(12 * S);
      expect([pair.isIdle, pair.expired]).toEqual([true, []]);
      expect([...new Set(framesOf(pair))]).toEqual(firstN(3000));
    }
  });

  it('as the sender goes on in another epoch, whichever it is, within a second or so', () => {
    for (const seed of [...SEEDS, 6, 7, 8, 9, 10]) {
      const pair = pairOf(seed, { loss: 0.02 });
      pair.feed(0, 500, 2 * MS);
      pair.sim.runUntil(5 * S);
      const before = pair.sender.epoch;
      pair.restartSender();
      // A new process makes a new session, and with it a new receiver, unless it was the same epoch by chance.
      if (pair.sender.epoch === before) pair.restartReceiver();
      pair.feed(500, 1500, 2 * MS);
      pair.sim.runUntil(15 * S);
      expect([seed, pair.isIdle]).toEqual([seed, true]);
      expect([...new Set(framesOf(pair))]).toEqual(firstN(2000));
      expect(pair.rejected.filter((reason) => reason !== 'other-epoch' && reason !== 'never-sent')).toEqual(
        [],
      );
    }
  });
});

describe('a link that dies under load', () => {
  it.each([0, 1] as const)('from end %i gives frames up at their deadline, and resumes by itself', (way) => {
    for (const seed of SEEDS) {
      const pair = pairOf(seed, { loss: 0.01 });
      pair.feed(0, 20_000, 2 * MS);
      pair.sim.runUntil(3 * S);
      const before = pair.delivered.length;
      pair.link.passes[way] = false;
      pair.sim.runUntil(33 * S);
      expect(pair.delivered.length - before).toBeLessThan(way === 0 ? 20 : 2000);
      expect(pair.sender.bytesInFlight).toBeLessThanOrEqual(2 * 64 * 1000);
      pair.link.passes[way] = true;
      pair.sim.runUntil(36 * S);
      const resumed = pair.delivered.length;
      pair.sim.runUntil(60 * S);
      expect(pair.delivered.length).toBeGreaterThan(resumed);
      expect(pair.isIdle).toBe(true);
      const given = new Set([...framesOf(pair), ...pair.expired]);
      expect(given.size).toBe(20_000);
      for (const { frame, at } of pair.delivered)
        expect(at - pair.sentAt.get(frame)!).toBeLessThan(DEADLINE + DELAY + MS);
    }
  });
});

it('the same seed gives the same run', () => {
  const hashes = [1, 2].map(() => {
    const pair = pairOf(7, { loss: 0.1, jitter: 5 * MS, duplication: 0.1 });
    pair.feed(0, 500, 2 * MS);
    pair.sim.runUntil(3 * S);
    return pair.sim.traceHash;
  });
  expect(hashes[0]).toBe(hashes[1]);
});
