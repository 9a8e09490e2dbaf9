import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Reordering } from '../../../../src/overlay/link/recovery/reordering.js';
import { Transmissions } from '../../../../src/overlay/link/recovery/transmissions.js';
import { ackOf } from './acks.js';

const HANDLES = 12;
const RING = 32;

interface Sent {
  readonly number: number;
  readonly frame: Frame;
  readonly sentAt: number;
  readonly bytes: number;
  state: 'under-way' | 'lost' | 'acked';
}

interface Frame {
  readonly handle: number;
  released: boolean;
}

/** What the core does, by plain lists: every transmission is remembered for ever, and every rule is a filter. */
class Oracle {
  sent: Sent[] = [];
  readonly frames: Frame[] = Array.from({ length: HANDLES }, (_, handle) => ({ handle, released: false }));
  readonly reordering = new Reordering();
  private largest = -1;
  private newestRtt = 0;

  release(handle: number): void {
    this.frames[handle].released = true;
    this.frames[handle] = { handle, released: false };
  }

  underWay(): Sent[] {
    return this.sent.filter((each) => each.state === 'under-way');
  }

  acknowledge(now: number, numbers: ReadonlySet<number>, smoothed: number) {
    const delivered = new Set<number>();
    const acked = this.sent.filter((each) => numbers.has(each.number) && each.state !== 'acked');
    const spurious = acked.filter((each) => each.state === 'lost');
    for (const each of acked) {
      each.state = 'acked';
      if (!each.frame.released) delivered.add(each.frame.handle);
      if (!each.frame.released) this.release(each.frame.handle);
    }
    if (acked.length === 0) return { delivered, lost: new Set<number>(), spurious: 0 };
    const newest = acked.reduce((a, b) => (a.number > b.number ? a : b));
    const late = spurious.reduce((most, each) => Math.max(most, each.sentAt), -1);
    return { delivered, spurious: spurious.length, lost: this.judge(now, newest, late, smoothed) };
  }

  /** `smoothed` before; the core's own smoothing is tested elsewhere, so its result is given. */
  private judge(now: number, newest: Sent, late: number, smoothed: number): Set<number> {
    if (late >= 0) this.reordering.noteSpurious(now - late - smoothed, smoothed);
    if (newest.number > this.largest) {
      this.largest = newest.number;
      this.newestRtt = now - newest.sentAt;
    }
    return new Set();
  }

  /** The frames that are lost with what is now due; marks it. */
  detect(now: number): Set<number> {
    const lost = new Set<number>();
    for (const each of this.underWay()) {
      if (each.number >= this.largest) continue;
      const overdue = each.sentAt + this.newestRtt + this.reordering.window <= now;
      if (!overdue && (this.reordering.isSeen || this.largest - each.number < 3)) continue;
      each.state = 'lost';
      this.reordering.noteLoss(now, each.sentAt);
      const alive = this.underWay().some((other) => other.frame === each.frame);
      if (!each.frame.released && !alive) lost.add(each.frame.handle);
    }
    return lost;
  }
}

const operation = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constant('send' as const), handle: fc.nat(HANDLES - 1) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('release' as const), handle: fc.nat(HANDLES - 1) }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('arrive' as const), pick: fc.nat(40) }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('ack' as const), pick: fc.constant(0) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('timeout' as const), pick: fc.constant(0) }) },
);

const sorted = (numbers: Iterable<number>): number[] => [...numbers].sort((a, b) => a - b);

