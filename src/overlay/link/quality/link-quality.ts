/**
 * How good a link is, towards the neighbour, by what hellos and all other traffic show: one for each neighbour, which outlives the link's going down.
 * Times in µs. Pure.
 */
import { LOSS_UNIT, type LinkMeasure } from '../../route/measure.js';
import type { Tally } from '../../wire/frames.js';
import { PathDelay } from './path-delay.js';
import { QueuePrice } from './queue-price.js';
import { RecordLoss } from './record-loss.js';

/** Bytes a second, both ways, that can make a queue. Tuned. */
const LOADED = 60_000;
/** Over at least this time, and how long that holds. */
const LOAD_SPAN = 90_000;
const LOADED_FOR = 1_000_000;

export class LinkQuality {
  private readonly delay = new PathDelay();
  private readonly records = new RecordLoss();
  private readonly queue = new QueuePrice();
  private smoothed = 0;
  private loadedUntil = -Infinity;
  /** Since the last tally, a queue of the network stood while the link carried much. */
  private congested = false;
  /** A tally of a loaded link waits for the next: losses may show before the queue does that made them. */
  private pending: { readonly at: number; readonly tally: Tally; readonly congested: boolean } | undefined;
  private bytes = 0;
  private bytesAt = -Infinity;

  /** `bytes`: sent and received over the link since it began. `queued`: packets that wait in front of it. */
  load(now: number, bytes: number, queued: number): void {
    this.queue.sample(now, queued);
    const elapsed = now - this.bytesAt;
    if (elapsed < LOAD_SPAN) return;
    if (((bytes - this.bytes) * 1e6) / elapsed >= LOADED) this.loadedUntil = now + LOADED_FOR;
    this.bytes = bytes;
    this.bytesAt = now;
  }

  /** A round trip: smoothed, least of the last minutes, the newest itself. */
  roundTrip(now: number, smoothed: number, base: number, latest: number): void {
    this.smoothed = smoothed;
    if (this.delay.sample(now, latest, base) && now < this.loadedUntil) this.congested = true;
  }

  /** The peer tells what has come of what was sent to it. */
  tally(now: number, tally: Tally): void {
    const { pending, congested } = this;
    this.congested = false;
    this.pending = undefined;
    if (pending) this.records.take(pending.at, pending.tally, pending.congested || congested);
    if (now < this.loadedUntil) this.pending = { at: now, tally, congested };
    else this.records.take(now, tally, congested);
  }

  /** The link is up again: what was lost while it was down says nothing of what it loses when up. */
  resume(): void {
    this.pending = undefined;
    this.records.interrupt();
  }

  /** So many records were not sent, or their loss is not the link's: probes that were too large. */
  excuse(records: number): void {
    this.records.excuse(records);
  }

  /** Share of what is sent that is lost, 0 … 1. */
  get loss(): number {
    return this.records.loss;
  }

  measure(now: number): LinkMeasure {
    return {
      rtt: this.delay.value(this.smoothed, now < this.loadedUntil),
      loss: this.records.loss * LOSS_UNIT,
      burst: this.records.burst,
      price: this.queue.price,
    };
  }
}
