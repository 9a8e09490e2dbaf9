/**
 * Frames that a link recovers, from whoever has them to the link:
 * 1. `offerRun` takes what entry has cut into slots; of a batch that came, `keep` finds a slot for each recovered frame, and the batch goes on
 * 2. `commit` copies those into their slots with one call and offers each to the next link's `Outbound`
 * 3. `pump`, after each input, lets those links send what window and pace allow
 *
 * A node has a `Hop` with each neighbour that recovered frames went to or came from.
 */
import { type PacketBatch, RECORD_HEADER } from '../../io/batch.js';
import type { Io } from '../../io/ports.js';
import type { FlowCache } from '../../intercept/flow-cache.js';
import { ParityDecoder } from '../link/fec/parity-decoder.js';
import { ParityEncoder } from '../link/fec/parity-encoder.js';
import { Inbound } from '../link/inbound.js';
import { Outbound, type Wire } from '../link/outbound.js';
import { LANE_REALTIME } from '../wire/lanes.js';
import { readDestination, readEcn, readFlow, readService, ROUTED_HEADER_SIZE } from '../wire/routed.js';
import type { Counters } from './counters.js';
import type { Neighbour } from './neighbour.js';
import type { Routes } from './routes.js';
import { FRAME_AT, type FrameStore } from './store.js';
import { unchain } from './unchain.js';
import type { Transmitter } from './transmitter.js';

export interface Hop {
  readonly outbound: Outbound;
  readonly inbound: Inbound;
  /** What gives realtime frames of the neighbour back that were lost. */
  readonly decoder: ParityDecoder;
}

export interface HopsParts {
  io: Io;
  store: FrameStore;
  transmitter: Transmitter;
  counters: Counters;
  flows: FlowCache;
  routes: Routes;
  random: () => number;
  /** µs. */
  realtimeDeadline: number;
  /** Frames that can be kept between two calls of `commit`. */
  capacity: number;
  /** The neighbour's timers have changed. */
  touch: (neighbour: Neighbour) => void;
}

export class Hops {
  private readonly order: Int32Array;
  private readonly slots: Int32Array;
  private readonly nexts: (Neighbour | undefined)[];
  private readonly classes: Uint8Array;
  private readonly lanes: Uint8Array;
  private count = 0;
  /** µs of the input that is being dealt with. */
  private now = 0;
  /** Whom records came from last within the batch. */
  private lastArrival: Neighbour | undefined;

  constructor(private readonly parts: HopsParts) {
    const { capacity } = parts;
    this.order = new Int32Array(capacity);
    this.slots = new Int32Array(capacity);
    this.nexts = new Array<Neighbour | undefined>(capacity).fill(undefined);
    this.classes = new Uint8Array(capacity);
    this.lanes = new Uint8Array(capacity);
  }

  /** The hop with a neighbour, made at its first use. */
  of(now: number, neighbour: Neighbour): Hop {
    return (neighbour.hop ??= this.create(now, neighbour));
  }

  private create(now: number, neighbour: Neighbour): Hop {
    const { store, transmitter, random, realtimeDeadline } = this.parts;
    const frameBytes = store.frameMax;
    const encoder = new ParityEncoder({ frameBytes });
    const wire: Wire = {
      transmit: (handle, _lane, epoch, number, repeatOf, change) =>
        transmitter.add(this.now, neighbour, handle, epoch, number, repeatOf, change),
      protect: (handle, number) =>
        encoder.add(number, store.batch.view, store.frameAt(handle), store.frameLength[handle]!),
      repair: (epoch, number, frames, key) =>
        transmitter.repair(this.now, neighbour, encoder, epoch, number, frames, key),
      forgetParity: () => encoder.clear(),
      unchain: (dropped, next) => {
        if (store.sealed[dropped] || store.sealed[next]) return;
        unchain(store.batch.view, store.frameAt(dropped), store.frameAt(next));
      },
      noteRepeat: (handle, isCopy) => this.noteRepeat(handle, isCopy),
      release: (handle) => {
        transmitter.forget(handle);
        store.release(handle);
      },
    };
    const options = { random, realtimeDeadline, handles: store.slots };
    const outbound = new Outbound(now, store, wire, options);
    if (neighbour.link.rtt > 0) outbound.seedRtt(now, neighbour.link.rtt);
    if (!neighbour.up) outbound.suspend(now);
    return { outbound, inbound: new Inbound(), decoder: new ParityDecoder({ frameBytes }) };
  }

