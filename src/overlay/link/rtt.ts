/**
 * Round-trip time as RFC 6298 smooths it, its retransmission timeout, and the least round trip of the last minutes: the
 * base that queueing delay is measured against. All times in µs.
 */

/** Until the first sample (RFC 6298 §2.1). */
const INITIAL_TIMEOUT = 1_000_000;
/** RFC 6298 §2.4 says 1 s for the Internet at large; a link acknowledges at once, so less does. Tuned. */
const MIN_TIMEOUT = 50_000;
const MAX_TIMEOUT = 2_000_000;
/** Floor of the variation's share: timers and scheduling. Tuned. */
const GRANULARITY = 10_000;
/** The base is the least sample of this window and the one before. Tuned. */
const BASE_WINDOW = 300_000_000;

export class RttEstimator {
  /** 0 before the first sample. */
  smoothed = 0;
  variation = 0;
  latest = 0;
  private windowSince = -Infinity;
  private windowLeast = Infinity;
  private previousLeast = Infinity;

  /** Takes a sample of `rtt` > 0. */
  sample(rtt: number, now: number): void {
    this.latest = rtt;
    if (this.smoothed === 0) {
      this.smoothed = rtt;
      this.variation = rtt / 2;
    } else {
      this.variation += (Math.abs(this.smoothed - rtt) - this.variation) / 4;
      this.smoothed += (rtt - this.smoothed) / 8;
    }
    this.updateBase(rtt, now);
  }

  private updateBase(rtt: number, now: number): void {
    if (now - this.windowSince >= BASE_WINDOW) {
      this.previousLeast = this.windowLeast;
      this.windowLeast = rtt;
      this.windowSince = now;
    }
    this.windowLeast = Math.min(this.windowLeast, rtt);
  }

  /** Least sample of the last five to ten minutes; 0 before the first. */
  get base(): number {
    return this.smoothed === 0 ? 0 : Math.min(this.windowLeast, this.previousLeast);
  }

  /** Retransmission timeout after `backoff` timeouts in a row. */
  timeout(backoff: number): number {
    const fresh =
      this.smoothed === 0 ? INITIAL_TIMEOUT : this.smoothed + Math.max(GRANULARITY, 4 * this.variation);
    return Math.min(MAX_TIMEOUT, Math.max(MIN_TIMEOUT, fresh) * 2 ** backoff);
  }
}
