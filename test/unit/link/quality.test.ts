import { describe, expect, it } from 'vitest';

import { LinkQuality } from '../../../src/overlay/link/quality/link-quality.js';
import { LOAD_MUCH, LOAD_NONE, LOAD_SOME, PathDelay } from '../../../src/overlay/link/quality/path-delay.js';
import { priceOf } from '../../../src/overlay/link/quality/queue-price.js';
import { RecordLoss } from '../../../src/overlay/link/quality/record-loss.js';
import { Random } from '../../support/sim/random.js';

const MS = 1000;
const SECOND = 1000 * MS;

/** A link that loses, and tells of it at once in tallies. */
class LossyLink {
  readonly loss = new RecordLoss();
  now = 0;
  private sealed = 0;
  private arrived = 0;
  private gaps = 0;
  private missing = false;

  constructor(private readonly random = new Random(1)) {
    this.loss.take(0, { sealed: 0, arrived: 0, gaps: 0 }, false);
  }

  send(lost: boolean): void {
    this.sealed++;
    if (!lost) {
      this.arrived++;
      if (this.missing) this.gaps++;
    }
    this.missing = lost;
  }

  tell(congested = false): void {
    const { sealed, arrived, gaps } = this;
    this.loss.take(this.now, { sealed, arrived, gaps }, congested);
  }

  /** For so many seconds, at a rate of records and a loss, with a tally at least each `every` µs. */
  run(seconds: number, rate: number, loss: number, every = 100 * MS): void {
    const end = this.now + seconds * SECOND;
    for (let told = this.now; this.now < end; this.now += SECOND / rate) {
      this.send(this.random.real() < loss);
      if (this.now - told < every || this.missing) continue;
      told = this.now;
      this.tell();
    }
  }
}

describe('the loss of a link', () => {
  it('is none after one lost hello of three', () => {
    const link = new LossyLink();
    for (const lost of [false, true, false]) {
      link.now += SECOND;
      link.send(lost);
      link.tell();
    }
    expect(link.loss.loss).toBe(0);
  });

  it('is none where one run of records was lost, however long', () => {
    const link = new LossyLink();
    link.run(10, 50, 0);
    for (let i = 0; i < 20; i++) link.send(true);
    link.run(1, 50, 0);
    expect(link.loss.loss).toBe(0);
  });

  it('shows within two seconds on a link that carries fifty records a second', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const link = new LossyLink(new Random(seed));
      link.run(10, 50, 0);
      link.run(2, 50, 0.1);
      expect(link.loss.loss, `seed ${seed}`).toBeGreaterThan(0.01);
    }
  });

  it('is about right on a busy link, and on an idle one in the end', () => {
    const busy = new LossyLink(new Random(5));
    busy.run(20, 1000, 0.1);
    expect(busy.loss.loss).toBeGreaterThan(0.08);
    expect(busy.loss.loss).toBeLessThan(0.12);
    const idle = new LossyLink(new Random(6));
    let sum = 0;
    for (let minute = 0; minute < 50; minute++) {
      idle.run(60, 1, 0.1, SECOND);
      if (minute >= 5) sum += idle.loss.loss / 45;
    }
    expect(sum).toBeGreaterThan(0.06);
    expect(sum).toBeLessThan(0.11);
  });

  it('fades when it is over', () => {
    const link = new LossyLink();
    link.run(10, 50, 0.1);
    link.run(25, 50, 0);
    expect(link.loss.loss).toBeLessThan(0.001);
  });

  it('leaves out what was not sent, and what was lost to a full queue', () => {
    const link = new LossyLink();
    link.run(5, 50, 0);
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < 10; i++) link.send(i % 2 === 0);
      link.loss.excuse(5);
      link.tell();
    }
    expect(link.loss.loss).toBe(0);
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < 10; i++) link.send(i % 2 === 0);
      link.tell(true);
    }
    expect(link.loss.loss).toBe(0);
  });

  it('takes back records that were late', () => {
    const loss = new RecordLoss();
    const tally = (sealed: number, arrived: number, gaps: number) =>
      loss.take((sealed / 50) * SECOND, { sealed, arrived, gaps }, false);
    tally(0, 0, 0);
    for (let k = 1; k <= 10; k++) {
      tally(20 * k - 1, 20 * k - 4, k);
      tally(20 * k, 20 * k, k);
    }
    expect(loss.loss).toBeLessThan(0.002);
  });

  it('knows how long its runs are', () => {
    const link = new LossyLink();
    for (let i = 0; i < 400; i++) {
      link.now += 5 * MS;
      link.send(i % 40 < 4);
      if (i % 40 > 4) link.tell();
    }
    expect(link.loss.burst).toBeGreaterThan(3);
    expect(link.loss.burst).toBeLessThan(5);
  });

  it('begins anew where the counts make no sense', () => {
    const loss = new RecordLoss();
    loss.take(0, { sealed: 1000, arrived: 1000, gaps: 0 }, false);
    loss.take(SECOND, { sealed: 5, arrived: 5, gaps: 0 }, false);
    loss.take(2 * SECOND, { sealed: 10, arrived: 12, gaps: 0 }, false);
    loss.take(3 * SECOND, { sealed: 0xffffffff, arrived: 0, gaps: 9 }, false);
    expect(loss.loss).toBe(0);
  });
});