  /** What frames are kept in. */
  get store(): FrameStore {
    return this.parts.store;
  }

  /**
   * Takes the frames in the slots `slots[from … to-1]`, of one own flow and with their routed headers, for a neighbour. `outerClass` as in `keep`;
   * `flow`: index in the flow cache. `markable`: the inner packets understand ECN marks.
   */
  offerRun(
    now: number,
    slots: Int32Array,
    from: number,
    to: number,
    next: Neighbour,
    lane: number,
    outerClass: number,
    flow: number,
    markable: boolean,
  ): void {
    const { store, flows, touch } = this.parts;
    const { outbound } = this.of(now, next);
    const { length } = store.batch;
    const label = flows.label[flow]!;
    this.now = now;
    for (let k = from; k < to; k++) {
      const slot = slots[k]!;
      store.describe(slot, now, ROUTED_HEADER_SIZE + length[slot]!, outerClass, flow);
      store.flow[slot] = label;
    }
    outbound.offerRun(now, slots, from, to, lane, markable);
    touch(next);
  }

  /** Whether packet `i`, of RECORD_HEADER bytes and a routed frame, can be kept. A larger one can only go best-effort. */
  fits(batch: PacketBatch, i: number): boolean {
    return batch.length[i]! - RECORD_HEADER <= this.parts.store.frameMax;
  }

  /**
   * Takes packet `i` of a batch, which fits, for a neighbour, or drops it where there is no room; any number of times, for a copy each.
   * `outerClass`: DSCP bits of the outer header, in place.
   */
  keep(i: number, next: Neighbour, lane: number, outerClass: number): void {
    const { counters } = this.parts;
    const slot = this.count < this.parts.capacity ? this.takeSlot(lane) : -1;
    if (slot < 0) {
      counters.drop('queue-full');
      return;
    }
    const k = this.count++;
    this.order[k] = i;
    this.slots[k] = slot;
    this.nexts[k] = next;
    this.lanes[k] = lane;
    this.classes[k] = outerClass;
  }

  private takeSlot(lane: number): number {
    const { store } = this.parts;
    return lane === LANE_REALTIME ? store.take() : store.takeSparing();
  }

  /** Copies what was kept of the batch, and hands it to the links. */
  commit(now: number, batch: PacketBatch): void {
    const { io, store } = this.parts;
    const n = this.count;
    this.lastArrival = undefined;
    if (n === 0) return;
    this.count = 0;
    io.copy(batch, this.order, n, store.batch, this.slots, FRAME_AT - RECORD_HEADER);
    for (let k = 0; k < n; k++) {
      const slot = this.slots[k]!;
      store.describe(slot, now, store.batch.length[slot]! - RECORD_HEADER, this.classes[k]!, -1);
      this.offer(now, slot, this.nexts[k]!, this.lanes[k]!);
    }
  }

  /** Hands a stored frame, whose columns are set, to a neighbour's link; `pump` sends it. */
  offer(now: number, slot: number, next: Neighbour, lane: number): void {
    const { store, touch } = this.parts;
    const { view } = store.batch;
    const frame = store.frameAt(slot);
    store.flow[slot] = readFlow(view, frame);
    this.now = now;
    this.of(now, next).outbound.offer(now, slot, lane, readEcn(view, frame) !== 0);
    touch(next);
  }

  /** Lets a neighbour's link send what it may. */
  pump(now: number, { hop }: Neighbour): void {
    if (!hop) return;
    this.now = now;
    hop.outbound.pump(now);
    this.parts.transmitter.flush(now);
  }

  private noteRepeat(slot: number, isCopy: boolean): void {
    const { store, flows } = this.parts;
    const flow = store.entryFlow[slot]!;
    if (flow < 0 || flows.label[flow] !== store.flow[slot]) return;
    if (isCopy) flows.copies[flow]!++;
    else flows.retransmissions[flow]!++;
  }

  /**
   * Realtime frame `number`, of `length` bytes at `at`, came from a neighbour as it sent it. Returns how many lost frames that gives
   * back: `takeRecovered` has them.
   */
  frameArrived({ decoder }: Hop, number: number, view: DataView, at: number, length: number): number {
    decoder.frame(number, view, at, length);
    return decoder.recovered.count;
  }

