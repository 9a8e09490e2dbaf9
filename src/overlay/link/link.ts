/**
 * One neighbour's link: hellos (`hello`, with `rtt`) and stream (`stream-sender`, `stream-receiver`) in one core. It lies above
 * sessions, so a rekey doesn't touch it, and below routing. It never sees keys, sockets or routed frames.
 *
 *  1. The caller opens a record; for every authentic one `noteReceived`, for data also `noteData`, for link frames `receive`.
 *  2. It acts on the events returned.
 *  3. It seals what `transmit` writes, a record a call, until that writes nothing.
 *  4. It arms its timer for `nextTimeout()` and calls `timeout` then.
 *
 * The stream lasts as long as the link is up: going down drops what is queued, and routing synchronises anew when the link
 * comes up. A new process at the other end (another static key) gets a new Link. All times in µs.
 */
import {
  CLOSE_FRAME_SIZE,
  decodeLinkFrame,
  encodeClose,
  encodeHello,
  encodeTally,
  HELLO_SIZE,
  LINK_FRAME_HEAD,
  LinkFrames,
  type CloseReason,
  type LinkFrame,
  TALLY_FRAME_SIZE,
  TALLY_LOSS_UNIT,
  type Counts,
  type Tally,
} from '../wire/frames.js';
import { PROBE_ANSWER_FRAME_SIZE, writeProbeAnswer } from '../wire/piece.js';
import { RECORD_HEADER_SIZE, RECORD_TAG_SIZE } from '../wire/record.js';
import type { Reject, RejectReason } from '../wire/reject.js';
import { elapsed32 } from '../wire/sequence.js';
import { PathMtu } from './path/path-mtu.js';
import { HelloMachine, type HelloEvent, type HelloState } from './hello.js';
import { StreamReceiver, type ReceiverEvent } from './stream-receiver.js';
import { StreamSender, type SendResult } from './stream-sender.js';

/** A tally goes with the next hello once so many records came since the last, or one was found missing. Tuned. */
const TALLY_EVERY = 4;
/** Probes of the peer's that wait for their answers, at most. */
const PROBE_ANSWERS = 8;

/** Most bytes of link frames in one record: a record of 1200 bytes passes every underlay that IPv6 allows. */
export const LINK_BODY_MAX = 1200 - RECORD_HEADER_SIZE - RECORD_TAG_SIZE;

export type LinkEvent =
  | HelloEvent
  | ReceiverEvent
  /** The peer has lost what it had received of our stream, which began anew: synchronise again. */
  | { readonly type: 'stream-lost' }
  /** The peer said goodbye; 'down' went before if the link was up. Nothing more will come. */
  | { readonly type: 'closed'; readonly reason: CloseReason }
  /** What has come of our records at the peer. */
  | Tally
  /** A frame to count and forget: its reason, or that the record's rest made no sense. */
  | { readonly type: 'rejected'; readonly reason: RejectReason | 'malformed-rest' | 'stream-ack' };

export class Link {
  private readonly hello: HelloMachine;
  private readonly sender: StreamSender;
  private readonly receiver: StreamReceiver;
  private readonly frames = new LinkFrames();
  private goodbye: CloseReason | undefined;
  private tallied: Tally = { type: 'tally', sealed: 0, arrived: 0, gaps: 0, loss: 0 };
  private tally = this.tallied;
  private readonly path: PathMtu;
  /** Numbers of the peer's probes that are to be answered. */
  private readonly unanswered: number[] = [];
  /** Up, and no hello has gone since. */
  private justUp = false;

  /**
   * `random` gives unpredictable u32 values. `datagram`: size of the largest datagram that there is to send; 0: the path is believed to carry all.
   * The link begins down, with a hello to send.
   */
  constructor(
    private readonly random: () => number,
    now: number,
    datagram = 0,
  ) {
    this.path = new PathMtu(datagram);
    this.hello = new HelloMachine(now);
    this.sender = new StreamSender(this.nonZero());
    this.receiver = new StreamReceiver(this.nonZero());
  }

  get state(): HelloState {
    return this.hello.state;
  }

  get isUp(): boolean {
    return this.hello.isUp;
  }

  /** Smoothed round trip, µs; 0 before the first. */
  get rtt(): number {
    return this.hello.rtt.smoothed;
  }

  /** Least round trip of the last minutes, µs; 0 before the first. */
  get baseRtt(): number {
    return this.hello.rtt.base;
  }

