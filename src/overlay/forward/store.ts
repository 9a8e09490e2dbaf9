import { createBatch, type PacketBatch, RECORD_HEADER } from '../../io/batch.js';
import { FRAME_FREE, FRAME_WAITING, type FrameColumns } from '../link/frame-columns.js';

/**
 * Where a slot's routed frame lies: behind room for a record header and for the link frames that may ride in front of it (a
 * repeat and an acknowledgement), which are written backwards from here.
 */
export const FRAME_AT = 96;
/** Share of the slots that reliable frames leave to realtime ones, which don't wait and so need few. */
const REALTIME_SHARE = 1 / 16;
/** Most bytes of link frames in front of a slot's routed frame. */
export const RIDE_MAX = FRAME_AT - RECORD_HEADER;

/**
 * Frames that a node keeps: those that wait for a link, those that a link may have to send again, and those that wait at the exit for
 * an earlier one. One arena of equal slots; a slot's number is the frame's handle, which cores know it by. Its memory is
 * touched only as far as it is used, the most recently freed slot first.
 */
export class FrameStore implements FrameColumns {
  readonly batch: PacketBatch;
  readonly slotSize: number;
  /** Largest routed frame that a slot holds, bytes. */
  readonly frameMax: number;
  readonly frameLength: Int32Array;
  readonly since: Float64Array;
  readonly flow: Uint32Array;
  readonly state: Uint8Array;
  readonly lane: Uint8Array;
  readonly repeats: Uint8Array;
  /** Index in the flow cache of an own frame's flow; -1: another node's. */
  readonly entryFlow: Int32Array;
  /** DSCP bits of the outer header, in place. */
  readonly outerClass: Uint8Array;
  /** 1: sealed in place, as its key, offset and length say; 2: for good, its key being gone. */
  readonly sealed: Uint8Array;
  /** Slots that are spared for realtime frames. */
  readonly reserve: number;
  private readonly free: Int32Array;
  private freeCount: number;

  /** `frameMax` in bytes: the largest routed frame that fits a slot. */
  constructor(slots: number, frameMax: number, tailroom: number) {
    this.slotSize = Math.ceil((FRAME_AT + frameMax + tailroom) / 64) * 64;
    this.batch = createBatch(slots * this.slotSize, slots);
    this.frameLength = new Int32Array(slots);
    this.since = new Float64Array(slots);
    this.flow = new Uint32Array(slots);
    this.state = new Uint8Array(slots);
    this.lane = new Uint8Array(slots);
    this.repeats = new Uint8Array(slots);
    this.entryFlow = new Int32Array(slots);
    this.outerClass = new Uint8Array(slots);
    this.sealed = new Uint8Array(slots);
    this.free = Int32Array.from({ length: slots }, (_, i) => slots - 1 - i);
    this.freeCount = slots;
    this.reserve = Math.floor(slots * REALTIME_SHARE);
    this.frameMax = this.slotSize - FRAME_AT - tailroom;
  }

  get slots(): number {
    return this.free.length;
  }

  get used(): number {
    return this.free.length - this.freeCount;
  }

  /** How many more reliable frames there is room for; less than none where realtime frames use their reserve. */
  get room(): number {
    return this.freeCount - this.reserve;
  }

  /** A slot for a reliable frame, or -1 where all but the reserve are taken. */
  takeSparing(): number {
    return this.room > 0 ? this.take() : -1;
  }

  /** A slot, or -1 where all are taken. */
  take(): number {
    if (this.freeCount === 0) return -1;
    const slot = this.free[--this.freeCount]!;
    this.state[slot] = FRAME_WAITING;
    this.sealed[slot] = 0;
    this.repeats[slot] = 0;
    return slot;
  }

  /** Takes up to `n` slots; returns how many there were. */
  takeMany(slots: Int32Array, n: number): number {
    const count = Math.min(n, this.freeCount);
    for (let k = 0; k < count; k++) slots[k] = this.take();
    return count;
  }

  release(slot: number): void {
    if (this.state[slot] === FRAME_FREE) throw new Error(`slot ${slot} is free already`);
    this.state[slot] = FRAME_FREE;
    this.free[this.freeCount++] = slot;
  }

  /** Notes what lies in a taken slot since `now` (µs): the columns of these names, by value. */
  describe(slot: number, now: number, frameLength: number, outerClass: number, entryFlow: number): void {
    this.frameLength[slot] = frameLength;
    this.outerClass[slot] = outerClass;
    this.entryFlow[slot] = entryFlow;
    this.since[slot] = now;
  }

  /** Where the slot's routed frame begins in the arena. */
  frameAt(slot: number): number {
    return slot * this.slotSize + FRAME_AT;
  }
}
