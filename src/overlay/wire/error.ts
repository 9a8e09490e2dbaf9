/**
 * The body of an error frame (0x11), behind the routed header: a node on the path tells a packet's source why it refused it.
 *
 * 24       code
 * 25       zero
 * 26..27   MTU for code 3, else 0
 * 28..31   refused packet's destination node id
 * 32..35   refused packet's sequence
 */
import { reject, type Reject } from './reject.js';
import { ROUTED_HEADER_SIZE } from './routed.js';

export const ERROR_SIZE = 36;
const CODE = ROUTED_HEADER_SIZE;
const MTU = 26;
const REFUSED_DESTINATION = 28;
const REFUSED_SEQUENCE = 32;

export const ERROR_NO_ROUTE = 1;
export const ERROR_TTL_EXCEEDED = 2;
export const ERROR_TOO_BIG = 3;
export const ERROR_PROHIBITED = 4;

export interface ErrorBody {
  readonly type: 'error';
  /** ERROR_… */
  readonly code: number;
  /** Largest inner packet that passes, bytes; 0 unless code is ERROR_TOO_BIG. */
  readonly mtu: number;
  readonly destination: number;
  readonly sequence: number;
}

/** Writes bytes 24…35 of the frame at `at`; the routed header is the caller's. Returns the frame's size. */
export function writeErrorBody(
  view: DataView,
  at: number,
  code: number,
  mtu: number,
  destination: number,
  sequence: number,
): number {
  view.setUint8(at + CODE, code);
  view.setUint8(at + CODE + 1, 0);
  view.setUint16(at + MTU, mtu);
  view.setUint32(at + REFUSED_DESTINATION, destination);
  view.setUint32(at + REFUSED_SEQUENCE, sequence);
  return ERROR_SIZE;
}

/** Decodes the error frame that fills `length` bytes at `at`, its routed header already checked. */
export function decodeError(view: DataView, at: number, length: number): ErrorBody | Reject {
  if (length < ERROR_SIZE) return reject('short');
  if (length > ERROR_SIZE) return reject('long');
  const code = view.getUint8(at + CODE);
  if (code < ERROR_NO_ROUTE || code > ERROR_PROHIBITED) return reject('unknown-value');
  const mtu = view.getUint16(at + MTU);
  if ((code === ERROR_TOO_BIG) !== mtu > 0) return reject('inconsistent');
  return {
    type: 'error',
    code,
    mtu,
    destination: view.getUint32(at + REFUSED_DESTINATION),
    sequence: view.getUint32(at + REFUSED_SEQUENCE),
  };
}
