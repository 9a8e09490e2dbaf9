/** A binary heap of node indices, least key first, that knows where each node stands. */
export class IndexHeap {
  private readonly heap: Int32Array;
  /** -1: not in the heap. */
  private readonly place: Int32Array;
  private size = 0;

  constructor(private readonly key: Float64Array) {
    this.heap = new Int32Array(key.length);
    this.place = new Int32Array(key.length).fill(-1);
  }

  /** Puts `node` in, or moves it up after its key fell. */
  raise(node: number): void {
    let at = this.place[node] === -1 ? this.size++ : this.place[node];
    for (; at > 0;) {
      const parent = (at - 1) >> 1;
      if (this.key[this.heap[parent]] <= this.key[node]) break;
      this.put(this.heap[parent], at);
      at = parent;
    }
    this.put(node, at);
  }

  /** The node of the least key, or -1. */
  pop(): number {
    if (this.size === 0) return -1;
    const least = this.heap[0];
    this.place[least] = -1;
    const last = this.heap[--this.size];
    if (this.size > 0) this.sink(last);
    return least;
  }

  private sink(node: number): void {
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.size) break;
      if (child + 1 < this.size && this.key[this.heap[child + 1]] < this.key[this.heap[child]]) child++;
      if (this.key[this.heap[child]] >= this.key[node]) break;
      this.put(this.heap[child], at);
      at = child;
    }
    this.put(node, at);
  }

  private put(node: number, at: number): void {
    this.heap[at] = node;
    this.place[node] = at;
  }
}
