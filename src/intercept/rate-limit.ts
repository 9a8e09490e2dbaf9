/** A token bucket: `burst` at once, `rate` a second over time. For ICMP errors (RFC 1812 §4.3.2.8, RFC 4443 §2.4 f) and log lines. */
export class TokenBucket {
  private tokens: number;

  /** `rate` in tokens per second, `burst` in tokens, `now` in µs. Starts full. */
  constructor(
    private readonly rate: number,
    private readonly burst: number,
    private updated: number,
  ) {
    this.tokens = burst;
  }

  /** Takes a token if there is one. A clock that stands still or steps back earns nothing. */
  take(now: number): boolean {
    if (now > this.updated) {
      this.tokens = Math.min(this.burst, this.tokens + ((now - this.updated) * this.rate) / 1_000_000);
      this.updated = now;
    }
    if (this.tokens < 1) return false;
    this.tokens -= 1;
    return true;
  }
}
