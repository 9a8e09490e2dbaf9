/**
 * Where frames leave the overlay: reliable ones in the order of their flow, others as they come, each once. What is ahead of its turn
 * waits in the frame store, no longer than the recovery of its path can take.
 */
import { type PacketBatch, RECORD_HEADER } from '../../io/batch.js';
import type { Io } from '../../io/ports.js';
import { ARRIVE_DUPLICATE, ARRIVE_HOLD, type FlowOrder } from '../egress/flow-order.js';
import type { ArrivedFlows } from '../egress/arrived-flows.js';
import type { Duplicates } from '../egress/duplicates.js';
import {
  FLAG_VOID,
  readDistance,
  readEpoch,
  readFlags,
  readFlow,
  readSequence,
  readService,
  readSource,
} from '../wire/routed.js';
import type { Counters } from './counters.js';
import type { Exit } from './exit.js';
import type { Routes } from './routes.js';
import { FRAME_AT, type FrameStore } from './store.js';

/** Tuned: how often over a path's round trip, and how long besides, a packet waits for an earlier one, µs: a frame may be lost thrice on one hop. */
const WAIT_ROUND_TRIPS = 4;
const WAIT_LEAST = 30_000;
const WAIT_MOST = 1_000_000;

export interface OrderedExitParts {
  io: Io;
  exit: Exit;
  order: FlowOrder;
  duplicates: Duplicates;
  arrived: ArrivedFlows;
  store: FrameStore;
  routes: Routes;
  counters: Counters;
}

export class OrderedExit {
  private readonly released = new Int32Array(256);
  private releasedCount = 0;
  private readonly one = new Int32Array(1);
  private readonly slot = new Int32Array(1);
  private lastSource = 0;
  private lastWait = 0;

  constructor(private readonly parts: OrderedExitParts) {}

  /** Begins a batch: routes may have changed since the last. */
  begin(now: number): void {
    this.lastSource = 0;
    this.parts.exit.begin(now);
  }

  /** Takes a best-effort data frame, or the first copy of a source-routed one: as it comes. */
  take(batch: PacketBatch, i: number, frame: number, length: number): void {
    if (!this.isVoid(batch, frame)) this.parts.exit.take(batch, i, frame, length);
  }

  /** Takes the realtime data frame of packet `i`: at once, unless it was here before. */
  takeRealtime(now: number, batch: PacketBatch, i: number, frame: number, length: number): void {
    const { duplicates, counters, arrived } = this.parts;
    const { view } = batch;
    if (this.isVoid(batch, frame)) return;
    if (duplicates.seen(readSource(view, frame), readEpoch(view, frame), readSequence(view, frame))) {
      counters.duplicates++;
      arrived.duplicate(readSource(view, frame), readFlow(view, frame));
    } else this.takeOut(now, batch, i, frame, length);
  }

  /** Takes the reliable data frame of packet `i`: it is delivered, kept until its turn, or known already. */
  takeReliable(now: number, batch: PacketBatch, i: number, frame: number, length: number): void {
    const { order, counters } = this.parts;
    const { view } = batch;
    const source = readSource(view, frame);
    const epoch = readEpoch(view, frame);
    const flow = readFlow(view, frame);
    const sequence = readSequence(view, frame);
    const distance = readDistance(view, frame);
    if (this.isVoid(batch, frame)) {
      order.void(now, source, epoch, flow, sequence, distance);
      this.deliverReady(now, batch);
      return;
    }
    const verdict = order.arrive(now, source, epoch, flow, sequence, distance, this.waitFor(source));
    if (verdict === ARRIVE_DUPLICATE) counters.duplicates++;
    else {
      const isHeld = verdict === ARRIVE_HOLD && this.hold(now, batch, i, frame, length);
      if (!isHeld) this.takeOut(now, batch, i, frame, length);
      this.deliverReady(now, batch);
    }
  }

  /** Writes what a batch brought. */
  flush(batch: PacketBatch): void {
    this.parts.exit.flush(batch);
  }

  /** Gives up waiting where it has lasted too long. */
  timeout(now: number): void {
    const { order, store } = this.parts;
    if (now < order.nextTimeout()) return;
    order.timeout(now);
    this.begin(now);
    this.deliverReady(now, store.batch);
  }

  nextTimeout(): number {
    return this.parts.order.nextTimeout();
  }

  private takeOut(now: number, batch: PacketBatch, i: number, frame: number, length: number): void {
    const { exit, arrived } = this.parts;
    const { view } = batch;
    if (!exit.take(batch, i, frame, length)) return;
    arrived.arrived(now, readSource(view, frame), readFlow(view, frame), readService(view, frame), exit.info);
  }

  private isVoid({ view }: PacketBatch, frame: number): boolean {
    if ((readFlags(view, frame) & FLAG_VOID) === 0) return false;
    this.parts.counters.drop('void');
    return true;
  }

  /** Keeps packet `i` until its turn; false where it can't be: out of order is better than not at all. */
  private hold(now: number, batch: PacketBatch, i: number, frame: number, length: number): boolean {
    const { io, order, store } = this.parts;
    this.deliverReady(now, batch); // what had to make room gives its slot back
    const slot = length > store.frameMax ? -1 : store.takeSparing();
    if (slot < 0) return false;
    batch.offset[i] = frame - RECORD_HEADER;
    batch.length[i] = length + RECORD_HEADER;
    this.one[0] = i;
    this.slot[0] = slot;
    io.copy(batch, this.one, 1, store.batch, this.slot, FRAME_AT - RECORD_HEADER);
    store.frameLength[slot] = length;
    order.hold(slot);
    return true;
  }

  /** Delivers what has its turn now, behind what the batch has brought so far. */
  private deliverReady(now: number, batch: PacketBatch): void {
    const { order, exit, store } = this.parts;
    let slot = order.ready(now);
    if (slot < 0) return;
    exit.flush(batch);
    this.releasedCount = 0;
    for (; slot >= 0; slot = order.ready(now)) {
      this.takeOut(now, store.batch, slot, store.frameAt(slot), store.frameLength[slot]!);
      this.released[this.releasedCount++] = slot;
      if (this.releasedCount === this.released.length) this.flushReady();
    }
    this.flushReady();
  }

  private flushReady(): void {
    const { exit, store } = this.parts;
    exit.flush(store.batch);
    for (let k = 0; k < this.releasedCount; k++) store.release(this.released[k]!);
    this.releasedCount = 0;
  }

  private waitFor(source: number): number {
    if (source !== this.lastSource) {
      this.lastSource = source;
      const rtt = this.parts.routes.byNode(source)?.rtt ?? WAIT_MOST;
      this.lastWait = Math.min(WAIT_MOST, WAIT_ROUND_TRIPS * rtt + WAIT_LEAST);
    }
    return this.lastWait;
  }
}