describe('the delay of a path', () => {
  it('does not grow by one late answer, but by three', () => {
    const delay = new PathDelay();
    for (let i = 0; i < 10; i++) delay.sample(i * SECOND, 20 * MS, 20 * MS);
    delay.sample(10 * SECOND, 200 * MS, 20 * MS);
    expect(delay.value(42.5 * MS, LOAD_NONE)).toBe(20 * MS);
    delay.sample(11 * SECOND, 200 * MS, 20 * MS);
    delay.sample(12 * SECOND, 200 * MS, 20 * MS);
    expect(delay.value(79 * MS, LOAD_NONE)).toBe(79 * MS);
  });

  it('leaves out a queue of our own traffic, but not a path that became longer', () => {
    const delay = new PathDelay();
    let now = 0;
    const run = (seconds: number, rtt: (i: number) => number): void => {
      for (let i = 0; i < seconds * 10; i++, now += 100 * MS) delay.sample(now, rtt(i), 20 * MS);
    };
    run(20, () => 20 * MS);
    run(60, (i) => (i % 25 === 0 ? 21 : 80) * MS); // empty every 2.5 s
    for (const load of [LOAD_SOME, LOAD_MUCH])
      expect(delay.value(80 * MS, load)).toBeLessThanOrEqual(21 * MS);
    run(7, () => 80 * MS);
    expect([LOAD_SOME, LOAD_MUCH].map((load) => delay.value(80 * MS, load))).toEqual([80 * MS, 20 * MS]);
    run(601, () => 80 * MS);
    expect(delay.value(80 * MS, LOAD_MUCH)).toBe(80 * MS);
  });
});

describe('a link', () => {
  it('is not called lossy by what its own traffic made the network drop', () => {
    const quality = new LinkQuality(0);
    let bytes = 0;
    let sealed = 0;
    let arrived = 0;
    for (let now = 0; now < 20 * SECOND; now += 100 * MS) {
      const full = now > 10 * SECOND;
      bytes += full ? 200_000 : 100;
      sealed += full ? 150 : 5;
      arrived += full ? 120 : 5;
      quality.load(now, bytes, 0);
      const rtt = full ? 70 * MS : 20 * MS;
      quality.roundTrip(now, rtt, 20 * MS, rtt);
      quality.tally(now, { type: 'tally', sealed, arrived, gaps: sealed - arrived, loss: 0 });
    }
    expect(quality.measure()).toMatchObject({ loss: 0, rtt: 20 * MS });
  });

  it('has the price that its queue gives it', () => {
    const quality = new LinkQuality(0);
    for (let now = 0; now < 10 * SECOND; now += 100 * MS) quality.load(now, 0, 50);
    expect(quality.measure().price).toBeCloseTo(priceOf(50), 1);
    expect([priceOf(0), priceOf(100)]).toEqual([0, 20]);
  });
});
