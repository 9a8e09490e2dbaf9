/**
 * The way of a datagram that arrived:
 * 1. receive a batch
 * 2. cheapest first: size, version, type, receiver index, counter within the replay window
 * 3. open what is left, then move the replay windows
 * 4. per authentic record: link frames to their link; a numbered record that was here before ends here; routed frames to this node's exit, or
 *    onward: best effort to the next hop in place, recovered ones into the frame store, source-routed ones for each of their next hops (`spreader.ts`)
 * 5. write what left the overlay to the TUN device; hand stored frames to their links; seal and send what goes on in place
 *
 * A batch stays a batch to the end. Nothing here allocates per packet.
 */
import { createBatch, RECORD_HEADER, RECORD_TAG, type PacketBatch } from '../../io/batch.js';
import type { Aead, UdpSocket } from '../../io/ports.js';
import { COUNTER_LIMIT } from '../../crypto/session.js';
import {
  ECN_CE,
  isRouted,
  checkRouted,
  FLAG_SOURCE_ROUTED,
  FRAME_DATA,
  readDestination,
  readEcn,
  readFlags,
  readRoutedType,
  readService,
  readTtl,
  ROUTED_HEADER_SIZE,
  ROUTED_OK,
  ROUTED_REJECTS,
  SERVICE_REALTIME,
  SERVICE_REDUNDANT,
  SERVICE_RELIABLE,
  writeEcn,
  writeTtl,
} from '../wire/routed.js';
import { LANE_BEST_EFFORT, LANE_REALTIME, LANE_RELIABLE } from '../wire/lanes.js';
import { PIECE_COMPLETE, PIECE_MALFORMED, PieceJoiner } from '../link/path/piece-joiner.js';
import { ARRIVAL_DUPLICATE, ARRIVAL_NEW } from '../link/recovery/arrivals.js';
import {
  DATAGRAM_RECORD,
  readCounter,
  readDatagramType,
  readNumber,
  readNumberEpoch,
  readReceiverIndex,
  readVersion,
  RECORD_MIN_SIZE,
  VERSION,
} from '../wire/record.js';
import type { Counters, DropReason } from './counters.js';
import type { HopFrames } from './hop-frames.js';
import type { Hops } from './hops.js';
import type { LaneTable, ReceiveLane } from './lanes.js';
import type { Neighbour } from './neighbour.js';
import type { OrderedExit } from './ordered-exit.js';
import type { Routes } from './routes.js';
import type { Sender } from './sender.js';
import type { SlowPath } from './slow-path.js';
import type { Spreader } from './spreader.js';
import type { FrameStore } from './store.js';
import type { Widths } from './widths.js';

/** Bodies made of pieces that are dealt with together. */
const JOINED_CAPACITY = 128;
const JOINED_ARENA = 256 * 1024;
/** Bytes of an IPv4 header at least, and its DF bit in the byte that has it. */
const IPV4_HEADER = 20;
const IPV4_DF = 0x40;

export interface ArrivalParts {
  udp: UdpSocket;
  aead: Aead;
  lanes: LaneTable;
  routes: Routes;
  exit: OrderedExit;
  hops: Hops;
  hopFrames: HopFrames;
  spreader: Spreader;
  store: FrameStore;
  sender: Sender;
  slow: SlowPath;
  counters: Counters;
  widths: Widths;
  self: number;
  /** What goes into the outer header's DSCP, given that of the datagram that came. */
  outerClass: (received: number) => number;
  /** What the socket fills. */
  batch: PacketBatch;
}

export class Arrival {
  private readonly opened: Int32Array;
  private readonly onward: Int32Array;
  private readonly lanes: (ReceiveLane | undefined)[];
  private onwardCount = 0;
  /** Of the numbered record at hand. */
  private repeatOf = -1;
  /** Whether the epoch of its number is the present one. */
  private isPresent = false;
  /** Destination and service of the packet before, which are mostly those of the next. */
  private lastDestination = -1;
  private lastService = -1;
  private lastNext: Neighbour | undefined;