  /** Bytes of the largest datagram to send whole; larger records go in pieces. */
  get datagramMax(): number {
    return this.path.size;
  }

  /** Bytes of the largest datagram that passes, where a larger one was tried and doesn't; Infinity where that isn't known. */
  get provenMax(): number {
    return this.path.provenMax;
  }

  /** Small packets may pass, datagrams of 1280 bytes don't. */
  get isBlocked(): boolean {
    return this.path.isBlocked;
  }

  /** Datagrams of `size` bytes are, or will be, there to be sent: the link finds out whether they pass whole. */
  wantDatagram(size: number): void {
    this.path.want(size);
  }

  /** Bytes of a datagram to send now, whole and with `probeNumber` in it, to see whether it passes; 0: none. */
  takeProbe(now: number): number {
    return this.path.take(now, this.rtt);
  }

  get probeNumber(): number {
    return this.path.number;
  }

  /** Probes lost since this was asked last: their size lost them, not the link's quality. */
  takeLostProbes(): number {
    return this.path.takeLost();
  }

  /** Bytes of messages not yet acknowledged. */
  get bufferedBytes(): number {
    return this.sender.bufferedBytes;
  }

  /** Data was sent or received over the link. True when `transmit` has something and `nextTimeout` has changed. */
  noteData(now: number): boolean {
    const isProbing = this.path.noteData(now);
    return this.hello.noteData(now) || isProbing;
  }

  /** Whether data crossed the link in the last seconds. */
  isBusy(now: number): boolean {
    return this.hello.isBusyAt(now);
  }

  /** Whether it is down, or asks whether the peer is still there. */
  isSilent(now: number): boolean {
    return !this.isUp || this.hello.isProbing(now);
  }

  /** Says hello now, and asks for an answer: there is another way to the peer. */
  ask(): void {
    this.hello.ask();
  }

  /** An authentic record arrived. */
  noteReceived(now: number): void {
    this.hello.noteReceived(now);
  }

  /** A hello is to go with the next `transmit`, and a tally may. */
  get wantsHello(): boolean {
    return this.hello.wanted || this.justUp;
  }

  /** What has come of the peer's records, and the share of this end's that was lost, 0 … 1. */
  count(counts: Counts, loss: number): void {
    this.tally = { ...counts, type: 'tally', loss: Math.round(loss * TALLY_LOSS_UNIT) };
  }

  /** The link towards the peer loses records: hellos are to show sooner how many. */
  watch(now: number, isLossy: boolean): void {
    this.hello.watch(now, isLossy);
  }

  /** Something says that the peer can't be reached. `isTrusted`: it isn't an ICMP error, which anyone can forge. */
  suspect(now: number, isTrusted: boolean): void {
    this.hello.suspect(now, isTrusted);
  }

  /** Acknowledgements of the peer's are overdue. */
  noteUnanswered(now: number): void {
    this.hello.noteUnanswered(now);
  }

  /** This host has no way to the peer. */
  fail(now: number): LinkEvent[] {
    const events: LinkEvent[] = [];
    this.follow(now, this.hello.fail(now), events);
    return events;
  }

  /** This host's network has changed. */
  retry(): void {
    this.hello.retry();
  }

  /** Queues a message of at most 65536 bytes, which the caller changes no more. */
  send(message: Uint8Array): SendResult | 'down' {
    return this.isUp ? this.sender.send(message) : 'down';
  }

  /**
   * Takes the link frames that fill `length` bytes at `at`: the body of an authentic record, or as much of it as lies before its
   * routed frame. One that is left on is rejected: a link has no use for it.
   */
  receive(now: number, view: DataView, at: number, length: number): LinkEvent[] {
    const events: LinkEvent[] = [];
    if (this.state.name === 'closed') return events;
    this.hello.noteReceived(now);
    this.frames.reset(view, at, length);
    while (this.frames.next()) {
      const frame = decodeLinkFrame(this.frames.type, view, this.frames.at, this.frames.length);
      this.receiveFrame(now, frame, events);
    }
    if (this.frames.malformed || this.frames.routedAt >= 0)
      events.push({ type: 'rejected', reason: 'malformed-rest' });
    return events;
  }

