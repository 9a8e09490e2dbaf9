/**
 * One link's recovery, whole, over a simulated channel: `Outbound` at end 0, `Inbound` and an exit that restores order at end 1. Frames are
 * names; each datagram is a record header and a body as they go on the wire. Times in µs.
 */
import { ARRIVE_DUPLICATE, ARRIVE_HOLD, FlowOrder } from '../../../src/overlay/egress/flow-order.js';
import { Inbound } from '../../../src/overlay/link/inbound.js';
import { CHANGE_VOID, FRAME_OVERHEAD, Outbound, type Wire } from '../../../src/overlay/link/outbound.js';
import { ARRIVAL_DUPLICATE } from '../../../src/overlay/link/recovery/arrivals.js';
import { FRAME_ACK, FRAME_REPEAT, FRAME_REPORT, LinkFrames } from '../../../src/overlay/wire/frames.js';
import { LANE_REALTIME, LANE_RELIABLE } from '../../../src/overlay/wire/lanes.js';
import {
  readNumber,
  readNumberEpoch,
  RECORD_HEADER_SIZE,
  writeNumber,
} from '../../../src/overlay/wire/record.js';
import { readRepeat, writeRepeat } from '../../../src/overlay/wire/recovery.js';
import { FRAME_DATA } from '../../../src/overlay/wire/routed.js';
import { type LinkOptions, SimLink } from '../sim/link.js';
import type { Simulator } from '../sim/simulator.js';
import { FramePool } from './frame-pool.js';

const SOURCE = 1;
const FLOW = 1;
/** As the exit's for a path of some length. */
const WAIT = 1_000_000;
/** Of the receiver's index, where acknowledgements go in records of their own. */
const CONTROL = 0;
const HELD = 4096;
/** A run of losses is over after so long without a datagram. */
const BURST_TIME = 20_000;

/** Losses in runs, on the data's way: share of all, and mean length. */
export interface Burst {
  readonly loss: number;
  readonly length: number;
}

export class HopPair {
  readonly link: SimLink;
  readonly pool: FramePool;
  outbound!: Outbound;
  inbound!: Inbound;
  burst: Burst | undefined;
  /** A reliable frame left the exit. */
  onDelivered: (sequence: number) => void = () => undefined;
  /** Reliable frames by sequence, in the order in which they left the exit; realtime ones by name. */
  readonly delivered: number[] = [];
  readonly realtime: number[] = [];
  /** Sequences of reliable frames that came void. */
  readonly voided = new Set<number>();
  /** By sequence: when the frame was offered, and when it was delivered. */
  readonly offeredAt: number[] = [];
  readonly deliveredAt: number[] = [];
  /** No slot was free. */
  refused = 0;
  sent = 0;
  duplicates = 0;
  private sequences = 0;
  private readonly order = new FlowOrder({ handles: HELD, flows: 16, heldMax: HELD, heldPerFlow: HELD });
  /** By handle of the exit: the sequence held. */
  private readonly held: number[] = [];
  private readonly freeHeld = Array.from({ length: HELD }, (_, i) => i);
  private readonly sequenceOf: Int32Array;
  private readonly distanceOf: Int32Array;
  /** By flow: its last sequence. */
  private readonly lastOf = new Map([[FLOW, 0]]);
  private readonly isVoid: Uint8Array;
  private inBurst = false;
  private lastSentAt = 0;
  private readonly cursor = new LinkFrames();
  private readonly wakeSender: () => void;
  private readonly wakeReceiver: () => void;

  constructor(
    readonly sim: Simulator,
    options: Partial<LinkOptions> | SimLink,
    slots = 1024,
  ) {
    this.pool = new FramePool(slots);
    this.sequenceOf = new Int32Array(slots);
    this.distanceOf = new Int32Array(slots);
    this.isVoid = new Uint8Array(slots);
    this.link = options instanceof SimLink ? options : new SimLink(sim, options);
    this.startSender();
    this.startReceiver();
    // The exit knows the flow: the packet before the first one came long ago.
    this.order.arrive(sim.now, SOURCE, 1, FLOW, 0, 0, WAIT);
    this.link.attach(1, { datagram: (bytes) => this.receiveRecord(bytes) });
    this.link.attach(0, { datagram: (bytes) => this.receiveControl(bytes) });
    this.wakeSender = sim.plug({
      nextTimeout: () => this.outbound.nextTimeout(),
      timeout: (now) => {
        this.outbound.timeout(now);
        this.outbound.pump(now);
      },
    });
    this.wakeReceiver = sim.plug({
      nextTimeout: () => Math.min(this.inbound.nextTimeout(), this.order.nextTimeout()),
      timeout: () => this.receiverTimeout(),
    });
  }

