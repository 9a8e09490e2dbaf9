/**
 * A sender and a receiver of recovered frames over a simulated link, with as little above them as shows what they do: a fixed window, one
 * deadline, every loss sent again at once, every probe answered with the oldest frame. Frames are numbers; each datagram is a
 * record header and a body as they go on the wire. Times in µs.
 */
import { ARRIVAL_DUPLICATE, Arrivals } from '../../src/overlay/link/recovery/arrivals.js';
import { LossEstimate } from '../../src/overlay/link/recovery/loss-estimate.js';
import { Transmissions } from '../../src/overlay/link/recovery/transmissions.js';
import { FRAME_ACK, FRAME_REPEAT, FRAME_REPORT, LinkFrames } from '../../src/overlay/wire/frames.js';
import { LANE_RELIABLE } from '../../src/overlay/wire/lanes.js';
import {
  readNumber,
  readNumberEpoch,
  RECORD_HEADER_SIZE,
  writeNumber,
  writeRecordHeader,
} from '../../src/overlay/wire/record.js';
import { readRepeat, writeRepeat } from '../../src/overlay/wire/recovery.js';
import { FRAME_DATA } from '../../src/overlay/wire/routed.js';
import { SimLink } from '../support/sim/link.js';
import type { Simulator } from '../support/sim/simulator.js';

const HANDLES = 512;
export const DEADLINE = 1_000_000;
const MAX_ACK_DELAY = 5_000;
/** First byte of a datagram that carries no numbered record. */
const CONTROL = 0xff;

export interface Burst {
  /** Of datagrams, in the long run. */
  readonly loss: number;
  /** Mean length of a run of losses. */
  readonly length: number;
}

export class RecoveryPair {
  readonly link: SimLink;
  sender!: Transmissions;
  receiver!: Arrivals;
  estimate = new LossEstimate();
  /** Frames as the receiver let them through, with the time. */
  readonly delivered: { frame: number; at: number }[] = [];
  /** By frame: when it was first sent. */
  readonly sentAt = new Map<number, number>();
  readonly expired: number[] = [];
  readonly rejected: string[] = [];
  readonly counters = { transmissions: 0, acks: 0, ackBytes: 0, probes: 0, spurious: 0, restarts: 0 };
  /** Bursts on the data's way; undefined for the link's own loss. */
  burst: Burst | undefined;
  window = 64;
  private readonly queue: number[] = [];
  private free: number[] = [];
  private frameOf = new Map<number, number>();
  private again: number[] = [];
  private inBurst = false;
  private readonly cursor = new LinkFrames();
  private readonly wakeSender: () => void;
  private readonly wakeReceiver: () => void;

  constructor(
    readonly sim: Simulator,
    options: ConstructorParameters<typeof SimLink>[1],
  ) {
    this.link = new SimLink(sim, options);
    this.restartSender();
    this.restartReceiver();
    this.link.attach(1, { datagram: (bytes) => this.receiveRecord(bytes) });
    this.link.attach(0, { datagram: (bytes) => this.receiveControl(bytes) });
    this.wakeSender = sim.plug({
      nextTimeout: () => this.sender.nextTimeout(),
      timeout: () => this.senderTimeout(),
    });
    this.wakeReceiver = sim.plug({
      nextTimeout: () => this.receiver.nextAck(),
      timeout: () => this.sendAck(),
    });
  }

  /** A new process: it remembers no frame. */
  restartSender(): void {
    const epoch = this.sim.random.integer(8);
    this.sender = new Transmissions({ handles: HANDLES, ring: 1024, epoch, maxAckDelay: MAX_ACK_DELAY });
    this.free = Array.from({ length: HANDLES }, (_, i) => i);
    this.frameOf = new Map();
    this.again = [];
  }

  restartReceiver(): void {
    this.receiver = new Arrivals({
      lane: LANE_RELIABLE,
      window: 4096,
      ackEvery: 4,
      maxAckDelay: MAX_ACK_DELAY,
    });
  }

  /** Sends `count` frames, numbered from `from`, one each `interval`. */
  feed(from: number, count: number, interval: number): void {
    for (let i = 0; i < count; i++)
      this.sim.after(i * interval, () => {
        this.queue.push(from + i);
        this.pump();
      });
  }

  get isIdle(): boolean {
    return this.queue.length === 0 && this.again.length === 0 && this.frameOf.size === 0;
  }

  pump(): void {
    while (this.again.length > 0 && this.sender.hasRoom()) this.repeat(this.again.shift()!);
    while (this.queue.length > 0 && this.frameOf.size < this.window && this.sender.hasRoom()) {
      const handle = this.free.pop()!;
      const frame = this.queue.shift()!;
      this.frameOf.set(handle, frame);
      this.sentAt.set(frame, this.sim.now);
      this.transmit(handle, -1);
    }
    this.wakeSender();
  }

