/**
 * The sending half of a link's stream: messages in, frames out, each kept until acknowledged.
 *
 * Lost frames are found by the acknowledgement's bitmap (a frame is lost when one sent three later has arrived) and by timeout
 * (RFC 6298). A congestion window within the fixed one of 32 frames keeps a burst of routing records from filling a thin link.
 * All times in µs.
 */
import {
  encodeStream,
  LINK_FRAME_HEAD,
  STREAM_DATA_MAX,
  STREAM_HEAD_SIZE,
  type StreamAck,
  type StreamFrame,
} from '../wire/frames.js';
import { add32, difference32 } from '../wire/sequence.js';
import { RttEstimator } from './rtt.js';

/** Fixed by the wire: what the bitmap covers. */
export const STREAM_WINDOW = 32;
export const STREAM_MESSAGE_MAX = 65_536;
/** Bytes of messages not yet acknowledged that a sender keeps, unless told otherwise. Tuned. */
export const STREAM_BUFFER_MAX = 4 * 1024 * 1024;
/** RFC 6928's. */
const INITIAL_WINDOW = 10;
const MIN_WINDOW = 4;
const TIMEOUT_WINDOW = 2;
/** RFC 5681's duplicate threshold, counted in transmissions. */
const REORDER_TOLERANCE = 3;

export type SendResult =
  | 'queued'
  /** The buffer is full: the peer doesn't keep up, and the caller resets the link. */
  | 'overflow'
  /** Longer than STREAM_MESSAGE_MAX. */
  | 'too-large';

export type AckResult =
  | 'taken'
  /** For another epoch, or overtaken by a newer one. */
  | 'stale'
  /** Acknowledges what was never sent. */
  | 'invalid'
  /** The receiver has lost its state: call `reset` with a new epoch. */
  | 'forgotten';

interface Sent {
  readonly frame: StreamFrame;
  sentAt: number;
  /** Which transmission of this stream carried it last. */
  order: number;
  transmissions: number;
  state: 'flying' | 'lost' | 'arrived';
}

export class StreamSender {
  private readonly rtt = new RttEstimator();
  private messages: Uint8Array[] = [];
  /** Bytes of messages[0] already cut into frames. */
  private cut = 0;
  private buffered = 0;
  private sent: Sent[] = [];
  private next = 0;
  private flying = 0;
  private order = 0;
  private newestArrived = 0;
  private instance: number | undefined;
  private window = INITIAL_WINDOW;
  private threshold = STREAM_WINDOW;
  /** Losses of frames before this one belong to an event already answered. */
  private recovery = 0;
  private backoff = 0;
  private timerFrom = 0;

  /** `epoch`: random, not 0. */
  constructor(
    private epoch: number,
    private readonly bufferMax = STREAM_BUFFER_MAX,
  ) {}

  /** Forgets every message and begins anew under another `epoch`: random, not 0. */
  reset(epoch: number): void {
    this.epoch = epoch;
    this.messages = [];
    this.sent = [];
    this.cut = this.buffered = this.next = this.flying = this.order = this.newestArrived = 0;
    this.instance = undefined;
    this.window = INITIAL_WINDOW;
    this.threshold = STREAM_WINDOW;
    this.recovery = this.backoff = 0;
  }

  /** Bytes of messages not yet acknowledged. */
  get bufferedBytes(): number {
    return this.buffered;
  }

  /** Takes a message of 0…65536 bytes, which the caller changes no more. */
  send(message: Uint8Array): SendResult {
    if (message.length > STREAM_MESSAGE_MAX) return 'too-large';
    // An empty message counts too, or they could pile up without bound.
    if (this.buffered + message.length + STREAM_HEAD_SIZE > this.bufferMax) return 'overflow';
    this.buffered += message.length + STREAM_HEAD_SIZE;
    this.messages.push(message);
    return 'queued';
  }

  /** A round trip measured elsewhere (by hellos), to begin with. */
  seedRtt(rtt: number, now: number): void {
    if (this.rtt.smoothed === 0 && rtt > 0) this.rtt.sample(rtt, now);
  }

  /** Writes what may be sent now and fits before `limit`; returns the offset behind it, `at` if nothing. Call again until then. */
  transmit(now: number, view: DataView, at: number, limit: number): number {
    let end = at;
    for (let sent = this.pick(); sent !== undefined; sent = this.pick()) {
      const size = LINK_FRAME_HEAD + STREAM_HEAD_SIZE + sent.frame.bytes.length;
      if (end + size > limit) break;
      end = encodeStream(view, end, sent.frame);
      this.noteSent(sent, now);
    }
    return end;
  }

