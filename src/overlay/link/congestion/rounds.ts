/**
 * What one round trip after the other shows of a path: its standing round-trip time, its delivery rate, its loss. A round ends with the
 * first acknowledgement of something sent since it began. Times in µs, rates in bytes per µs. Pure; nothing is allocated.
 */
import type { AckSample } from './controller.js';

/** A round is never shorter: on a fast link a round trip is less than a batch. Tuned. */
const LEAST_ROUND = 1000;
/** Rounds over which the greatest rate is remembered (BBR draft: MaxBwFilterLen is 2 cycles of about 8). */
const RATE_ROUNDS = 10;
/** Share of a round's bytes. Tuned. */
const MOSTLY = 0.6;
/** Smoothing of RFC 6298. */
const SMOOTHING = 1 / 8;

export class Rounds {
  smoothedRtt = 0;
  /** Least round trip of the last half to whole round trip: noise of single packets is gone, a queue that stands isn't. 0: none yet. */
  standingRtt = 0;
  /** Delivery rate of the last round in which the window was full, or a greater one. 0: none yet. */
  rate = 0;
  /** The greatest such rate of the last rounds. */
  maxRate = 0;
  /** Of the round that just ended: was more waiting than the window let go, at any time, and for most of what was delivered? */
  limited = false;
  mostlyLimited = false;

  private startedAt = 0;
  private deliveredAtStart = 0;
  private limitedNow = false;
  /** Bytes acknowledged in this round while more was waiting. */
  private limitedBytes = 0;
  private halfSince = 0;
  private halfLeast = Infinity;
  private lastHalfLeast = Infinity;
  private readonly rates = new Float64Array(RATE_ROUNDS);
  private ratesAt = 0;

  constructor(now: number) {
    this.startedAt = now;
  }

  /** Counts an acknowledgement. True where it ends a round. */
  onAck(now: number, sample: AckSample): boolean {
    if (sample.rtt > 0) this.noteRtt(now, sample.rtt);
    if (sample.windowLimited) {
      this.limitedNow = true;
      this.limitedBytes += sample.ackedBytes;
    }
    if (sample.newestSentAt < this.startedAt || now - this.startedAt < LEAST_ROUND) return false;
    this.noteRate((sample.delivered - this.deliveredAtStart) / (now - this.startedAt));
    this.limited = this.limitedNow;
    this.mostlyLimited = this.limitedBytes > (sample.delivered - this.deliveredAtStart) * MOSTLY;
    this.begin(now, sample.delivered);
    return true;
  }

  /** A round begins at `now`, with so many bytes delivered before; what went before it in silence doesn't count as slow. */
  begin(now: number, delivered: number): void {
    this.startedAt = now;
    this.deliveredAtStart = delivered;
    this.limitedNow = false;
    this.limitedBytes = 0;
  }

  /** The greatest rate of the last `count` rounds. */
  recentRate(count: number): number {
    let greatest = 0;
    for (let i = 1; i <= count; i++) {
      greatest = Math.max(greatest, this.rates[(this.ratesAt + RATE_ROUNDS - i) % RATE_ROUNDS]);
    }
    return greatest;
  }

  /** Rates and standing round trip of another path are forgotten. */
  forget(now: number, delivered: number): void {
    this.rates.fill(0);
    this.rate = 0;
    this.maxRate = 0;
    this.smoothedRtt = 0;
    this.standingRtt = 0;
    this.halfLeast = Infinity;
    this.lastHalfLeast = Infinity;
    this.begin(now, delivered);
  }

  private noteRtt(now: number, rtt: number): void {
    this.smoothedRtt = this.smoothedRtt === 0 ? rtt : this.smoothedRtt + (rtt - this.smoothedRtt) * SMOOTHING;
    if (now - this.halfSince >= this.smoothedRtt / 2) {
      this.lastHalfLeast = this.halfLeast;
      this.halfLeast = Infinity;
      this.halfSince = now;
    }
    if (rtt < this.halfLeast) this.halfLeast = rtt;
    this.standingRtt = Math.min(this.halfLeast, this.lastHalfLeast);
  }

  private noteRate(rate: number): void {
    if (!this.limitedNow && rate <= this.rate) return;
    this.rate = rate;
    this.rates[this.ratesAt] = rate;
    this.ratesAt = (this.ratesAt + 1) % RATE_ROUNDS;
    this.maxRate = this.recentRate(RATE_ROUNDS);
  }
}
