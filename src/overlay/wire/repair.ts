/**
 * The repair frame (0x07): parity over a window of routed frames of the realtime class. It stands alone in its record, whose
 * number is its own.
 *
 *  0                   1                   2                   3
 * +-----------------------------------------------+---------------+
 * |     number of the window's oldest frame       |     span      |
 * +-------------------------------+---------------+---------------+
 * |      key of coefficients      | mask (0…5)    | coded bytes …
 * +-------------------------------+---------------+
 *
 * Numbers count transmissions, so the frames of a window (at most 32) need not follow each other: `span` is how many numbers lie
 * from the oldest frame to the newest (1…41), and bit i (from the least significant, first byte first) of the mask's
 * ⌈(span − 1) / 8⌉ bytes says that number oldest + 1 + i is a frame of the window. The newest one's bit is set, those behind it
 * are zero.
 *
 * The coded bytes are the sum over GF(2⁸) of coefficient × (length of the frame (2) ‖ frame), each padded with zeros to the
 * longest. They are at most 15 bytes more than that frame with the link frame's head and 16 with the longest mask, so that parity
 * of full-size packets (inner MTU 1380) fits 1500 over IPv6 too. A coefficient follows from key and number (`repairCoefficient`).
 */
import { FRAME_REPAIR, LINK_FRAME_HEAD } from './frames.js';
import { NUMBER_MASK } from './record.js';
import type { RejectReason } from './reject.js';
import { ROUTED_HEADER_SIZE } from './routed.js';

/** Most frames in a window. */
export const REPAIR_WINDOW_MAX = 32;
/** Most numbers from a window's oldest frame to its newest. */
export const REPAIR_SPAN_MAX = 41;
/** Bytes of the frame's length in front of it, both coded. */
export const REPAIR_LENGTH_SIZE = 2;
/** Most bytes that a repair takes beyond the longest frame of its window, link frame head included. */
export const REPAIR_OVERHEAD_MAX = LINK_FRAME_HEAD + 6 + 5 + REPAIR_LENGTH_SIZE;
/** Keys are 1…65535, and 0 for the plain sum. */
export const REPAIR_KEY_MAX = 0xffff;

const SPAN = 3;
const KEY = 4;
const MASK = 6;

/** A repair's head. Reused: `readRepair` fills it. */
export class RepairHead {
  key = 0;
  /** Numbers of the window's frames, the oldest first. */
  readonly numbers = new Int32Array(REPAIR_WINDOW_MAX);
  count = 0;
  /** Where the coded bytes lie. */
  at = 0;
  length = 0;
}

/**
 * The factor of frame `number` in a repair with `key`, 1…255: one for key 0; otherwise the pair mixed by multiplication and
 * shifts (a round of MurmurHash3's finaliser on each side), so that repairs over the same frames are independent but for one in 255.
 */
export function repairCoefficient(key: number, number: number): number {
  if (key === 0) return 1;
  let mixed = Math.imul(number ^ (key << 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13) ^ key, 0xc2b2ae35);
  return 1 + (((mixed ^ (mixed >>> 16)) >>> 0) % 255);
}

/** Bytes of a repair's value before the coded ones, for a window of `span` numbers. */
export function repairHeadSize(span: number): number {
  return MASK + ((span + 6) >>> 3);
}

/**
 * Writes link frame head and repair head for the window of `count` ascending `numbers` from `from` (their span at most
 * REPAIR_SPAN_MAX) and for `coded` bytes. Returns where those go.
 */
export function writeRepairHead(
  view: DataView,
  at: number,
  key: number,
  numbers: Int32Array,
  from: number,
  count: number,
  coded: number,
): number {
  const first = numbers[from];
  const span = ((numbers[from + count - 1] - first) & NUMBER_MASK) + 1;
  const value = at + LINK_FRAME_HEAD;
  view.setUint8(at, FRAME_REPAIR);
  view.setUint16(at + 1, repairHeadSize(span) + coded);
  view.setUint32(value, first * 0x100 + span);
  view.setUint16(value + KEY, key);
  const end = value + repairHeadSize(span);
  for (let i = value + MASK; i < end; i++) view.setUint8(i, 0);
  for (let i = from + 1; i < from + count; i++) {
    const bit = ((numbers[i] - first) & NUMBER_MASK) - 1;
    const byte = value + MASK + (bit >>> 3);
    view.setUint8(byte, view.getUint8(byte) | (1 << (bit & 7)));
  }
  return end;
}

/** Decodes the repair whose value fills `length` bytes at `at`. On a reject `head` holds nothing of use. */
export function readRepair(
  view: DataView,
  at: number,
  length: number,
  head: RepairHead,
): 'ok' | RejectReason {
  if (length < MASK) return 'short';
  const span = view.getUint8(at + SPAN);
  if (span === 0 || span > REPAIR_SPAN_MAX) return 'unknown-value';
  const size = repairHeadSize(span);
  if (length < size + REPAIR_LENGTH_SIZE + ROUTED_HEADER_SIZE) return 'short';
  const first = view.getUint32(at) >>> 8;
  if (first > NUMBER_MASK) return 'unknown-value';
  head.key = view.getUint16(at + KEY);
  head.at = at + size;
  head.length = length - size;
  return readWindow(view, at + MASK, first, span, head);
}

function readWindow(
  view: DataView,
  at: number,
  first: number,
  span: number,
  head: RepairHead,
): 'ok' | RejectReason {
  head.numbers[0] = first;
  head.count = 1;
  const bits = (span + 6) & ~7;
  for (let bit = 0; bit < bits; bit++) {
    if (((view.getUint8(at + (bit >>> 3)) >>> (bit & 7)) & 1) === 0) {
      if (bit === span - 2) return 'inconsistent';
      continue;
    }
    if (bit > span - 2 || head.count === REPAIR_WINDOW_MAX) return 'inconsistent';
    head.numbers[head.count++] = (first + 1 + bit) & NUMBER_MASK;
  }
  return 'ok';
}
