/**
 * How much later than its successors a transmission may arrive before it counts as lost (RACK, RFC 8985 §6.2). The window begins small,
 * because a hop is one path and a gap in it mostly is a loss; it grows to what spurious losses show, up to a round trip, and shrinks
 * back by halves after many losses that weren't spurious. Times in µs.
 */

/** The window without evidence: an eighth of a round trip between these bounds. Tuned. */
const LEAST = 500;
const MOST = 2_000;
/** Rounds with loss, none of it spurious, until what was learned is halved (RFC 8985 §6.2 step 4: 16). */
const ROUNDS_KEPT = 16;
/** What is learned beyond what was seen. Tuned. */
const MARGIN = 1.25;

export class Reordering {
  /** Present window. */
  window = MOST;
  private base = MOST;
  private learned = 0;
  private rounds = 0;
  private roundSince = -Infinity;

  /** Whether the path was lately seen to reorder: then counting later arrivals proves nothing (RFC 8985 §6.2 step 4). */
  get isSeen(): boolean {
    return this.learned > 0;
  }

  /** Call with each change of the smoothed round trip. */
  noteRtt(smoothed: number): void {
    this.base = Math.max(LEAST, Math.min(MOST, smoothed / 8));
    this.window = Math.max(this.base, Math.min(this.learned, smoothed));
  }

  /** A transmission counted as lost arrived after all, `lateness` later than an undelayed one. */
  noteSpurious(lateness: number, smoothed: number): void {
    this.learned = Math.max(this.learned, Math.min(lateness * MARGIN, smoothed), 1);
    this.rounds = 0;
    this.noteRtt(smoothed);
  }

  /** A transmission of `sentAt` was lost; losses of what was sent before the round began belong to it. */
  noteLoss(now: number, sentAt: number): void {
    if (sentAt < this.roundSince) return;
    this.roundSince = now;
    if (this.learned === 0 || ++this.rounds < ROUNDS_KEPT) return;
    this.rounds = 0;
    this.learned = this.learned / 2 < LEAST ? 0 : this.learned / 2;
    this.window = Math.max(this.base, Math.min(this.window, this.learned));
  }
}
