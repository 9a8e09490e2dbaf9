/**
 * The way of a datagram that arrived:
 * 1. receive a batch
 * 2. cheapest first: size, version, type, receiver index, counter within the replay window
 * 3. open what is left, then move the replay windows
 * 4. per authentic record: link frames to their link; routed frames to this node's exit, or onward to the next hop, in place
 * 5. write what left the overlay to the TUN device; seal and send what goes on
 *
 * A batch stays a batch to the end. Nothing here allocates per packet.
 */
import { RECORD_HEADER, RECORD_TAG, type PacketBatch } from '../../io/batch.js';
import type { Aead, UdpSocket } from '../../io/ports.js';
import { COUNTER_LIMIT } from '../../crypto/session.js';
import {
  isRouted,
  checkRouted,
  FRAME_DATA,
  readDestination,
  readEcn,
  readRoutedType,
  readTtl,
  ROUTED_OK,
  ROUTED_REJECTS,
  writeEcn,
  writeTtl,
} from '../wire/routed.js';
import {
  DATAGRAM_RECORD,
  readCounter,
  readDatagramType,
  readReceiverIndex,
  readVersion,
  RECORD_MIN_SIZE,
  VERSION,
} from '../wire/record.js';
import type { Counters } from './counters.js';
import type { Exit } from './exit.js';
import type { LaneTable, ReceiveLane } from './lanes.js';
import type { Neighbour } from './neighbour.js';
import type { Routes } from './routes.js';
import { LANE_DATA, type Sender } from './sender.js';
import type { SlowPath } from './slow-path.js';

/** Of the two ECN bits: congestion experienced (RFC 3168 §5). */
const ECN_CE = 3;

export interface ArrivalParts {
  udp: UdpSocket;
  aead: Aead;
  lanes: LaneTable;
  routes: Routes;
  exit: Exit;
  sender: Sender;
  slow: SlowPath;
  counters: Counters;
  self: number;
  /** What the socket fills. */
  batch: PacketBatch;
}

export class Arrival {
  private readonly opened: Int32Array;
  private readonly onward: Int32Array;
  private readonly lanes: (ReceiveLane | undefined)[];
  private onwardCount = 0;
  /** The destination of the packet before, which is mostly that of the next. */
  private lastDestination = -1;
  private lastNext: Neighbour | undefined;

  constructor(private readonly parts: ArrivalParts) {
    const { capacity } = parts.batch;
    this.opened = new Int32Array(capacity);
    this.onward = new Int32Array(capacity);
    this.lanes = new Array<ReceiveLane | undefined>(capacity).fill(undefined);
  }

  /** Takes one batch all the way. `now` in µs. Returns how many datagrams the socket gave. */
  run(now: number): number {
    const { udp, aead, batch, counters, exit, sender } = this.parts;
    const count = udp.read(batch);
    const candidates = this.sift(now, count);
    aead.open(batch, this.opened, candidates);
    exit.begin();
    this.onwardCount = 0;
    this.lastDestination = -1;
    for (let k = 0; k < candidates; k++) this.dispatch(now, this.opened[k]!);
    exit.flush(batch);
    const sent = sender.sealAndSend(batch, this.onward, this.onwardCount);
    if (sent < this.onwardCount) counters.drop('queue-full', this.onwardCount - sent);
    return count;
  }

  /** Step 2: leaves in `opened` what is worth opening, its key chosen; returns how many. */
  private sift(now: number, count: number): number {
    const { batch, lanes, counters, slow } = this.parts;
    const { view } = batch;
    let candidates = 0;
    for (let i = 0; i < count; i++) {
      const at = batch.offset[i]!;
      const length = batch.length[i]!;
      if (length < 1) counters.drop('short');
      else if (readVersion(view, at) !== VERSION) counters.drop('version');
      else if (readDatagramType(view, at) !== DATAGRAM_RECORD) slow.handshake(now, batch, i);
      else if (length < RECORD_MIN_SIZE) counters.drop('short');
      else {
        const lane = lanes.find(readReceiverIndex(view, at));
        if (!lane) counters.drop('no-session');
        else if (readCounter(view, at) >= COUNTER_LIMIT) counters.drop('counter-range');
        else if (!lane.window.check(readCounter(view, at))) counters.drop('replayed');
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
      counters.drop('forged');
      return;
    }
    if (!lane.window.accept(readCounter(view, at))) {
      counters.drop('replayed');
      return;
    }
    const length = batch.length[i]! - RECORD_HEADER;
    counters.receivedRecords++;
    counters.receivedBytes += length + RECORD_HEADER + RECORD_TAG;
    slow.authentic(now, lane, batch, i);
    if (length === 0) return;
    const frame = at + RECORD_HEADER;
    if (!isRouted(view.getUint8(frame))) slow.linkFrames(now, lane.neighbour, view, frame, length);
    else this.routed(now, lane.neighbour, i, frame, length);
  }

  private routed(now: number, from: Neighbour, i: number, frame: number, length: number): void {
    const { batch, counters, exit, slow, sender, self } = this.parts;
    const { view } = batch;
    const check = checkRouted(view, frame, length);
    if (check !== ROUTED_OK) {
      counters.drop(ROUTED_REJECTS[check] === 'unknown-type' ? 'frame-unknown' : 'frame-malformed');
      return;
    }
    if ((batch.trafficClass[i]! & 3) === ECN_CE && readEcn(view, frame) !== 0) writeEcn(view, frame, ECN_CE);
    const data = readRoutedType(view, frame) === FRAME_DATA;
    if (data) sender.noteData(now, from);
    if (readDestination(view, frame) === self) {
      if (data) exit.take(batch, i, frame, length);
      else slow.routedForUs(now, view, frame, length);
      return;
    }
    this.forward(now, i, frame, length, data);
  }

  /** Onward: one off the TTL, everything else as it came. */
  private forward(now: number, i: number, frame: number, length: number, data: boolean): void {
    const { batch, slow, sender, counters } = this.parts;
    const { view } = batch;
    const next = this.nextHop(readDestination(view, frame));
    if (!next) {
      slow.refuseNoRoute(now, view, frame);
      return;
    }
    const ttl = readTtl(view, frame);
    if (ttl <= 1) {
      slow.refuseTtl(now, view, frame);
      return;
    }
    writeTtl(view, frame, ttl - 1);
    if (!data) {
      slow.forwardControl(view, frame, length, next);
      return;
    }
    if (!sender.addressOne(batch, i, next, LANE_DATA, readEcn(view, frame))) {
      counters.drop('no-path');
      return;
    }
    sender.noteData(now, next);
    counters.relayedPackets++;
    counters.relayedBytes += length;
    this.onward[this.onwardCount++] = i;
  }

  private nextHop(destination: number): Neighbour | undefined {
    if (destination !== this.lastDestination) {
      const next = this.parts.routes.byNode(destination)?.next;
      this.lastDestination = destination;
      this.lastNext = next?.up ? next : undefined;
    }
    return this.lastNext;
  }
}
