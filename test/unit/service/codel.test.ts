import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CoDel } from '../../../src/overlay/service/codel.js';

const MS = 1000;
const TARGET = 5 * MS;
const INTERVAL = 100 * MS;
const PACKET = 1500;

const make = (queues = 1): CoDel => new CoDel(queues, TARGET, INTERVAL, PACKET);

/** Milliseconds of 0 .. until-1 at which a packet a millisecond, each after `sojourn` µs, is signalled. */
function signalledAt(codel: CoDel, from: number, until: number, sojourn: number, queue = 0): number[] {
  const times: number[] = [];
  for (let at = from; at < until; at++) if (codel.judge(queue, at * MS, sojourn, 10 * PACKET)) times.push(at);
  return times;
}

describe('CoDel', () => {
  it('signals after an interval above the target, then at the interval divided by the square root of the count', () => {
    // 100; then after 100/√1, 100/√2, 100/√3 and 100/√4 ms
    expect(signalledAt(make(), 0, 385, 6 * MS)).toEqual([100, 200, 271, 329, 379]);
  });

  it('never signals below the target, however long', () => {
    expect(signalledAt(make(), 0, 1000, TARGET - 1)).toEqual([]);
  });

  it('starts to count the interval anew after one packet below the target', () => {
    const codel = make();
    expect(signalledAt(codel, 0, 99, 20 * MS)).toEqual([]);
    expect(codel.judge(0, 99 * MS, TARGET - 1, 10 * PACKET)).toBe(false);
    expect(signalledAt(codel, 100, 205, 20 * MS)).toEqual([200]);
  });

  it('leaves a queue alone that holds no more than one packet behind', () => {
    const codel = make();
    const judged = Array.from({ length: 500 }, (_, at) => codel.judge(0, at * MS, 50 * MS, PACKET));
    expect(judged).not.toContain(true);
  });

  it('goes on nearly where it was after a short pause, and from the start after a long one', () => {
    const pauseOf = (pause: number): number[] => {
      const codel = make();
      signalledAt(codel, 0, 385, 6 * MS); // five signals
      codel.judge(0, 385 * MS, 0, 10 * PACKET);
      const begin = 386 + pause;
      return signalledAt(codel, begin, begin + 260, 6 * MS).map((at) => at - begin);
    };
    // The count goes on at 5 - 1 = 4: the next comes after 100/√4 ms.
    expect(pauseOf(100).slice(0, 2)).toEqual([100, 150]);
    expect(pauseOf(2000).slice(0, 2)).toEqual([100, 200]);
  });

  it('knows queues apart, and forgets one that is reset', () => {
    const codel = make(2);
    signalledAt(codel, 0, 385, 6 * MS, 0);
    expect(signalledAt(codel, 385, 490, 6 * MS, 1)).toEqual([485]);
    codel.reset(1);
    expect(signalledAt(codel, 490, 595, 6 * MS, 1)).toEqual([590]);
  });

  it('follows a raised target with both its times, and never goes below the least', () => {
    const codel = make();
    codel.setTarget(18 * MS); // 1.5 packets at 1 Mbit/s
    expect(signalledAt(codel, 0, 500, 17 * MS)).toEqual([]);
    expect(signalledAt(codel, 500, 620, 19 * MS)).toEqual([613]); // 100 + 18 - 5
    codel.setTarget(1);
    codel.reset(0);
    expect(signalledAt(codel, 1000, 1150, 4 * MS)).toEqual([]);
    expect(signalledAt(codel, 1150, 1255, 6 * MS)).toEqual([1250]);
  });

  it('drops what the pseudocode of RFC 8289 drops, for any arrivals and any service', () => {
    const step = fc.record({
      after: fc.integer({ min: 1, max: 30 }), // ms
      arrivals: fc.constantFrom(0, 0, 1, 1, 1, 2, 5), // more than one a step on average, with dry spells
    });
    let drops = 0;
    fc.assert(
      fc.property(fc.array(step, { minLength: 50, maxLength: 400 }), (steps) => {
        const [ours, theirs] = [new OneQueue(), new NaiveCoDel()];
        let [now, id] = [0, 0];
        for (const { after, arrivals } of steps) {
          for (let k = 0; k < arrivals; k++, id++) for (const queue of [ours, theirs]) queue.put(id, now);
          now += after * MS;
          const taken = ours.take(now);
          expect(taken).toEqual(theirs.take(now));
          drops += taken.dropped.length;
        }
      }),
      { numRuns: 200 },
    );
    expect(drops).toBeGreaterThan(500);
  });
});

interface Waiting {
  id: number;
  since: number;
}

/** What was dropped on the way to the packet that passed. */
interface Taken {
  dropped: number[];
  passed: number | undefined;
}

/** A queue that asks our CoDel packet by packet. */
class OneQueue {
  private readonly codel = make();
  private readonly waiting: Waiting[] = [];

  put(id: number, since: number): void {
    this.waiting.push({ id, since });
  }

  take(now: number): Taken {
    const dropped: number[] = [];
    for (;;) {
      const packet = this.waiting.shift();
      if (packet === undefined) return { dropped, passed: undefined };
      const backlog = this.waiting.length * PACKET;
      if (!this.codel.judge(0, now, now - packet.since, backlog)) return { dropped, passed: packet.id };
      dropped.push(packet.id);
    }
  }
}

/** RFC 8289 §5.5 and §5.6 as they stand, but for the time of the next drop (see codel.ts). */
class NaiveCoDel {
  private readonly waiting: Waiting[] = [];
  private firstAbove = 0;
  private dropNext = 0;
  private count = 0;
  private lastCount = 0;
  private dropping = false;

  put(id: number, since: number): void {
    this.waiting.push({ id, since });
  }

  private doDequeue(now: number): { packet: Waiting | undefined; okToDrop: boolean } {
    const packet = this.waiting.shift();
    if (packet === undefined) {
      this.firstAbove = 0;
      return { packet, okToDrop: false };
    }
    const sojourn = now - packet.since;
    if (sojourn < TARGET || this.waiting.length * PACKET <= PACKET) {
      this.firstAbove = 0;
    } else if (this.firstAbove === 0) {
      this.firstAbove = now + INTERVAL;
    } else if (now >= this.firstAbove) {
      return { packet, okToDrop: true };
    }
    return { packet, okToDrop: false };
  }

  private controlLaw(from: number): number {
    return from + INTERVAL / Math.sqrt(this.count);
  }

  take(now: number): Taken {
    const dropped: number[] = [];
    let r = this.doDequeue(now);
    if (this.dropping) {
      if (!r.okToDrop) this.dropping = false;
      while (now >= this.dropNext && this.dropping) {
        dropped.push(r.packet!.id);
        this.count++;
        this.dropNext = this.controlLaw(this.dropNext);
        r = this.doDequeue(now);
        if (!r.okToDrop) this.dropping = false;
      }
    } else if (r.okToDrop) {
      dropped.push(r.packet!.id);
      r = this.doDequeue(now);
      // The RFC doesn't look at this second packet's okToDrop; its state is judged at the next call.
      this.dropping = true;
      const delta = this.count - this.lastCount;
      this.count = 1;
      if (delta > 1 && now - this.dropNext < 16 * INTERVAL) this.count = delta;
      this.dropNext = this.controlLaw(now);
      this.lastCount = this.count;
    }
    return { dropped, passed: r.packet?.id };
  }
}
