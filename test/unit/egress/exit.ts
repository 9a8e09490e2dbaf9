/** An exit around a FlowOrder, as the agent's: it delivers, holds under the handles of a small store, drops. Time stands unless moved. */
import { expect } from 'vitest';
import {
  ARRIVE_HOLD,
  ARRIVE_PASS,
  FlowOrder,
  type FlowOrderOptions,
} from '../../../src/overlay/egress/flow-order.js';

export interface Packet {
  readonly sequence: number;
  readonly distance: number;
  readonly source?: number;
  readonly epoch?: number;
  readonly flow?: number;
}

const DEFAULTS: FlowOrderOptions = { handles: 64, flows: 64, sources: 16, heldMax: 64, heldPerFlow: 64 };

export class Exit {
  readonly order: FlowOrder;
  now = 0;
  /** Sequences in the order of delivery. */
  readonly delivered: number[] = [];
  /** The same with source and flow. */
  readonly packets: Packet[] = [];
  /** The longest that any packet was held, µs. */
  longest = 0;
  private readonly free: number[] = [];
  private readonly store = new Map<number, { packet: Packet; since: number; wait: number }>();

  constructor(options: Partial<FlowOrderOptions> = {}) {
    const all = { ...DEFAULTS, ...options };
    this.order = new FlowOrder(all);
    for (let handle = all.handles - 1; handle >= 0; handle--) this.free.push(handle);
  }

  /** Packets in the store. */
  get held(): number {
    return this.store.size;
  }

  arrive(packet: Packet, wait = 1000): number {
    const { source = 1, epoch = 1, flow = 1, sequence, distance } = packet;
    const verdict = this.order.arrive(this.now, source, epoch, flow, sequence, distance, wait);
    if (verdict === ARRIVE_PASS) this.deliver(packet);
    if (verdict === ARRIVE_HOLD) {
      this.drain();
      const handle = this.free.pop();
      if (handle === undefined) throw new Error('more held than there are handles');
      this.store.set(handle, { packet, since: this.now, wait });
      this.order.hold(handle);
    }
    this.drain();
    return verdict;
  }

  void({ source = 1, epoch = 1, flow = 1, sequence, distance }: Packet): void {
    this.order.void(this.now, source, epoch, flow, sequence, distance);
    this.drain();
  }

  /** Lets time pass, stopping at each date that is due. */
  at(now: number): void {
    for (let rounds = 0; this.order.nextTimeout() <= now; rounds++) {
      if (rounds > 100_000) throw new Error('the same date again and again');
      this.now = Math.max(this.now, this.order.nextTimeout());
      this.order.timeout(this.now);
      this.drain();
    }
    this.now = now;
  }

  private drain(): void {
    for (let handle = this.order.ready(this.now); handle >= 0; handle = this.order.ready(this.now)) {
      const entry = this.store.get(handle);
      if (entry === undefined) throw new Error(`handle ${handle} isn't held`);
      this.store.delete(handle);
      this.free.push(handle);
      this.longest = Math.max(this.longest, this.now - entry.since);
      expect(this.now - entry.since).toBeLessThanOrEqual(entry.wait);
      this.deliver(entry.packet);
    }
  }

  private deliver(packet: Packet): void {
    this.delivered.push(packet.sequence);
    this.packets.push(packet);
  }
}
