import { describe, expect, it } from 'vitest';
import { BaseRtt } from '../../../../src/overlay/link/congestion/base-rtt.js';
import { CompetitorWatch } from '../../../../src/overlay/link/congestion/competitor-watch.js';
import { DelayWindow } from '../../../../src/overlay/link/congestion/delay-window.js';
import { LossWatch } from '../../../../src/overlay/link/congestion/loss-watch.js';
import { StartUp } from '../../../../src/overlay/link/congestion/start-up.js';

const MS = 1000;
const S = 1000 * MS;
const PACKET = 1250;
/** 10 Mbit/s. */
const RATE = 1.25;

describe('the base round trip', () => {
  it('is the least of 20 to 30 s and forgets what the path no longer has', () => {
    const base = new BaseRtt();
    base.sample(0, 40 * MS);
    for (let at = 1; at < 20; at++) base.sample(at * S, 60 * MS);
    expect(base.value).toBe(40 * MS);
    for (let at = 20; at <= 30; at++) base.sample(at * S, 60 * MS);
    expect(base.value).toBe(60 * MS);
  });

  it('knows when it was last seen', () => {
    const base = new BaseRtt();
    base.sample(1 * S, 40 * MS);
    base.sample(2 * S, 40.4 * MS);
    base.sample(3 * S, 41 * MS);
    expect(base.touchedAt).toBe(2 * S);
  });
});

describe('start-up', () => {
  it('ends when three round trips in a row are well above the base, not for one that is late', () => {
    const startUp = new StartUp();
    const rises = [40, 60, 40, 46, 46, 46].map((rtt, i) => startUp.hasRisen(2 * i * MS, rtt * MS, 40 * MS));
    expect(rises).toEqual([false, false, false, false, false, true]);
  });

  it("doesn't take one late run of acknowledgements for a queue, however many they are", () => {
    const startUp = new StartUp();
    const rises = [46, 46, 46, 46, 46, 40].map((rtt, i) => startUp.hasRisen((i * MS) / 2, rtt * MS, 40 * MS));
    expect(rises).not.toContain(true);
  });
});

describe('the delay window', () => {
  /** A round in which nothing stood in the queue. */
  const EMPTY = {
    ...{ standingRtt: 40 * MS, base: 40 * MS, rate: RATE, target: 3 * MS },
    ...{ least: 0, mayGrow: true },
  };
  /** The window after so many rounds without any queue, of 20 packets first. */
  const grown = (window: DelayWindow, rounds: number): number => {
    for (let i = 0; i < rounds; i++) window.onRound({ ...EMPTY, rate: 100 * RATE });
    return window.window / (20 * PACKET);
  };

  it('catches up quickly where slow start ended early, until a queue or a loss has shown that it did not', () => {
    const early = new DelayWindow(PACKET);
    early.begin(20 * PACKET);
    expect(grown(early, 8)).toBeGreaterThan(3);
    const proven = new DelayWindow(PACKET);
    proven.begin(20 * PACKET);
    for (let i = 0; i < 6; i++)
      proven.onRound({ ...EMPTY, standingRtt: 50 * MS, rate: 100 * RATE, least: 20 * PACKET });
    proven.enter(20 * PACKET);
    expect(proven.isProven).toBe(true);
    expect(grown(proven, 8)).toBeLessThan(2.5);
  });

  it('settles where rate · (queue − T) is what it adds a round, on a path that answers', () => {
    const window = new DelayWindow(PACKET);
    window.enter(20 * PACKET);
    const base = 40 * MS;
    let rtt = base;
    for (let i = 0; i < 200; i++) {
      const sentBy = window.window;
      window.onRound({ ...EMPTY, standingRtt: rtt, base });
      rtt = Math.max(base, sentBy / RATE);
    }
    const queue = rtt - base;
    expect(queue).toBeGreaterThan(3 * MS);
    expect(queue).toBeLessThan(5 * MS);
    expect(queue).toBeCloseTo(window.ownQueue(RATE), -3);
  });

  it('is bounded by the delivery rate where nothing delays: a policer', () => {
    const window = new DelayWindow(PACKET);
    window.enter(20 * PACKET);
    for (let i = 0; i < 200; i++) window.onRound(EMPTY);
    expect(window.window).toBeLessThanOrEqual(1.5 * RATE * 43 * MS + 4 * PACKET);
  });
});

describe('the watch for competitors', () => {
  const OWN = 4 * MS;
  /** Rounds of 50 ms; gives the first verdict but 'none'. */
  const judge = (queue: (window: number, round: number) => number): string => {
    const watch = new CompetitorWatch(PACKET);
    let window = 40 * PACKET;
    let sentBy = window;
    for (let round = 0; round < 40; round++) {
      const verdict = watch.onRound(round * 50 * MS, queue(sentBy, round), OWN, window, RATE);
      if (verdict !== 'none') return verdict;
      sentBy = window;
      window *= 0.85;
    }
    return 'none';
  };
  const own = (window: number): number => Math.max(0, window / RATE - 20 * MS);

  it('says nothing of a queue that answers as ours does', () => {
    expect(judge((window) => own(window))).toBe('none');
  });

  it('finds a competitor whose part of the queue grows as ours shrinks', () => {
    expect(judge((window, round) => 15 * MS + own(window) / 3 + round * MS)).toBe('competitor');
  });

  it('suspects company in a queue that is too long for us alone, and no more', () => {
    expect(judge((window, round) => 7 * MS + own(window) / 3 + round * 100)).toBe('crowded');
  });

  it('grants a slow link more once drains have shown it alone', () => {
    const watch = new CompetitorWatch(PACKET);
    const slow = 0.125;
    const verdicts = (): string[] =>
      Array.from({ length: 30 }, (_, i) => watch.onRound(i * 100 * MS, 14 * MS, OWN, 4 * PACKET, slow));
    expect(verdicts()).toContain('competitor');
    watch.learn(true, slow);
    expect(verdicts()).not.toContain('competitor');
    watch.learn(false, slow);
    expect(verdicts()).toContain('competitor');
  });
});

describe('the watch for losses', () => {
  const feed = (watch: LossWatch, share: number, packets: number): boolean => {
    let excess = false;
    for (let i = 0; i < packets; i++) {
      const lost = Math.floor((i + 1) * share) > Math.floor(i * share);
      if (watch.count(lost ? 0 : PACKET, lost ? PACKET : 0, false)) excess = true;
    }
    return excess;
  };

  it('takes 10 % for chance and 20 % for a policer', () => {
    expect(feed(new LossWatch(PACKET), 0.1, 5000)).toBe(false);
    expect(feed(new LossWatch(PACKET), 0.2, 300)).toBe(true);
  });

  it('gets used to a path that loses a quarter whatever is sent', () => {
    const watch = new LossWatch(PACKET);
    expect(feed(watch, 0.25, 256 * 10)).toBe(true);
    feed(watch, 0.25, 256 * 30);
    expect(feed(watch, 0.25, 256 * 30)).toBe(false);
  });
});
