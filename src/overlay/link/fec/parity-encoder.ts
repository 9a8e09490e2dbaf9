/**
 * Parity for the realtime class of one link: frames that are lost are computed from those that arrived, which costs no round trip.
 *
 * `parity-policy` decides how many repairs to send, when, and over how many of the newest frames, from what `residual` says would still
 * be lost; `parity-encoder` keeps the newest frames and writes repairs, `parity-decoder` at the other end solves for what is missing;
 * both work on `symbols` in `gf256`. `retransmission-budget` bounds the other way of recovery. The code is systematic (frames go out as
 * they are) over a window that slides (in the manner of RFC 8681). Nothing here knows what a frame holds or when a record is sent.
 */
import { LINK_FRAME_HEAD } from '../../wire/frames.js';
import {
  repairCoefficient,
  repairHeadSize,
  REPAIR_LENGTH_SIZE,
  REPAIR_SPAN_MAX,
  REPAIR_WINDOW_MAX,
  writeRepairHead,
} from '../../wire/repair.js';
import { NUMBER_MASK } from '../../wire/record.js';
import { ROUTED_HEADER_SIZE } from '../../wire/routed.js';
import { Symbols } from './symbols.js';

/** Slot for the sum; the frames' slots lie before it. */
const SUM = REPAIR_WINDOW_MAX;

export class ParityEncoder {
  /** Numbers and lengths of the newest frames, twice in a row so that each window is one ascending run. */
  private readonly numbers = new Int32Array(2 * REPAIR_WINDOW_MAX);
  private readonly lengths = new Int32Array(2 * REPAIR_WINDOW_MAX);
  private readonly frameBytes: number;
  private stored = 0;
  /** Slot of the next frame. */
  private next = 0;
  /** 33 slots, allocated with the first frame: few links ever need parity. */
  private symbols: Symbols | undefined;

  /** `frameBytes`: size of the largest routed frame that is kept. */
  constructor(o: { frameBytes: number }) {
    this.frameBytes = o.frameBytes;
  }

  /**
   * Keeps a copy of the routed frame that fills `length` bytes at `at` and is sent, as it is now, with `number`, greater than all
   * before. False for a frame too large or smaller than a routed header, which then has no parity.
   */
  add(number: number, view: DataView, at: number, length: number): boolean {
    if (length > this.frameBytes || length < ROUTED_HEADER_SIZE) return false;
    const slot = this.next;
    this.symbols ??= new Symbols(REPAIR_WINDOW_MAX + 1, this.frameBytes);
    this.symbols.putFrame(slot, view, at, length);
    this.numbers[slot] = this.numbers[slot + REPAIR_WINDOW_MAX] = number;
    this.lengths[slot] = this.lengths[slot + REPAIR_WINDOW_MAX] = length;
    this.next = (slot + 1) % REPAIR_WINDOW_MAX;
    this.stored = Math.min(this.stored + 1, REPAIR_WINDOW_MAX);
    return true;
  }

  /** Forgets all frames: the numbers begin anew (next epoch), or the frames are no longer worth protecting. */
  clear(): void {
    this.stored = 0;
  }

  /**
   * Writes a repair, link frame head included, over the newest `count` frames (fewer where fewer are kept or their numbers lie too far
   * apart) with the given key. Returns its end; `at` where there are no frames or the repair would pass `limit`.
   */
  write(view: DataView, at: number, limit: number, count: number, key: number): number {
    const { symbols } = this;
    if (symbols === undefined || this.stored === 0 || count < 1) return at;
    const frames = this.windowOf(count);
    const from = this.next + REPAIR_WINDOW_MAX - frames;
    const coded = REPAIR_LENGTH_SIZE + this.longest(from, frames);
    if (at + LINK_FRAME_HEAD + repairHeadSize(this.span(frames)) + coded > limit) return at;
    this.sum(symbols, from, frames, coded, key);
    const body = writeRepairHead(view, at, key, this.numbers, from, frames, coded);
    symbols.take(SUM, view, body, coded);
    return body + coded;
  }

  /** How many of the newest frames, `count` at most, a repair can cover. */
  private windowOf(count: number): number {
    let frames = Math.min(count, this.stored);
    while (this.span(frames) > REPAIR_SPAN_MAX) frames--;
    return frames;
  }

  private span(frames: number): number {
    const end = this.next + REPAIR_WINDOW_MAX;
    return ((this.numbers[end - 1] - this.numbers[end - frames]) & NUMBER_MASK) + 1;
  }

  private longest(from: number, frames: number): number {
    let length = 0;
    for (let i = from; i < from + frames; i++) if (this.lengths[i] > length) length = this.lengths[i];
    return length;
  }

  private sum(symbols: Symbols, from: number, frames: number, coded: number, key: number): void {
    symbols.clear(SUM, coded);
    for (let i = from; i < from + frames; i++) {
      const factor = repairCoefficient(key, this.numbers[i]);
      symbols.add(SUM, i % REPAIR_WINDOW_MAX, factor, REPAIR_LENGTH_SIZE + this.lengths[i]);
    }
  }
}