  /** Likewise for parity, whose value fills `length` bytes at `at`. */
  repairArrived({ decoder }: Hop, view: DataView, at: number, length: number): number {
    if (decoder.repair(view, at, length) !== 'ok') this.parts.counters.drop('frame-malformed');
    return decoder.recovered.count;
  }

  /** The `k`th frame that came back, in a slot of its own; -1 where it isn't missing, or no slot is left. */
  takeRecovered(now: number, { decoder, inbound }: Hop, k: number): number {
    const { store } = this.parts;
    const { numbers, offsets, lengths } = decoder.recovered;
    if (!inbound.realtime.repaired(now, numbers[k]!)) return -1;
    const slot = store.take();
    if (slot < 0) return -1;
    const bytes = new Uint8Array(decoder.view.buffer, decoder.view.byteOffset + offsets[k]!, lengths[k]!);
    store.batch.bytes.set(bytes, store.frameAt(slot));
    store.describe(slot, now, lengths[k]!, 0, -1);
    return slot;
  }

  /** A numbered record came from the neighbour: an acknowledgement is owed. Runs per packet. */
  noteArrival(neighbour: Neighbour): void {
    if (neighbour === this.lastArrival) return;
    this.lastArrival = neighbour;
    this.parts.touch(neighbour);
  }

  /** The neighbour acknowledges what it got of ours. */
  acknowledge(now: number, neighbour: Neighbour, view: DataView, at: number, length: number): void {
    this.now = now;
    neighbour.hop?.outbound.acknowledge(now, view, at, length);
    this.parts.touch(neighbour);
  }

  /** The neighbour tells what it lacks of ours. */
  report(now: number, neighbour: Neighbour, view: DataView, at: number, length: number): void {
    neighbour.hop?.outbound.report(now, view, at, length);
  }

  /** Does what is due with a neighbour; `pump` it then. */
  timeout(now: number, neighbour: Neighbour): void {
    const { hop } = neighbour;
    if (!hop) return;
    this.now = now;
    const acks = hop.inbound.nextTimeout() <= now;
    const sends = hop.outbound.nextTimeout() <= now;
    if (sends) hop.outbound.timeout(now);
    if (sends && hop.outbound.isUnanswered) neighbour.link.noteUnanswered(now);
    if (acks || sends) this.parts.touch(neighbour);
  }

  /** µs; when `timeout` has something to do. */
  nextTimeout({ hop }: Neighbour): number {
    return hop ? Math.min(hop.outbound.nextTimeout(), hop.inbound.nextTimeout()) : Infinity;
  }

  /** The link went down: its frames stay, for their deadline's time. */
  suspend(now: number, { hop }: Neighbour): void {
    this.now = now;
    hop?.outbound.suspend(now);
  }

  /** The link is up again. */
  resume(neighbour: Neighbour): void {
    neighbour.hop?.outbound.resume();
    this.parts.touch(neighbour);
  }

  /** Paths have changed: frames that wait for a link that is down go another way, where there is one. */
  reroute(now: number, neighbour: Neighbour): void {
    const { hop } = neighbour;
    if (!hop?.outbound.isSuspended) return;
    const { store, transmitter, routes } = this.parts;
    const all = new Int32Array(store.slots);
    const n = hop.outbound.takeBack(now, all);
    transmitter.unsealAll(all, n);
    for (let k = 0; k < n; k++) {
      const slot = all[k]!;
      if (store.sealed[slot]) {
        store.release(slot);
        continue;
      }
      const { view } = store.batch;
      const frame = store.frameAt(slot);
      const next = routes.byNode(readDestination(view, frame))?.next[readService(view, frame)];
      this.offer(now, slot, next?.up ? next : neighbour, store.lane[slot]!);
    }
  }

  /** The neighbour's stream began anew, so it may have lost what it numbered by: what came before proves nothing about what comes. */
  forgetArrivals(neighbour: Neighbour): void {
    const { hop } = neighbour;
    if (!hop) return;
    hop.decoder.reset();
    neighbour.hop = { ...hop, inbound: new Inbound() };
  }

  /** Ends a hop for good: its frames are lost with it. */
  drop(now: number, neighbour: Neighbour): void {
    const { hop } = neighbour;
    if (!hop) return;
    const { store } = this.parts;
    hop.outbound.suspend(now);
    const all = new Int32Array(store.slots);
    const n = hop.outbound.takeBack(now, all);
    for (let k = 0; k < n; k++) store.release(all[k]!);
    neighbour.hop = undefined;
  }
}
