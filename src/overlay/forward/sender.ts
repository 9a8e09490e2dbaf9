import type { PacketBatch } from '../../io/batch.js';
import type { Aead, UdpSocket } from '../../io/ports.js';
import { LANE_BEST_EFFORT } from '../wire/lanes.js';
import type { Counters } from './counters.js';
import type { Neighbour } from './neighbour.js';

/**
 * The last steps of every datagram: record header, seal, send. A packet whose neighbour has no session to seal with is left with key -1,
 * so that sealing skips it; what isn't sealed is never sent.
 */
export class Sender {
  private readonly refused = new Map<number, number>();

  /** `onBusy`: a link that data began to use wants its hellos sooner. */
  constructor(
    private readonly udp: UdpSocket,
    private readonly aead: Aead,
    private readonly counters: Counters,
    private readonly onBusy: (neighbour: Neighbour) => void,
  ) {}

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
    const key = next.sessions.writeHeader(batch.view, batch.offset[i]!, lane);
    batch.key[i] = key;
    batch.endpoint[i] = next.slot;
    batch.trafficClass[i] = outer;
    if (key < 0) return false;
    next.packetsSent++;
    next.bytesSent += batch.length[i]!;
    return true;
  }

  /** Seals `order[0..n)` and sends it once, as `seal` and `sendOnce`. */
  sealAndSend(batch: PacketBatch, order: Int32Array, n: number): number {
    return this.sendOnce(batch, order, this.seal(batch, order, n));
  }

  /** Seals `order[0..n)`, moves those that were sealed to the front of `order` and returns how many they are. */
  seal(batch: PacketBatch, order: Int32Array, n: number): number {
    this.aead.seal(batch, order, n);
    const { status } = batch;
    let sealed = 0;
    for (let k = 0; k < n; k++) if (status[order[k]!] === 1) order[sealed++] = order[k]!;
    if (sealed < n) this.counters.drop('no-path', n - sealed);
    return sealed;
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
