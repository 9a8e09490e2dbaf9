/**
 * Link frames of hop-by-hop recovery: acknowledgement (0x05), repeat (0x06) and report (0x08). `repair` has the codec of parity.
 * Acknowledgements and repeats run per packet: they are written and read in place and allocate nothing. Writers write a whole frame,
 * head included, and return the offset behind it; the caller has seen to the room.
 *
 * ack      0 class (lane 2 or 3) · 1 epoch · 2..4 largest number · 5..6 delay, 16 µs · 7..8 CE marks so far, low 16 bits
 *          9..10 length of the first range (largest, largest-1, … arrived)
 *          11.. pairs, downward: gap (2), length of the next range (2)
 * repeat   0..2 number of the frame's first transmission
 * report   0 class · 1 epoch · 2..5 expected · 6..9 lost · 10..13 runs of loss · 14..17 repaired
 */
import {
  ACK_HEAD_SIZE,
  ACK_PAIR_SIZE,
  ACK_PAIRS_MAX,
  FRAME_ACK,
  FRAME_REPEAT,
  FRAME_REPORT,
  LINK_FRAME_HEAD,
  REPEAT_SIZE,
  REPORT_SIZE,
} from './frames.js';
import { LANE_REALTIME, LANE_RELIABLE } from './lanes.js';
import { EPOCH_MASK, NUMBER_MASK } from './record.js';
import { reject, type Reject, type RejectReason } from './reject.js';

/** An acknowledgement reaches no further back than so many numbers from its largest. */
export const ACK_SPAN = 1 << 15;
/** µs. */
export const ACK_DELAY_UNIT = 16;
/** Bytes that an acknowledgement of one range takes, head included. */
export const ACK_FRAME_MIN_SIZE = LINK_FRAME_HEAD + ACK_HEAD_SIZE;
export const REPEAT_FRAME_SIZE = LINK_FRAME_HEAD + REPEAT_SIZE;
export const REPORT_FRAME_SIZE = LINK_FRAME_HEAD + REPORT_SIZE;

const ACK_LARGEST = 1;
const ACK_DELAY = 5;
const ACK_CE = 7;
const ACK_FIRST_LENGTH = 9;

/**
 * Writes an acknowledgement up to its `pairs` pairs, which the caller writes behind it with `writeAckPair`; returns the offset of the first.
 * `delay` in µs, `firstLength` 1 … ACK_SPAN.
 */
export function writeAckHead(
  view: DataView,
  at: number,
  lane: number,
  epoch: number,
  largest: number,
  delay: number,
  ceMarks: number,
  firstLength: number,
  pairs: number,
): number {
  const value = at + LINK_FRAME_HEAD;
  view.setUint8(at, FRAME_ACK);
  view.setUint16(at + 1, ACK_HEAD_SIZE + ACK_PAIR_SIZE * pairs);
  view.setUint8(value, lane);
  view.setUint32(value + ACK_LARGEST, (epoch << 24) | largest);
  view.setUint16(value + ACK_DELAY, Math.min(0xffff, delay / ACK_DELAY_UNIT));
  view.setUint16(value + ACK_CE, ceMarks);
  view.setUint16(value + ACK_FIRST_LENGTH, firstLength);
  return value + ACK_HEAD_SIZE;
}

/** `gap` numbers that didn't arrive, then `length` that did; both 1 … ACK_SPAN. */
export function writeAckPair(view: DataView, at: number, gap: number, length: number): number {
  view.setUint16(at, gap);
  view.setUint16(at + 2, length);
  return at + ACK_PAIR_SIZE;
}

/** The class that the acknowledgement or report at `at`, of at least one byte, says it speaks of. */
export function readRecoveryLane(view: DataView, at: number): number {
  return view.getUint8(at);
}

/** An acknowledgement as read. Reusable; after a `read` that wasn't 'ok' its fields mean nothing. */
export class AckFrame {
  lane = 0;
  epoch = 0;
  largest = 0;
  /** µs that the peer held it. */
  delay = 0;
  /** Low 16 bits. */
  ceMarks = 0;
  ranges = 0;
  /** Range i, from the newest: its newest and its oldest number, as distances back from `largest`. */
  readonly newest = new Int32Array(1 + ACK_PAIRS_MAX);
  readonly oldest = new Int32Array(1 + ACK_PAIRS_MAX);

