/**
 * Link frames: `type (1) · length of value (2) · value`, any number of them in a record's body. They concern one link and are
 * never forwarded. `LinkFrames` walks them without allocating; `decodeLinkFrame` gives one as a value. Recovery's frames (0x05 to
 * 0x08) run per packet: their codecs are `recovery` and `repair`, and `decodeLinkFrame` takes them for unknown.
 *
 * Encoders write a whole frame, head included, and return the offset behind it; the caller has seen to the room.
 */
import { reject, type Reject } from './reject.js';
import { isRouted } from './routed.js';

export const FRAME_HELLO = 0x01;
export const FRAME_STREAM = 0x02;
export const FRAME_STREAM_ACK = 0x03;
export const FRAME_CLOSE = 0x04;
export const FRAME_ACK = 0x05;
export const FRAME_REPEAT = 0x06;
export const FRAME_REPAIR = 0x07;
export const FRAME_REPORT = 0x08;
export const FRAME_TALLY = 0x09;
export const FRAME_PIECE = 0x0a;
export const FRAME_PROBE = 0x0b;
export const FRAME_PROBE_ANSWER = 0x0c;

/** Alone in its record: a probe of one of the ways to the neighbour, and its answer, by the same way. */
export const FRAME_PATH = 0x0d;
export const FRAME_PATH_ANSWER = 0x0e;

/** Bytes of type and length in front of every link frame's value. */
export const LINK_FRAME_HEAD = 3;

export const TALLY_SIZE = 16;

export const HELLO_SIZE = 17;
export const HELLO_ANSWER = 0x01;
export const HELLO_BUSY = 0x02;

export const STREAM_HEAD_SIZE = 9;
export const STREAM_FIRST = 0x01;
export const STREAM_LAST = 0x02;
/** Most bytes of a message in one stream frame. */
export const STREAM_DATA_MAX = 1100;

export const STREAM_ACK_SIZE = 16;

/** Bytes of an acknowledgement's value in front of its pairs of gap and range, of a pair, and how many of those there may be. */
export const ACK_HEAD_SIZE = 11;
export const ACK_PAIR_SIZE = 4;
export const ACK_PAIRS_MAX = 30;

export const REPEAT_SIZE = 3;
export const REPORT_SIZE = 18;

export const CLOSE_STOPPING = 1;
export const CLOSE_REPLACED = 2;
export const CLOSE_REVOKED = 3;
export const CLOSE_UNUSED = 4;

export interface Hello {
  readonly type: 'hello';
  readonly number: number;
  /** Sender's clock, µs, low 32 bits. */
  readonly clock: number;
  /** Clock of the newest hello that the sender has received, as received; 0: none. */
  readonly echoClock: number;
  /** µs since that one was received. */
  readonly echoAge: number;
  /** The receiver is asked to answer at once. */
  readonly answer: boolean;
  /** The link carries data at the sender, who needs a hello every 100 ms. */
  readonly busy: boolean;
}

/** What has come of the peer's records, of all lanes and sessions, since this link began. All modulo 2³². */
export interface Counts {
  /** Records that the peer has sealed, as far as the newest counters tell. */
  readonly sealed: number;
  readonly arrived: number;
  /** Runs of consecutive ones that a newer record overtook. */
  readonly gaps: number;
}

/** Each end counts what arrives and is told what became of what it sent; so only the sender knows the loss of a direction, and tells it. */
export interface Tally extends Counts {
  readonly type: 'tally';
  /** Of what the teller sends, by the other end's tallies: lost, in millionths. */
  readonly loss: number;
}

/** All of `Tally.loss`. */
export const TALLY_LOSS_UNIT = 1_000_000;

export interface StreamFrame {
  readonly type: 'stream';
  readonly epoch: number;
  readonly number: number;
  readonly first: boolean;
  readonly last: boolean;
  /** Decoded: lies in the record's buffer, valid until that is reused. */
  readonly bytes: Uint8Array;
}

export interface StreamAck {
  readonly type: 'stream-ack';
  readonly epoch: number;
  /** Next frame number expected: all before it have arrived. */
  readonly expected: number;
  /** Bit i (from the least significant) is set when frame `expected + 1 + i` has arrived. */
  readonly bitmap: number;
  /** Names the receiver's state: another value says that what it had received is forgotten. */
  readonly instance: number;
}

export interface Close {
  readonly type: 'close';
  readonly reason: CloseReason;
}

export type CloseReason = 'stopping' | 'replaced' | 'revoked' | 'unused';
const CLOSE_REASONS: readonly (CloseReason | undefined)[] = [
  undefined,
  'stopping',
  'replaced',
  'revoked',
  'unused',
];

/** A frame of a type that this version doesn't know: to be skipped. */
export interface UnknownFrame {
  readonly type: 'unknown';
}

