/** At most `capacity` at once and one more each `interval` µs. */
export class TokenBucket {
  private tokens: number;

  constructor(
    private readonly capacity: number,
    private readonly interval: number,
    private since: number,
  ) {
    this.tokens = capacity;
  }

  /** Takes `count` tokens, or none and false where there are too few. */
  take(now: number, count = 1): boolean {
    this.fill(now);
    if (this.tokens < count) return false;
    this.tokens -= count;
    return true;
  }

  /** Whether `count` tokens are there. */
  has(now: number, count: number): boolean {
    this.fill(now);
    return this.tokens >= count;
  }

  /** µs when one token will be there: `now` or later. */
  ready(now: number): number {
    this.fill(now);
    return this.tokens >= 1 ? now : Math.ceil(now + (1 - this.tokens) * this.interval);
  }

  private fill(now: number): void {
    this.tokens = Math.min(this.capacity, this.tokens + (now - this.since) / this.interval);
    this.since = now;
  }
}
