import type { PacketBatch } from '../../io/batch.js';
import type { Aead, UdpSocket } from '../../io/ports.js';
import { LANE_BEST_EFFORT, LANE_CONTROL } from '../wire/lanes.js';
import { RECORD_TAG_SIZE, writeRecordHeader } from '../wire/record.js';
import type { Counters } from './counters.js';
import type { Neighbour } from './neighbour.js';
import { Splitter } from './splitter.js';

/**
 * The last steps of every datagram: record header, seal, send. A packet whose neighbour has no session to seal with is left with key -1,
 * so that sealing skips it; what isn't sealed is never sent. A record too large for its link goes in pieces, which `seal` sends itself.
 */
export class Sender {
  private readonly splitter: Splitter;
  /** Records that are too large, addressed and not yet sealed: row, batch, lane and neighbour of each. */
  private readonly wide: { batch: PacketBatch; i: number; lane: number; next: Neighbour }[] = [];
  private readonly refused = new Map<number, number>();

  /** `onBusy`: a link that data began to use wants its hellos sooner. */
  constructor(
    private readonly udp: UdpSocket,
    private readonly aead: Aead,
    private readonly counters: Counters,
    private readonly onBusy: (neighbour: Neighbour) => void,
    /** Unpredictable u32: where the numbers of split records begin. */
    random: number,
  ) {
    this.splitter = new Splitter(random);
  }

  /** Data goes to, or came from, a neighbour. Cheap enough for every packet. */
  noteData(now: number, neighbour: Neighbour): void {
    if (neighbour.link.noteData(now)) this.onBusy(neighbour);
  }

  /**
   * Gives packets `from … to-1` of a batch their record header, key and endpoint. Their offset and length span headroom and frame.
   * `outer`: traffic class of the outer header; its ECN bits are the inner packet's (RFC 6040 §4.1, normal mode).
   */
  address(batch: PacketBatch, from: number, to: number, next: Neighbour, outer: number): void {
    for (let i = from; i < to; i++) this.addressOne(batch, i, next, LANE_BEST_EFFORT, outer);
  }

  /** False where the neighbour has no session that may seal. */
  addressOne(batch: PacketBatch, i: number, next: Neighbour, lane: number, outer: number): boolean {
    if (batch.length[i]! + RECORD_TAG_SIZE > next.link.datagramMax && lane !== LANE_CONTROL) {
      return this.addressWide(batch, i, next, lane, outer);
    }
    const key = next.sessions.writeHeader(batch.view, batch.offset[i]!, lane);
    batch.key[i] = key;
    batch.endpoint[i] = next.slot;
    batch.trafficClass[i] = outer;
    if (key < 0) return false;
    next.packetsSent++;
    next.bytesSent += batch.length[i]!;
    return true;
  }

  /** As `addressOne` where the link can't carry the record whole: only its pieces take counters of the session. */
  private addressWide(batch: PacketBatch, i: number, next: Neighbour, lane: number, outer: number): boolean {
    next.link.wantDatagram(batch.length[i]! + RECORD_TAG_SIZE);
    writeRecordHeader(batch.view, batch.offset[i]!, 0, 0);
    batch.key[i] = -1;
    batch.endpoint[i] = next.slot;
    batch.trafficClass[i] = outer;
    this.wide.push({ batch, i, lane, next });
    return true;
  }

  /** Seals `order[0..n)` and sends it once, as `seal` and `sendOnce`. */
  sealAndSend(batch: PacketBatch, order: Int32Array, n: number): number {
    return this.sendOnce(batch, order, this.seal(batch, order, n));
  }

  /** Seals `order[0..n)`, moves those that were sealed to the front of `order` and returns how many they are. */
  seal(batch: PacketBatch, order: Int32Array, n: number): number {
    if (n === 0) return 0;
    // First: sealing takes from what has no key its length.
    const split = this.wide.length === 0 ? 0 : this.splitWide(batch);
    this.aead.seal(batch, order, n);
    const { status } = batch;
    let sealed = 0;
    for (let k = 0; k < n; k++) if (status[order[k]!] === 1) order[sealed++] = order[k]!;
    if (sealed + split < n) this.counters.drop('no-path', n - sealed - split);
    return sealed;
  }

  /** Sends the pieces of a batch's records that are too large; returns how many records those are. */
  private splitWide(batch: PacketBatch): number {
    const { splitter, wide } = this;
    const mine = wide.filter((each) => each.batch === batch);
    if (mine.length === 0) return 0;
    const others = wide.filter((each) => each.batch !== batch);
    wide.length = 0;
    wide.push(...others);
    for (const { i, lane, next } of mine) {
      const from = splitter.batch.count;
      if (splitter.split(batch, i, lane, next)) this.addressPieces(from, next);
      else {
        this.sendPieces();
        if (splitter.split(batch, i, lane, next)) this.addressPieces(0, next);
        else this.counters.drop('too-big');
      }
    }
    this.sendPieces();
    return mine.length;
  }

  private addressPieces(from: number, next: Neighbour): void {
    const { batch } = this.splitter;
    this.counters.splitRecords++;
    for (let row = from; row < batch.count; row++) {
      this.addressOne(batch, row, next, LANE_BEST_EFFORT, batch.trafficClass[row]!);
    }
  }

  private sendPieces(): void {
    const { splitter } = this;
    const { count } = splitter.batch;
    for (let row = 0; row < count; row++) splitter.order[row] = row;
    if (count > 0) this.sealAndSend(splitter.batch, splitter.order, count);
    splitter.clear();
  }

  /** As `send`; what the socket refuses isn't tried again, but remembered in `takeRefused`. */
  sendOnce(batch: PacketBatch, order: Int32Array, n: number): number {
    const sent = this.send(batch, order, n);
    for (let k = sent; k < n; k++) {
      const slot = batch.endpoint[order[k]!]!;
      this.refused.set(slot, (this.refused.get(slot) ?? 0) + 1);
    }
    return sent;
  }

  /** How many records for the endpoint in `slot` took a counter and were not sent, since this was asked last. */
  takeRefused(slot: number): number {
    const refused = this.refused.get(slot) ?? 0;
    if (refused > 0) this.refused.delete(slot);
    return refused;
  }

  /** Sends what is sealed already. Returns how many the socket dealt with; fewer than n: its buffer is full. */
  send(batch: PacketBatch, order: Int32Array, n: number): number {
    if (n === 0) return 0;
    const sent = this.udp.send(batch, order, n);
    let bytes = 0;
    for (let k = 0; k < sent; k++) bytes += batch.length[order[k]!]!;
    this.counters.sentRecords += sent;
    this.counters.sentBytes += bytes;
    return sent;
  }
}