it('sending, losing and acknowledging in any order settles what plain lists settle', () => {
  let settledFrames = 0;
  let spurious = 0;
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 3000 }), operation), {
        minLength: 80,
        maxLength: 200,
        size: 'max',
      }),
      (steps) => {
        const core = new Transmissions({ handles: HANDLES, ring: RING, epoch: 1, maxAckDelay: 5000 });
        const oracle = new Oracle();
        const arrived = new Set<number>();
        let now = 1_000_000;
        core.seedRtt(4000, now);
        oracle.reordering.noteRtt(4000);
        for (const [elapsed, step] of steps) {
          now += elapsed;
          if (step.op === 'send') {
            const blocked = oracle.underWay().some((each) => each.number === oracle.sent.length - RING);
            expect(core.hasRoom()).toBe(!blocked);
            if (blocked) continue;
            const bytes = 100 + step.handle;
            const number = core.send(now, step.handle, bytes);
            expect(number).toBe(oracle.sent.length);
            const frame = oracle.frames[step.handle];
            oracle.sent.push({ number, frame, sentAt: now, bytes, state: 'under-way' });
          } else if (step.op === 'release') {
            core.release(step.handle);
            oracle.release(step.handle);
          } else if (step.op === 'arrive') {
            const recent = oracle.sent.slice(-20);
            if (recent.length > 0) arrived.add(recent[step.pick % recent.length].number);
          } else if (step.op === 'ack' && arrived.size > 0) {
            // What the core may have forgotten, the oracle forgets too: lost long ago, or a ring ago.
            const kept = now - Math.max(100_000, 4 * core.rtt.smoothed);
            const told = ackOf({ epoch: 1, numbers: [...arrived] });
            const before = core.rtt.smoothed;
            expect(core.acknowledge(now, told.view, 3, told.length)).toBe('ok');
            const forgotten = oracle.sent.filter(
              (each) => each.state === 'lost' && each.number < oracle.sent.length - RING,
            );
            for (const each of forgotten) each.state = 'acked';
            for (const number of arrived) if (number < told.oldest) arrived.delete(number);
            const result = oracle.acknowledge(now, arrived, before);
            if (core.settled.rttSample > 0) oracle.reordering.noteRtt(core.rtt.smoothed);
            const lost = result.delivered.size + result.spurious > 0 || core.settled.ackedBytes > 0;
            expect([
              sorted(core.settled.delivered.slice(0, core.settled.deliveredCount)),
              core.settled.spurious,
            ]).toEqual([sorted(result.delivered), result.spurious]);
            expect(sorted(core.settled.lost.slice(0, core.settled.lostCount))).toEqual(
              lost ? sorted(oracle.detect(now)) : [],
            );
            for (const each of oracle.sent)
              if (each.state === 'lost' && each.sentAt < kept) each.state = 'acked';
            settledFrames += core.settled.deliveredCount + core.settled.lostCount;
            spurious += core.settled.spurious;
          } else if (step.op === 'timeout') {
            const due = core.nextTimeout() <= now;
            const result = core.timeout(now);
            const lost = sorted(core.settled.lost.slice(0, core.settled.lostCount));
            if (!due) expect(result).toBe('none');
            // Given-up frames alone under way: the core settles them all.
            const named = oracle.underWay().some((each) => !each.frame.released);
            if (result === 'lost' && !named && core.bytesInFlight === 0)
              for (const each of oracle.underWay()) each.state = 'lost';
            else if (result === 'lost') expect(lost).toEqual(sorted(oracle.detect(now)));
          }
          expect(core.bytesInFlight).toBe(oracle.underWay().reduce((sum, each) => sum + each.bytes, 0));
          for (const handle of [now % HANDLES, oracle.sent.at(-1)?.frame.handle ?? 0]) {
            const own = oracle.sent.filter((each) => each.frame === oracle.frames[handle]);
            expect(core.firstNumber(handle)).toBe(own[0]?.number ?? -1);
            expect(core.underWay(handle)).toBe(own.filter((each) => each.state === 'under-way').length);
          }
          const oldest = oracle.underWay().find((each) => !each.frame.released);
          expect(core.oldestUnderWay()).toBe(oldest?.frame.handle ?? -1);
        }
      },
    ),
    { numRuns: 80 },
  );
  expect(settledFrames).toBeGreaterThan(1000);
  expect(spurious).toBeGreaterThan(20);
});
