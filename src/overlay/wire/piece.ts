/**
 * Link frames about the size of datagrams: piece (0x0a), probe (0x0b) and its answer (0x0c). Pieces run per packet on narrow links: they are
 * written and read in place and allocate nothing. Writers write a whole frame, head included; the caller has seen to the room.
 *
 * piece    0..3 number of the split body · 4 its lane · 5..7 epoch and number as in a record header · 8..9 length of the body
 *          10 index of the piece · 11 how many pieces · 12.. its bytes
 * probe    0..3 number · 4.. zeros, as many as make the datagram its size
 * answer   0..3 number of the probe
 *
 * Of a body of `length` bytes in `count` pieces each piece holds ⌈length / count⌉ bytes, the last one what is left: a body has one
 * division only, and a receiver knows from any piece where all lie.
 */
import { FRAME_PIECE, FRAME_PROBE, FRAME_PROBE_ANSWER, LINK_FRAME_HEAD } from './frames.js';
import { LANE_BEST_EFFORT, LANE_REALTIME } from './lanes.js';

export const PIECE_HEAD_SIZE = 12;
/** Bytes that a piece takes beyond its own, frame head included. */
export const PIECE_OVERHEAD = LINK_FRAME_HEAD + PIECE_HEAD_SIZE;
/** Most pieces of a body, and its most bytes. */
export const PIECES_MAX = 16;
export const PIECED_BODY_MAX = 9216;
export const PROBE_SIZE = 4;
/** Bytes of a probe's answer, head included. */
export const PROBE_ANSWER_FRAME_SIZE = LINK_FRAME_HEAD + PROBE_SIZE;

const PIECE_LANE = 4;
const PIECE_LENGTH = 8;
const PIECE_INDEX = 10;
const PIECE_COUNT = 11;
const WORD_MASK = 0xff_ffff;

/** Bytes of each piece but the last. */
export function pieceStep(length: number, count: number): number {
  return Math.ceil(length / count);
}

/** Writes a piece's frame but for its `size` bytes, and returns where those go. `word`: the record header's epoch and number, 24 bits. */
export function writePieceHead(
  view: DataView,
  at: number,
  number: number,
  lane: number,
  word: number,
  length: number,
  index: number,
  count: number,
  size: number,
): number {
  const value = at + LINK_FRAME_HEAD;
  view.setUint8(at, FRAME_PIECE);
  view.setUint16(at + 1, PIECE_HEAD_SIZE + size);
  view.setUint32(value, number);
  view.setUint32(value + PIECE_LANE, (lane << 24) | (word & WORD_MASK));
  view.setUint32(value + PIECE_LENGTH, (length << 16) | (index << 8) | count);
  return value + PIECE_HEAD_SIZE;
}

/** Whether the piece value that fills `length` bytes at `at` is sound; the readers below need no check after it. */
export function isPiece(view: DataView, at: number, length: number): boolean {
  if (length <= PIECE_HEAD_SIZE) return false;
  const lane = readPieceLane(view, at);
  const body = readPieceBody(view, at);
  const count = readPieceCount(view, at);
  const index = readPieceIndex(view, at);
  if (lane < LANE_BEST_EFFORT || lane > LANE_REALTIME) return false;
  if (count < 2 || count > PIECES_MAX || index >= count || body > PIECED_BODY_MAX) return false;
  const step = pieceStep(body, count);
  return length - PIECE_HEAD_SIZE === Math.min(step, body - index * step);
}

export function readPieceNumber(view: DataView, at: number): number {
  return view.getUint32(at);
}

export function readPieceLane(view: DataView, at: number): number {
  return view.getUint8(at + PIECE_LANE);
}

/** Epoch and number, 24 bits. */
export function readPieceWord(view: DataView, at: number): number {
  return view.getUint32(at + PIECE_LANE) & WORD_MASK;
}

/** Bytes of the whole body. */
export function readPieceBody(view: DataView, at: number): number {
  return view.getUint16(at + PIECE_LENGTH);
}

export function readPieceIndex(view: DataView, at: number): number {
  return view.getUint8(at + PIECE_INDEX);
}

export function readPieceCount(view: DataView, at: number): number {
  return view.getUint8(at + PIECE_COUNT);
}

/** Writes a probe that fills `length` bytes, zeros included; returns the offset behind it. */
export function writeProbe(view: DataView, at: number, number: number, length: number): number {
  new Uint8Array(view.buffer, view.byteOffset + at, length).fill(0);
  view.setUint8(at, FRAME_PROBE);
  view.setUint16(at + 1, length - LINK_FRAME_HEAD);
  view.setUint32(at + LINK_FRAME_HEAD, number);
  return at + length;
}

export function writeProbeAnswer(view: DataView, at: number, number: number): number {
  view.setUint8(at, FRAME_PROBE_ANSWER);
  view.setUint16(at + 1, PROBE_SIZE);
  view.setUint32(at + LINK_FRAME_HEAD, number);
  return at + PROBE_ANSWER_FRAME_SIZE;
}
