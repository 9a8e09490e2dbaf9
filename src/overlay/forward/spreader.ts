import type { PacketBatch } from '../../io/batch.js';
import type { Duplicates } from '../egress/duplicates.js';
import { LANE_REALTIME } from '../wire/lanes.js';
import {
  readDestination,
  readDistance,
  readEpoch,
  readSequence,
  readSource,
  readTtl,
  ROUTED_HEADER_SIZE,
  writeTtl,
} from '../wire/routed.js';
import { findListed, readOnward, SOURCE_ROUTE_EDGES_MAX } from '../wire/source-route.js';
import type { Counters } from './counters.js';
import type { Hops } from './hops.js';
import type { Neighbour } from './neighbour.js';
import type { Sender } from './sender.js';
import type { FrameStore } from './store.js';

export interface SpreaderParts {
  store: FrameStore;
  hops: Hops;
  neighbours: ReadonlyMap<number, Neighbour>;
  sender: Sender;
  duplicates: Duplicates;
  counters: Counters;
  self: number;
}

/**
 * Source-routed frames: the first copy of each goes on along every link of its list that leaves this node, each copy on that neighbour's realtime
 * lane; later copies end here. What is remembered is a window for each source, and nothing of any flow. No error answers a frame that ends here: another copy
 * may have arrived.
 */
export class Spreader {
  private readonly ids = new Uint32Array(SOURCE_ROUTE_EDGES_MAX);
  private readonly nexts = new Array<Neighbour | undefined>(SOURCE_ROUTE_EDGES_MAX).fill(undefined);

  constructor(private readonly parts: SpreaderParts) {}

  /** Whether no copy of the frame was here before; from now on one was. */
  isFirst(view: DataView, frame: number): boolean {
    const { duplicates, counters, self } = this.parts;
    const source = readSource(view, frame);
    if (source === self) {
      counters.drop('foreign-source'); // no edge leads to a source
      return false;
    }
    if (!duplicates.seen(source, readEpoch(view, frame), readSequence(view, frame))) return true;
    counters.duplicates++;
    return false;
  }

  /** Packet `i` of a batch, a checked frame of `length` bytes for another node behind room for a record header, goes on. `outerClass` as in `Hops.keep`. */
  forward(
    now: number,
    batch: PacketBatch,
    i: number,
    frame: number,
    length: number,
    outerClass: number,
  ): void {
    const { hops, counters } = this.parts;
    if (!hops.fits(batch, i)) {
      counters.drop('route-size');
      return;
    }
    const n = this.prepare(now, batch.view, frame, length);
    for (let k = 0; k < n; k++) hops.keep(i, this.nexts[k]!, LANE_REALTIME, outerClass);
  }

  /** The checked frame in a slot of the store goes on; false where the slot is the caller's again. */
  forwardStored(now: number, slot: number): boolean {
    const { store } = this.parts;
    const n = this.prepare(now, store.batch.view, store.frameAt(slot), store.frameLength[slot]!);
    if (n > 0) this.offerAll(now, slot, n);
    return n > 0;
  }

  /** The own frame in a slot, whose columns are set, goes to those neighbours `first` that are up; returns how many these are, 0: the slot is the caller's again. */
  begin(now: number, slot: number, first: Uint32Array): number {
    const n = this.resolve(now, first, first.length);
    if (n > 0) this.offerAll(now, slot, n);
    return n;
  }

  /** Lowers the TTL, leaves in `nexts` who is next, and counts; returns how many. */
  private prepare(now: number, view: DataView, frame: number, length: number): number {
    const { counters, self } = this.parts;
    const ttl = readTtl(view, frame);
    if (ttl <= 1) {
      counters.drop('ttl-exceeded');
      return 0;
    }
    writeTtl(view, frame, ttl - 1);
    const list = frame + ROUTED_HEADER_SIZE;
    const counts = readDistance(view, frame);
    const index = findListed(view, list, counts, self);
    const found =
      index < 0 ? 0 : readOnward(view, list, counts, index, readDestination(view, frame), this.ids);
    if (found === 0) counters.drop('route-unlisted');
    const n = this.resolve(now, this.ids, found);
    counters.relayedPackets += n;
    counters.relayedBytes += n * length;
    return n;
  }

  /** Leaves in `nexts` those of `ids[0..count)` that are neighbours and up; returns how many. */
  private resolve(now: number, ids: Uint32Array, count: number): number {
    const { neighbours, sender, counters } = this.parts;
    let n = 0;
    for (let k = 0; k < count; k++) {
      const next = neighbours.get(ids[k]!);
      if (next?.up) {
        sender.noteData(now, next);
        this.nexts[n++] = next;
      } else counters.drop('route-down');
    }
    return n;
  }

  /** The slot goes to the first of `nexts`, copies of it to the others. */
  private offerAll(now: number, slot: number, n: number): void {
    const { store, hops, counters } = this.parts;
    const { bytes } = store.batch;
    const from = store.frameAt(slot);
    const length = store.frameLength[slot]!;
    for (let k = 1; k < n; k++) {
      const copy = store.take();
      if (copy < 0) {
        counters.drop('queue-full');
        continue;
      }
      bytes.copyWithin(store.frameAt(copy), from, from + length);
      store.describe(copy, now, length, store.outerClass[slot]!, store.entryFlow[slot]!);
      hops.offer(now, copy, this.nexts[k]!, LANE_REALTIME);
    }
    hops.offer(now, slot, this.nexts[0]!, LANE_REALTIME);
  }
}
