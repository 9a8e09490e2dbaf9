/**
 * Spreads a link's bytes over time: a bucket that fills at the link's rate and holds at most a millisecond of it, or two packets where
 * that is more (design §4: a longer burst would stand as queue in front of everything else).
 */

/** Most that the bucket holds, as time of its rate, µs. Design §4. */
const BURST_TIME = 1000;
/** And at least so much, bytes: two full packets. Design §4. */
export const BURST_BYTES = 3000;

export class Pacer {
  private credit = BURST_BYTES;
  private filledAt = -Infinity;

  /** Bytes that may go at `now` (µs) by `rate` (bytes per µs); at most 0 where the last packet overdrew it. */
  allowance(now: number, rate: number): number {
    const burst = burstOf(rate);
    if (this.filledAt === -Infinity) this.credit = burst;
    else if (now > this.filledAt) this.credit += (now - this.filledAt) * rate;
    if (this.credit > burst) this.credit = burst;
    if (now > this.filledAt) this.filledAt = now;
    return this.credit;
  }

  /** `bytes` went. May overdraw. */
  spend(bytes: number): void {
    this.credit -= bytes;
  }

  /** When `bytes` may go, µs; `now` if at once. More than the bucket holds may go when it is full. */
  nextTime(now: number, bytes: number, rate: number): number {
    const lacking = Math.min(bytes, burstOf(rate)) - this.allowance(now, rate);
    return lacking <= 0 ? now : now + Math.ceil(lacking / rate);
  }
}

function burstOf(rate: number): number {
  return Math.max(BURST_BYTES, rate * BURST_TIME);
}
