/**
 * The body of an echo request or reply (0x12, 0x13), behind the routed header: `causeway ping` and `trace`.
 *
 * 24..27   identifier
 * 28..31   number
 * 32..39   origin's clock, µs
 * 40       hops in the request's path
 * 41       hops recorded so far, both ways together
 * 42..     4 bytes a hop: ids of the nodes passed after the origin, in order
 */
import { reject, type Reject } from './reject.js';
import { FRAME_ECHO_REPLY, ROUTED_TYPE } from './routed.js';

const IDENTIFIER = 24;
const NUMBER = 28;
const CLOCK = 32;
const REQUEST_HOPS = 40;
const HOPS = 41;
const LIST = 42;
/** Size of an echo that no node has recorded itself in yet. */
export const ECHO_MIN_SIZE = LIST;
/** Longest list; further nodes pass the frame on unrecorded. */
export const ECHO_MAX_HOPS = 64;
/** Bytes a recorded hop takes: what a node needs behind the frame to append itself in place. */
export const ECHO_HOP_SIZE = 4;

export interface EchoBody {
  readonly type: 'echo';
  readonly identifier: number;
  readonly number: number;
  /** As the origin wrote it, µs; a foreign clock beyond 2⁵³ comes out rounded. */
  readonly clock: number;
  /** Nodes of the way there, the destination last; all of `hops` while it is a request. */
  readonly there: readonly number[];
  /** Nodes of the way back; empty while it is a request. */
  readonly back: readonly number[];
}

/** Writes bytes 24…41 of a fresh request at `at`: no hops yet. `clock` in µs. Returns the frame's size. */
export function writeEchoBody(
  view: DataView,
  at: number,
  identifier: number,
  number: number,
  clock: number,
): number {
  view.setUint32(at + IDENTIFIER, identifier);
  view.setUint32(at + NUMBER, number);
  view.setUint32(at + CLOCK, Math.floor(clock / 0x1_0000_0000));
  view.setUint32(at + CLOCK + 4, clock >>> 0);
  view.setUint16(at + REQUEST_HOPS, 0);
  return ECHO_MIN_SIZE;
}

/**
 * Appends a node to the list of the checked echo frame at `at` and returns the frame's new length; the same length where
 * the list is full or `room`, the bytes from `at` that may be written, doesn't hold one more.
 */
export function appendEchoHop(
  view: DataView,
  at: number,
  length: number,
  room: number,
  node: number,
): number {
  const hops = view.getUint8(at + HOPS);
  if (hops >= ECHO_MAX_HOPS || length + ECHO_HOP_SIZE > room) return length;
  view.setUint32(at + length, node);
  view.setUint8(at + HOPS, hops + 1);
  return length + ECHO_HOP_SIZE;
}

/** Turns the checked request at `at` into its reply, list kept. Addresses, TTL and sequence in the routed header are the caller's. */
export function turnEcho(view: DataView, at: number): void {
  view.setUint8(at + ROUTED_TYPE, FRAME_ECHO_REPLY);
  view.setUint8(at + REQUEST_HOPS, view.getUint8(at + HOPS));
}

/** Whether the `length` bytes at `at` are an echo whose list fits them exactly. Relays need no more than this. */
export function checkEcho(view: DataView, at: number, length: number): Reject | undefined {
  if (length < ECHO_MIN_SIZE) return reject('short');
  const hops = view.getUint8(at + HOPS);
  const reply = view.getUint8(at + ROUTED_TYPE) === FRAME_ECHO_REPLY;
  if (hops > ECHO_MAX_HOPS) return reject('unknown-value');
  if (view.getUint8(at + REQUEST_HOPS) > (reply ? hops : 0)) return reject('inconsistent');
  if (length < LIST + ECHO_HOP_SIZE * hops) return reject('short');
  return length > LIST + ECHO_HOP_SIZE * hops ? reject('long') : undefined;
}

/** Decodes the echo frame that fills `length` bytes at `at`, its routed header already checked. */
export function decodeEcho(view: DataView, at: number, length: number): EchoBody | Reject {
  const bad = checkEcho(view, at, length);
  if (bad) return bad;
  const hops = Array.from({ length: view.getUint8(at + HOPS) }, (_, i) =>
    view.getUint32(at + LIST + ECHO_HOP_SIZE * i),
  );
  const reply = view.getUint8(at + ROUTED_TYPE) === FRAME_ECHO_REPLY;
  const turn = reply ? view.getUint8(at + REQUEST_HOPS) : hops.length;
  return {
    type: 'echo',
    identifier: view.getUint32(at + IDENTIFIER),
    number: view.getUint32(at + NUMBER),
    clock: view.getUint32(at + CLOCK) * 0x1_0000_0000 + view.getUint32(at + CLOCK + 4),
    there: hops.slice(0, turn),
    back: hops.slice(turn),
  };
}
