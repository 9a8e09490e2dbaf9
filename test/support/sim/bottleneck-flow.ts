/**
 * A sender and its receiver across a bottleneck: selective acknowledgements of each second packet, loss by packet threshold (RFC 9002 §6.1.1)
 * or a probe timeout, and whatever congestion control it is given. Lost bytes aren't sent again: there is always other data to send.
 */
import { CongestionController, type AckSample } from '../../../src/overlay/link/congestion/controller.js';
import { Pacer } from '../../../src/overlay/link/congestion/pacer.js';
import type { Path, SimPacket } from './bottleneck.js';

export const PACKET = 1400;
const PACKET_THRESHOLD = 3;
const ACK_EVERY = 2;
const ACK_DELAY = 2000;

/** What a flow asks of its congestion control. */
export interface FlowControl {
  readonly window: number;
  /** When a packet may go; `now` if at once. */
  sendTime(now: number): number;
  onSent(now: number, bytes: number, inFlight: number): void;
  onAck(now: number, sample: AckSample): void;
  onLoss(now: number, bytes: number, newestSentAt: number): void;
  onMark(now: number, sentAt: number): void;
  onTimeout(now: number): void;
}

interface Sent {
  readonly at: number;
  readonly delivered: number;
  readonly deliveredAt: number;
}

export class Flow {
  /** Bytes acknowledged. */
  delivered = 0;
  lost = 0;
  inFlight = 0;
  active = false;
  /** Offered load, bytes per µs; Infinity: always more. */
  offered = Infinity;
  private backlog = 0;
  private offeredAt = 0;
  private deliveredAt = 0;
  private next = 0;
  private largest = -1;
  private wakeAt = Infinity;
  private limited = false;
  private lastProgress = 0;
  private readonly sent = new Map<number, Sent>();
  private unacked: SimPacket[] = [];
  private expected = 0;

  constructor(
    private readonly path: Path,
    readonly control: FlowControl,
  ) {}

  start(): void {
    this.active = true;
    this.offeredAt = this.path.now;
    this.lastProgress = this.path.now;
    this.pump();
    this.watch();
  }

  stop(): void {
    this.active = false;
  }

  private pump(): void {
    const { now } = this.path;
    for (;;) {
      if (!this.hasData(now)) return;
      this.limited = this.inFlight + PACKET > this.control.window;
      if (this.limited) return;
      const time = this.control.sendTime(now);
      if (time > now) {
        this.limited = true;
        this.wake(time);
        return;
      }
      this.transmit(now);
    }
  }

  private hasData(now: number): boolean {
    if (!this.active) return false;
    if (this.offered === Infinity) return true;
    this.backlog += (now - this.offeredAt) * this.offered;
    this.offeredAt = now;
    if (this.backlog >= PACKET) return true;
    this.limited = false;
    this.wake(now + Math.ceil((PACKET - this.backlog) / this.offered) + 1);
    return false;
  }

  private wake(time: number): void {
    if (time >= this.wakeAt) return;
    this.wakeAt = time;
    this.path.wake(time, () => {
      this.wakeAt = Infinity;
      this.pump();
    });
  }

  private transmit(now: number): void {
    const number = this.next++;
    if (this.inFlight === 0) this.lastProgress = now;
    this.inFlight += PACKET;
    if (this.offered !== Infinity) this.backlog -= PACKET;
    this.sent.set(number, { at: now, delivered: this.delivered, deliveredAt: this.deliveredAt });
    this.control.onSent(now, PACKET, this.inFlight);
    this.path.send({
      number,
      bytes: PACKET,
      sentAt: now,
      marked: false,
      arrive: (packet) => this.receive(packet),
    });
  }

  private receive(packet: SimPacket): void {
    this.unacked.push(packet);
    const gap = packet.number !== this.expected;
    this.expected = packet.number + 1;
    if (gap || this.unacked.length >= ACK_EVERY) this.acknowledge(0);
    else this.path.after(ACK_DELAY, () => this.acknowledge(ACK_DELAY, packet));
  }

  /** The timer's acknowledgement is for `of` only: another may have gone since. */
  private acknowledge(delay: number, of?: SimPacket): void {
    if (of !== undefined && !this.unacked.includes(of)) return;
    const packets = this.unacked;
    this.unacked = [];
    this.path.back(() => this.onAck(packets, delay));
  }

  private onAck(packets: readonly SimPacket[], delay: number): void {
    const { now } = this.path;
    const known = packets.filter((packet) => this.sent.has(packet.number));
    if (known.length === 0) return;
    const newest = known[known.length - 1];
    const record = this.sent.get(newest.number)!;
    for (const packet of known) this.settle(packet.number);
    this.delivered += known.length * PACKET;
    this.deliveredAt = now;
    this.lastProgress = now;
    this.largest = Math.max(this.largest, newest.number);
    this.detectLoss(now);
    for (const packet of known) if (packet.marked) this.control.onMark(now, packet.sentAt);
    this.control.onAck(now, {
      ackedBytes: known.length * PACKET,
      rtt: now - record.at - delay,
      newestSentAt: record.at,
      bytesInFlight: this.inFlight,
      delivered: this.delivered,
      deliveredBefore: record.delivered,
      deliveredBeforeAt: record.deliveredAt,
      windowLimited: this.limited,
    });
    this.pump();
  }

  private settle(number: number): void {
    this.sent.delete(number);
    this.inFlight -= PACKET;
  }

  private detectLoss(now: number): void {
    let bytes = 0;
    let newest = -1;
    for (const [number, { at }] of this.sent) {
      if (number > this.largest - PACKET_THRESHOLD) break;
      newest = at;
      bytes += PACKET;
      this.settle(number);
    }
    this.lost += bytes;
    if (bytes > 0) this.control.onLoss(now, bytes, newest);
  }

  /** Without an answer for a second everything is lost. */
  private watch(): void {
    if (!this.active && this.inFlight === 0) return;
    const { now } = this.path;
    if (this.inFlight > 0 && now - this.lastProgress > 1_000_000) {
      this.lost += this.inFlight;
      this.sent.clear();
      this.inFlight = 0;
      this.lastProgress = now;
      this.control.onTimeout(now);
      this.pump();
    }
    this.path.after(100_000, () => this.watch());
  }
}

/** Causeway's own. */
export class CausewayControl implements FlowControl {
  readonly controller: CongestionController;
  private readonly pacer = new Pacer();

  constructor(now: number) {
    this.controller = new CongestionController(now, { packet: PACKET });
  }

  get window(): number {
    return this.controller.window;
  }

  sendTime(now: number): number {
    return this.pacer.nextTime(now, PACKET, this.controller.rate);
  }

  onSent(now: number, bytes: number, inFlight: number): void {
    this.pacer.spend(bytes);
    this.controller.onSent(now, bytes, inFlight);
  }

  onAck(now: number, sample: AckSample): void {
    this.controller.onAck(now, sample);
  }

  onLoss(now: number, bytes: number, newestSentAt: number): void {
    this.controller.onLoss(now, bytes, newestSentAt);
  }

  onMark(now: number, sentAt: number): void {
    this.controller.onCongestionMark(now, sentAt);
  }

  onTimeout(now: number): void {
    this.controller.reset(now);
  }
}
