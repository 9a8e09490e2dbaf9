/**
 * A link's round trip as paths are chosen by: smoothed, but one late answer proves nothing, and a queue that this node's own traffic makes
 * belongs to the traffic and not to the path, which others would leave in vain. While the link carries much, the least of the last ten
 * to twenty seconds counts, in which a queue of ours has been empty at some time; a path that became longer shows all the same. All in µs. Pure.
 */

/** Tuned. */
const WINDOW = 10_000_000;
/** The network's queue stands when round trips are longer than the base by this share of it and by this. Tuned: the congestion controller's own is shorter. */
const QUEUE_SHARE = 0.5;
const QUEUE_LEAST = 15_000;

export class PathDelay {
  private readonly recent = [0, 0, 0];
  private samples = 0;
  private since = -Infinity;
  private current = Infinity;
  private previous = Infinity;

  /** `latest` > 0; `base`: the least of the last minutes. Returns whether the network's queue stands. */
  sample(now: number, latest: number, base: number): boolean {
    this.recent[this.samples++ % this.recent.length] = latest;
    if (now - this.since >= WINDOW) {
      this.previous = this.current;
      this.current = Infinity;
      this.since = now;
    }
    this.current = Math.min(this.current, latest);
    return latest - base > Math.max(QUEUE_LEAST, QUEUE_SHARE * base);
  }

  /** `loaded`: the link carries enough to make a queue. */
  value(smoothed: number, loaded: boolean): number {
    if (loaded) return Math.min(smoothed, this.current, this.previous);
    const known = this.recent.slice(0, Math.min(this.samples, this.recent.length));
    return Math.min(smoothed, ...known);
  }
}
