/**
 * What peers tell each other about forming links, in the control stream beside routing's messages:
 *
 * seen | 0x10 | port (2) | address (4 or 16): where the receiver's datagrams come from, as the sender sees it
 *
 * call | 0x11 | hops left (1) | from (4) | to (4) | …: `from` asks `to`, over the hops between them, to try a link with it now. It says
 *        nothing of where: that stands in the signed record of `from`. More bytes may follow; they are skipped, and passed on.
 */
import { concatBytes, readU32, writeU32 } from '../route/bytes.js';
import { decodePlace, encodePlace, type Place } from './endpoint.js';

export const SIGNAL = { seen: 0x10, call: 0x11 } as const;
/** Hops that a call may take. */
export const CALL_HOPS = 16;

const CALL_SIZE = 10;
const CALL_MAX = 64;
const CALL_FROM = 2;
const CALL_TO = 6;

export type Signal =
  | { readonly type: 'seen'; readonly place: Place }
  | { readonly type: 'call'; readonly hops: number; readonly from: number; readonly to: number };

export type SignalReject = 'signal-size' | 'signal-node';

/** Whether a control stream's message is one of these. */
export function isSignal(bytes: Uint8Array): boolean {
  return bytes[0] === SIGNAL.seen || bytes[0] === SIGNAL.call;
}

export function encodeSeen(place: Place): Uint8Array {
  return concatBytes(Uint8Array.of(SIGNAL.seen), encodePlace(place));
}

export function encodeCall(from: number, to: number): Uint8Array {
  const bytes = new Uint8Array(CALL_SIZE);
  bytes[0] = SIGNAL.call;
  bytes[1] = CALL_HOPS;
  writeU32(bytes, CALL_FROM, from);
  writeU32(bytes, CALL_TO, to);
  return bytes;
}

/** The same call, one hop further on. */
export function passCall(bytes: Uint8Array): Uint8Array {
  const next = bytes.slice();
  next[1]--;
  return next;
}

/** `bytes` are a signal's. */
export function decodeSignal(
  bytes: Uint8Array,
): Signal | { readonly type: 'reject'; readonly reason: SignalReject } {
  if (bytes[0] === SIGNAL.seen) {
    const place = decodePlace(bytes.subarray(1));
    return place ? { type: 'seen', place } : { type: 'reject', reason: 'signal-size' };
  }
  if (bytes.length < CALL_SIZE || bytes.length > CALL_MAX) return { type: 'reject', reason: 'signal-size' };
  const [from, to] = [readU32(bytes, CALL_FROM), readU32(bytes, CALL_TO)];
  if (from === 0 || to === 0 || from === to) return { type: 'reject', reason: 'signal-node' };
  return { type: 'call', hops: bytes[1], from, to };
}