  /** Bodies that pieces made, as records that came. */
  private readonly joined = createBatch(JOINED_ARENA, JOINED_CAPACITY);
  private joinedEnd = 0;
  /** Whose packets are at hand: the socket's batch, or `joined`. */
  private batch: PacketBatch;

  constructor(private readonly parts: ArrivalParts) {
    const { capacity } = parts.batch;
    this.batch = parts.batch;
    this.opened = new Int32Array(capacity);
    this.onward = new Int32Array(capacity);
    this.lanes = new Array<ReceiveLane | undefined>(capacity).fill(undefined);
  }

  /** Takes one batch of `messages` at most all the way. `now` in µs. Returns how many datagrams the socket gave. */
  run(now: number, messages?: number): number {
    const { udp, aead, batch, exit, slow } = this.parts;
    const count = udp.read(batch, messages);
    const candidates = this.sift(now, count);
    if (candidates === 0) return count;
    aead.open(batch, this.opened, candidates);
    exit.begin(now);
    slow.begin();
    this.onwardCount = 0;
    this.lastDestination = -1;
    for (let k = 0; k < candidates; k++) this.dispatch(now, this.opened[k]!);
    this.turnTo(now, this.joined);
    this.turnTo(now, batch);
    return count;
  }

  /** From here on packets are those of `batch`: what was decided for others is carried out first, so that none overtakes another. */
  private turnTo(now: number, batch: PacketBatch): void {
    if (batch === this.batch) return;
    this.settle(now);
    this.batch = batch;
  }

  /** Step 5. */
  private settle(now: number): void {
    const { exit, hops, sender, counters } = this.parts;
    const { batch } = this;
    exit.flush(batch);
    hops.commit(now, batch);
    const sealed = sender.seal(batch, this.onward, this.onwardCount);
    const sent = sender.sendOnce(batch, this.onward, sealed);
    if (sent < sealed) counters.drop('queue-full', sealed - sent);
    this.onwardCount = 0;
    if (batch !== this.joined) return;
    this.joined.count = 0;
    this.joinedEnd = 0;
  }

  /** Step 2: leaves in `opened` what is worth opening, its key chosen; returns how many. */
  private sift(now: number, count: number): number {
    const { batch, lanes, counters, slow } = this.parts;
    const { view } = batch;
    let candidates = 0;
    for (let i = 0; i < count; i++) {
      const at = batch.offset[i]!;
      const length = batch.length[i]!;
      if (length < 1) counters.dropPacket('short', batch, i);
      else if (readVersion(view, at) !== VERSION) counters.dropPacket('version', batch, i);
      else if (readDatagramType(view, at) !== DATAGRAM_RECORD) slow.handshake(now, batch, i);
      else if (length < RECORD_MIN_SIZE) counters.dropPacket('short', batch, i);
      else {
        const lane = lanes.find(readReceiverIndex(view, at));
        if (!lane) counters.dropPacket('no-session', batch, i);
        else if (readCounter(view, at) >= COUNTER_LIMIT) counters.dropPacket('counter-range', batch, i);
        else if (!lane.window.check(readCounter(view, at))) counters.dropPacket('replayed', batch, i);
        else {
          this.lanes[i] = lane;
          batch.key[i] = lane.key;
          this.opened[candidates++] = i;
        }
      }
    }
    return candidates;
  }

  private dispatch(now: number, i: number): void {
    const { batch, counters, slow } = this.parts;
    const { view } = batch;
    const lane = this.lanes[i]!;
    const at = batch.offset[i]!;
    if (batch.status[i] !== 1) {
      counters.dropPacket('forged', batch, i);
      return;
    }
    if (!lane.window.accept(readCounter(view, at))) {
      counters.dropPacket('replayed', batch, i);
      return;
    }
    const length = batch.length[i]! - RECORD_HEADER;
    counters.receivedRecords++;
    counters.receivedBytes += length + RECORD_HEADER + RECORD_TAG;
    if (!slow.authentic(now, lane, batch, i) || length === 0) return;
    this.take(now, lane, batch, i, length);
  }

