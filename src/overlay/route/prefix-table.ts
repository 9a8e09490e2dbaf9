/**
 * Longest-prefix match on raw integers. The prefixes are flattened into disjoint ranges once, sorted by their first address; a lookup is a
 * binary search over typed arrays and allocates nothing. Values are the owners' node indices.
 */
import { readU32 } from './bytes.js';
import type { Prefix } from './identity.js';

/** No prefix holds the address: it is none of the overlay's. */
export const NO_OWNER = -1;
/** The overlay's own prefix holds the address, no node's does. */
export const NOBODY = -2;

export interface OwnedPrefix extends Prefix {
  /** A node index, or NOBODY. */
  readonly owner: number;
}

/** Ranges of one family: `starts` has 1 (IPv4) or 4 (IPv6) words a range, ascending; the first range starts at 0. */
interface Ranges {
  readonly starts: Uint32Array<ArrayBuffer>;
  readonly owners: Int32Array<ArrayBuffer>;
}

export class PrefixTable {
  private constructor(
    private readonly v4: Ranges,
    private readonly v6: Ranges,
  ) {}

  /** Of equal prefixes the last counts; bits behind a prefix's length are ignored. */
  static build(prefixes: readonly OwnedPrefix[]): PrefixTable {
    return new PrefixTable(flatten(prefixes, 4), flatten(prefixes, 16));
  }

  /** The other thread's side of `buffers()`. */
  static from(buffers: readonly ArrayBuffer[]): PrefixTable {
    const [starts4, owners4, starts6, owners6] = buffers;
    return new PrefixTable(
      { starts: new Uint32Array(starts4), owners: new Int32Array(owners4) },
      { starts: new Uint32Array(starts6), owners: new Int32Array(owners6) },
    );
  }

  /** Copies, four of them, free to be transferred. */
  buffers(): ArrayBuffer[] {
    const arrays = [this.v4.starts, this.v4.owners, this.v6.starts, this.v6.owners];
    return arrays.map((array) => array.slice().buffer);
  }

  /** Owner of an IPv4 address given as an unsigned 32-bit number: a node index, NOBODY or NO_OWNER. */
  lookup4(address: number): number {
    const { starts, owners } = this.v4;
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle] <= address) low = middle;
      else high = middle - 1;
    }
    return owners[low];
  }

  /** Owner of an IPv6 address given as four unsigned 32-bit words, the most significant first. */
  lookup6(w0: number, w1: number, w2: number, w3: number): number {
    const { starts, owners } = this.v6;
    let low = 0;
    let high = owners.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      const at = 4 * middle;
      const order = starts[at] - w0 || starts[at + 1] - w1 || starts[at + 2] - w2 || starts[at + 3] - w3;
      if (order <= 0) low = middle;
      else high = middle - 1;
    }
    return owners[low];
  }
}

interface Span {
  readonly first: bigint;
  /** Address behind the last. */
  readonly end: bigint;
  readonly owner: number;
}

/**
 * Prefixes nest or are disjoint, so a stack of those that are open tells who owns each stretch: sorted by first address, the wider first, each
 * prefix interrupts the one below it and hands back to it at its end.
 */
function flatten(prefixes: readonly OwnedPrefix[], size: 4 | 16): Ranges {
  const bits = BigInt(size * 8);
  const spans = prefixes
    .filter((prefix) => prefix.bytes.length === size)
    .map((prefix) => spanOf(prefix, bits));
  spans.sort(bySpan);
  const ranges = new RangeList();
  ranges.add(0n, NO_OWNER);
  const open: Span[] = [];
  const closeUntil = (address: bigint): void => {
    while (open.length > 0 && open[open.length - 1].end <= address) {
      const { end } = open.pop()!;
      if (end < 1n << bits) ranges.add(end, open.length > 0 ? open[open.length - 1].owner : NO_OWNER);
    }
  };
  for (const span of spans) {
    closeUntil(span.first);
    ranges.add(span.first, span.owner);
    open.push(span);
  }
  closeUntil(1n << bits);
  return ranges.pack(size / 4);
}

function spanOf({ bytes, length, owner }: OwnedPrefix, bits: bigint): Span {
  let value = 0n;
  for (let at = 0; at < bytes.length; at += 4) value = (value << 32n) | BigInt(readU32(bytes, at));
  const host = bits - BigInt(length);
  const first = (value >> host) << host;
  return { first, end: first + (1n << host), owner };
}

function bySpan(a: Span, b: Span): number {
  if (a.first !== b.first) return a.first < b.first ? -1 : 1;
  if (a.end !== b.end) return a.end > b.end ? -1 : 1;
  return 0;
}

class RangeList {
  private readonly firsts: bigint[] = [];
  private readonly owners: number[] = [];

  /** From `first` on it is `owner`; a range that begins where the last one did replaces it. */
  add(first: bigint, owner: number): void {
    if (this.firsts[this.firsts.length - 1] === first) {
      this.firsts.pop();
      this.owners.pop();
    }
    if (this.owners[this.owners.length - 1] === owner) return;
    this.firsts.push(first);
    this.owners.push(owner);
  }

  pack(words: number): Ranges {
    const starts = new Uint32Array(this.firsts.length * words);
    this.firsts.forEach((first, i) => {
      for (let w = 0; w < words; w++) {
        starts[i * words + w] = Number((first >> BigInt(32 * (words - 1 - w))) & 0xffffffffn);
      }
    });
    return { starts, owners: Int32Array.from(this.owners) };
  }
}
