/**
 * Whose queue is it? While it stays above what we alone would leave although we yield round after round, someone else fills it, or the path
 * has become longer: then it doesn't answer to our window at all. Times in µs, windows in bytes. Pure.
 */

/** A queue counts as too long beyond so many times our own. Tuned. */
const EXCESS = 1.5;
/** A queue that shrinks faster than by this factor a round is about to be gone. Tuned. */
const DRAINING = 0.7;
/** So long before a verdict: rounds, and µs. Tuned. */
const ROUNDS = 5;
const LEAST_TIME = 100_000;
/** Less of the expected answer than this, and it's no queue. Tuned. */
const NO_ANSWER = 0.1;
/** Round trips that differ less are the same. Tuned: jitter. */
const SAME = 500;

export type Verdict = 'none' | 'competitor' | 'longer-path';

export class CompetitorWatch {
  /** The window before we began to yield. */
  windowBefore = 0;
  private rounds = 0;
  private since = 0;
  private lastQueue = 0;
  private least = Infinity;
  private greatest = 0;

  reset(): void {
    this.rounds = 0;
  }

  /** A round ended with this standing `queue`, where `own` is what we alone would leave; `rate` is bytes per µs. */
  onRound(now: number, queue: number, own: number, window: number, rate: number): Verdict {
    const draining = this.rounds > 0 && queue < this.lastQueue * DRAINING;
    this.lastQueue = queue;
    if (queue <= own * EXCESS) {
      this.rounds = 0;
      return 'none';
    }
    if (this.rounds === 0) this.begin(now, window);
    if (draining) return 'none';
    this.least = Math.min(this.least, queue);
    this.greatest = Math.max(this.greatest, queue);
    if (++this.rounds < ROUNDS || now - this.since < LEAST_TIME) return 'none';
    return this.judge(window, rate);
  }

  private begin(now: number, window: number): void {
    this.since = now;
    this.windowBefore = window;
    this.least = Infinity;
    this.greatest = 0;
  }

  private judge(window: number, rate: number): Verdict {
    const expected = rate === 0 ? 0 : (this.windowBefore - window) / rate;
    const answer = this.greatest - this.least;
    this.rounds = 0;
    return answer < Math.max(SAME, expected * NO_ANSWER) && expected > 4 * SAME
      ? 'longer-path'
      : 'competitor';
  }
}