  /** Takes the body of record `i`, of `length` bytes: one that came, or one that pieces made. */
  private take(now: number, lane: ReceiveLane, batch: PacketBatch, i: number, length: number): void {
    const frame = batch.offset[i]! + RECORD_HEADER;
    const alone = isRouted(batch.view.getUint8(frame));
    const routed = alone ? frame : this.linkFrames(now, lane, batch, frame, length);
    if (!alone && this.parts.hopFrames.pieceAt >= 0) {
      this.join(now, lane, batch, i);
      return;
    }
    this.turnTo(now, batch);
    if (lane.lane >= LANE_RELIABLE && !this.isNew(now, lane, i, alone)) return;
    if (lane.lane === LANE_REALTIME && this.isPresent)
      this.decode(now, lane, i, routed, frame + length - routed);
    if (routed >= 0) this.routed(now, lane, i, routed, frame + length - routed);
  }

  /** A piece came; the body that it completes goes on as if it had come in a record of its own. */
  private join(now: number, lane: ReceiveLane, batch: PacketBatch, i: number): void {
    const { counters, hopFrames } = this.parts;
    const { neighbour } = lane;
    const { joined } = this;
    const joiner = (neighbour.joiner ??= new PieceJoiner());
    const marked = (batch.trafficClass[i]! & 3) === ECN_CE;
    const verdict =
      batch === joined || lane.lane !== LANE_BEST_EFFORT
        ? PIECE_MALFORMED
        : joiner.take(now, batch.view, hopFrames.pieceAt, hopFrames.pieceLength, marked);
    if (verdict === PIECE_MALFORMED) counters.drop('frame-malformed');
    if (verdict !== PIECE_COMPLETE) return;
    const { body } = joiner;
    const size = RECORD_HEADER + body.length + RECORD_TAG;
    if (joined.count === joined.capacity || this.joinedEnd + size > joined.bytes.length) this.settle(now);
    const row = joined.count++;
    const at = this.joinedEnd;
    this.joinedEnd += size;
    joined.view.setUint32(at, joiner.bodyWord);
    joined.bytes.set(body, at + RECORD_HEADER);
    joined.offset[row] = at;
    joined.length[row] = size - RECORD_TAG;
    joined.trafficClass[row] = batch.trafficClass[i]! | (joiner.isBodyMarked ? ECN_CE : 0);
    counters.joinedRecords++;
    this.take(now, { ...lane, lane: joiner.bodyLane }, joined, row, body.length);
  }

  /** Takes the link frames of a body; returns where its routed frame begins, -1 where there is none. */
  private linkFrames(
    now: number,
    { neighbour }: ReceiveLane,
    { view }: PacketBatch,
    frame: number,
    length: number,
  ): number {
    const { hopFrames, slow } = this.parts;
    const routed = hopFrames.walk(now, neighbour, view, frame, length);
    const end = routed < 0 ? frame + length : routed;
    if (hopFrames.others) slow.linkFrames(now, neighbour, view, frame, end - frame);
    return routed;
  }

  /** Numbers record `i` among those of its link; false where its frame was here before. */
  private isNew(now: number, { neighbour, lane }: ReceiveLane, i: number, alone: boolean): boolean {
    const { batch } = this;
    const { hops, hopFrames, counters } = this.parts;
    const at = batch.offset[i]!;
    const repeatOf = alone ? -1 : hopFrames.repeatOf;
    this.repeatOf = repeatOf;
    const ce = (batch.trafficClass[i]! & 3) === ECN_CE;
    const hop = hops.of(now, neighbour);
    const arrivals = hop.inbound.ofLane(lane);
    const { epoch } = arrivals;
    const verdict = arrivals.receive(
      now,
      readNumberEpoch(batch.view, at),
      readNumber(batch.view, at),
      repeatOf,
      ce,
    );
    if (lane === LANE_REALTIME && arrivals.epoch !== epoch) hop.decoder.reset();
    hops.noteArrival(neighbour);
    this.isPresent = verdict === ARRIVAL_NEW;
    if (verdict !== ARRIVAL_DUPLICATE) return true;
    counters.duplicates++;
    return false;
  }

