/** Events by time, and of equal times in the order in which they were put in. A binary heap. */
interface Event {
  readonly time: number;
  readonly order: number;
  readonly run: () => void;
}

export class EventQueue {
  private readonly heap: Event[] = [];
  private count = 0;

  get size(): number {
    return this.heap.length;
  }

  /** Infinity where there is none. */
  get nextTime(): number {
    return this.heap.length === 0 ? Infinity : this.heap[0].time;
  }

  push(time: number, run: () => void): void {
    const event = { time, order: this.count++, run };
    let at = this.heap.push(event) - 1;
    for (; at > 0;) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, this.heap[parent])) break;
      this.heap[at] = this.heap[parent];
      at = parent;
    }
    this.heap[at] = event;
  }

  pop(): Event | undefined {
    const first = this.heap[0];
    const last = this.heap.pop();
    if (last !== undefined && this.heap.length > 0) this.sink(last);
    return first;
  }

  private sink(event: Event): void {
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.heap.length) break;
      if (child + 1 < this.heap.length && isBefore(this.heap[child + 1], this.heap[child])) child++;
      if (!isBefore(this.heap[child], event)) break;
      this.heap[at] = this.heap[child];
      at = child;
    }
    this.heap[at] = event;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.time < b.time || (a.time === b.time && a.order < b.order);
}
