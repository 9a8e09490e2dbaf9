/**
 * Carries out what the links' `Outbound` cores decide: stored frames get their link frames and record header, are sealed in place and sent.
 * A frame that is sent again is unsealed first, with the key that sealed it, so that keeping it costs no copy; its new record has a counter of its own.
 */
import { createBatch, type PacketBatch, RECORD_HEADER, RECORD_TAG } from '../../io/batch.js';
import type { Aead } from '../../io/ports.js';
import type { ParityEncoder } from '../link/fec/parity-encoder.js';
import { CHANGE_MARK, CHANGE_VOID } from '../link/outbound.js';
import { LANE_REALTIME } from '../wire/lanes.js';
import { writeNumber } from '../wire/record.js';
import { REPEAT_FRAME_SIZE, writeRepeat } from '../wire/recovery.js';
import { REPAIR_OVERHEAD_MAX } from '../wire/repair.js';
import { ECN_CE, ECN_ECT0, FLAG_VOID, readEcn, setFlag, writeEcn } from '../wire/routed.js';
import type { Neighbour } from './neighbour.js';
import type { Sender } from './sender.js';
import { type FrameStore, RIDE_MAX } from './store.js';

/** Frames that are sealed and sent with one call. */
const CAPACITY = 512;
/** Acknowledgements ride on frames up to this size, so that a full packet doesn't outgrow its path. */
const RIDE_ON_MAX = 1100;
const FIRST = Int32Array.of(0);

export class Transmitter {
  private readonly handles = new Int32Array(CAPACITY);
  private readonly epochs = new Uint8Array(CAPACITY);
  private readonly numbers = new Int32Array(CAPACITY);
  private readonly repeats = new Int32Array(CAPACITY);
  private readonly changes = new Uint8Array(CAPACITY);
  private readonly neighbours: (Neighbour | undefined)[] = new Array<undefined>(CAPACITY).fill(undefined);
  private readonly order: Int32Array;
  /** By handle: whether it stands in the list. */
  private readonly listed: Uint8Array;
  private count = 0;
  private readonly parity: PacketBatch;
  private readonly scratch = new Uint8Array(RIDE_MAX);
  private readonly scratchView = new DataView(this.scratch.buffer);

  constructor(
    private readonly store: FrameStore,
    private readonly aead: Aead,
    private readonly sender: Sender,
  ) {
    this.order = new Int32Array(Math.max(CAPACITY, store.slots));
    this.listed = new Uint8Array(store.slots);
    this.parity = createBatch(RECORD_HEADER + store.frameMax + REPAIR_OVERHEAD_MAX + RECORD_TAG, 1);
  }

  /** Lists a frame for `flush`; parameters as those of `Wire.transmit`. */
  add(
    now: number,
    neighbour: Neighbour,
    handle: number,
    epoch: number,
    number: number,
    repeatOf: number,
    change: number,
  ): void {
    // A frame that is to go twice is sealed twice, one after the other.
    if (this.count === CAPACITY || this.listed[handle]) this.flush(now);
    const k = this.count++;
    this.listed[handle] = 1;
    this.handles[k] = handle;
    this.epochs[k] = epoch;
    this.numbers[k] = number;
    this.repeats[k] = repeatOf;
    this.changes[k] = change;
    this.neighbours[k] = neighbour;
  }

  /** The frame is done with, and its slot may be used again at once: it isn't sent any more. */
  forget(handle: number): void {
    if (!this.listed[handle]) return;
    this.listed[handle] = 0;
    const k = this.handles.indexOf(handle);
    const last = --this.count;
    this.handles.copyWithin(k, k + 1, last + 1);
    this.epochs.copyWithin(k, k + 1, last + 1);
    this.numbers.copyWithin(k, k + 1, last + 1);
    this.repeats.copyWithin(k, k + 1, last + 1);
    this.changes.copyWithin(k, k + 1, last + 1);
    this.neighbours.copyWithin(k, k + 1, last + 1);
  }