  /** Lets parity find lost frames by what record `i` brought, and treats those as if they had come. */
  private decode(now: number, lane: ReceiveLane, i: number, routed: number, length: number): void {
    const { batch } = this;
    const { hops, hopFrames, store } = this.parts;
    const { view } = batch;
    const hop = hops.of(now, lane.neighbour);
    let found = 0;
    if (routed >= 0) {
      const number = this.repeatOf < 0 ? readNumber(view, batch.offset[i]!) : this.repeatOf;
      found = hops.frameArrived(hop, number, view, routed, length);
    } else if (hopFrames.repairAt >= 0) {
      found = hops.repairArrived(hop, view, hopFrames.repairAt, hopFrames.repairLength);
    }
    for (let k = 0; k < found; k++) {
      const slot = hops.takeRecovered(now, hop, k);
      if (slot >= 0 && !this.takeStored(now, slot)) store.release(slot);
    }
  }

  /** Takes the realtime frame in a slot of the store out or onward; false where the slot is the caller's again. */
  private takeStored(now: number, slot: number): boolean {
    const { batch } = this;
    const { store, exit, hops, spreader, counters, self } = this.parts;
    const { view } = store.batch;
    const frame = store.frameAt(slot);
    const length = store.frameLength[slot]!;
    if (checkRouted(view, frame, length) !== ROUTED_OK || readRoutedType(view, frame) !== FRAME_DATA) {
      counters.drop('frame-malformed');
      return false;
    }
    const spread = (readFlags(view, frame) & FLAG_SOURCE_ROUTED) !== 0;
    if (spread && !spreader.isFirst(view, frame)) return false;
    if (readDestination(view, frame) === self) {
      exit.flush(batch);
      if (spread) exit.take(store.batch, slot, frame, length);
      else exit.takeRealtime(now, store.batch, slot, frame, length);
      exit.flush(store.batch);
      return false;
    }
    if (spread) return spreader.forwardStored(now, slot);
    const next = this.nextHop(view, frame);
    const ttl = readTtl(view, frame);
    if (!next?.up || ttl <= 1) {
      counters.drop(next?.up ? 'ttl-exceeded' : 'no-route');
      return false;
    }
    writeTtl(view, frame, ttl - 1);
    counters.relayedPackets++;
    counters.relayedBytes += length;
    counters.watcher?.relayed(store.batch, frame, length);
    hops.offer(now, slot, next, LANE_REALTIME);
    return true;
  }

  private routed(
    now: number,
    { neighbour, lane }: ReceiveLane,
    i: number,
    frame: number,
    length: number,
  ): void {
    const { batch } = this;
    const { counters, slow, sender, self } = this.parts;
    const { view } = batch;
    const check = checkRouted(view, frame, length);
    if (check !== ROUTED_OK) {
      counters.drop(ROUTED_REJECTS[check] === 'unknown-type' ? 'frame-unknown' : 'frame-malformed');
      return;
    }
    // On a numbered lane the mark is the link's business, whose congestion control hears of it.
    const marked = lane === LANE_BEST_EFFORT && (batch.trafficClass[i]! & 3) === ECN_CE;
    if (marked && readEcn(view, frame) !== 0) writeEcn(view, frame, ECN_CE);
    const data = readRoutedType(view, frame) === FRAME_DATA;
    if (data) sender.noteData(now, neighbour);
    if (readFlags(view, frame) & FLAG_SOURCE_ROUTED) this.spread(now, i, frame, length);
    else if (readDestination(view, frame) !== self) this.forward(now, lane, i, frame, length, data);
    else if (data) this.takeOut(now, i, frame, length);
    else slow.routedForUs(now, view, frame, length);
  }

  /** Out or onward with a source-routed frame, which is a data frame, unless another copy of it was here. */
  private spread(now: number, i: number, frame: number, length: number): void {
    const { batch } = this;
    const { exit, spreader, self } = this.parts;
    if (!spreader.isFirst(batch.view, frame)) return;
    if (readDestination(batch.view, frame) === self) {
      exit.take(batch, i, frame, length);
      return;
    }
    const outer = this.parts.outerClass(batch.trafficClass[i]! & ~3);
    batch.offset[i] = frame - RECORD_HEADER;
    batch.length[i] = RECORD_HEADER + length;
    spreader.forward(now, batch, i, frame, length, outer);
  }

