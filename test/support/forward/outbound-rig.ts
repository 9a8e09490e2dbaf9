/** An `Outbound` whose wire is a list, over a pool of frames that may be shared with others. The test plays the peer. Times in µs. */
import { Outbound, type OutboundOptions, type Wire } from '../../../src/overlay/link/outbound.js';
import { add21 } from '../../../src/overlay/link/recovery/numbers.js';
import { LANE_REALTIME, LANE_RELIABLE } from '../../../src/overlay/wire/lanes.js';
import { encodeReport, REPORT_FRAME_SIZE } from '../../../src/overlay/wire/recovery.js';
import { ackOf } from '../../unit/link/recovery/acks.js';
import { FramePool } from './frame-pool.js';

export interface Transmission {
  readonly at: number;
  /** Of the frame. */
  readonly name: number;
  readonly handle: number;
  readonly lane: number;
  readonly epoch: number;
  readonly number: number;
  readonly repeatOf: number;
  readonly change: number;
  readonly bytes: number;
}

export interface Repair {
  readonly at: number;
  readonly epoch: number;
  readonly number: number;
  readonly frames: number;
  readonly key: number;
}

export interface Offer {
  readonly lane?: number;
  readonly bytes?: number;
  readonly flow?: number;
  readonly markable?: boolean;
}

const view = new DataView(new ArrayBuffer(REPORT_FRAME_SIZE));

export class OutboundRig {
  now = 0;
  readonly outbound: Outbound;
  readonly sent: Transmission[] = [];
  readonly repairs: Repair[] = [];
  readonly protectedNumbers: number[] = [];
  readonly repeats: { name: number; isCopy: boolean }[] = [];
  readonly unchained: [number, number][] = [];
  forgotten = 0;

  constructor(
    readonly pool = new FramePool(256),
    options: Partial<OutboundOptions> = {},
  ) {
    const wire: Wire = {
      transmit: (handle, lane, epoch, number, repeatOf, change) => {
        const name = pool.name[handle]!;
        if (name < 0) throw new Error(`handle ${handle} is sent, but free`);
        const bytes = pool.frameLength[handle]!;
        this.sent.push({ at: this.now, name, handle, lane, epoch, number, repeatOf, change, bytes });
      },
      protect: (_handle, number) => this.protectedNumbers.push(number),
      repair: (epoch, number, frames, key) => this.repairs.push({ at: this.now, epoch, number, frames, key }),
      forgetParity: () => this.forgotten++,
      noteRepeat: (handle, isCopy) => this.repeats.push({ name: pool.name[handle]!, isCopy }),
      unchain: (dropped, next) => this.unchained.push([pool.name[dropped]!, pool.name[next]!]),
      release: (handle) => pool.release(handle),
    };
    const all = { random: () => 5, realtimeDeadline: 100_000, handles: pool.size, ...options };
    this.outbound = new Outbound(0, pool, wire, all);
  }

  /** Offers a new frame and returns its name; -1 where no slot is free. */
  offer({ lane = LANE_RELIABLE, bytes = 1000, flow = 1, markable = false }: Offer = {}): number {
    const handle = this.pool.take(this.now, bytes, flow);
    if (handle < 0) return -1;
    const name = this.pool.name[handle]!;
    this.outbound.offer(this.now, handle, lane, markable);
    return name;
  }

  /** Offers, then pumps. */
  send(offer: Offer = {}): number {
    const name = this.offer(offer);
    this.pump();
    return name;
  }

  /** Offers `count` frames and lets the pace pass them. */
  sendAll(count: number, offer: Offer = {}): number[] {
    const names = Array.from({ length: count }, () => this.send(offer));
    this.run(1000);
    return names;
  }

  /** From now on the window is so many bytes, and the pace no limit. */
  pinWindow(bytes: number): void {
    Object.defineProperty(this.outbound.congestion, 'window', {
      get: () => bytes,
      set() {},
      configurable: true,
    });
    Object.defineProperty(this.outbound.congestion, 'rate', { get: () => 1e6, set() {}, configurable: true });
  }

  pump(): void {
    this.outbound.pump(this.now);
  }

  /** Lets time pass; timers run when they are due. Throws where there is no end to them. */
  run(micros: number): void {
    const end = this.now + micros;
    for (let runs = 0; this.outbound.nextTimeout() <= end; runs++) {
      if (runs > 100_000) throw new Error('timers without end');
      this.now = Math.max(this.now, this.outbound.nextTimeout());
      this.outbound.timeout(this.now);
      this.pump();
    }
    this.now = end;
  }

  /** The peer says that these numbers came. */
  ack(numbers: readonly number[], more: { lane?: number; epoch?: number; ceMarks?: number } = {}): void {
    const { lane = LANE_RELIABLE, epoch = this.epochOf(lane), ceMarks = 0 } = more;
    const ack = ackOf({ epoch, numbers, ceMarks });
    ack.view.setUint8(3, lane);
    this.outbound.acknowledge(this.now, ack.view, 3, ack.length);
    this.pump();
  }

  /** The peer says that everything sent so far came. */
  ackAll(lane = LANE_RELIABLE): void {
    const epoch = this.epochOf(lane);
    const records = [...this.sent, ...this.repairs.map((repair) => ({ ...repair, lane: LANE_REALTIME }))];
    const numbers = records.filter((each) => each.lane === lane && each.epoch === epoch);
    if (numbers.length > 0)
      this.ack(
        numbers.map(({ number }) => number),
        { lane },
      );
  }

  /** The peer reports losses: cumulative. */
  report(expected: number, lost: number, runs: number, lane = LANE_RELIABLE): void {
    const epoch = this.epochOf(lane);
    encodeReport(view, 0, { type: 'report', lane, epoch, expected, lost, runs, repaired: 0 });
    this.outbound.report(this.now, view, 3, REPORT_FRAME_SIZE - 3);
  }

  /** Sends `count` frames, one each `interval`, each acknowledged `rtt` later. So the link knows its round trip. */
  warmUp(count: number, interval: number, rtt: number, lane = LANE_RELIABLE): void {
    const due: { at: number; number: number; epoch: number }[] = [];
    const acknowledge = (until: number): void => {
      for (; due.length > 0 && due[0]!.at <= until; due.shift()) {
        this.run(due[0]!.at - this.now);
        this.ack([due[0]!.number], { lane });
      }
    };
    for (let i = 0; i < count; i++) {
      this.send({ lane });
      const { number, epoch } = this.sent.at(-1)!;
      due.push({ at: this.now + rtt, number, epoch });
      const next = this.now + interval;
      acknowledge(next);
      this.run(next - this.now);
    }
    acknowledge(Infinity);
  }

  /** Takes out what was sent. */
  take(): Transmission[] {
    return this.sent.splice(0);
  }

  private epochOf(lane: number): number {
    const { realtime, reliable } = this.outbound;
    return lane === LANE_REALTIME ? realtime.epoch : reliable.epoch;
  }
}

/** Numbers from … to, both included, modulo 2²¹. */
export function numbers(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => add21(from, i));
}
