/**
 * Which of many flows holds most, to within a quarter, in constant time: flows of about as many bytes lie in one list, and a bit says of
 * each list whether anything is in it. Lists are four to a power of two, the flows below LEAST bytes together in one.
 */

/** Bytes; a power of two. */
const LEAST = 256;
const LEAST_EXPONENT = 8;
/** Weights up to 2^31 - 1 bytes. */
const LISTS = 4 * (31 - LEAST_EXPONENT) + 1;

function listOf(bytes: number): number {
  if (bytes < LEAST) return 0;
  const exponent = 31 - Math.clz32(bytes);
  return 4 * (exponent - LEAST_EXPONENT) + ((bytes >> (exponent - 2)) & 3) + 1;
}

export class Fattest {
  private readonly heads = new Int32Array(LISTS).fill(-1);
  private readonly occupied = new Int32Array((LISTS + 31) >> 5);
  private readonly next: Int32Array;
  private readonly previous: Int32Array;
  /** The list of each flow, -1 none. */
  private readonly list: Int8Array;

  constructor(flows: number) {
    this.next = new Int32Array(flows);
    this.previous = new Int32Array(flows);
    this.list = new Int8Array(flows).fill(-1);
  }

  /** `flow` holds so many bytes now. */
  set(flow: number, bytes: number): void {
    const list = bytes === 0 ? -1 : listOf(bytes);
    const before = this.list[flow];
    if (list === before) return;
    if (before >= 0) this.remove(flow, before);
    if (list >= 0) this.insert(flow, list);
    this.list[flow] = list;
  }

  /** A flow that holds at least four fifths of what any holds; -1: none holds anything. */
  find(): number {
    for (let word = this.occupied.length - 1; word >= 0; word--) {
      const bits = this.occupied[word];
      if (bits !== 0) return this.heads[32 * word + 31 - Math.clz32(bits)];
    }
    return -1;
  }

  private insert(flow: number, list: number): void {
    const head = this.heads[list];
    this.next[flow] = head;
    this.previous[flow] = -1;
    if (head >= 0) this.previous[head] = flow;
    this.heads[list] = flow;
    this.occupied[list >> 5] |= 1 << (list & 31);
  }

  private remove(flow: number, list: number): void {
    const next = this.next[flow];
    const previous = this.previous[flow];
    if (next >= 0) this.previous[next] = previous;
    if (previous >= 0) this.next[previous] = next;
    else this.heads[list] = next;
    if (this.heads[list] < 0) this.occupied[list >> 5] &= ~(1 << (list & 31));
  }
}
