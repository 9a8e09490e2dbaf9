/**
 * When slow start ends: as soon as round trips grow (HyStart++, RFC 9406 §4.2), not only when the queue overflows. Its cautious second
 * phase is missing on purpose: leaving early costs little, as the delay mode grows fast while there is no queue. Times in µs. Pure.
 */

/** Growth for each byte acknowledged in slow start: 1 would double. Tuned: half overshoots half as far. */
export const START_GROWTH = 0.5;
/** Samples whose least counts: one late packet is no queue. RFC 9406 has 8; tuned down, see above. */
const SAMPLES = 3;
/** And the time that they take: a process that is starved is late for all that waits. Tuned, µs. */
const SPAN = 4000;
/** The rise that counts is an eighth of the base, within these bounds. RFC 9406 has 4 and 16 ms; tuned down, see above. */
const LEAST_RISE = 4000;
const GREATEST_RISE = 6000;
const RISE_SHARE = 1 / 8;

export class StartUp {
  private least = Infinity;
  private samples = 0;
  /** When the first of them came, µs. */
  private since = 0;

  /** True where the round trip has risen above `base` for good. */
  hasRisen(now: number, rtt: number, base: number): boolean {
    if (this.samples === 0) this.since = now;
    if (rtt < this.least) this.least = rtt;
    if (++this.samples < SAMPLES || now - this.since < SPAN) return false;
    const risen = this.least >= base + Math.min(GREATEST_RISE, Math.max(LEAST_RISE, base * RISE_SHARE));
    this.restart();
    return risen;
  }

  restart(): void {
    this.least = Infinity;
    this.samples = 0;
  }
}
