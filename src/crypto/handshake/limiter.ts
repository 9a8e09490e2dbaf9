/** How many handshakes each source is served. */
import { TokenBucket } from '../../rate-limit/token-bucket.js';

/** A bucket per source, for at most `capacity` sources; the one that was made first is forgotten first. */
export class SourceBuckets {
  private readonly buckets = new Map<string, TokenBucket>();

  constructor(
    private readonly perSecond: number,
    private readonly burst: number,
    /** Sources that are remembered. */
    private readonly capacity: number,
  ) {}

  /** `now` in µs. */
  take(source: string, now: number): boolean {
    let bucket = this.buckets.get(source);
    if (bucket === undefined) {
      if (this.buckets.size >= this.capacity) this.buckets.delete(this.buckets.keys().next().value!);
      bucket = new TokenBucket(this.burst, 1e6 / this.perSecond, now);
      this.buckets.set(source, bucket);
    }
    return bucket.take(now);
  }
}
