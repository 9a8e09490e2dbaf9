/** The least round trip of the last 20 to 30 s: what the path takes when nothing queues. All times in µs. Pure. */

/** Three windows of this length are remembered. Tuned: a drain falls into each of them. */
const WINDOW = 10_000_000;
/** A round trip no more than this above the base confirms it. Tuned: below every queue that we keep. */
const TOUCH = 500;

export class BaseRtt {
  /** 0 before the first sample. */
  value = 0;
  /** When a round trip was last as short as the base. */
  touchedAt = -Infinity;
  private since = -Infinity;
  private current = Infinity;
  private previous = Infinity;
  private oldest = Infinity;

  sample(now: number, rtt: number): void {
    if (now - this.since >= WINDOW) this.rotate(now);
    if (rtt < this.current) this.current = rtt;
    if (this.value === 0 || rtt < this.value) this.value = rtt;
    if (rtt <= this.value + TOUCH) this.touchedAt = now;
  }

  /** As at the beginning. */
  forget(): void {
    this.value = 0;
    this.touchedAt = -Infinity;
    this.since = -Infinity;
    this.current = Infinity;
    this.previous = Infinity;
    this.oldest = Infinity;
  }

  /** Forgets all that went before: the path's own round trip is `rtt` now. */
  restart(now: number, rtt: number): void {
    this.previous = Infinity;
    this.oldest = Infinity;
    this.current = rtt;
    this.value = rtt;
    this.since = now;
    this.touchedAt = now;
  }

  private rotate(now: number): void {
    this.oldest = this.previous;
    this.previous = this.current;
    this.current = Infinity;
    this.since = now;
    const least = Math.min(this.oldest, this.previous);
    if (least !== Infinity) this.value = least;
  }
}
