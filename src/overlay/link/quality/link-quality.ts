/**
 * How good a link is, towards the neighbour, by what hellos and all other traffic show: one for each neighbour, which outlives the link's going down.
 * Times in µs. Pure.
 */
import { LOSS_UNIT, type LinkMeasure } from '../../route/measure.js';
import { TALLY_LOSS_UNIT, type Counts, type Tally } from '../../wire/frames.js';
import { LinkHealth } from './link-health.js';
import { LOAD_MUCH, LOAD_NONE, LOAD_SOME, PathDelay } from './path-delay.js';
import { QueuePrice } from './queue-price.js';
import { RecordLoss } from './record-loss.js';

/** Bytes a second, both ways, that make others wait on a slow link, and that can make a standing queue. Tuned. */
const SOME = 10_000;
const MUCH = 60_000;
/** Over at least this time, and how long that holds. */
const LOAD_SPAN = 90_000;
const LOADED_FOR = 1_000_000;
/** Packets that a bulk flow keeps in the queue of its bottleneck. Tuned. */
const BULK_QUEUE = 20;

export class LinkQuality {
  readonly health: LinkHealth;
  private readonly delay = new PathDelay();
  private readonly records = new RecordLoss();
  private readonly queue = new QueuePrice();
  /** As paths are chosen by, of the last sample and the load that it came under: where a full queue lets none through, nothing is known anew. */
  private rtt = 0;
  private base = 0;
  private someUntil = -Infinity;
  private muchUntil = -Infinity;
  /** By the newest round trip, a queue of the network stands. */
  private stands = false;
  /** Since the last tally, such a queue stood while the link carried something. */
  private congested = false;
  /** A tally of a loaded link waits for the next: losses may show before the queue does that made them. */
  private pending: { readonly at: number; readonly tally: Counts; readonly congested: boolean } | undefined;
  /** Share of what the peer sends that is lost, as it tells, 0 … 1. */
  lossFromPeer = 0;
  private bytes = 0;
  private bytesAt = -Infinity;

  constructor(now: number) {
    this.health = new LinkHealth(now);
  }

  /**
   * `bytes`: sent and received over the link since it began, but for what congestion control let go, which keeps the queue short. `queued`: packets that
   * wait in front of it.
   */
  load(now: number, bytes: number, queued: number): void {
    this.queue.sample(now, queued);
    const elapsed = now - this.bytesAt;
    if (elapsed < LOAD_SPAN) return;
    const rate = ((bytes - this.bytes) * 1e6) / elapsed;
    if (rate >= SOME) this.someUntil = now + LOADED_FOR;
    if (rate >= MUCH) this.muchUntil = now + LOADED_FOR;
    this.bytes = bytes;
    this.bytesAt = now;
  }

  /** A round trip, after `load`: smoothed, least of the last minutes, the newest itself. */
  roundTrip(now: number, smoothed: number, base: number, latest: number): void {
    this.base = base;
    this.stands = this.delay.sample(now, latest, base);
    const load = now < this.muchUntil ? LOAD_MUCH : now < this.someUntil ? LOAD_SOME : LOAD_NONE;
    this.rtt = this.delay.value(smoothed, load);
    this.congested ||= this.stands && now < this.someUntil;
  }

  /** The peer tells what has come of what was sent to it; after `load` too. */
  tally(now: number, tally: Tally): void {
    this.lossFromPeer = tally.loss / TALLY_LOSS_UNIT;
    const { pending, congested } = this;
    // Round trips are lost too where the queue is full: what the newest one showed holds until another shows otherwise.
    this.congested = this.stands && now < this.someUntil;
    this.pending = undefined;
    if (pending) this.records.take(pending.at, pending.tally, pending.congested || congested);
    if (now < this.someUntil) this.pending = { at: now, tally, congested };
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

  /** A bulk flow is about to begin on the link: the next one needn't be led here too, before the queue shows. */
  expect(): void {
    this.queue.expect(BULK_QUEUE);
  }

  /** Of the queue, in hops. */
  get price(): number {
    return this.queue.price;
  }

  /** Share of what is sent that is lost, 0 … 1. */
  get loss(): number {
    return this.records.loss;
  }

  /** `isShort`: data-sized records don't pass. */
  judge(now: number, isUp: boolean, isShort: boolean): void {
    const loss = Math.max(this.loss, this.lossFromPeer);
    this.health.update(now, { isUp, isShort, loss, rtt: this.rtt, base: this.base });
  }

  measure(): LinkMeasure {
    return {
      rtt: this.rtt,
      loss: this.records.loss * LOSS_UNIT,
      burst: this.records.burst,
      price: this.queue.price,
    };
  }
}
