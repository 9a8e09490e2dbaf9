import type { PacketBatch } from '../../io/batch.js';

const SLOTS = 4096;
/** Bytes kept of each packet: an IPv6 header and 56 bytes of what follows, more than RFC 792 and RFC 4443 readers need. */
const KEPT = 96;

/**
 * The heads of the packets sent lately, so that an overlay error, which names only a sequence, can become an ICMP error that quotes
 * the packet. One entry serves all segments of a segmentation-offload read. Bounded: SLOTS × KEPT bytes.
 */
export class RecentHeaders {
  private readonly heads = new Uint8Array(SLOTS * KEPT);
  private readonly words = new Uint32Array(this.heads.buffer);
  private readonly destination = new Uint32Array(SLOTS);
  private readonly first = new Uint32Array(SLOTS);
  private readonly segments = new Uint32Array(SLOTS);
  private readonly lengths = new Uint32Array(SLOTS);
  private next = 0;

  /** Remembers packet `i` of a TUN read, sent as sequences first … first+segments-1. */
  remember(batch: PacketBatch, i: number, destination: number, first: number, segments: number): void {
    const slot = this.next;
    this.next = (slot + 1) % SLOTS;
    const length = Math.min(batch.length[i]!, KEPT);
    const { view } = batch;
    const from = batch.offset[i]!;
    const to = slot * KEPT;
    let at = 0;
    for (; at + 4 <= length; at += 4) this.words[(to + at) >> 2] = view.getUint32(from + at, true);
    for (; at < length; at++) this.heads[to + at] = view.getUint8(from + at);
    this.destination[slot] = destination;
    this.first[slot] = first;
    this.segments[slot] = segments;
    this.lengths[slot] = length;
  }

  /** The head of what was sent to `destination` as `sequence`, newest first; undefined if it has been overwritten. */
  find(destination: number, sequence: number): Uint8Array | undefined {
    for (let back = 1; back <= SLOTS; back++) {
      const slot = (this.next - back + SLOTS) % SLOTS;
      if (this.destination[slot] !== destination || this.segments[slot] === 0) continue;
      if ((sequence - this.first[slot]!) >>> 0 < this.segments[slot]!) {
        return this.heads.subarray(slot * KEPT, slot * KEPT + this.lengths[slot]!);
      }
    }
    return undefined;
  }
}