/** A datagram of a certain size got through, or its answer. */
export interface SizeProbe {
  readonly type: 'probe' | 'probe-answer';
  readonly number: number;
}

export type LinkFrame = Hello | StreamFrame | StreamAck | Close | Tally | SizeProbe | UnknownFrame;

const UNKNOWN: UnknownFrame = { type: 'unknown' };

/**
 * A cursor over the link frames of a body. Reusable: `reset`, then `next` until it is false. A routed frame ends them: what it is and
 * whether it may stand there is for the caller to say.
 */
export class LinkFrames {
  private view: DataView = new DataView(new ArrayBuffer(0));
  private position = 0;
  private end = 0;
  /** Type of the present frame. */
  type = 0;
  /** Where its value lies. */
  at = 0;
  length = 0;
  /** A frame didn't fit, or was of neither kind: the rest of the record is dropped. */
  malformed = false;
  /** Where the routed frame begins that fills the rest of the body; -1: none met yet. */
  routedAt = -1;

  reset(view: DataView, at: number, length: number): void {
    this.view = view;
    this.position = at;
    this.end = at + length;
    this.malformed = false;
    this.routedAt = -1;
  }

  /** Moves to the next link frame; false at the end, at a malformed one, or at a routed one. */
  next(): boolean {
    if (this.position === this.end || this.malformed) return false;
    this.type = this.view.getUint8(this.position);
    if (isRouted(this.type)) {
      this.routedAt = this.position;
      return false;
    }
    this.malformed = !this.readHead();
    return !this.malformed;
  }

  private readHead(): boolean {
    if (this.end - this.position < LINK_FRAME_HEAD) return false;
    this.length = this.view.getUint16(this.position + 1);
    this.at = this.position + LINK_FRAME_HEAD;
    this.position = this.at + this.length;
    return this.type >= FRAME_HELLO && this.type <= 0x0f && this.position <= this.end;
  }
}

/** Decodes the value of a link frame that fills `length` bytes at `at`. */
export function decodeLinkFrame(
  type: number,
  view: DataView,
  at: number,
  length: number,
): LinkFrame | Reject {
  switch (type) {
    case FRAME_HELLO:
      return decodeHello(view, at, length);
    case FRAME_STREAM:
      return decodeStream(view, at, length);
    case FRAME_STREAM_ACK:
      return decodeStreamAck(view, at, length);
    case FRAME_CLOSE:
      return decodeClose(view, at, length);
    case FRAME_TALLY:
      return decodeTally(view, at, length);
    case FRAME_PROBE:
      return decodeProbe('probe', view, at, length);
    case FRAME_PROBE_ANSWER:
      return decodeProbe('probe-answer', view, at, length);
    default:
      return UNKNOWN;
  }
}

/** Writes type and length; returns the offset of the value. */
function writeHead(view: DataView, at: number, type: number, length: number): number {
  view.setUint8(at, type);
  view.setUint16(at + 1, length);
  return at + LINK_FRAME_HEAD;
}

export function encodeHello(view: DataView, at: number, hello: Hello): number {
  const value = writeHead(view, at, FRAME_HELLO, HELLO_SIZE);
  view.setUint32(value, hello.number);
  view.setUint32(value + 4, hello.clock);
  view.setUint32(value + 8, hello.echoClock);
  view.setUint32(value + 12, hello.echoAge);
  view.setUint8(value + 16, (hello.answer ? HELLO_ANSWER : 0) | (hello.busy ? HELLO_BUSY : 0));
  return value + HELLO_SIZE;
}

/** More bytes than the fields are an extension, and skipped; so are unknown flags. */
export function decodeHello(view: DataView, at: number, length: number): Hello | Reject {
  if (length < HELLO_SIZE) return reject('short');
  const flags = view.getUint8(at + 16);
  return {
    type: 'hello',
    number: view.getUint32(at),
    clock: view.getUint32(at + 4),
    echoClock: view.getUint32(at + 8),
    echoAge: view.getUint32(at + 12),
    answer: (flags & HELLO_ANSWER) !== 0,
    busy: (flags & HELLO_BUSY) !== 0,
  };
}

/** `bytes` at most STREAM_DATA_MAX long. */
export function encodeStream(view: DataView, at: number, frame: StreamFrame): number {
  const value = writeHead(view, at, FRAME_STREAM, STREAM_HEAD_SIZE + frame.bytes.length);
  view.setUint32(value, frame.epoch);
  view.setUint32(value + 4, frame.number);
  view.setUint8(value + 8, (frame.first ? STREAM_FIRST : 0) | (frame.last ? STREAM_LAST : 0));
  const data = value + STREAM_HEAD_SIZE;
  new Uint8Array(view.buffer, view.byteOffset + data, frame.bytes.length).set(frame.bytes);
  return data + frame.bytes.length;
}

