/**
 * A token bucket, for what strangers or members can make this node do: at most `capacity` at once and one more each `interval` µs. Counted in µs of credit, so that integers stay integers: a fraction that
 * rounding keeps just below one would be due at once forever.
 */
export class TokenBucket {
  private credit: number;

  constructor(
    private readonly capacity: number,
    private readonly interval: number,
    private since: number,
  ) {
    this.credit = capacity * interval;
  }

  /** Takes `count` tokens, or none and false where there are too few. */
  take(now: number, count = 1): boolean {
    if (!this.has(now, count)) return false;
    this.credit -= count * this.interval;
    return true;
  }

  /** Whether `count` tokens are there. */
  has(now: number, count: number): boolean {
    this.credit = Math.min(this.capacity * this.interval, this.credit + Math.max(0, now - this.since));
    this.since = Math.max(this.since, now);
    return this.credit >= count * this.interval;
  }

  /** µs when `count` tokens will be there: `now`, or at least a microsecond later. */
  ready(now: number, count = 1): number {
    return this.has(now, count) ? now : now + Math.max(1, Math.ceil(count * this.interval - this.credit));
  }
}