  private receiveFrame(now: number, frame: LinkFrame | Reject, events: LinkEvent[]): void {
    switch (frame.type) {
      case 'hello':
        this.follow(now, this.hello.receive(now, frame), events);
        return;
      case 'stream':
        // Routing has no link yet, and would lose the message: unacknowledged, it comes again.
        if (this.isUp) events.push(...this.receiver.receive(frame));
        return;
      case 'stream-ack':
        this.followAck(this.sender.receiveAck(now, frame), events);
        return;
      case 'close':
        this.follow(now, this.hello.close(), events);
        events.push({ type: 'closed', reason: frame.reason });
        return;
      case 'probe':
        if (this.unanswered.length < PROBE_ANSWERS) this.unanswered.push(frame.number);
        return;
      case 'probe-answer':
        this.path.answered(now, frame.number);
        return;
      case 'tally':
        events.push(frame);
        return;
      case 'reject':
        events.push({ type: 'rejected', reason: frame.reason });
        return;
      case 'unknown':
        return;
      default:
        frame satisfies never;
    }
  }

  private followAck(result: ReturnType<StreamSender['receiveAck']>, events: LinkEvent[]): void {
    if (result === 'invalid') events.push({ type: 'rejected', reason: 'stream-ack' });
    if (result !== 'forgotten') return;
    this.sender.reset(this.nonZero());
    events.push({ type: 'stream-lost' });
  }

  /** Passes hello events on, and lets the stream begin and end with the link. */
  private follow(now: number, from: readonly HelloEvent[], events: LinkEvent[]): void {
    for (const event of from) {
      if (event.type === 'up') this.sender.seedRtt(event.rtt, now);
      if (event.type === 'up') this.justUp = true;
      if (event.type === 'up') this.path.start(now);
      if (event.type === 'down') this.path.stop();
      if (event.type === 'down') this.sender.reset(this.nonZero());
      events.push(event);
    }
  }

  /** Whatever is due at `now`; harmless when early. */
  timeout(now: number): LinkEvent[] {
    const events: LinkEvent[] = [];
    this.follow(now, this.hello.timeout(now), events);
    if (this.isUp) this.sender.timeout(now);
    this.path.timeout(now);
    return events;
  }

  /** After a 'drain' event: the sockets have been read empty and what was there passed on. */
  drained(now: number): LinkEvent[] {
    const events: LinkEvent[] = [];
    this.follow(now, this.hello.drained(now), events);
    return events;
  }

  /** Ends the link: the next `transmit` says goodbye, after that nothing. The caller knows and gets no event. */
  close(reason: CloseReason): void {
    if (this.state.name === 'closed') return;
    this.hello.close();
    this.goodbye = reason;
  }

  /**
   * Writes link frames to send now, one record's body, at `at` and before `limit` (at most LINK_BODY_MAX further); returns the bytes
   * written, 0 when there is nothing more. A body that is then not sent counts as lost on the way.
   */
  transmit(now: number, view: DataView, at: number, limit: number): number {
    if (this.state.name === 'closed') return this.sayGoodbye(view, at, limit);
    let end = at;
    // A peer hears our stream only once it is up too, so the echo that brings it up goes ahead of the stream's beginning.
    if (this.wantsHello && end + LINK_FRAME_HEAD + HELLO_SIZE <= limit) {
      end = encodeHello(view, end, this.hello.take(now));
      this.justUp = false;
      if (this.isTallyDue() && end + TALLY_FRAME_SIZE <= limit) {
        end = encodeTally(view, end, this.tally);
        this.tallied = this.tally;
      }
    }
    while (this.unanswered.length > 0 && end + PROBE_ANSWER_FRAME_SIZE <= limit) {
      end = writeProbeAnswer(view, end, this.unanswered.shift()!);
    }
    end = this.receiver.transmit(view, end, limit);
    if (this.isUp) end = this.sender.transmit(now, view, end, limit);
    return end - at;
  }

  private isTallyDue(): boolean {
    const { tally, tallied } = this;
    if (tally.gaps !== tallied.gaps || (tally.loss === 0) !== (tallied.loss === 0)) return true;
    return elapsed32(tally.sealed, tallied.sealed) >= TALLY_EVERY;
  }

  private sayGoodbye(view: DataView, at: number, limit: number): number {
    if (this.goodbye === undefined || at + CLOSE_FRAME_SIZE > limit) return 0;
    const end = encodeClose(view, at, this.goodbye);
    this.goodbye = undefined;
    return end - at;
  }

  /** When to call `timeout`, µs; Infinity for never. Noting received records never brings it forward. */
  nextTimeout(): number {
    return this.isUp
      ? Math.min(this.hello.nextTimeout(), this.sender.nextTimeout(), this.path.nextTimeout())
      : this.hello.nextTimeout();
  }

  private nonZero(): number {
    return this.random() >>> 0 || 1;
  }
}