  /** Sends everything listed. */
  flush(now: number): void {
    const { store, order, sender, count } = this;
    if (count === 0) return;
    this.unsealAll(this.handles, count);
    let n = 0;
    for (let k = 0; k < count; k++) {
      const handle = this.handles[k]!;
      this.listed[handle] = 0;
      if (this.prepare(now, k)) order[n++] = handle;
    }
    this.count = 0;
    const sealed = sender.seal(store.batch, order, n);
    for (let k = 0; k < sealed; k++) store.sealed[order[k]!] = 1;
    sender.sendOnce(store.batch, order, sealed); // what the socket refuses now is lost on the way, as far as the link is concerned
  }

  /** Sends parity over the newest `frames` frames that the encoder keeps. */
  repair(
    now: number,
    next: Neighbour,
    encoder: ParityEncoder,
    epoch: number,
    number: number,
    frames: number,
    key: number,
  ): void {
    this.flush(now);
    const { parity, sender } = this;
    const limit = parity.bytes.length - RECORD_TAG;
    const end = encoder.write(parity.view, RECORD_HEADER, limit, frames, key);
    if (end === RECORD_HEADER) return;
    parity.count = 1;
    parity.offset[0] = 0;
    parity.length[0] = end;
    if (!sender.addressOne(parity, 0, next, LANE_REALTIME, ECN_ECT0)) return;
    writeNumber(parity.view, 0, epoch, number);
    sender.sealAndSend(parity, FIRST, 1);
  }

  /** Makes the stored frames `handles[0..n)` readable again; those whose key is gone are left as they are (see `FrameStore.sealed`). */
  unsealAll(handles: Int32Array, n: number): void {
    const { store, aead } = this;
    let sealed = 0;
    for (let k = 0; k < n; k++) if (store.sealed[handles[k]!] === 1) this.order[sealed++] = handles[k]!;
    if (sealed === 0) return;
    aead.open(store.batch, this.order, sealed);
    for (let k = 0; k < sealed; k++) {
      const handle = this.order[k]!;
      store.sealed[handle] = store.batch.status[handle] === 1 ? 0 : 2;
    }
  }

  /** Writes what stands in front of frame `k`; false where it can't go: its key is gone, or there is none. */
  private prepare(now: number, k: number): boolean {
    const { store, sender } = this;
    const handle = this.handles[k]!;
    if (store.sealed[handle]) return false; // a session that ended took its key along: nobody can read this again
    const { batch } = store;
    const { view } = batch;
    const frame = store.frameAt(handle);
    const next = this.neighbours[k]!;
    this.change(view, frame, this.changes[k]!);
    let at = frame;
    if (this.repeats[k]! >= 0) {
      at -= REPEAT_FRAME_SIZE;
      writeRepeat(view, at, this.repeats[k]!);
    }
    at = this.ride(now, next, handle, at);
    batch.offset[handle] = at - RECORD_HEADER;
    batch.length[handle] = RECORD_HEADER + (frame - at) + store.frameLength[handle]!;
    // Our records understand marks, since their receiver reports them (RFC 9002 §7.1).
    const outer = store.outerClass[handle]! | ECN_ECT0;
    if (!sender.addressOne(batch, handle, next, store.lane[handle]!, outer)) return false;
    writeNumber(view, at - RECORD_HEADER, this.epochs[k]!, this.numbers[k]!);
    return true;
  }

  private change(view: DataView, frame: number, change: number): void {
    if (change === CHANGE_VOID) setFlag(view, frame, FLAG_VOID);
    else if (change === CHANGE_MARK && readEcn(view, frame) !== 0) writeEcn(view, frame, ECN_CE);
  }

  /** Writes what acknowledgements there are in front of `at`, where the frame is small enough; returns where it all begins. */
  private ride(now: number, next: Neighbour, handle: number, at: number): number {
    if (this.store.frameLength[handle]! > RIDE_ON_MAX) return at;
    const inbound = next.hop?.inbound;
    if (!inbound?.hasNews) return at;
    const room = at - handle * this.store.slotSize - RECORD_HEADER;
    const acks = inbound.writeAcks(now, this.scratchView, 0, room);
    const length = acks === 0 ? 0 : inbound.writeReports(now, this.scratchView, acks, room);
    if (length === 0) return at;
    this.store.batch.bytes.set(this.scratch.subarray(0, length), at - length);
    return at - length;
  }
}