  /** The next frame to send: the oldest lost one, else a new one, if the window allows. */
  private pick(): Sent | undefined {
    if (this.flying >= this.window) return undefined;
    return this.sent.find((sent) => sent.state === 'lost') ?? this.cutFrame();
  }

  /** Cuts a new frame off the oldest message. It counts as lost until it is first sent. */
  private cutFrame(): Sent | undefined {
    const message = this.messages[0];
    const oldest = this.sent[0]?.frame.number ?? this.next;
    if (message === undefined || difference32(this.next, oldest) >= STREAM_WINDOW) return undefined;
    const end = Math.min(message.length, this.cut + STREAM_DATA_MAX);
    const frame: StreamFrame = {
      type: 'stream',
      epoch: this.epoch,
      number: this.next,
      first: this.cut === 0,
      last: end === message.length,
      bytes: message.subarray(this.cut, end),
    };
    this.next = add32(this.next, 1);
    this.cut = frame.last ? 0 : end;
    if (frame.last) this.messages.shift();
    const sent: Sent = { frame, sentAt: 0, order: 0, transmissions: 0, state: 'lost' };
    this.sent.push(sent);
    return sent;
  }

  private noteSent(sent: Sent, now: number): void {
    if (this.flying === 0) this.timerFrom = now;
    this.flying++;
    sent.state = 'flying';
    sent.sentAt = now;
    sent.order = ++this.order;
    sent.transmissions++;
  }

  receiveAck(now: number, ack: StreamAck): AckResult {
    if (ack.epoch !== this.epoch) return 'stale';
    const oldest = this.sent[0]?.frame.number ?? this.next;
    if (this.instance !== undefined && ack.instance !== this.instance) return 'forgotten';
    if (difference32(ack.expected, this.next) > 0) return 'invalid';
    if (difference32(ack.expected, oldest) < 0) return 'stale';
    this.instance = ack.instance;
    const arrived = this.sent.filter((sent) => sent.state !== 'arrived' && covers(ack, sent.frame.number));
    for (const sent of arrived) this.noteArrived(sent);
    if (arrived.length > 0) this.noteProgress(now, arrived);
    while (this.sent.length > 0 && this.sent[0].state === 'arrived') this.release(this.sent.shift()!);
    this.findLost();
    return 'taken';
  }

  private noteArrived(sent: Sent): void {
    if (sent.state === 'flying') this.flying--;
    sent.state = 'arrived';
    this.newestArrived = Math.max(this.newestArrived, sent.order);
  }

  private release(sent: Sent): void {
    this.buffered -= sent.frame.bytes.length + (sent.frame.last ? STREAM_HEAD_SIZE : 0);
  }

  /** Karn's rule: only frames sent once tell a round trip. */
  private noteProgress(now: number, arrived: readonly Sent[]): void {
    const once = arrived.filter((sent) => sent.transmissions === 1).at(-1);
    if (once !== undefined && now > once.sentAt) this.rtt.sample(now - once.sentAt, now);
    const growth = this.window < this.threshold ? arrived.length : arrived.length / this.window;
    this.window = Math.min(STREAM_WINDOW, this.window + growth);
    this.backoff = 0;
    this.timerFrom = now;
  }

  private findLost(): void {
    for (const sent of this.sent) {
      if (sent.state !== 'flying' || sent.order + REORDER_TOLERANCE > this.newestArrived) continue;
      this.markLost(sent);
      if (difference32(sent.frame.number, this.recovery) < 0) continue;
      this.recovery = this.next;
      this.threshold = this.window = Math.max(MIN_WINDOW, this.window / 2);
    }
  }

  private markLost(sent: Sent): void {
    sent.state = 'lost';
    this.flying--;
  }

  /** When to call `timeout`, µs; Infinity while nothing is under way. */
  nextTimeout(): number {
    return this.flying === 0 ? Infinity : this.timerFrom + this.rtt.timeout(this.backoff);
  }

  /** Everything under way for a whole timeout is taken as lost; the window opens again as acknowledgements come. */
  timeout(now: number): void {
    if (now < this.nextTimeout()) return;
    for (const sent of this.sent) if (sent.state === 'flying') this.markLost(sent);
    this.threshold = Math.max(MIN_WINDOW, this.window / 2);
    this.window = TIMEOUT_WINDOW;
    this.recovery = this.next;
    this.backoff = Math.min(this.backoff + 1, 10);
    this.timerFrom = now;
  }
}

function covers(ack: StreamAck, number: number): boolean {
  const ahead = difference32(number, ack.expected);
  return ahead < 0 || (ahead > 0 && ahead <= 32 && ((ack.bitmap >>> (ahead - 1)) & 1) === 1);
}