export function decodeStream(view: DataView, at: number, length: number): StreamFrame | Reject {
  if (length < STREAM_HEAD_SIZE) return reject('short');
  if (length > STREAM_HEAD_SIZE + STREAM_DATA_MAX) return reject('long');
  const flags = view.getUint8(at + 8);
  return {
    type: 'stream',
    epoch: view.getUint32(at),
    number: view.getUint32(at + 4),
    first: (flags & STREAM_FIRST) !== 0,
    last: (flags & STREAM_LAST) !== 0,
    bytes: new Uint8Array(view.buffer, view.byteOffset + at + STREAM_HEAD_SIZE, length - STREAM_HEAD_SIZE),
  };
}

export function encodeStreamAck(view: DataView, at: number, ack: StreamAck): number {
  const value = writeHead(view, at, FRAME_STREAM_ACK, STREAM_ACK_SIZE);
  view.setUint32(value, ack.epoch);
  view.setUint32(value + 4, ack.expected);
  view.setUint32(value + 8, ack.bitmap);
  view.setUint32(value + 12, ack.instance);
  return value + STREAM_ACK_SIZE;
}

/** More bytes than the fields are an extension, and skipped. */
export function decodeStreamAck(view: DataView, at: number, length: number): StreamAck | Reject {
  if (length < STREAM_ACK_SIZE) return reject('short');
  return {
    type: 'stream-ack',
    epoch: view.getUint32(at),
    expected: view.getUint32(at + 4),
    bitmap: view.getUint32(at + 8),
    instance: view.getUint32(at + 12),
  };
}

/** Bytes that a tally takes, head included. */
export const TALLY_FRAME_SIZE = LINK_FRAME_HEAD + TALLY_SIZE;

export function encodeTally(view: DataView, at: number, { sealed, arrived, gaps, loss }: Tally): number {
  const value = writeHead(view, at, FRAME_TALLY, TALLY_SIZE);
  view.setUint32(value, sealed);
  view.setUint32(value + 4, arrived);
  view.setUint32(value + 8, gaps);
  view.setUint32(value + 12, loss);
  return value + TALLY_SIZE;
}

/** More bytes than the fields are an extension, and skipped. */
export function decodeTally(view: DataView, at: number, length: number): Tally | Reject {
  if (length < TALLY_SIZE) return reject('short');
  const loss = view.getUint32(at + 12);
  if (loss > TALLY_LOSS_UNIT) return reject('unknown-value');
  return {
    type: 'tally',
    sealed: view.getUint32(at),
    arrived: view.getUint32(at + 4),
    gaps: view.getUint32(at + 8),
    loss,
  };
}

const PATH_SIZE = 8;
/** Bytes that a path's probe or answer takes, head included. */
export const PATH_FRAME_SIZE = LINK_FRAME_HEAD + PATH_SIZE;

export interface PathFrame {
  readonly id: number;
  /** Of the end that probes, µs, low 32 bits. */
  readonly clock: number;
}

/** `type`: FRAME_PATH or FRAME_PATH_ANSWER. */
export function encodePath(view: DataView, at: number, type: number, { id, clock }: PathFrame): number {
  const value = writeHead(view, at, type, PATH_SIZE);
  view.setUint32(value, id);
  view.setUint32(value + 4, clock);
  return value + PATH_SIZE;
}

/** Of a body that fills `length` bytes at `at` and begins with such a frame. More bytes are an extension, and skipped. */
export function decodePath(view: DataView, at: number, length: number): PathFrame | Reject {
  if (length < PATH_FRAME_SIZE || view.getUint16(at + 1) < PATH_SIZE) return reject('short');
  const value = at + LINK_FRAME_HEAD;
  return { id: view.getUint32(value), clock: view.getUint32(value + 4) };
}

const CLOSE_SIZE = 1;
/** Bytes that a close frame takes, head included. */
export const CLOSE_FRAME_SIZE = LINK_FRAME_HEAD + CLOSE_SIZE;

export function encodeClose(view: DataView, at: number, reason: CloseReason): number {
  const value = writeHead(view, at, FRAME_CLOSE, CLOSE_SIZE);
  view.setUint8(value, CLOSE_REASONS.indexOf(reason));
  return value + CLOSE_SIZE;
}

/** More bytes than the reason are an extension, and skipped. */
export function decodeClose(view: DataView, at: number, length: number): Close | Reject {
  if (length < CLOSE_SIZE) return reject('short');
  const reason = CLOSE_REASONS[view.getUint8(at)];
  return reason === undefined ? reject('unknown-value') : { type: 'close', reason };
}

/** Of either, more bytes than the number are skipped. Their writers are in `piece`. */
function decodeProbe(
  type: SizeProbe['type'],
  view: DataView,
  at: number,
  length: number,
): SizeProbe | Reject {
  return length < 4 ? reject('short') : { type, number: view.getUint32(at) };
}
