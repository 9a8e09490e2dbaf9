/**
 * The receiver's count of what was lost: numbers that are missing for longer than reordering explains. A gap is noted when it opens
 * and judged once, when it is old enough; what arrives later than that stays counted. Times in µs; counts modulo 2³².
 */
import { add21, difference21 } from './numbers.js';
import type { NumberSet } from './number-set.js';

/** How long a gap may be reordering. Tuned. */
const ALLOWANCE = 20_000;
/** Gaps that wait to be judged; the oldest is judged early where there are more. A power of 2. */
const PENDING = 64;

export class LossMeter {
  /** Transmissions that the numbers seen stand for. */
  expected = 0;
  lost = 0;
  /** Runs of consecutive lost numbers. */
  runs = 0;
  // A ring of gaps, oldest first.
  private readonly first = new Int32Array(PENDING);
  private readonly length = new Int32Array(PENDING);
  private readonly openedAt = new Float64Array(PENDING);
  private head = 0;
  private count = 0;

  /** `arrived` holds what has arrived of the last `window` numbers. */
  constructor(
    private readonly arrived: NumberSet,
    private readonly window: number,
  ) {}

  clear(): void {
    this.expected = this.lost = this.runs = 0;
    this.head = this.count = 0;
  }

  /** The newest number seen moves from `from` forward to `to`. Call before `arrived` forgets what that puts out of its window. */
  advance(now: number, from: number, to: number): void {
    const step = difference21(to, from);
    this.expected = (this.expected + step) >>> 0;
    if (this.count > 0) this.judge(now, to);
    if (step === 1) return;
    if (this.count === PENDING) this.judgeOldest(from);
    const at = (this.head + this.count++) & (PENDING - 1);
    this.first[at] = add21(from, 1);
    this.length[at] = step - 1;
    this.openedAt[at] = now;
  }

  /** Judges the gaps that are old enough, or that begin where `newest` puts them out of the window. */
  judge(now: number, newest: number): void {
    while (this.count > 0) {
      const old = now - this.openedAt[this.head] >= ALLOWANCE;
      if (!old && difference21(newest, this.first[this.head]) < this.window) return;
      this.judgeOldest(newest);
    }
  }

  private judgeOldest(newest: number): void {
    const first = this.first[this.head];
    const length = this.length[this.head];
    this.head = (this.head + 1) & (PENDING - 1);
    this.count--;
    // What lies further back than the window can't be looked up, and is taken for lost.
    const unknown = Math.min(length, Math.max(0, difference21(newest, first) - this.window + 1));
    let inRun = unknown > 0;
    let lost = unknown;
    let runs = inRun ? 1 : 0;
    for (let i = unknown; i < length; i++) {
      const missing = !this.arrived.has(first + i);
      if (missing) lost++;
      if (missing && !inRun) runs++;
      inRun = missing;
    }
    this.lost = (this.lost + lost) >>> 0;
    this.runs = (this.runs + runs) >>> 0;
  }
}
