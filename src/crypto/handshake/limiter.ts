/** How many handshakes are served: a bucket of tokens for all, and one for each source. Times in µs. */

export class TokenBucket {
  private tokens: number;
  private last: number | undefined;

  constructor(
    private readonly perSecond: number,
    private readonly burst: number,
  ) {
    this.tokens = burst;
  }

  take(now: number): boolean {
    const elapsed = Math.max(0, now - (this.last ?? now));
    this.tokens = Math.min(this.burst, this.tokens + (elapsed * this.perSecond) / 1e6);
    this.last = now;
    if (this.tokens < 1) return false;
    this.tokens -= 1;
    return true;
  }
}

/** A bucket per source, for at most `capacity` sources; the one that was made first is forgotten first. */
export class SourceBuckets {
  private readonly buckets = new Map<string, TokenBucket>();

  constructor(
    private readonly perSecond: number,
    private readonly burst: number,
    private readonly capacity: number,
  ) {}

  take(source: string, now: number): boolean {
    let bucket = this.buckets.get(source);
    if (bucket === undefined) {
      if (this.buckets.size >= this.capacity) this.buckets.delete(this.buckets.keys().next().value!);
      bucket = new TokenBucket(this.perSecond, this.burst);
      this.buckets.set(source, bucket);
    }
    return bucket.take(now);
  }
}
