/**
 * A measured number as others are told of it: worse (greater) is told at once where it differs enough, better after it has lasted, small
 * changes never. Who got worse again soon after it was told to be better has to be better for twice as long the next time, so that what
 * goes up and down, or what its own good news makes worse, is told of less and less. Times in µs. Pure.
 */
export interface DampedTuning {
  /** News is a change by more than this share of the number told … */
  readonly ratio: number;
  /** … and by more than this for the worse … */
  readonly worse: number;
  /** … or this for the better. */
  readonly better: number;
  /** How long better news must last, at first and at most. */
  readonly after: number;
  readonly afterMost: number;
}

export class Damped {
  /** As told. */
  private value: number;
  /** Since when every number was better, and the worst of them. */
  private improving: { since: number; worst: number } | undefined;
  private after: number;
  /** When better news was told last, unless worse came since. */
  private recoveredAt: number | undefined;

  constructor(
    first: number,
    private readonly tuning: DampedTuning,
  ) {
    this.value = first;
    this.after = tuning.after;
  }

  get told(): number {
    return this.value;
  }

  /** Whether what is told changes with this measurement. `atOnce`: better news needn't last. */
  measure(now: number, value: number, atOnce: boolean): boolean {
    const { ratio, worse, better } = this.tuning;
    const change = value - this.value;
    const share = this.value * ratio;
    if (change > Math.max(share, worse)) {
      this.worsen(now, value);
      return true;
    }
    if (change >= -Math.max(share, better)) {
      this.improving = undefined;
      return false;
    }
    if (atOnce) {
      this.value = value;
      this.improving = undefined;
      return true;
    }
    this.improving ??= { since: now, worst: 0 };
    this.improving.worst = Math.max(this.improving.worst, value);
    return false;
  }

  private worsen(now: number, value: number): void {
    const { after, afterMost } = this.tuning;
    if (this.recoveredAt !== undefined) {
      this.after = now - this.recoveredAt < afterMost ? Math.min(2 * this.after, afterMost) : after;
    }
    this.recoveredAt = undefined;
    this.value = value;
    this.improving = undefined;
  }

  /** When better news has lasted long enough; Infinity for none. */
  nextTimeout(): number {
    return this.improving === undefined ? Infinity : this.improving.since + this.after;
  }

  /** Whether what is told changes. */
  timeout(now: number): boolean {
    if (this.improving === undefined || this.nextTimeout() > now) return false;
    this.value = this.improving.worst;
    this.improving = undefined;
    this.recoveredAt = now;
    return true;
  }
}
