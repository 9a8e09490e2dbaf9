/** What a node does for the frames that one link recovers, on their way in: which of them are new, and what to tell the sender. Times in µs. */
import { Arrivals } from './recovery/arrivals.js';
import { MAX_ACK_DELAY } from './outbound.js';
import { LANE_REALTIME, LANE_RELIABLE } from '../wire/lanes.js';

/** Tuned. Numbers that are remembered, behind the newest. */
const RELIABLE_WINDOW = 16_384;
const REALTIME_WINDOW = 4096;
/** Records after which an acknowledgement is due. */
const ACK_EVERY = 16;

export class Inbound {
  readonly reliable = new Arrivals({
    lane: LANE_RELIABLE,
    window: RELIABLE_WINDOW,
    ackEvery: ACK_EVERY,
    maxAckDelay: MAX_ACK_DELAY,
  });
  readonly realtime = new Arrivals({
    lane: LANE_REALTIME,
    window: REALTIME_WINDOW,
    ackEvery: ACK_EVERY,
    maxAckDelay: MAX_ACK_DELAY,
  });

  /** Of a numbered lane. */
  ofLane(lane: number): Arrivals {
    return lane === LANE_REALTIME ? this.realtime : this.reliable;
  }

  /** Whether an acknowledgement may wait no longer. */
  isDue(now: number): boolean {
    return this.reliable.ackDue(now) || this.realtime.ackDue(now);
  }

  /** There is something to say, should there be room beside data. */
  get hasNews(): boolean {
    return this.reliable.hasNews || this.realtime.hasNews;
  }

  /** When an acknowledgement becomes due; Infinity for never. */
  nextTimeout(): number {
    return Math.min(this.reliable.nextAck(), this.realtime.nextAck());
  }

  /** Writes the acknowledgements of both classes at `at`, as far as they fit before `limit`; returns the end. */
  writeAcks(now: number, view: DataView, at: number, limit: number): number {
    let end = at;
    if (this.reliable.hasNews) end = this.reliable.writeAck(now, view, end, limit);
    if (this.realtime.hasNews) end = this.realtime.writeAck(now, view, end, limit);
    return end;
  }

  /** Writes what changed of the losses seen, rarely; returns the end. */
  writeReports(now: number, view: DataView, at: number, limit: number): number {
    return this.realtime.writeReport(now, view, this.reliable.writeReport(now, view, at, limit), limit);
  }
}
