import { PACKET_PARTIAL } from '../../io/batch.js';
import {
  FLAG_PARTIAL,
  FLAG_SOURCE_ROUTED,
  FRAME_DATA,
  ROUTED_HEADER_SIZE,
  SERVICE_REDUNDANT,
  writeRoutedHeader,
} from '../wire/routed.js';
import type { Decided } from './routed-run.js';
import { segmentCount, segmentSize } from './segments.js';
import type { OwnRoute, SourceRoutes } from './source-routes.js';
import type { Spreader } from './spreader.js';
import type { StoredEntryParts } from './stored-entry.js';
import { FRAME_AT } from './store.js';

export interface RedundantEntryParts extends Omit<StoredEntryParts, 'recent' | 'sender'> {
  sourceRoutes: SourceRoutes;
  spreader: Spreader;
  self: number;
  epoch: number;
}

/**
 * The way in of redundant packets that have more than one way to go: cut into slots of the frame store behind room for header and list of links, and spread
 * to the first neighbour of each way.
 */
export class RedundantEntry {
  private readonly order: Int32Array;
  private readonly routes: (OwnRoute | undefined)[];
  private readonly slots: Int32Array;
  private count = 0;
  /** Of the source-routed packet before, whatever its destination. */
  private sequence = 0;

  constructor(
    private readonly parts: RedundantEntryParts,
    private readonly decided: Decided,
  ) {
    const { capacity } = parts.read;
    this.order = new Int32Array(capacity);
    this.routes = new Array<OwnRoute | undefined>(capacity).fill(undefined);
    this.slots = new Int32Array(parts.hops.store.slots);
  }

  /** Lists packet `i` of the read for `flush`; false where there is no route for it, or its segments are too large. */
  take(now: number, i: number): boolean {
    const { read, hops, sourceRoutes } = this.parts;
    const route = sourceRoutes.find(now, this.decided.destinations[i]!.nodeId);
    if (!route || segmentSize(read, i) > hops.store.frameMax - ROUTED_HEADER_SIZE - route.list.length)
      return false;
    this.order[this.count] = i;
    this.routes[this.count++] = route;
    return true;
  }

  /** Cuts what is listed and spreads it, packets of one route with one call. */
  flush(now: number): void {
    const { count } = this;
    this.count = 0;
    for (let from = 0; from < count;) {
      const route = this.routes[from]!;
      let to = from + 1;
      while (to < count && this.routes[to] === route) to++;
      this.cut(now, route, from, to);
      from = to;
    }
  }

  private cut(now: number, route: OwnRoute, from: number, to: number): void {
    const { io, hops, counters, read } = this.parts;
    const { store } = hops;
    const { slots } = this;
    const order = this.order.subarray(from, to);
    let segments = 0;
    for (const i of order) segments += segmentCount(read, i);
    const taken = store.takeMany(slots, Math.min(segments, slots.length));
    const at = FRAME_AT + ROUTED_HEADER_SIZE + route.list.length;
    const consumed = io.scatter(read, order, order.length, store.batch, slots, taken, at);
    const used = store.batch.count;
    for (let k = taken - 1; k >= used; k--) store.release(slots[k]!);
    if (consumed < order.length) counters.drop('queue-full', order.length - consumed);
    let counted = -1;
    for (let k = 0; k < used; k++) {
      const i = store.batch.source[slots[k]!]!;
      this.spread(now, route, slots[k]!, i, i !== counted);
      counted = i;
    }
  }

  /** `isHead`: the first segment of packet `i`. */
  private spread(now: number, route: OwnRoute, slot: number, i: number, isHead: boolean): void {
    const { hops, spreader, flows, counters, read } = this.parts;
    const { store } = hops;
    const { decided } = this;
    const flow = decided.flow[i]!;
    this.writeHead(slot, route, i);
    const length = ROUTED_HEADER_SIZE + route.list.length + store.batch.length[slot]!;
    store.describe(slot, now, length, decided.outer[i]!, flow);
    const sent = spreader.begin(now, slot, route.first);
    flows.count(now, flow, 1, isHead ? read.length[i]! : 0);
    flows.copies[flow]! += Math.max(0, sent - 1);
    if (sent > 0) return;
    counters.drop('no-path');
    store.release(slot);
  }

  private writeHead(slot: number, { counts, list }: OwnRoute, i: number): void {
    const { hops, flows, self, epoch } = this.parts;
    const { decided } = this;
    const { view, bytes, flags: packetFlags } = hops.store.batch;
    const at = hops.store.frameAt(slot);
    const flags = FLAG_SOURCE_ROUTED | (packetFlags[slot]! & PACKET_PARTIAL ? FLAG_PARTIAL : 0);
    const label = flows.label[decided.flow[i]!]!;
    this.sequence = (this.sequence + 1) >>> 0;
    // prettier-ignore
    writeRoutedHeader(
      view, at, FRAME_DATA, flags, SERVICE_REDUNDANT, decided.ecn[i]!, decided.ttl[i]!, self,
      decided.destinations[i]!.nodeId, epoch, counts, this.sequence, label,
    );
    bytes.set(list, at + ROUTED_HEADER_SIZE);
  }
}
