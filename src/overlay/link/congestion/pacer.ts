/**
 * Spreads a link's bytes over time: a bucket that fills at the link's rate and holds at most a millisecond of it, or two packets where
 * that is more (design §4: a longer burst would stand as queue in front of everything else). What a late timer kept from going isn't lost,
 * though: meanwhile the path's queue ran dry by as much (quic-go's and Linux's fq pacers catch up alike; RFC 9002 §7.7 leaves it open).
 */

/** Most that the bucket holds, as time of its rate, µs. Design §4. */
const BURST_TIME = 1000;
/** And at least so much, bytes: two full packets. Design §4. */
export const BURST_BYTES = 3000;
/** Most lateness that is made up for, µs: a process that was starved for longer finds another path than it left. Tuned. */
const GREATEST_LATENESS = 10_000;
/** What floating point may add to a wait that is over, µs. */
const ROUNDING = 1e-6;

export class Pacer {
  private credit = BURST_BYTES;
  private filledAt = -Infinity;
  /** When the caller said that it would be back for more, µs. */
  private awaitedAt = Infinity;

  /** Bytes that may go at `now` (µs) by `rate` (bytes per µs); at most 0 where the last packet overdrew it. */
  allowance(now: number, rate: number): number {
    if (now <= this.filledAt) return this.credit;
    const late = now > this.awaitedAt ? Math.min(now - this.awaitedAt, GREATEST_LATENESS) : 0;
    const most = burstOf(rate) + late * rate;
    const gained = this.filledAt === -Infinity ? most : (now - this.filledAt) * rate;
    this.credit = Math.min(this.credit + gained, most);
    this.awaitedAt = Infinity;
    this.filledAt = now;
    return this.credit;
  }

  /** `bytes` went. May overdraw. */
  spend(bytes: number): void {
    this.credit -= bytes;
  }

  /** When `bytes` may go, µs; `now` if at once. More than the bucket holds may go when it is full. Who comes later than that is let catch up. */
  nextTime(now: number, bytes: number, rate: number): number {
    const lacking = Math.min(bytes, burstOf(rate)) - this.allowance(now, rate);
    const wait = Math.ceil(lacking / rate - ROUNDING);
    if (wait <= 0) return now;
    this.awaitedAt = now + wait;
    return this.awaitedAt;
  }
}

function burstOf(rate: number): number {
  return Math.max(BURST_BYTES, rate * BURST_TIME);
}
