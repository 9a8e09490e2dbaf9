import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ParityPolicy, type ParitySignals } from '../../../../src/overlay/link/fec/parity-policy.js';
import { Residual } from '../../../../src/overlay/link/fec/residual.js';
import { Random } from '../../../support/sim/random.js';

const MS = 1000;
const BYTES = 1000;
const CLEAN: ParitySignals = { loss: 0, burst: 1, rate: 10, deadline: 15 * MS, retransmission: Infinity };
const LOSSY: ParitySignals = { ...CLEAN, loss: 0.05, burst: 1 / 0.95 };

interface Sent {
  at: number;
  window: number;
  key: number;
}

/** Sends a frame at each of `times` and asks for repairs whenever they are due. */
function drive(policy: ParityPolicy, times: readonly number[], signals: ParitySignals): Sent[] {
  const repairs: Sent[] = [];
  const ask = (at: number): void => {
    while (policy.due(at)) repairs.push({ at, window: policy.window, key: policy.key });
    expect(policy.nextDue()).toBeGreaterThan(at);
  };
  const timers = (until: number): void => {
    while (policy.nextDue() < until) ask(policy.nextDue());
  };
  for (const at of times) {
    timers(at);
    policy.consider(at, BYTES, signals);
    ask(at);
  }
  timers(Infinity);
  return repairs;
}

const steady = (count: number, gap: number): number[] => Array.from({ length: count }, (_, i) => i * gap);
const share = (times: readonly number[], signals: ParitySignals): number =>
  drive(new ParityPolicy(), times, signals).length / times.length;

describe('how much parity', () => {
  it('none on a clean link, and nothing to wait for', () => {
    const policy = new ParityPolicy();
    expect(policy.consider(0, BYTES, { ...CLEAN, loss: 0.0009 })).toBe(false);
    expect(policy.nextDue()).toBe(Infinity);
    expect(policy.due(1e9)).toBe(false);
  });

  it('begins gently where loss begins', () => {
    const times = steady(1000, 16 * MS);
    expect(share(times, { ...CLEAN, loss: 0.0011 })).toBeLessThan(0.1);
    expect(share(times, { ...CLEAN, loss: 0.002 })).toBeCloseTo(0.5, 1);
  });

  it('one copy for each lone frame at 5 %, and under two in bursts of three', () => {
    const times = steady(1000, 16 * MS);
    expect(share(times, LOSSY)).toBeCloseTo(1, 2);
    expect(share(times, { ...LOSSY, burst: 3 })).toBeCloseTo(1.87, 2);
    expect(share(times, { ...LOSSY, loss: 0.3, burst: 30 })).toBeCloseTo(1.87, 2);
  });

  it('stays at one copy when loss is estimated a little too high', () => {
    const times = steady(1000, 16 * MS);
    expect(share(times, { ...LOSSY, loss: 0.06, burst: 1.08 })).toBeCloseTo(1, 2);
    expect(share(times, { ...LOSSY, loss: 0.055, burst: 1.1 })).toBeLessThan(1.04);
  });

  it('far less for frames that come densely', () => {
    expect(share(steady(2000, 2 * MS), LOSSY)).toBeLessThan(0.55);
    expect(share(steady(2000, 500), LOSSY)).toBeLessThan(0.3);
    expect(share(steady(2000, 10), LOSSY)).toBeLessThan(0.3);
  });

  it('less where a retransmission would be in time too', () => {
    const times = steady(1000, 16 * MS);
    expect(share(times, { ...LOSSY, loss: 0.02, retransmission: 9 * MS })).toBe(0);
    expect(share(times, { ...LOSSY, retransmission: 9 * MS })).toBeGreaterThan(0.7);
    expect(share(times, { ...LOSSY, retransmission: 16 * MS })).toBeGreaterThan(0.98);
  });

  it('grows with loss and with the length of bursts', () => {
    const loss = fc.double({ min: 0.001, max: 0.4, noNaN: true });
    const burst = fc.double({ min: 1, max: 20, noNaN: true });
    const gap = fc.integer({ min: 200, max: 30_000 });
    fc.assert(
      fc.property(loss, burst, gap, (l, b, g) => {
        const times = steady(200, g);
        const less = share(times, { ...CLEAN, loss: l, burst: b });
        expect(share(times, { ...CLEAN, loss: l * 1.2, burst: b })).toBeGreaterThanOrEqual(less - 0.06);
        expect(share(times, { ...CLEAN, loss: l, burst: b * 1.2 })).toBeGreaterThanOrEqual(less - 0.06);
      }),
      { seed: 3, numRuns: 60 },
    );
  });

  it('never more than half of the link, whatever arrives', () => {
    const random = new Random(9);
    for (let round = 0; round < 50; round++) {
      const rate = 0.01 + random.real() / 5;
      let now = 0;
      const times = Array.from({ length: 400 }, () => (now += random.integer(8 * MS)));
      const signals = { ...LOSSY, loss: random.real() / 2, burst: 1 + random.integer(8), rate };
      const repairs = drive(new ParityPolicy(), times, signals);
      const most = (now * rate) / 2 + Math.max(3 * BYTES, 20 * MS * rate);
      expect(repairs.length * BYTES).toBeLessThanOrEqual(most);
    }
  });
});

