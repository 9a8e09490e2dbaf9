/**
 * The receiving half of a link's stream: frames in, whole messages out, once and in order.
 *
 * It keeps at most a window of frames and one unfinished message. A new epoch of the sender begins at frame 0 and drops what
 * was unfinished; an epoch once left never comes back, however late its frames. `instance` tells the sender whether this
 * receiver still is the one that acknowledged its earlier frames.
 */
import { encodeStreamAck, LINK_FRAME_HEAD, STREAM_ACK_SIZE, type StreamFrame } from '../wire/frames.js';
import { add32, difference32 } from '../wire/sequence.js';
import { STREAM_MESSAGE_MAX, STREAM_WINDOW } from './stream-sender.js';

export type ReceiverEvent =
  | { readonly type: 'message'; readonly bytes: Uint8Array }
  /** The peer began a new stream: what it had sent but not finished is lost. */
  | { readonly type: 'stream-restarted' }
  /** The peer breaks the rules of the stream: the caller resets the link. */
  | { readonly type: 'stream-broken'; readonly reason: 'message-too-long' | 'message-boundaries' };

const NOTHING: readonly ReceiverEvent[] = [];
/** Epochs left behind that are remembered, so that late frames of theirs revive nothing. */
const RETIRED_MAX = 4;

export class StreamReceiver {
  private epoch: number | undefined;
  private retired: number[] = [];
  private expected = 0;
  private early = new Array<StreamFrame | undefined>(STREAM_WINDOW).fill(undefined);
  private parts: Uint8Array[] = [];
  private size = 0;
  private ackWanted = false;
  /** An epoch that began before this receiver did, to be told so. */
  private stray: number | undefined;

  /** `instance`: random, one for each receiver ever made. */
  constructor(private readonly instance: number) {}

  /** Takes a frame; its bytes are copied. */
  receive(frame: StreamFrame): readonly ReceiverEvent[] {
    const events: ReceiverEvent[] = [];
    if (frame.epoch !== this.epoch && !this.adopt(frame, events)) return NOTHING;
    this.ackWanted = true;
    const ahead = difference32(frame.number, this.expected);
    if (ahead < 0 || ahead >= STREAM_WINDOW) return events;
    this.early[frame.number % STREAM_WINDOW] ??= { ...frame, bytes: frame.bytes.slice() };
    this.deliver(events);
    return events;
  }

  /** Moves on to the epoch of `frame`, if it can be a beginning. */
  private adopt(frame: StreamFrame, events: ReceiverEvent[]): boolean {
    if (this.retired.includes(frame.epoch)) return false;
    if (frame.number >= STREAM_WINDOW) {
      this.stray = frame.epoch;
      return false;
    }
    if (this.epoch !== undefined) {
      this.retire(this.epoch);
      events.push({ type: 'stream-restarted' });
    }
    this.epoch = frame.epoch;
    this.stray = undefined;
    return true;
  }

  private retire(epoch: number): void {
    this.retired = [epoch, ...this.retired].slice(0, RETIRED_MAX);
    this.epoch = undefined;
    this.expected = 0;
    this.early.fill(undefined);
    this.parts = [];
    this.size = 0;
    this.ackWanted = false;
  }

  private deliver(events: ReceiverEvent[]): void {
    for (;;) {
      const slot = this.expected % STREAM_WINDOW;
      const frame = this.early[slot];
      if (frame === undefined) return;
      this.early[slot] = undefined;
      this.expected = add32(this.expected, 1);
      const broken = this.append(frame);
      if (broken !== undefined) {
        this.retire(frame.epoch);
        events.push({ type: 'stream-broken', reason: broken });
        return;
      }
      if (frame.last) events.push({ type: 'message', bytes: this.finish() });
    }
  }

  private append(frame: StreamFrame): 'message-too-long' | 'message-boundaries' | undefined {
    if (frame.first !== (this.parts.length === 0)) return 'message-boundaries';
    // Only a whole empty message may be empty, or parts could pile up without bound.
    if (frame.bytes.length === 0 && !(frame.first && frame.last)) return 'message-boundaries';
    this.parts.push(frame.bytes);
    this.size += frame.bytes.length;
    return this.size > STREAM_MESSAGE_MAX ? 'message-too-long' : undefined;
  }

  private finish(): Uint8Array {
    const message = new Uint8Array(this.size);
    let at = 0;
    for (const part of this.parts) {
      message.set(part, at);
      at += part.length;
    }
    this.parts = [];
    this.size = 0;
    return message;
  }

  /** Writes the acknowledgements owed, as far as they fit before `limit`; returns the offset behind them. */
  transmit(view: DataView, at: number, limit: number): number {
    let end = at;
    const size = LINK_FRAME_HEAD + STREAM_ACK_SIZE;
    if (this.stray !== undefined && end + size <= limit) {
      end = this.writeAck(view, end, this.stray, 0, 0);
      this.stray = undefined;
    }
    if (this.ackWanted && this.epoch !== undefined && end + size <= limit) {
      end = this.writeAck(view, end, this.epoch, this.expected, this.bitmap());
      this.ackWanted = false;
    }
    return end;
  }

  private writeAck(view: DataView, at: number, epoch: number, expected: number, bitmap: number): number {
    return encodeStreamAck(view, at, {
      type: 'stream-ack',
      epoch,
      expected,
      bitmap,
      instance: this.instance,
    });
  }

  private bitmap(): number {
    let bits = 0;
    for (let i = 0; i < STREAM_WINDOW - 1; i++) {
      if (this.early[(this.expected + 1 + i) % STREAM_WINDOW] !== undefined) bits |= 1 << i;
    }
    return bits >>> 0;
  }
}