  /** Gives a frame up at its deadline; false if it was sent again. */
  private repeat(handle: number): void {
    const frame = this.frameOf.get(handle);
    if (frame === undefined || this.sender.underWay(handle) > 0) return;
    if (this.sim.now - this.sentAt.get(frame)! <= DEADLINE) {
      this.transmit(handle, this.sender.firstNumber(handle));
      return;
    }
    this.sender.release(handle);
    this.expired.push(frame);
    this.forget(handle);
  }

  private forget(handle: number): void {
    this.frameOf.delete(handle);
    this.free.push(handle);
  }

  private transmit(handle: number, repeatOf: number): void {
    const view = new DataView(new ArrayBuffer(RECORD_HEADER_SIZE + 20));
    const number = this.sender.send(this.sim.now, handle, 1000);
    writeRecordHeader(view, 0, 1, 1);
    writeNumber(view, 0, this.sender.epoch, number);
    const at = repeatOf < 0 ? RECORD_HEADER_SIZE : writeRepeat(view, RECORD_HEADER_SIZE, repeatOf);
    view.setUint8(at, FRAME_DATA);
    view.setUint32(at + 1, this.frameOf.get(handle)!);
    this.counters.transmissions++;
    if (!this.isBurstLost()) this.link.send(0, new Uint8Array(view.buffer, 0, at + 5));
  }

  /** Two states (Gilbert): all is lost in one, nothing in the other. */
  private isBurstLost(): boolean {
    if (!this.burst) return false;
    const { loss, length } = this.burst;
    const { random } = this.sim;
    this.inBurst = this.inBurst ? !random.chance(1 / length) : random.chance(loss / (length * (1 - loss)));
    return this.inBurst;
  }

  private receiveRecord(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const { cursor } = this;
    cursor.reset(view, RECORD_HEADER_SIZE, bytes.length - RECORD_HEADER_SIZE);
    let repeatOf = -1;
    while (cursor.next())
      if (cursor.type === FRAME_REPEAT) repeatOf = readRepeat(view, cursor.at, cursor.length);
    const { now } = this.sim;
    const verdict = this.receiver.receive(
      now,
      readNumberEpoch(view, 0),
      readNumber(view, 0),
      repeatOf,
      false,
    );
    if (verdict !== ARRIVAL_DUPLICATE)
      this.delivered.push({ frame: view.getUint32(cursor.routedAt + 1), at: now });
    if (this.receiver.ackDue(now)) this.sendAck();
    this.wakeReceiver();
  }

  private sendAck(): void {
    const view = new DataView(new ArrayBuffer(400));
    view.setUint8(0, CONTROL);
    const acked = this.receiver.writeAck(this.sim.now, view, 1, 400);
    this.counters.acks++;
    this.counters.ackBytes += acked - 1;
    const end = this.receiver.writeReport(this.sim.now, view, acked, 400);
    this.link.send(1, new Uint8Array(view.buffer, 0, end));
  }

  private receiveControl(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const { cursor } = this;
    cursor.reset(view, 1, bytes.length - 1);
    while (cursor.next()) {
      if (cursor.type === FRAME_REPORT)
        this.estimate.receiveReport(this.sim.now, view, cursor.at, cursor.length);
      if (cursor.type !== FRAME_ACK) continue;
      const result = this.sender.acknowledge(this.sim.now, view, cursor.at, cursor.length);
      if (result === 'ok') this.settle();
      else this.rejected.push(result);
    }
    this.pump();
  }

  private settle(): void {
    const { delivered, deliveredCount, lost, lostCount, spurious } = this.sender.settled;
    for (const handle of delivered.slice(0, deliveredCount)) this.forget(handle);
    this.again.push(...lost.slice(0, lostCount));
    this.counters.spurious += spurious;
  }

  private senderTimeout(): void {
    const result = this.sender.timeout(this.sim.now);
    if (result === 'lost') this.settle();
    if (result === 'probe') this.probe();
    this.pump();
  }

  private probe(): void {
    this.counters.probes++;
    if (this.sender.probesInRow >= 6) {
      this.counters.restarts++;
      this.sender.restart();
      this.settle();
      return;
    }
    const handle = this.sender.oldestUnderWay();
    if (this.sim.now - this.sentAt.get(this.frameOf.get(handle)!)! > DEADLINE) {
      this.sender.release(handle);
      this.expired.push(this.frameOf.get(handle)!);
      this.forget(handle);
    } else if (this.sender.hasRoom()) this.transmit(handle, this.sender.firstNumber(handle));
  }
}