describe('when, and over which frames', () => {
  it('a copy a moment later, all copies inside the deadline', () => {
    const repairs = drive(new ParityPolicy(), [0, 16 * MS, 32 * MS], { ...LOSSY, burst: 3 });
    expect(repairs.map(({ at }) => at)).toEqual([4, 20, 24, 36, 40].map((ms) => ms * MS));
    expect(repairs.every(({ window, key }) => window === 1 && key === 0)).toBe(true);
  });

  it('over all frames in reach, the first by plain sum, the next by other keys', () => {
    const times = steady(6, 100);
    const repairs = drive(new ParityPolicy(), times, { ...LOSSY, loss: 0.1, burst: 1.2 });
    expect(repairs.map(({ window }) => window)).toEqual([6, 6, 6, 6]);
    expect(repairs.map(({ key }) => key)).toEqual([0, 1, 2, 3]);
  });

  it('without the frames that a repair could no longer save in time', () => {
    const repairs = drive(new ParityPolicy(), steady(400, 3 * MS), LOSSY);
    expect(Math.max(...repairs.map(({ window }) => window))).toBe(4);
  });

  it('drops what has waited too long, as after a suspended link', () => {
    const policy = new ParityPolicy();
    for (let i = 0; i < 8; i++) policy.consider(0, BYTES, LOSSY);
    expect(policy.nextDue()).toBe(0);
    expect(policy.due(1000 * MS)).toBe(false);
    expect(policy.nextDue()).toBe(Infinity);
  });

  it('plans nothing after a reset', () => {
    const policy = new ParityPolicy();
    for (let i = 0; i < 8; i++) policy.consider(0, BYTES, LOSSY);
    policy.reset();
    expect(policy.nextDue()).toBe(Infinity);
    for (let i = 0; i < 8; i++) policy.consider(10, BYTES, LOSSY);
    expect(policy.due(10)).toBe(true);
    expect([policy.window, policy.key]).toEqual([8, 0]);
  });
});

describe('what parity leaves lost', () => {
  /** The same by trial: a frame in the middle of a block on Gilbert's channel. */
  function tried(loss: number, burst: number, frames: number, repairs: number): number {
    const random = new Random(4);
    const stay = Math.max(loss, 1 - 1 / burst);
    const enter = (loss * (1 - stay)) / (1 - loss);
    const size = frames + repairs;
    const runs = 200_000;
    let failures = 0;
    for (let run = 0; run < runs; run++) {
      let bad = random.chance(loss);
      let count = 0;
      let mine = false;
      for (let i = 0; i < size; i++) {
        if (bad) count++;
        if (i === (size - 1) >>> 1) mine = bad;
        bad = random.chance(bad ? stay : enter);
      }
      if (mine && count > repairs) failures++;
    }
    return failures / runs;
  }

  it.each([
    [0.05, 1, 1, 1],
    [0.05, 3, 1, 2],
    [0.2, 1, 10, 3],
    [0.1, 4, 8, 5],
    [0.3, 2, 24, 8],
  ])('agrees with trials: loss %d, runs of %d, %d frames, %d repairs', (loss, burst, frames, repairs) => {
    const residual = new Residual();
    residual.set(loss, burst);
    const expected = tried(loss, burst, frames, repairs);
    expect(Math.abs(residual.of(frames, repairs) - expected)).toBeLessThan(0.0005 + 0.03 * expected);
  });

  it('is p² for a copy, and the loss itself without repairs', () => {
    const residual = new Residual();
    residual.set(0.05, 1);
    expect(residual.of(1, 1)).toBeCloseTo(0.0025, 9);
    expect(residual.of(7, 0)).toBe(0.05);
  });

  it('stays a probability for absurd signals', () => {
    const residual = new Residual();
    for (const [loss, burst] of [
      [1, 1],
      [1, 1e9],
      [0, 1e9],
      [0.999, 1],
    ]) {
      residual.set(loss, burst);
      for (const [frames, repairs] of [
        [1, 1],
        [24, 45],
        [24, 0],
      ]) {
        expect(residual.of(frames, repairs)).toBeGreaterThanOrEqual(0);
        expect(residual.of(frames, repairs)).toBeLessThanOrEqual(1);
      }
    }
  });
});