  /** Reads the value that fills `length` bytes at `at`. */
  read(view: DataView, at: number, length: number): 'ok' | RejectReason {
    if (length < ACK_HEAD_SIZE || (length - ACK_HEAD_SIZE) % ACK_PAIR_SIZE !== 0) return 'short';
    if (length > ACK_HEAD_SIZE + ACK_PAIR_SIZE * ACK_PAIRS_MAX) return 'long';
    const epochLargest = view.getUint32(at + ACK_LARGEST);
    this.lane = view.getUint8(at);
    this.epoch = epochLargest >>> 24;
    this.largest = epochLargest & 0xff_ffff;
    this.delay = view.getUint16(at + ACK_DELAY) * ACK_DELAY_UNIT;
    this.ceMarks = view.getUint16(at + ACK_CE);
    if (!isClass(this.lane) || this.epoch > EPOCH_MASK || this.largest > NUMBER_MASK) return 'unknown-value';
    return this.readRanges(view, at, length) ? 'ok' : 'inconsistent';
  }

  private readRanges(view: DataView, at: number, length: number): boolean {
    const end = at + length;
    let oldest = view.getUint16(at + ACK_FIRST_LENGTH) - 1;
    let ranges = 1;
    this.newest[0] = 0;
    this.oldest[0] = oldest;
    if (oldest < 0) return false;
    for (let pair = at + ACK_HEAD_SIZE; pair < end; pair += ACK_PAIR_SIZE) {
      const gap = view.getUint16(pair);
      const run = view.getUint16(pair + 2);
      if (gap === 0 || run === 0) return false;
      this.newest[ranges] = oldest + gap + 1;
      oldest += gap + run;
      this.oldest[ranges++] = oldest;
    }
    this.ranges = ranges;
    return oldest < ACK_SPAN;
  }
}

function isClass(lane: number): boolean {
  return lane === LANE_RELIABLE || lane === LANE_REALTIME;
}

/** Says that the routed frame behind this one went first in transmission `number`. */
export function writeRepeat(view: DataView, at: number, number: number): number {
  view.setUint8(at, FRAME_REPEAT);
  view.setUint16(at + 1, REPEAT_SIZE);
  view.setUint8(at + LINK_FRAME_HEAD, number >>> 16);
  view.setUint16(at + LINK_FRAME_HEAD + 1, number);
  return at + REPEAT_FRAME_SIZE;
}

/** The number in the repeat frame whose value fills `length` bytes at `at`; -1 where it isn't one. */
export function readRepeat(view: DataView, at: number, length: number): number {
  if (length !== REPEAT_SIZE) return -1;
  const number = (view.getUint8(at) << 16) | view.getUint16(at + 1);
  return number > NUMBER_MASK ? -1 : number;
}

/** What a receiver has seen of an epoch's transmissions, cumulative since it began, each modulo 2³². */
export interface Report {
  readonly type: 'report';
  readonly lane: number;
  readonly epoch: number;
  readonly expected: number;
  readonly lost: number;
  /** Runs of consecutive lost numbers. */
  readonly runs: number;
  /** Frames that parity gave. */
  readonly repaired: number;
}

export function encodeReport(view: DataView, at: number, report: Report): number {
  const value = at + LINK_FRAME_HEAD;
  view.setUint8(at, FRAME_REPORT);
  view.setUint16(at + 1, REPORT_SIZE);
  view.setUint8(value, report.lane);
  view.setUint8(value + 1, report.epoch);
  view.setUint32(value + 2, report.expected);
  view.setUint32(value + 6, report.lost);
  view.setUint32(value + 10, report.runs);
  view.setUint32(value + 14, report.repaired);
  return value + REPORT_SIZE;
}

/** More bytes than the fields are an extension, and skipped. */
export function decodeReport(view: DataView, at: number, length: number): Report | Reject {
  if (length < REPORT_SIZE) return reject('short');
  const lane = view.getUint8(at);
  const epoch = view.getUint8(at + 1);
  if (!isClass(lane) || epoch > EPOCH_MASK) return reject('unknown-value');
  return {
    type: 'report',
    lane,
    epoch,
    expected: view.getUint32(at + 2),
    lost: view.getUint32(at + 6),
    runs: view.getUint32(at + 10),
    repaired: view.getUint32(at + 14),
  };
}
