/** Flows by the date at which something must happen to them: a binary heap in typed arrays, with each flow's place in it. */
export class Deadlines {
  /** How many flows have a date. */
  size = 0;
  private readonly heap: Int32Array;
  private readonly place: Int32Array;
  private readonly date: Float64Array;

  constructor(flows: number) {
    this.heap = new Int32Array(flows);
    this.place = new Int32Array(flows).fill(-1);
    this.date = new Float64Array(flows);
  }

  /** The flow with the earliest date, −1: none. */
  first(): number {
    return this.size === 0 ? -1 : this.heap[0]!;
  }

  /** The earliest date, Infinity: none. */
  earliest(): number {
    return this.size === 0 ? Infinity : this.date[this.heap[0]!]!;
  }

  /** The flow at place `i` of the heap, 0 .. size − 1, in no order that means anything. */
  at(i: number): number {
    return this.heap[i]!;
  }

  /** The flow's date, Infinity: none. */
  of(flow: number): number {
    return this.place[flow]! < 0 ? Infinity : this.date[flow]!;
  }

  set(flow: number, date: number): void {
    this.date[flow] = date;
    if (this.place[flow]! < 0) {
      this.place[flow] = this.size;
      this.heap[this.size++] = flow;
    }
    this.sink(this.rise(this.place[flow]!));
  }

  remove(flow: number): void {
    const at = this.place[flow]!;
    if (at < 0) return;
    this.place[flow] = -1;
    const last = this.heap[--this.size]!;
    if (last === flow) return;
    this.heap[at] = last;
    this.place[last] = at;
    this.sink(this.rise(at));
  }

  private rise(from: number): number {
    const flow = this.heap[from]!;
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.date[this.heap[parent]!]! <= this.date[flow]!) break;
      this.put(at, this.heap[parent]!);
      at = parent;
    }
    this.put(at, flow);
    return at;
  }

  private sink(from: number): void {
    const flow = this.heap[from]!;
    let at = from;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.size) break;
      if (child + 1 < this.size && this.date[this.heap[child + 1]!]! < this.date[this.heap[child]!]!) child++;
      if (this.date[flow]! <= this.date[this.heap[child]!]!) break;
      this.put(at, this.heap[child]!);
      at = child;
    }
    this.put(at, flow);
  }

  private put(at: number, flow: number): void {
    this.heap[at] = flow;
    this.place[flow] = at;
  }
}
