/**
 * Fragments that pass: which datagram each belongs to, what parts of it came, and whether the first one was let through. Fragments that
 * overlap are nobody's honest packet (RFC 5722): from the first such on, the rest of their datagram is refused.
 *
 * A datagram is forgotten when it is complete, when it is 10 s old, and when newer ones of the same bucket take its place, so that
 * identifications may be used again.
 */
import type { PacketInfo } from './packet.js';

/** What `take` answers in place of a slot. */
export const FRAGMENT_REFUSED = -1;

/** µs. */
const LIFETIME = 10_000_000;
/** Slots of a bucket. */
const WAYS = 4;
/** Stretches between gaps that one datagram may have; more is no network's reordering. */
const STRETCHES = 8;
/** Words of a key: source, destination, identification, protocol and version. */
const KEY = 10;

export class FragmentWatch {
  /** By slot, the caller's own: whether the datagram's first fragment was let through. */
  readonly admitted: Uint8Array;
  private readonly keys: Uint32Array;
  private readonly at: Float64Array;
  private readonly refused: Uint8Array;
  /** Where the datagram ends; 0: not known yet. */
  private readonly end: Uint32Array;
  /** How many stretches there are, then each as first and behind-last byte, ascending. */
  private readonly count: Uint8Array;
  private readonly stretches: Uint32Array;
  private readonly key = new Uint32Array(KEY);

  /** `datagrams`: a power of two, at least 4. */
  constructor(private readonly datagrams = 1024) {
    this.admitted = new Uint8Array(datagrams);
    this.keys = new Uint32Array(KEY * datagrams);
    this.at = new Float64Array(datagrams).fill(-Infinity);
    this.refused = new Uint8Array(datagrams);
    this.end = new Uint32Array(datagrams);
    this.count = new Uint8Array(datagrams);
    this.stretches = new Uint32Array(2 * STRETCHES * datagrams);
  }

  /**
   * Notes the parsed fragment, at `now` in µs. Returns its datagram's slot, good until the next call, or FRAGMENT_REFUSED where it overlaps what came
   * before, lies behind the datagram's end, or belongs to a datagram of which that was true.
   */
  take(now: number, info: PacketInfo): number {
    const slot = this.slotOf(now, info);
    const first = info.fragmentOffset;
    const end = first + info.transportLength;
    if (this.refused[slot] !== 0 || !this.fits(slot, first, end, info.moreFragments)) {
      this.refused[slot] = 1;
      return FRAGMENT_REFUSED;
    }
    const at = 2 * STRETCHES * slot;
    const isWhole =
      this.count[slot] === 1 && this.stretches[at] === 0 && this.stretches[at + 1] === this.end[slot];
    if (isWhole) this.at[slot] = -Infinity;
    return slot;
  }

  private slotOf(now: number, info: PacketInfo): number {
    const bucket = this.fillKey(info) & (this.datagrams - 1) & ~(WAYS - 1);
    let oldest = bucket;
    for (let slot = bucket; slot < bucket + WAYS; slot++) {
      if (this.at[slot]! > now - LIFETIME && this.hasKey(slot)) return slot;
      if (this.at[slot]! < this.at[oldest]!) oldest = slot;
    }
    this.keys.set(this.key, KEY * oldest);
    this.at[oldest] = now;
    this.admitted[oldest] = this.refused[oldest] = this.end[oldest] = this.count[oldest] = 0;
    return oldest;
  }

  /** Leaves the datagram's key in `key`; returns its hash. */
  private fillKey(info: PacketInfo): number {
    const { key } = this;
    key[0] = info.src0;
    key[1] = info.src1;
    key[2] = info.src2;
    key[3] = info.src3;
    key[4] = info.dst0;
    key[5] = info.dst1;
    key[6] = info.dst2;
    key[7] = info.dst3;
    key[8] = info.fragmentId;
    key[9] = (info.protocol << 8) | info.version;
    let hash = 0;
    for (let word = 0; word < KEY; word++) hash = Math.imul(hash ^ key[word]!, 0x9e3779b1) ^ (hash >>> 15);
    return hash ^ (hash >>> 16);
  }

  private hasKey(slot: number): boolean {
    for (let word = 0; word < KEY; word++) if (this.keys[KEY * slot + word] !== this.key[word]) return false;
    return true;
  }

  /** Adds a stretch, merged with those that it touches; false where that makes no sense. */
  private fits(slot: number, first: number, end: number, more: boolean): boolean {
    const { stretches } = this;
    const at = 2 * STRETCHES * slot;
    const count = this.count[slot]!;
    if (first === end || (this.end[slot] !== 0 && end > this.end[slot]!)) return false;
    if (!more) {
      const known = count === 0 ? 0 : stretches[at + 2 * count - 1]!;
      if (this.end[slot] !== 0 || known > end) return false;
      this.end[slot] = end;
    }
    let i = 0;
    while (i < count && stretches[at + 2 * i]! < first) i++;
    const before = i > 0 ? stretches[at + 2 * i - 1]! : -1;
    const behind = i < count ? stretches[at + 2 * i]! : Infinity;
    if (before > first || behind < end) return false;
    this.insert(slot, i, first, end, before === first, behind === end);
    return this.count[slot]! < STRETCHES;
  }

  private insert(
    slot: number,
    i: number,
    first: number,
    end: number,
    joinsLeft: boolean,
    joinsRight: boolean,
  ): void {
    const { stretches } = this;
    const at = 2 * STRETCHES * slot + 2 * i;
    const last = 2 * STRETCHES * slot + 2 * this.count[slot]!;
    if (joinsLeft && joinsRight) {
      stretches[at - 1] = stretches[at + 1]!;
      stretches.copyWithin(at, at + 2, last);
      this.count[slot]!--;
    } else if (joinsLeft) stretches[at - 1] = end;
    else if (joinsRight) stretches[at] = first;
    else {
      stretches.copyWithin(at + 2, at, last);
      stretches[at] = first;
      stretches[at + 1] = end;
      this.count[slot]!++;
    }
  }
}
