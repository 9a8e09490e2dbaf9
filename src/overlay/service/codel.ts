/**
 * CoDel (RFC 8289): says which packets of a queue carry a signal, by the time that they waited. States of many queues, in typed arrays.
 *
 * Unlike the RFC's pseudocode (§5), which takes from the queue in a loop until a packet may pass, one call judges one packet: the caller has
 * something to do for each packet that is dropped, and asks again. So the next signal's time moves on with the signal itself, as Linux's
 * sch_codel does when it marks, and not after a look at the packet behind. All times in µs.
 */

/** After a pause shorter than this many intervals, signals go on nearly as often as they came (RFC 8289 §5.5). */
const RESUME_INTERVALS = 16;

export class CoDel {
  private target: number;
  private interval: number;
  /** When waiting will have been too long for an interval; 0: it isn't too long now. */
  private readonly above: Float64Array;
  /** When the next signal is due, while `signalling`. */
  private readonly due: Float64Array;
  /** Signals since this state began, and how many it began with. */
  private readonly count: Float64Array;
  private readonly lastCount: Float64Array;
  private readonly signalling: Uint8Array;

  /**
   * @param queues how many there are: 0 .. queues-1
   * @param leastTarget µs that a packet may wait
   * @param leastInterval µs that waiting may be longer than that
   * @param smallest bytes: a queue with no more than this behind the packet is never signalled; the largest packet
   */
  constructor(
    queues: number,
    private readonly leastTarget: number,
    private readonly leastInterval: number,
    private readonly smallest: number,
  ) {
    this.target = leastTarget;
    this.interval = leastInterval;
    this.above = new Float64Array(queues);
    this.due = new Float64Array(queues);
    this.count = new Float64Array(queues);
    this.lastCount = new Float64Array(queues);
    this.signalling = new Uint8Array(queues);
  }

  /** Raises the target to `micros` where that is more than the least; the interval, meant to hold a round trip and the queue, grows along. */
  setTarget(micros: number): void {
    this.target = Math.max(this.leastTarget, micros);
    this.interval = Math.max(this.leastInterval + this.target - this.leastTarget, 2 * this.target);
  }

  /** Whether the packet just taken from `queue`, after `sojourn` µs in it and with `backlog` bytes left, is to be marked or dropped. */
  judge(queue: number, now: number, sojourn: number, backlog: number): boolean {
    const tooLong = this.isTooLong(queue, now, sojourn, backlog);
    if (this.signalling[queue] === 0) return tooLong && this.begin(queue, now);
    if (!tooLong) {
      this.signalling[queue] = 0;
      return false;
    }
    if (now < this.due[queue]) return false;
    this.due[queue] += this.interval / Math.sqrt(++this.count[queue]);
    return true;
  }

  /** Whether packets have waited longer than the target for an interval. */
  private isTooLong(queue: number, now: number, sojourn: number, backlog: number): boolean {
    if (sojourn < this.target || backlog <= this.smallest) {
      this.above[queue] = 0;
      return false;
    }
    if (this.above[queue] === 0) {
      this.above[queue] = now + this.interval;
      return false;
    }
    return now >= this.above[queue];
  }

  private begin(queue: number, now: number): true {
    const since = this.count[queue] - this.lastCount[queue];
    const resumed = since > 1 && now - this.due[queue] < RESUME_INTERVALS * this.interval;
    const count = resumed ? since : 1;
    this.count[queue] = this.lastCount[queue] = count;
    this.due[queue] = now + this.interval / Math.sqrt(count);
    this.signalling[queue] = 1;
    return true;
  }

  /** `queue` is another flow's from now on. */
  reset(queue: number): void {
    this.above[queue] = this.due[queue] = 0;
    this.count[queue] = this.lastCount[queue] = 0;
    this.signalling[queue] = 0;
  }
}
