/**
 * This folder holds one codec for each part of docs/wire-format.md: `record` the outer header, `routed` the header of routed
 * frames, with `error` and `echo` for two kinds of them, `frames` the link frames, `recovery` those of acknowledgement,
 * `sequence` the arithmetic of numbers that wrap, `reject` what a decoder answers to bytes that make no sense. What runs per packet
 * reads and writes fields in place; the rest gives values. Nothing here throws, keeps state or knows what a frame is for.
 *
 * The outer header of a datagram, and of a sealed record in particular.
 *
 *  0                   1                   2                   3
 * +-------+-------+-----------------------------------------------+
 * | ver=1 | type=5|epoch|                 number                  |
 * +-------+-------+-----------------------------------------------+
 * |                        receiver index                         |
 * +---------------------------------------------------------------+
 * |                      counter (64 bits)                        |
 * |                                                               |
 * +---------------------------------------------------------------+
 *
 * Epoch and number are those of a link's recovery (lanes 2 and 3); zero on other lanes.
 */

export const VERSION = 1;

export const DATAGRAM_HANDSHAKE_INIT = 1;
export const DATAGRAM_HANDSHAKE_RESPONSE = 2;
export const DATAGRAM_HANDSHAKE_FINAL = 3;
export const DATAGRAM_COOKIE = 4;
export const DATAGRAM_RECORD = 5;
export const DATAGRAM_HANDSHAKE_VERDICT = 6;
/** Bytes of the smallest and the largest handshake datagram (types 1 to 4 and 6). */
export const HANDSHAKE_MIN_SIZE = 24;
export const HANDSHAKE_MAX_SIZE = 4096;

/** Numbers of transmissions, and epochs of numbering, count modulo these and one. */
export const NUMBER_MASK = 0x1f_ffff;
export const EPOCH_MASK = 7;
const NUMBER_BITS = 21;

export const RECORD_RECEIVER = 4;
export const RECORD_COUNTER = 8;
/** Bytes before the body. */
export const RECORD_HEADER_SIZE = 16;
/** Bytes of AEAD tag after the body. */
export const RECORD_TAG_SIZE = 16;
/** A record with an empty body: a keepalive. */
export const RECORD_MIN_SIZE = RECORD_HEADER_SIZE + RECORD_TAG_SIZE;

/** First byte of every record of this version. */
export const RECORD_FIRST_BYTE = (VERSION << 4) | DATAGRAM_RECORD;

export function readVersion(view: DataView, at: number): number {
  return view.getUint8(at) >>> 4;
}

export function readDatagramType(view: DataView, at: number): number {
  return view.getUint8(at) & 0x0f;
}

/** Whether `length` bytes at `at` may be a sealed record: its first byte and its least size, nothing more. */
export function isRecord(view: DataView, at: number, length: number): boolean {
  return length >= RECORD_MIN_SIZE && view.getUint8(at) === RECORD_FIRST_BYTE;
}

export function readReceiverIndex(view: DataView, at: number): number {
  return view.getUint32(at + RECORD_RECEIVER);
}

/**
 * The counter, exact below 2⁵³. A greater one comes out rounded but never below 2⁵³, so a session's ceiling (2²⁸) refuses it.
 */
export function readCounter(view: DataView, at: number): number {
  return view.getUint32(at + RECORD_COUNTER) * 0x1_0000_0000 + view.getUint32(at + RECORD_COUNTER + 4);
}

/** Writes the 16 bytes of header; `counter` below 2⁵³. */
export function writeRecordHeader(view: DataView, at: number, receiverIndex: number, counter: number): void {
  view.setUint32(at, RECORD_FIRST_BYTE * 0x100_0000);
  view.setUint32(at + RECORD_RECEIVER, receiverIndex);
  view.setUint32(at + RECORD_COUNTER, Math.floor(counter / 0x1_0000_0000));
  view.setUint32(at + RECORD_COUNTER + 4, counter >>> 0);
}

/** Writes epoch (0…7) and number (0…NUMBER_MASK) into a header that `writeRecordHeader` has written. */
export function writeNumber(view: DataView, at: number, epoch: number, number: number): void {
  view.setUint32(at, (RECORD_FIRST_BYTE << 24) | (epoch << NUMBER_BITS) | number);
}

export function readNumber(view: DataView, at: number): number {
  return view.getUint32(at) & NUMBER_MASK;
}

/** The epoch that the record's number belongs to, 0…7. */
export function readNumberEpoch(view: DataView, at: number): number {
  return (view.getUint32(at) >>> NUMBER_BITS) & EPOCH_MASK;
}
