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

/**
 * A token bucket for each of a fixed number of groups of sources, so that one source's flood leaves the others theirs. Which sources share a
 * group is drawn anew with each `seed`. Of an IPv6 source only its /64 counts, since a host has all of that. Bounded memory; a flood of forged sources reaches all groups, but no more than their sum passes.
 */
export class SourceBuckets {
  private readonly buckets: TokenBucket[];

  /** `groups` a power of two; `rate` and `burst` for each; `seed` an unpredictable u32. */
  constructor(
    groups: number,
    rate: number,
    burst: number,
    private readonly seed: number,
    now: number,
  ) {
    this.buckets = Array.from({ length: groups }, () => new TokenBucket(rate, burst, now));
  }

  /** Takes a token of the group of the source whose address is the four words at `at`. */
  take(now: number, words: Uint32Array, at: number): boolean {
    const mapped = words[at] === 0 && words[at + 1] === 0;
    let hash = Math.imul(this.seed ^ words[mapped ? at + 3 : at], 0x9e3779b1);
    hash = Math.imul(hash ^ (hash >>> 15) ^ words[at + 1], 0x85ebca6b);
    return this.buckets[(hash >>> 16) & (this.buckets.length - 1)].take(now);
  }
}
