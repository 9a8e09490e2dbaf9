/**
 * The numbers that arrived, as runs, for acknowledgements: the newest run and at most thirty before it. A run that has been told often
 * enough is forgotten, with all before it, so that an acknowledgement of a lossy link stays short. Times in µs.
 */
import { ACK_PAIRS_MAX } from '../../wire/frames.js';
import { ACK_SPAN } from '../../wire/recovery.js';
import { add21, difference21 } from './numbers.js';

const RUNS = 1 + ACK_PAIRS_MAX;
/** A run is told so often and for so long after its last change: some acknowledgement of it arrives. Tuned. */
const TOLD_ENOUGH = 6;
const TOLD_FOR = 30_000;

export class ArrivedRanges {
  count = 0;
  // Oldest first: run `count - 1` holds the largest number.
  private readonly first = new Int32Array(RUNS);
  private readonly last = new Int32Array(RUNS);
  private readonly told = new Int32Array(RUNS);
  private readonly changedAt = new Float64Array(RUNS);

  clear(): void {
    this.count = 0;
  }

  /** Adds a number. True when it opened or closed a gap: anything but the next of the newest run, the first, or what is in a run already. */
  add(now: number, number: number): boolean {
    const top = this.count - 1;
    if (top >= 0 && add21(this.last[top], 1) === number) {
      this.last[top] = number;
      this.changedAt[top] = now;
      this.told[top] = 0;
      if (difference21(number, this.first[top]) > 2 * ACK_SPAN) this.shorten(top);
      return false;
    }
    if (top >= 0 && difference21(number, this.last[top]) > ACK_SPAN) this.count = 0;
    return this.addElsewhere(now, number) && top >= 0;
  }

  /** Nobody asks for acknowledgements: what none could tell is forgotten before its numbers come round again. */
  private shorten(top: number): void {
    this.move(top, 0);
    this.count = 1;
    this.first[0] = add21(this.last[0], -ACK_SPAN);
  }

  /** False where it is in a run already. */
  private addElsewhere(now: number, number: number): boolean {
    let run = this.count - 1;
    while (run >= 0 && difference21(number, this.first[run]) < 0) run--;
    // Now `run` is the newest that begins before the number.
    if (run >= 0 && difference21(this.last[run], number) >= 0) return false;
    const joinsAbove = run + 1 < this.count && add21(number, 1) === this.first[run + 1];
    if (run >= 0 && add21(this.last[run], 1) === number) {
      this.last[run] = number;
      if (joinsAbove) this.joinNext(run);
    } else if (joinsAbove) {
      this.first[++run] = number;
    } else run = this.insert(run + 1, number);
    if (run < 0) return true;
    this.changedAt[run] = now;
    this.told[run] = 0;
    return true;
  }

  private joinNext(run: number): void {
    this.last[run] = this.last[run + 1];
    this.move(run + 2, run + 1);
    this.count--;
  }

  /** A new run at place `at`; where there are too many, the oldest makes room. Returns its place, -1 where it was itself the oldest. */
  private insert(at: number, number: number): number {
    if (this.count === RUNS) {
      if (at === 0) return -1;
      this.move(1, 0);
      this.count--;
      at--;
    }
    this.move(at, at + 1);
    this.count++;
    this.first[at] = this.last[at] = number;
    return at;
  }

  /** Moves the runs from `from` on to `to`. */
  private move(from: number, to: number): void {
    const { count } = this;
    if (from >= count) return;
    this.first.copyWithin(to, from, count);
    this.last.copyWithin(to, from, count);
    this.told.copyWithin(to, from, count);
    this.changedAt.copyWithin(to, from, count);
  }

  /** Forgets what was told often enough, and what is too old to be told. To be called before an acknowledgement is written. */
  prune(now: number): void {
    const oldest = add21(this.last[this.count - 1], 1 - ACK_SPAN);
    let gone = 0;
    while (gone < this.count - 1 && this.isDone(now, gone, oldest)) gone++;
    if (gone > 0) {
      this.move(gone, 0);
      this.count -= gone;
    }
    if (difference21(oldest, this.first[0]) > 0) this.first[0] = oldest;
  }

  private isDone(now: number, run: number, oldest: number): boolean {
    if (difference21(oldest, this.last[run]) > 0) return true;
    return this.told[run] >= TOLD_ENOUGH && now - this.changedAt[run] >= TOLD_FOR;
  }

  /** Length of the run that is `back` runs before the newest. Telling it counts. */
  tell(back: number): number {
    const run = this.count - 1 - back;
    this.told[run]++;
    return difference21(this.last[run], this.first[run]) + 1;
  }

  /** Numbers missing between the run that is `back` runs before the newest and the one after it. */
  gapAfter(back: number): number {
    const run = this.count - 1 - back;
    return difference21(this.first[run + 1], this.last[run]) - 1;
  }
}
