/** What one neighbour may cost this node: verifying what it sends, work on what does not verify, and answers to its requests. */
import { TokenBucket } from '../../rate-limit/token-bucket.js';

/** Tokens: a signature costs more than a certificate's refusal, which honest neighbours cause while a CA is replaced. */
const FAULT = { capacity: 4000, interval: 20_000, signature: 40, certificate: 1 } as const;
const SERVE_INTERVAL = 1_000;
const EXAMINE_INTERVAL = 1_000;

export class Neighbour {
  private readonly faults: TokenBucket;
  private readonly served: TokenBucket;
  private readonly examined: TokenBucket;

  constructor(now: number, maxNodes: number) {
    this.faults = new TokenBucket(FAULT.capacity, FAULT.interval, now);
    this.served = new TokenBucket(2 * maxNodes, SERVE_INTERVAL, now);
    this.examined = new TokenBucket(2 * maxNodes, EXAMINE_INTERVAL, now);
  }

  /** Notes what did not verify. */
  fault(now: number, kind: 'signature' | 'certificate'): void {
    this.faults.take(now, FAULT[kind]);
  }

  /** Whether it is still worth verifying what it sends. */
  trusted(now: number): boolean {
    return this.faults.has(now, FAULT.signature);
  }

  /** Whether one more of its signatures or certificates is looked at: a whole mesh's at once, then a thousand a second. */
  examine(now: number): boolean {
    return this.examined.take(now);
  }

  /** Whether one more row of a request is answered. */
  serve(now: number): boolean {
    return this.served.take(now);
  }
}