  /** What a flow's service asks of the exit holds by whatever lane the frame came: one too large to be kept goes best-effort. */
  private takeOut(now: number, i: number, frame: number, length: number): void {
    const { batch } = this;
    const { exit } = this.parts;
    const service = readService(batch.view, frame);
    if (service === SERVICE_RELIABLE) exit.takeReliable(now, batch, i, frame, length);
    else if (service === SERVICE_REALTIME || service === SERVICE_REDUNDANT)
      exit.takeRealtime(now, batch, i, frame, length);
    else exit.take(batch, i, frame, length);
  }

  /** Onward: one off the TTL, everything else as it came. */
  private forward(now: number, lane: number, i: number, frame: number, length: number, data: boolean): void {
    const { batch } = this;
    const { slow, sender, counters, hops } = this.parts;
    const { view } = batch;
    const next = this.nextHop(view, frame);
    if (!next) {
      this.tellRefused('no-route', frame, length);
      slow.refuseNoRoute(now, view, frame);
      return;
    }
    // Routing is about to find another path: what is recovered waits for it with the link.
    if (!next.up && lane !== LANE_RELIABLE) {
      counters.drop('no-path');
      return;
    }
    const ttl = readTtl(view, frame);
    if (ttl <= 1) {
      this.tellRefused('ttl-exceeded', frame, length);
      slow.refuseTtl(now, view, frame);
      return;
    }
    const most = data ? this.refusalOf(view, frame, length, next) : 0;
    if (most > 0) {
      this.tellRefused('too-big', frame, length);
      slow.refuseTooBig(now, view, frame, most);
      return;
    }
    writeTtl(view, frame, ttl - 1);
    if (!data) {
      slow.forwardControl(view, frame, length, next);
      return;
    }
    sender.noteData(now, next);
    counters.relayedPackets++;
    counters.relayedBytes += length;
    counters.watcher?.relayed(batch, frame, length);
    const outer = this.parts.outerClass(batch.trafficClass[i]! & ~3);
    batch.offset[i] = frame - RECORD_HEADER;
    batch.length[i] = RECORD_HEADER + length;
    if (lane >= LANE_RELIABLE && hops.fits(batch, i)) hops.keep(i, next, lane, outer);
    else if (sender.addressOne(batch, i, next, LANE_BEST_EFFORT, outer | readEcn(view, frame))) {
      this.onward[this.onwardCount++] = i;
    } else counters.drop('no-path');
  }

  /** What to tell the source of a frame that `next` doesn't carry whole: bytes; 0: it goes on. */
  private refusalOf(view: DataView, frame: number, length: number, next: Neighbour): number {
    const packet = frame + ROUTED_HEADER_SIZE;
    const size = length - ROUTED_HEADER_SIZE;
    if (this.parts.widths.splits || size < IPV4_HEADER) return 0;
    const isIpv6 = view.getUint8(packet) >>> 4 === 6;
    const dontFragment = isIpv6 || (view.getUint8(packet + 6) & IPV4_DF) !== 0;
    return this.parts.widths.refusal(next, size, isIpv6 ? 6 : 4, dontFragment);
  }

  /** For whoever looks on; `slow` counts it. */
  private tellRefused(reason: DropReason, frame: number, length: number): void {
    const { batch } = this;
    const { counters } = this.parts;
    counters.watcher?.droppedInside(reason, batch, frame + ROUTED_HEADER_SIZE, length - ROUTED_HEADER_SIZE);
  }

  /** By the frame's service, on which all nodes of its way agree. */
  private nextHop(view: DataView, frame: number): Neighbour | undefined {
    const destination = readDestination(view, frame);
    const service = readService(view, frame);
    if (destination !== this.lastDestination || service !== this.lastService) {
      this.lastDestination = destination;
      this.lastService = service;
      this.lastNext = this.parts.routes.byNode(destination)?.next[service];
    }
    return this.lastNext;
  }
}
