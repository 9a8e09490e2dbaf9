/**
 * A link's round trip as paths are chosen by: smoothed, but one late answer proves nothing, and a queue that this node's own traffic makes
 * belongs to the traffic and not to the path, which others would leave in vain, and it would follow. While the link carries something, the least of the last seconds
 * counts, in which such a queue has been empty at some time; while it carries much that no window holds back, the least of the last
 * five to ten minutes. A path that became longer shows all the same, later. All in µs. Pure.
 */

/** What the link carries: nothing to speak of, enough to make others wait now and then, enough to make a standing queue. */
export const LOAD_NONE = 0;
export const LOAD_SOME = 1;
export const LOAD_MUCH = 2;

/** Tuned. */
const SHORT_WINDOW = 3_000_000;
const LONG_WINDOW = 300_000_000;
/** The network's queue stands when round trips are longer than the base by this share of it and by this. Tuned: the congestion controller's own is shorter. */
const QUEUE_SHARE = 0.5;
const QUEUE_LEAST = 15_000;

export class PathDelay {
  private readonly recent = [0, 0, 0];
  private samples = 0;
  private readonly short = new WindowedLeast(SHORT_WINDOW);
  private readonly long = new WindowedLeast(LONG_WINDOW);

  /** `latest` > 0; `base`: the least of the last minutes. Returns whether the network's queue stands. */
  sample(now: number, latest: number, base: number): boolean {
    this.recent[this.samples++ % this.recent.length] = latest;
    this.short.sample(now, latest);
    this.long.sample(now, latest);
    return latest - base > Math.max(QUEUE_LEAST, QUEUE_SHARE * base);
  }

  /** `load`: LOAD_NONE … LOAD_MUCH. */
  value(smoothed: number, load: number): number {
    const known = this.recent.slice(0, Math.min(this.samples, this.recent.length));
    const least =
      load === LOAD_NONE ? Math.min(...known) : (load === LOAD_MUCH ? this.long : this.short).value;
    return Math.min(smoothed, least);
  }
}

/** The least of one to two windows' time; Infinity before the first sample. */
class WindowedLeast {
  private since = -Infinity;
  private current = Infinity;
  private previous = Infinity;

  constructor(private readonly window: number) {}

  sample(now: number, value: number): void {
    if (now - this.since >= this.window) {
      this.previous = this.current;
      this.current = Infinity;
      this.since = now;
    }
    this.current = Math.min(this.current, value);
  }

  get value(): number {
    return Math.min(this.current, this.previous);
  }
}