  /** A sender that knows nothing of an earlier one; what that kept is gone. */
  startSender(): void {
    if (this.outbound as Outbound | undefined) {
      this.outbound.suspend(this.sim.now);
      const all = new Int32Array(this.pool.size);
      const n = this.outbound.takeBack(this.sim.now, all);
      for (let k = 0; k < n; k++) this.pool.release(all[k]!);
    }
    const wire: Wire = {
      transmit: (handle, lane, epoch, number, repeatOf, change) => {
        if (change === CHANGE_VOID) this.isVoid[handle] = 1;
        this.transmit(handle, lane, epoch, number, repeatOf);
      },
      protect: () => {},
      repair: (epoch, number) => this.send(this.record(LANE_REALTIME, epoch, number, new Uint8Array(0))),
      forgetParity: () => {},
      unchain: (dropped, next) => {
        if (this.pool.flow[dropped] === this.pool.flow[next])
          this.distanceOf[next]! += this.distanceOf[dropped]!;
      },
      noteRepeat: () => {},
      release: (handle) => this.pool.release(handle),
    };
    const random = () => this.sim.random.u32();
    const options = { random, realtimeDeadline: 100_000, handles: this.pool.size };
    this.outbound = new Outbound(this.sim.now, this.pool, wire, options);
  }

  startReceiver(): void {
    this.inbound = new Inbound();
  }

  /** Offers a frame now; false where no slot is free. Reliable ones are counted from 1, whatever their flow. */
  offer(lane = LANE_RELIABLE, bytes = 1000, flow = FLOW): boolean {
    const { now } = this.sim;
    const handle = this.pool.take(now, bytes, flow);
    if (handle < 0) {
      this.refused++;
      return false;
    }
    this.isVoid[handle] = 0;
    if (lane === LANE_RELIABLE) {
      this.offeredAt.push(now);
      this.sequenceOf[handle] = ++this.sequences;
      this.distanceOf[handle] = this.sequences - (this.lastOf.get(flow) ?? this.sequences);
      this.lastOf.set(flow, this.sequences);
    }
    this.outbound.offer(now, handle, lane, false);
    this.outbound.pump(now);
    this.wakeSender();
    return true;
  }

  /** Offers `count` frames, one each `interval`. */
  feed(count: number, interval: number, lane = LANE_RELIABLE, bytes = 1000): void {
    for (let i = 0; i < count; i++) this.sim.after(i * interval, () => this.offer(lane, bytes));
  }

  suspend(): void {
    this.outbound.suspend(this.sim.now);
    this.wakeSender();
  }

  resume(): void {
    this.outbound.resume();
    this.outbound.pump(this.sim.now);
    this.wakeSender();
  }

  get isIdle(): boolean {
    return this.pool.used === 0 && this.outbound.bytesInFlight === 0;
  }

  private transmit(handle: number, lane: number, epoch: number, number: number, repeatOf: number): void {
    const reliable = lane === LANE_RELIABLE;
    const body = new DataView(new ArrayBuffer(20));
    const at = repeatOf < 0 ? 0 : writeRepeat(body, 0, repeatOf);
    body.setUint8(at, FRAME_DATA);
    body.setUint8(at + 1, this.isVoid[handle]!);
    body.setUint32(at + 2, reliable ? this.sequenceOf[handle]! : this.pool.name[handle]!);
    body.setUint32(at + 6, this.pool.flow[handle]!);
    body.setUint16(at + 10, this.distanceOf[handle]!);
    const record = this.record(lane, epoch, number, new Uint8Array(body.buffer, 0, at + 12));
    this.send(record, this.pool.frameLength[handle]! + FRAME_OVERHEAD);
  }

  private record(lane: number, epoch: number, number: number, body: Uint8Array): Uint8Array {
    const bytes = new Uint8Array(RECORD_HEADER_SIZE + body.length);
    const view = new DataView(bytes.buffer);
    writeNumber(view, 0, epoch, number);
    view.setUint32(4, lane);
    bytes.set(body, RECORD_HEADER_SIZE);
    return bytes;
  }

