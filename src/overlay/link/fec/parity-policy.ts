/**
 * How much parity a link's realtime frames get, when, and over which of them. No parity on a clean link; as loss grows, just so much
 * that one frame in a thousand stays lost or late, and at most about as many repairs as frames; more only where that leaves
 * more than one in two hundred.
 *
 *   frame sent ─► hold, for others to join it ─► decide: credit for each new frame, by loss, burst and frames in reach
 *                                                 └─► repairs, spread over the time left, each over the frames then in reach
 *
 * A frame each 16 ms and 15 ms to recover leave a window of one: a repair is then a copy a moment later, and half the traffic. Ten
 * frames in reach need four repairs for the same. All times in µs, sizes in bytes.
 */
import { REPAIR_KEY_MAX } from '../../wire/repair.js';
import { Residual } from './residual.js';

/** What is known of the link as a frame is sent. */
export interface ParitySignals {
  /** Share of the class's transmissions that are lost, 0…1, without what is recovered. */
  loss: number;
  /** Mean length of a run of losses, ≥ 1. */
  burst: number;
  /** Bytes per µs that the link can carry; 0: not known, which bounds nothing. */
  rate: number;
  /** µs that a lost frame's recovery may take. */
  deadline: number;
  /** µs from a frame's sending to its retransmission's arrival; where that is within `deadline`, parity has less to do. Infinity: no retransmission. */
  retransmission: number;
}

/** Loss below which a link is clean. Stated. */
const CLEAN = 0.001;
/** Chance of a frame's staying lost that parity aims at, with at most one repair for each frame. Tuned. */
const AIM = 0.001;
/** Chance that is worth more than one repair for each frame. The requirement of issue 3. */
const LIMIT = 0.005;
/** Most repairs for each frame: with retransmissions, a link carries three times its frames at most. Stated. */
const REPAIRS_MAX = 1.87;
/** Most frames in a window, so that with its repairs it mostly stays within a repair's span. Tuned. */
const WINDOW_MAX = 24;
/** New frames at which the policy decides without further waiting. Tuned. */
const BATCH = 8;
/** Share of the link's rate that parity may take, and how long an unused share adds up, µs. Stated. */
const RATE_SHARE = 0.5;
const RATE_MEMORY = 20_000;
/** Repairs that may go at once even where the rate is low. */
const LEAST_REPAIRS = 3;
/** Share of the deadline in which all of a frame's repairs go out: the rest is for queues on the way. Tuned. */
const REACH = 0.8;
/** Share of that for which the first repair waits for more frames. Tuned. */
const HOLD = 1 / 3;
/** Relative change of loss, or of a run's length, that is worth computing rates anew. */
const CHANGE = 0.05;

export class ParityPolicy {
  /** Of the repair that `due` asked for: over how many of the newest frames, and with which key. */
  window = 0;
  key = 0;

  private readonly residual = new Residual();
  /** By frames in a window: repairs for each frame; -1 not computed yet. */
  private readonly rates = new Float64Array(WINDOW_MAX + 1);
  private loss = 0;
  private burst = 0;
  private retransmits = false;
  private reach = 0;
  private hold = 0;

  /** When the newest frames were sent, a ring; `frames` have been counted in all. */
  private readonly sentAt = new Float64Array(WINDOW_MAX).fill(-Infinity);
  private frames = 0;
  /** Frames that haven't earned yet, since when, and what those before have earned: repairs. */
  private fresh = 0;
  private freshSince = 0;
  private credit = 0;
  /** Repairs to send, when the next of them, and the time between them. */
  private pending = 0;
  private pendingAt = 0;
  private spacing = 0;
  /** `frames` at the last repair, and its key: the next window must differ in either. */
  private covered = 0;
  private lastKey = 0;
  /** Bytes of parity that the link's rate allows, and the size of a repair. */
  private allowance = 0;
  private earnedAt = -Infinity;
  private size = 0;

  /** The numbering begins anew: earlier frames are out of reach of any repair. */
  reset(): void {
    this.sentAt.fill(-Infinity);
    this.fresh = 0;
    this.credit = 0;
    this.pending = 0;
    this.covered = this.frames;
  }

  /** A frame of `bytes` goes out for the first time. True where it gets parity: give it to the encoder, then ask `due`. */
  consider(now: number, bytes: number, signals: ParitySignals): boolean {
    if (signals.loss < CLEAN) {
      if (this.fresh > 0 || this.pending > 0) this.reset();
      return false;
    }
    this.tune(signals);
    this.size = Math.max(bytes, this.size - (this.size >>> 4));
    this.earn(now, signals.rate);
    this.sentAt[this.frames++ % WINDOW_MAX] = now;
    if (this.fresh++ === 0) this.freshSince = now;
    if (this.fresh >= BATCH) this.decide(now);
    return true;
  }

