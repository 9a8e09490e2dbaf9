import { describe, expect, it } from 'vitest';
import { SourceBuckets } from '../../../src/rate-limit/source-buckets.js';
import { TokenBucket } from '../../../src/rate-limit/token-bucket.js';

const SECOND = 1_000_000;

const taken = (tries: number, take: () => boolean) =>
  Array.from({ length: tries }, take).filter(Boolean).length;

describe('a token bucket', () => {
  it('gives its burst at once and its rate after that', () => {
    const bucket = new TokenBucket(5, SECOND / 10, 0);
    expect(taken(20, () => bucket.take(0))).toBe(5);
    expect(taken(20, () => bucket.take(SECOND / 10))).toBe(1);
    expect(taken(20, () => bucket.take(60 * SECOND))).toBe(5);
  });

  it('earns nothing while its clock steps back', () => {
    const bucket = new TokenBucket(1, SECOND / 10, SECOND);
    expect(bucket.take(SECOND)).toBe(true);
    expect(bucket.take(0)).toBe(false);
  });
});

describe('buckets by source', () => {
  const source = (last: number) => Uint32Array.of(0, 0, 0xffff0000, last);

  it("leave other sources theirs while one source's flood is refused", () => {
    const buckets = new SourceBuckets(64, 32, SECOND / 50, 7, 0);
    expect(taken(10_000, () => buckets.take(0, source(1), 0))).toBe(32);
    const others = Array.from({ length: 100 }, (_, i) => buckets.take(0, source(i + 2), 0));
    expect(others.filter(Boolean).length).toBeGreaterThan(90);
  });

  it('take the addresses of one IPv6 /64 for one source', () => {
    const buckets = new SourceBuckets(64, 32, SECOND / 50, 7, 0);
    let next = 0;
    const address = () => Uint32Array.of(0xb80d0120, 1, next++, next);
    expect(taken(10_000, () => buckets.take(0, address(), 0))).toBe(32);
  });

  it('let no more than their sum through, however many sources are forged', () => {
    const buckets = new SourceBuckets(64, 32, SECOND / 50, 7, 0);
    let next = 0;
    expect(taken(100_000, () => buckets.take(0, source(next++), 0))).toBe(64 * 32);
  });
});