  private send(bytes: Uint8Array, size?: number): void {
    this.sent++;
    if (!this.isBurstLost()) this.link.send(0, bytes, size);
  }

  /** Two states (Gilbert): all is lost in one, nothing in the other, which a run of losses doesn't outlast by a silence. */
  private isBurstLost(): boolean {
    if (!this.burst) return false;
    const { loss, length } = this.burst;
    const { random, now } = this.sim;
    if (now - this.lastSentAt > BURST_TIME) this.inBurst = false;
    this.lastSentAt = now;
    this.inBurst = this.inBurst ? !random.chance(1 / length) : random.chance(loss / (length * (1 - loss)));
    return this.inBurst;
  }

  private receiveRecord(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const { cursor } = this;
    const { now } = this.sim;
    cursor.reset(view, RECORD_HEADER_SIZE, bytes.length - RECORD_HEADER_SIZE);
    let repeatOf = -1;
    while (cursor.next())
      if (cursor.type === FRAME_REPEAT) repeatOf = readRepeat(view, cursor.at, cursor.length);
    const lane = view.getUint32(4);
    const arrivals = this.inbound.ofLane(lane);
    const verdict = arrivals.receive(now, readNumberEpoch(view, 0), readNumber(view, 0), repeatOf, false);
    const at = cursor.routedAt;
    if (verdict === ARRIVAL_DUPLICATE) this.duplicates++;
    else if (at >= 0) this.takeOut(lane, view, at);
    if (this.inbound.isDue(now)) this.sendAcks();
    this.wakeReceiver();
  }

  private takeOut(lane: number, view: DataView, at: number): void {
    const { order } = this;
    const { now } = this.sim;
    const [isVoid, name] = [view.getUint8(at + 1) === 1, view.getUint32(at + 2)];
    const [flow, distance] = [view.getUint32(at + 6), view.getUint16(at + 10)];
    if (lane === LANE_REALTIME) this.realtime.push(name);
    else if (isVoid) {
      this.voided.add(name);
      order.void(now, SOURCE, 1, flow, name, distance);
    } else {
      const verdict = order.arrive(now, SOURCE, 1, flow, name, distance, WAIT);
      if (verdict === ARRIVE_HOLD) this.hold(name);
      else if (verdict !== ARRIVE_DUPLICATE) this.deliver(name);
    }
    this.deliverReady();
  }

  private hold(name: number): void {
    this.deliverReady();
    const handle = this.freeHeld.pop()!;
    this.held[handle] = name;
    this.order.hold(handle);
  }

  private deliverReady(): void {
    const { order } = this;
    const { now } = this.sim;
    for (let handle = order.ready(now); handle >= 0; handle = order.ready(now)) {
      this.deliver(this.held[handle]!);
      this.freeHeld.push(handle);
    }
  }

  private deliver(sequence: number): void {
    this.delivered.push(sequence);
    this.deliveredAt[sequence - 1] = this.sim.now;
    this.onDelivered(sequence);
  }

  private receiverTimeout(): void {
    const { now } = this.sim;
    this.order.timeout(now);
    this.deliverReady();
    if (this.inbound.isDue(now)) this.sendAcks();
  }

  private sendAcks(): void {
    const { now } = this.sim;
    const view = new DataView(new ArrayBuffer(RECORD_HEADER_SIZE + 400));
    view.setUint32(4, CONTROL);
    const acks = this.inbound.writeAcks(now, view, RECORD_HEADER_SIZE, 400);
    const end = this.inbound.writeReports(now, view, acks, 400);
    this.link.send(1, new Uint8Array(view.buffer, 0, end));
  }

  private receiveControl(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const { cursor, outbound } = this;
    const { now } = this.sim;
    cursor.reset(view, RECORD_HEADER_SIZE, bytes.length - RECORD_HEADER_SIZE);
    while (cursor.next()) {
      if (cursor.type === FRAME_ACK) outbound.acknowledge(now, view, cursor.at, cursor.length);
      if (cursor.type === FRAME_REPORT) outbound.report(now, view, cursor.at, cursor.length);
    }
    outbound.pump(now);
    this.wakeSender();
  }
}
