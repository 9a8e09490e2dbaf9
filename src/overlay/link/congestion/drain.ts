/**
 * A drain: for about a round trip the window is less than the path holds without a queue. What round trip remains then is the path's own if
 * the queue was ours. Windows in bytes, times in µs. Pure.
 */
import type { AckSample } from './controller.js';

/** Share of a round trip over which the emptied path is looked at. Tuned. */
const LOOK = 1 / 4;
/** A drain without acknowledgements is given up after so many round trips. Tuned. */
const PATIENCE = 6;

export class Drain {
  isActive = false;
  window = 0;
  /** Least round trip of what was sent while it lasted, Infinity if nothing was. */
  leastRtt = Infinity;
  /** Standing queue when it began. */
  queueBefore = 0;
  private startedAt = 0;
  private emptyAt = -1;

  begin(now: number, window: number, queue: number): void {
    this.isActive = true;
    this.window = window;
    this.queueBefore = queue;
    this.leastRtt = Infinity;
    this.startedAt = now;
    this.emptyAt = -1;
  }

  cancel(): void {
    this.isActive = false;
  }

  /** True where the drain has just ended. */
  onAck(now: number, sample: AckSample, smoothedRtt: number): boolean {
    if (this.emptyAt < 0) {
      if (sample.bytesInFlight <= this.window) this.emptyAt = now;
    } else if (sample.newestSentAt >= this.emptyAt) {
      if (sample.rtt > 0) this.leastRtt = Math.min(this.leastRtt, sample.rtt);
      if (sample.newestSentAt >= this.emptyAt + smoothedRtt * LOOK) this.isActive = false;
    }
    if (now - this.startedAt > smoothedRtt * PATIENCE) this.isActive = false;
    return !this.isActive;
  }
}
