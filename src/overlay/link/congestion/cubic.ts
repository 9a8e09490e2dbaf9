/**
 * CUBIC's window (RFC 9438), in bytes: what a link is beside a flow that fills the queue. Times in µs. Pure.
 */
import { START_GROWTH } from './start-up.js';

/** RFC 9438 §4.6, §5. */
const BETA = 0.7;
/** Packets per s³, RFC 9438 §5. */
const C = 0.4;
/** RFC 9438 §4.3: additive increase that equals Reno's share. */
const RENO_INCREASE = (3 * (1 - BETA)) / (1 + BETA);
/** RFC 9438 §4.2: the target is at most so many times the window. */
const MAX_GROWTH = 1.5;

const SECOND = 1_000_000;

export class Cubic {
  window = 0;
  /** Slow start, until the first reduction. */
  private isStarting = false;
  private greatest = 0;
  private prior = 0;
  private estimate = 0;
  /** Seconds from the epoch's start to the plateau. */
  private plateau = 0;
  private epochStart = 0;
  private lastAckAt = 0;

  constructor(private readonly packet: number) {}

  /** Begins with `window`, which is less than a share of the link for having yielded, and so with slow start (RFC 9438 §4.10). */
  enter(now: number, window: number): void {
    this.isStarting = true;
    this.greatest = window;
    this.prior = window;
    this.startEpoch(now, window);
  }

  /** An acknowledgement of `bytes`. Time doesn't count as growth while the window wasn't what limited (RFC 9438 §5.8). */
  onAck(now: number, bytes: number, smoothedRtt: number, limited: boolean): void {
    if (!limited) this.epochStart += now - this.lastAckAt;
    this.lastAckAt = now;
    if (!limited) return;
    if (this.isStarting) {
      this.window += bytes * START_GROWTH;
      return;
    }
    const target = this.target((now - this.epochStart + smoothedRtt) / SECOND);
    const reno = this.estimate >= this.prior ? 1 : RENO_INCREASE;
    this.estimate += (reno * bytes * this.packet) / this.window;
    const grown = this.window + ((target - this.window) * bytes) / this.window;
    this.window = Math.max(grown, this.estimate, this.window);
  }

  /** Loss or a mark: once a round trip, the caller sees to that (RFC 9438 §4.6, §4.7). `factor`: what remains. */
  reduce(now: number, least: number, factor = BETA): void {
    this.isStarting = false;
    const converging = this.window < this.greatest;
    this.greatest = converging ? (this.window * (1 + factor)) / 2 : this.window;
    this.prior = this.window;
    this.startEpoch(now, Math.max(least, this.window * factor));
  }

  private startEpoch(now: number, window: number): void {
    this.window = window;
    this.estimate = window;
    this.epochStart = now;
    this.lastAckAt = now;
    this.plateau = Math.cbrt(Math.max(0, this.greatest - window) / this.packet / C);
  }

  /** RFC 9438 §4.2. */
  private target(elapsed: number): number {
    const t = elapsed - this.plateau;
    const cubic = C * t * t * t * this.packet + this.greatest;
    return Math.min(Math.max(cubic, this.window), this.window * MAX_GROWTH);
  }
}
