/** How often one address may be tried, whoever names it: no record makes this node flood a third party. */
import { TokenBucket } from '../../rate-limit/token-bucket.js';

/** Addresses remembered; one that is crowded out has been left alone the longest. */
const MAX_HOSTS = 4096;

export class HostLimits {
  private readonly buckets = new Map<string, TokenBucket>();

  constructor(
    private readonly burst: number,
    private readonly interval: number,
  ) {}

  take(now: number, host: string): boolean {
    const bucket = this.buckets.get(host) ?? new TokenBucket(this.burst, this.interval, now);
    this.buckets.delete(host);
    this.buckets.set(host, bucket);
    if (this.buckets.size > MAX_HOSTS) this.buckets.delete(this.buckets.keys().next().value!);
    return bucket.take(now);
  }
}