  /** Whether a repair is to be sent now, over `window` with `key`. Ask until it says no, after `consider` and at `nextDue`. */
  due(now: number): boolean {
    if (this.fresh > 0 && now >= this.freshSince + this.hold) this.decide(now);
    if (this.pending === 0 || now < this.pendingAt) return false;
    if (this.allowance < this.size || now > this.pendingAt + this.reach) {
      this.pending = 0;
      return false;
    }
    this.allowance -= this.size;
    this.pending--;
    this.pendingAt = now + this.spacing;
    this.window = this.framesInReach(now);
    this.key = this.nextKey();
    return true;
  }

  /** When `due` is to be asked next, µs; Infinity for never. */
  nextDue(): number {
    const decision = this.fresh > 0 ? this.freshSince + this.hold : Infinity;
    return this.pending > 0 ? Math.min(decision, this.pendingAt) : decision;
  }

  private tune(signals: ParitySignals): void {
    const { loss, burst, deadline } = signals;
    this.reach = deadline * REACH;
    this.hold = this.reach * HOLD;
    const retransmits = signals.retransmission <= deadline;
    const same = differsLittle(loss, this.loss) && differsLittle(burst, this.burst);
    if (same && retransmits === this.retransmits) return;
    this.loss = loss;
    this.burst = burst;
    this.retransmits = retransmits;
    this.residual.set(loss, burst);
    this.rates.fill(-1);
  }

  private earn(now: number, rate: number): void {
    if (rate === 0) {
      this.allowance = Infinity;
      return;
    }
    const share = rate * RATE_SHARE;
    const most = Math.max(LEAST_REPAIRS * this.size, share * RATE_MEMORY);
    const since = Math.min(RATE_MEMORY, Math.max(0, now - this.earnedAt));
    this.allowance = Math.min(most, this.allowance + share * since);
    this.earnedAt = now;
  }

  /** Credits the new frames, and plans the repairs that credit pays for. */
  private decide(now: number): void {
    this.credit += this.fresh * this.rateOf(this.framesInReach(now));
    this.fresh = 0;
    const repairs = Math.floor(this.credit);
    if (repairs === 0) return;
    this.credit -= repairs;
    if (this.pending === 0) this.pendingAt = now;
    this.pending += repairs;
    this.spacing = Math.min(this.hold, (this.reach - this.hold) / this.pending);
  }

  /** How many of the newest frames a repair sent now can still save in time; one at least. */
  private framesInReach(now: number): number {
    const since = now - this.reach;
    let count = 1;
    while (count < WINDOW_MAX && this.sentAt[(this.frames - 1 - count + WINDOW_MAX) % WINDOW_MAX] >= since) {
      count++;
    }
    return count;
  }

  private rateOf(window: number): number {
    if (this.rates[window] < 0) this.rates[window] = this.computeRate(window);
    return this.rates[window];
  }

  /** Repairs for each frame with `window` frames in reach; between whole numbers of repairs the chance of loss is taken as linear. */
  private computeRate(window: number): number {
    const share = this.retransmits ? Math.min(1, 2 * this.loss) : 1;
    let before = this.loss * share;
    if (before <= AIM) return 0;
    for (let repairs = 1; repairs <= Math.ceil(REPAIRS_MAX * window); repairs++) {
      const left = this.residual.of(window, repairs) * share;
      const target = repairs <= window ? AIM : LIMIT;
      if (left <= target) {
        return Math.min(REPAIRS_MAX, (repairs - 1 + (before - target) / (before - left)) / window);
      }
      if (repairs === window && left <= LIMIT) return 1;
      before = left;
    }
    return REPAIRS_MAX;
  }

  /** A plain sum where no earlier repair speaks of these frames, or for a copy; otherwise a key that the last ones didn't have. */
  private nextKey(): number {
    const apart = this.frames - this.window >= this.covered;
    this.covered = this.frames;
    if (apart || this.window === 1) return 0;
    this.lastKey = (this.lastKey % REPAIR_KEY_MAX) + 1;
    return this.lastKey;
  }
}

function differsLittle(a: number, b: number): boolean {
  return Math.abs(a - b) <= CHANGE * b;
}
