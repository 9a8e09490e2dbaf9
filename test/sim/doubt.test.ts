/** Doubts about links: what forged or true hints and missing acknowledgements do to links that live, and to such that die. */
import { describe, expect, it } from 'vitest';
import { LinkPair, type Conditions, type End } from './link-pair.js';

const MS = 1000;
const S = 1000 * MS;
const SEEDS = [1, 2, 3];

function upPair(seed: number, conditions: Partial<Conditions> = {}): LinkPair {
  const pair = new LinkPair(seed);
  pair.set(conditions);
  expect(pair.run(20 * S, () => pair.bothUp)).toBe(true);
  return pair;
}

/** Data both ways each `interval` for `duration`, with a doubt of each kind before each packet: more than any forger's or timer's. */
function doubted(pair: LinkPair, duration: number, interval: number, kinds: ('hint' | 'unanswered')[]): void {
  for (const end = pair.now + duration; pair.now < end;) {
    for (const { link } of [pair.a, pair.b]) {
      if (kinds.includes('hint')) link.suspect(pair.now, false);
      if (kinds.includes('unanswered')) link.noteUnanswered(pair.now);
    }
    pair.runWithData(interval, interval);
  }
}

const downs = ({ a, b }: LinkPair): number => a.events('down').length + b.events('down').length;

/** µs from `since` to an end's next 'down'. */
const downAfter = (end: End, since: number): number =>
  end.events('down').find(({ at }) => at >= since)!.at - since;

describe('a link that lives, under doubts without end,', () => {
  it.each([
    ['clean', {}],
    ['slow', { delay: 150 * MS, jitter: 20 * MS }],
    ['with 10 % loss each way', { loss: 0.1 }],
  ])('%s, stays up for ten minutes of data', (_name, conditions) => {
    for (const seed of SEEDS) {
      const pair = upPair(seed, conditions);
      doubted(pair, 600 * S, 40 * MS, ['hint', 'unanswered']);
      expect(downs(pair)).toBe(0);
    }
  });

  it('with 10 % loss in bursts of 3, which at times are as long as a death, goes down in a minute once at most', () => {
    for (const seed of SEEDS) {
      const pair = upPair(seed, { loss: 0.1, burst: 3 });
      doubted(pair, 600 * S, 40 * MS, ['hint', 'unanswered']);
      expect(downs(pair)).toBeLessThanOrEqual(10);
    }
  });

  it('idle, with 10 % loss each way and forged hints all the time, goes down in a minute once at most', () => {
    for (const seed of SEEDS) {
      const pair = upPair(seed, { loss: 0.1 });
      const end = pair.now + 600 * S;
      while (pair.now < end) {
        pair.a.link.suspect(pair.now, false);
        pair.a.flush();
        pair.run(50 * MS);
      }
      expect(pair.a.events('down').length).toBeLessThanOrEqual(10);
      expect(pair.bothUp || pair.run(2 * S, () => pair.bothUp)).toBe(true);
    }
  });

  it('whose peer is starved for 200 ms now and then stays up, though acknowledgements are missed', () => {
    for (const seed of SEEDS) {
      const pair = upPair(seed);
      for (let round = 0; round < 50; round++) {
        doubted(pair, 1 * S, 20 * MS, []);
        pair.b.starvedUntil = pair.now + 200 * MS;
        doubted(pair, 0.4 * S, 10 * MS, ['unanswered']);
      }
      expect(downs(pair)).toBe(0);
    }
  });
});

describe('a link that dies', () => {
  it('is down within 300 ms at an end whose acknowledgements are missed, and within 560 ms at the other', () => {
    for (const seed of SEEDS) {
      const pair = upPair(seed, { jitter: 5 * MS });
      pair.runWithData(2 * S);
      pair.set({ blackhole: true });
      const died = pair.now;
      const end = died + 1 * S;
      while (pair.now < end) {
        if (pair.now > died + 60 * MS) pair.a.link.noteUnanswered(pair.now);
        pair.runWithData(10 * MS, 10 * MS);
      }
      expect(downAfter(pair.a, died)).toBeLessThan(300 * MS);
      expect(downAfter(pair.b, died)).toBeLessThan(560 * MS);
    }
  });

  it('one way is down at both ends within 600 ms, doubts or none', () => {
    for (const seed of SEEDS) {
      const pair = upPair(seed);
      pair.runWithData(2 * S);
      pair.a.out.blackhole = true;
      const died = pair.now;
      doubted(pair, 1 * S, 20 * MS, ['unanswered']);
      expect(downAfter(pair.b, died)).toBeLessThan(560 * MS);
      expect(downAfter(pair.a, died)).toBeLessThan(600 * MS);
      pair.a.out.blackhole = false;
      expect(pair.run(2 * S, () => pair.bothUp)).toBe(true);
    }
  });

  it('again and again is noticed each time, and back each time', () => {
    for (const seed of SEEDS) {
      const pair = upPair(seed);
      for (let cut = 0; cut < 30; cut++) {
        pair.runWithData(1 * S);
        pair.set({ blackhole: true });
        const died = pair.now;
        doubted(pair, 1 * S, 20 * MS, ['unanswered']);
        expect(downAfter(pair.a, died)).toBeLessThan(560 * MS);
        pair.set({ blackhole: false });
        expect(pair.run(1.2 * S, () => pair.bothUp)).toBe(true);
      }
    }
  });
});
