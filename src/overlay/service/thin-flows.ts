/**
 * Copies ahead of loss: which frames are sent twice or more often, so that losing one costs no round trip. Only on a link that loses, only for
 * flows that are a small share of it, and all copies together within a stated share of what the link has left.
 *
 * A flow's rate is measured by a counter that decays; counters lie in a count-min sketch (Cormode and Muthukrishnan 2005), which may count
 * others' bytes for a flow's, never fewer than its own. So a flow that isn't thin is never taken for one, and nobody's flows cost memory.
 * Times in µs, rates in bytes per µs.
 */

export interface ThinFlowsOptions {
  /** Counters a row of the sketch, a power of two up to 65 536; 1024 by default. */
  counters?: number;
  /** Loss from which copies are made: 0..1; 0.001 by default. */
  leastLoss?: number;
  /** Most of the link's rate that a flow may use and still be thin: 0..1; 0.15 by default. */
  thinShare?: number;
  /** Most of the link's unused rate that copies may use: 0..1; 0.25 by default. */
  copyShare?: number;
}

/** The link as it is now. */
export interface LinkLoad {
  /** Loss of the direction to the neighbour, 0..1, and the mean length of a run of losses, ≥ 1. */
  loss: number;
  burst: number;
  /** What the link can carry, and what it carries. */
  rate: number;
  busy: number;
}

/** Over which a flow's rate is measured: a bulk flow is no longer thin after a seventh of it. Tuned. */
const RATE_TIME = 500_000;
/** Unused copies' allowance that may be saved up, and the least that can be: two copies of a full frame. Tuned. */
const SAVED_TIME = 100_000;
const SAVED_BYTES = 3200;
/** From here on a second copy is worth its bytes, or even a third. Tuned. */
const TWICE_LOSS = 0.04;
const THRICE_BURST = 2;
/** A run longer than this outlasts any copy. Tuned. */
const OUTAGE_BURST = 8;
/** Distance of the last copy for each frame that a run of losses lasts, and the most, as a share of the round trip: later than that, a retransmission is as good. Tuned. */
const DELAY_PER_BURST = 1_200;
const DELAY_ROUND_TRIPS = 0.25;

export class ThinFlows {
  private readonly bytes: Float64Array;
  private readonly since: Float64Array;
  private readonly counters: number;
  private readonly leastLoss: number;
  private readonly thinShare: number;
  private readonly copyShare: number;
  /** Bytes that copies may take now. */
  private allowance = 0;
  private allowanceSince = -Infinity;

  constructor(options: ThinFlowsOptions = {}) {
    const { counters = 1024, leastLoss = 0.001, thinShare = 0.15, copyShare = 0.25 } = options;
    if (counters < 1 || (counters & (counters - 1)) !== 0) throw new RangeError('counters: a power of two');
    this.counters = counters;
    this.leastLoss = leastLoss;
    this.thinShare = thinShare;
    this.copyShare = copyShare;
    this.bytes = new Float64Array(2 * counters);
    this.since = new Float64Array(2 * counters);
  }

  /** How many copies of a frame of `flow` (u32) that is being sent, of `bytes`, are to follow it: 0 to 3. They count as made. */
  consider(now: number, flow: number, bytes: number, link: LinkLoad): number {
    if (!(link.loss >= this.leastLoss)) return 0;
    const rate = this.count(now, flow, bytes);
    this.refill(now, Math.max(0, link.rate - link.busy));
    if (!(rate <= this.thinShare * link.rate)) return 0;
    const once = link.loss >= TWICE_LOSS ? 2 : 1;
    const wanted = link.burst >= THRICE_BURST && link.burst <= OUTAGE_BURST ? 3 : once;
    const copies = Math.min(wanted, Math.floor(this.allowance / bytes));
    this.allowance -= copies * bytes;
    return copies;
  }

  /**
   * µs between a frame and the first of its `copies`, and between two of them: the last is past the run of losses that may take the frame, and
   * before its retransmission could arrive.
   */
  copyDelay(copies: number, burst: number, roundTrip: number): number {
    return Math.min(DELAY_PER_BURST * Math.max(1, burst), DELAY_ROUND_TRIPS * roundTrip) / copies;
  }

  /** Counts a frame; returns its flow's rate, or more. */
  private count(now: number, flow: number, bytes: number): number {
    const mask = this.counters - 1;
    const row0 = (Math.imul(flow ^ (flow >>> 16), 0x9e3779b1) >>> 16) & mask;
    const row1 = (Math.imul(flow ^ (flow >>> 15), 0x85ebca6b) >>> 16) & mask;
    const one = this.add(now, row0, bytes);
    const other = this.add(now, this.counters + row1, bytes);
    return Math.min(one, other) / RATE_TIME;
  }

  private add(now: number, counter: number, bytes: number): number {
    const left = this.bytes[counter] * Math.exp((this.since[counter] - now) / RATE_TIME);
    this.since[counter] = now;
    return (this.bytes[counter] = left + bytes);
  }

  private refill(now: number, unused: number): void {
    const fill = this.copyShare * unused;
    const most = Math.max(SAVED_BYTES, fill * SAVED_TIME);
    const elapsed = Math.max(0, now - this.allowanceSince);
    this.allowance = Math.min(most, this.allowance + (fill > 0 ? fill * elapsed : 0));
    this.allowanceSince = now;
  }
}
