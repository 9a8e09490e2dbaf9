import { TokenBucket } from './token-bucket.js';

/**
 * A token bucket for each of a fixed number of groups of sources, so that one source's flood leaves the others theirs. Which sources share a
 * group is drawn anew with each `seed`. Of an IPv6 source only its /64 counts, since a host has all of that. Bounded memory; a flood of forged sources reaches all groups, but no more than their sum passes.
 */
export class SourceBuckets {
  private readonly buckets: TokenBucket[];

  /** `groups` a power of two; `capacity` and `interval` (µs) as of each group's TokenBucket; `seed` an unpredictable u32. */
  constructor(
    groups: number,
    capacity: number,
    interval: number,
    private readonly seed: number,
    now: number,
  ) {
    this.buckets = Array.from({ length: groups }, () => new TokenBucket(capacity, interval, now));
  }

  /** Takes a token of the group of the source whose address is the four words at `at`. */
  take(now: number, words: Uint32Array, at: number): boolean {
    const mapped = words[at] === 0 && words[at + 1] === 0;
    let hash = Math.imul(this.seed ^ words[mapped ? at + 3 : at], 0x9e3779b1);
    hash = Math.imul(hash ^ (hash >>> 15) ^ words[at + 1], 0x85ebca6b);
    return this.buckets[(hash >>> 16) & (this.buckets.length - 1)].take(now);
  }
}
