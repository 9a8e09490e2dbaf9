/**
 * A bottleneck that flows share: a queue that drops what doesn't fit, a rate, a delay each way, loss by chance or in bursts behind the queue.
 * Acknowledgements come back by a way of their own with the same delay. Times in µs, rates in bytes per µs. Virtual time, from a seed.
 */
import type { Random } from './random.js';
import { Simulator } from './simulator.js';

export interface BottleneckOptions {
  readonly rate: number;
  readonly oneWay: number;
  /** Queue that fits, µs at the first rate. */
  readonly queueTime: number;
  /** Share of packets lost, in runs of this mean length. */
  readonly loss?: number;
  readonly burst?: number;
  /** Up to so much more on the way back, each acknowledgement on its own. */
  readonly jitter?: number;
  /** The sender is deaf to acknowledgements and timers for so long at a time, at least and at most: a starved process. */
  readonly stall?: readonly [number, number];
  /** Packets that find a queue longer than this, µs, are marked. */
  readonly markAbove?: number;
  readonly seed?: number;
}

/** What a flow sends through. */
export interface Path {
  readonly now: number;
  at(time: number, run: () => void): void;
  after(delay: number, run: () => void): void;
  send(packet: SimPacket): void;
  /** Runs at the sender's side once an acknowledgement has come back. */
  back(run: () => void): void;
  /** Runs at the sender's side at `time`, or when it isn't starved any more. */
  wake(time: number, run: () => void): void;
}

export interface SimPacket {
  readonly number: number;
  readonly bytes: number;
  readonly sentAt: number;
  marked: boolean;
  readonly arrive: (packet: SimPacket) => void;
}

export class Bottleneck implements Path {
  readonly sim: Simulator;
  rate: number;
  oneWay: number;
  loss: number;
  /** Bytes that left the queue. */
  carried = 0;
  dropped = 0;
  /** Queueing time in µs, looked at each millisecond. */
  readonly queueSamples: number[] = [];
  private readonly random: Random;
  private readonly limit: number;
  private readonly queue: SimPacket[] = [];
  private queued = 0;
  private busy = false;
  private losing = false;
  private stallEnd = 0;

  constructor(private readonly options: BottleneckOptions) {
    this.rate = options.rate;
    this.oneWay = options.oneWay;
    this.loss = options.loss ?? 0;
    this.limit = options.rate * options.queueTime;
    this.sim = new Simulator(options.seed ?? 1);
    this.random = this.sim.random;
    this.sample();
  }

  get now(): number {
    return this.sim.now;
  }

  get queueDelay(): number {
    return this.queued / this.rate;
  }

  at(time: number, run: () => void): void {
    this.sim.at(time, run);
  }

  after(delay: number, run: () => void): void {
    this.sim.after(delay, run);
  }

  runUntil(end: number): void {
    this.sim.runUntil(end);
  }

  send(packet: SimPacket): void {
    if (this.queued + packet.bytes > this.limit) {
      this.dropped++;
      return;
    }
    if (this.queueDelay > (this.options.markAbove ?? Infinity)) packet.marked = true;
    this.queue.push(packet);
    this.queued += packet.bytes;
    if (!this.busy) this.serve();
  }

  back(run: () => void): void {
    this.wake(this.now + this.oneWay + this.random.integer((this.options.jitter ?? 0) + 1), run);
  }

  /** Runs at the sender's side at `time`, or when it isn't starved any more. */
  wake(time: number, run: () => void): void {
    this.at(this.options.stall === undefined ? time : Math.max(time, this.stallUntil(time)), run);
  }

  /** The end of the stall that lies at `time`, or after which it lies. */
  private stallUntil(time: number): number {
    const [least, most] = this.options.stall!;
    while (this.stallEnd < time) this.stallEnd += least + this.random.integer(most - least);
    return this.stallEnd;
  }

  private serve(): void {
    const packet = this.queue[0];
    this.busy = true;
    this.after(packet.bytes / this.rate, () => {
      this.queue.shift();
      this.queued -= packet.bytes;
      this.carried += packet.bytes;
      this.busy = false;
      if (!this.isLost()) this.after(this.oneWay, () => packet.arrive(packet));
      if (this.queue.length > 0) this.serve();
    });
  }

  /** Gilbert's model: lost in the bad state, which lasts `burst` packets on average. */
  private isLost(): boolean {
    const leave = 1 / (this.options.burst ?? 1);
    if (leave === 1) return this.random.chance(this.loss);
    const enter = (leave * this.loss) / (1 - this.loss);
    this.losing = this.losing ? !this.random.chance(leave) : this.random.chance(enter);
    return this.losing;
  }

  private sample(): void {
    this.queueSamples.push(this.queueDelay);
    this.after(1000, () => this.sample());
  }
}

/** The value below which this share of `values` lies. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}
