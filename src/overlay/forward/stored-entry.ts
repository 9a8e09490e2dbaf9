import type { PacketBatch } from '../../io/batch.js';
import type { Io } from '../../io/ports.js';
import type { FlowCache } from '../../intercept/flow-cache.js';
import { LANE_REALTIME, LANE_RELIABLE } from '../wire/lanes.js';
import { ROUTED_HEADER_SIZE, SERVICE_RELIABLE } from '../wire/routed.js';
import type { Counters } from './counters.js';
import type { Hops } from './hops.js';
import type { RecentHeaders } from './recent-headers.js';
import type { Decided, RoutedRun } from './routed-run.js';
import { segmentCount, segmentSize } from './segments.js';
import type { Sender } from './sender.js';
import { FRAME_AT } from './store.js';

export interface StoredEntryParts {
  io: Io;
  sender: Sender;
  hops: Hops;
  flows: FlowCache;
  recent: RecentHeaders;
  counters: Counters;
  /** What the device fills. */
  read: PacketBatch;
}

/**
 * The way in of packets that a link recovers: cut from the read straight into slots of the frame store, given their routed headers there, and
 * handed to the next link.
 */
export class StoredEntry {
  private readonly order: Int32Array;
  private readonly slots: Int32Array;
  private count = 0;
  private segments = 0;

  constructor(
    private readonly parts: StoredEntryParts,
    private readonly decided: Decided,
    private readonly run: RoutedRun,
  ) {
    this.order = new Int32Array(parts.read.capacity);
    this.slots = new Int32Array(parts.hops.store.slots);
  }

  /**
   * Lists packet `i` of the read, about which all is decided, for `flush`, or drops it where reliable frames have no room; false where its
   * segments are too large to be kept.
   */
  take(i: number): boolean {
    const { read, hops, counters } = this.parts;
    if (segmentSize(read, i) > hops.store.frameMax - ROUTED_HEADER_SIZE) return false;
    const segments = this.segments + segmentCount(read, i);
    if (this.decided.service[i] === SERVICE_RELIABLE && segments > hops.store.room)
      counters.drop('queue-full');
    else {
      this.order[this.count++] = i;
      this.segments = segments;
    }
    return true;
  }

  /** Cuts what is listed and hands it over. What finds no slots is dropped. */
  flush(now: number): void {
    const { io, hops, counters, read } = this.parts;
    const { store } = hops;
    const { slots, count } = this;
    if (count === 0) return;
    const taken = store.takeMany(slots, Math.min(this.segments, slots.length));
    this.count = 0;
    this.segments = 0;
    const at = FRAME_AT + ROUTED_HEADER_SIZE;
    const consumed = io.scatter(read, this.order, count, store.batch, slots, taken, at);
    const used = store.batch.count;
    for (let k = taken - 1; k >= used; k--) store.release(slots[k]!);
    if (consumed < count) counters.drop('queue-full', count - consumed);
    for (let k = 0; k < used;) k = this.handOver(now, k, used);
  }

  /** Hands the segments of the packet that begin at `slots[from]` to its link; returns where the next one's begin. */
  private handOver(now: number, from: number, used: number): number {
    const { read, sender, hops, recent, flows } = this.parts;
    const { decided, slots } = this;
    const { batch } = hops.store;
    const i = batch.source[slots[from]!]!;
    const { nodeId, sequence } = decided.destinations[i]!;
    const next = decided.next[i]!;
    const flow = decided.flow[i]!;
    const to = this.run.write(batch, slots, from, used, -ROUTED_HEADER_SIZE);
    flows.count(now, flow, to - from, read.length[i]!);
    sender.noteData(now, next);
    recent.remember(read, i, nodeId, (sequence + 1) >>> 0, to - from);
    const lane = decided.service[i] === SERVICE_RELIABLE ? LANE_RELIABLE : LANE_REALTIME;
    hops.offerRun(now, slots, from, to, next, lane, decided.outer[i]!, flow, decided.ecn[i] !== 0);
    return to;
  }
}
