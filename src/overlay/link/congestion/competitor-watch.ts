/**
 * Whose queue is it? While it is longer than what we alone would leave, we yield. If it answers as a queue of ours does, by our window's
 * change over our rate, it is ours. Otherwise it is someone else's, or the path has become longer: a drain tells which. Times in µs, windows in
 * bytes, rates in bytes per µs. Pure.
 */

/** A queue counts as too long beyond so many times our own; as one that someone fills beyond the second. Tuned: a latecomer who took our queue for
 * the path's own time leaves one between them. */
const EXCESS = 1.5;
const GREAT_EXCESS = 2.5;
/** But no more than this, or a bit more than our own, µs: yielding slows us, and our packets look longer then. Tuned. */
const MOST_EXCESS = 10_000;
const LEAST_EXCESS = 1.25;
/** Where a packet takes longer than this on the link, µs, more may be our own than we believe: so many times more, each time that a drain has
 * shown it, up to the greatest. Tuned. */
const SLOW = 4000;
const TOLERANCE_STEP = 1.5;
const GREATEST_TOLERANCE = 4;
/** So long before a verdict: rounds, and µs. Tuned. */
const ROUNDS = 5;
const LEAST_TIME = 100_000;
/** A queue so far beyond our own that none of our kind makes it: times our own, µs at least. After so many rounds it is suspect. Tuned. */
const ALIEN_EXCESS = 6;
const ALIEN_LEAST = 30_000;
const ALIEN_ROUNDS = 2;
/** And so many where we could hardly yield. Tuned. */
const MOST_ROUNDS = 4 * ROUNDS;
/** A queue that answers by this share of what one of our own would is ours. Tuned. */
const OWN_ANSWER = 0.6;
/** Less of an expected answer than this says nothing, µs. Tuned: jitter. */
const TELLING = 2000;

export type Verdict = 'none' | 'crowded' | 'competitor';

export class CompetitorWatch {
  /** The window before we began to yield. */
  windowBefore = 0;
  private rounds = 0;
  private since = 0;
  private firstWindow = 0;
  private leastQueue = Infinity;
  /** The longest queue, and the window that sent it. */
  private peakQueue = 0;
  private peakWindow = 0;
  /** What is seen now was sent by the window a round ago. */
  private lastWindow = 0;
  private tolerance = 1;

  constructor(private readonly packet: number) {}

  reset(): void {
    this.rounds = 0;
    this.windowBefore = 0;
  }

  /** A drain has shown whether anyone else was there. */
  learn(alone: boolean, rate: number): void {
    if (!alone) this.tolerance = 1;
    else if (this.packet / rate > SLOW) {
      this.tolerance = Math.min(GREATEST_TOLERANCE, this.tolerance * TOLERANCE_STEP);
    }
  }

  /** A round ended with this standing `queue`, where `own` is what we alone would leave. */
  onRound(now: number, queue: number, own: number, window: number, rate: number): Verdict {
    const sentBy = this.lastWindow;
    this.lastWindow = window;
    if (queue <= this.limit(own, EXCESS)) {
      this.reset();
      return 'none';
    }
    if (this.windowBefore === 0) this.windowBefore = window;
    if (this.rounds === 0) this.begin(now, sentBy);
    this.note(queue, sentBy);
    if (++this.rounds >= ALIEN_ROUNDS && this.isAlien(this.leastQueue, own))
      return this.conclude('competitor');
    if (this.rounds < ROUNDS || now - this.since < LEAST_TIME) return 'none';
    return this.judge(queue, own, sentBy, rate);
  }

  /** Whether nobody of our kind leaves such a `queue`, where `own` is what we would. */
  isAlien(queue: number, own: number): boolean {
    return queue > Math.max(ALIEN_LEAST, own * ALIEN_EXCESS) * this.tolerance;
  }

  private begin(now: number, window: number): void {
    this.since = now;
    this.firstWindow = window;
    this.leastQueue = Infinity;
    this.peakQueue = 0;
  }

  private note(queue: number, window: number): void {
    this.leastQueue = Math.min(this.leastQueue, queue);
    if (queue <= this.peakQueue) return;
    this.peakQueue = queue;
    this.peakWindow = window;
  }

  private judge(queue: number, own: number, window: number, rate: number): Verdict {
    const expected = (this.peakWindow - window) / rate;
    const answer = this.peakQueue - queue;
    if (expected >= TELLING && answer > expected * OWN_ANSWER) return this.conclude('none');
    if ((this.firstWindow - window) / rate < TELLING && this.rounds < MOST_ROUNDS) return 'none';
    return this.conclude(this.leastQueue > this.limit(own, GREAT_EXCESS) ? 'competitor' : 'crowded');
  }

  private conclude(verdict: Verdict): Verdict {
    this.rounds = 0;
    return verdict;
  }

  private limit(own: number, excess: number): number {
    return this.tolerance * Math.max(own * LEAST_EXCESS, Math.min(own * excess, MOST_EXCESS));
  }
}
