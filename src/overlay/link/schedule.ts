const CAPACITY = 1024;

/**
 * Frames that are to be sent again at a given time, earliest first: a binary heap of fixed size. What doesn't fit is left out: a copy ahead of
 * loss is a favour.
 */
export class Schedule {
  /** Of the entry that `takeDue` gave last. */
  tag = 0;
  private readonly due = new Float64Array(CAPACITY);
  private readonly handles = new Int32Array(CAPACITY);
  private readonly tags = new Int32Array(CAPACITY);
  private count = 0;

  /** `tag` tells whether the handle still names the same frame when its time comes. */
  add(at: number, handle: number, tag: number): void {
    if (this.count === CAPACITY) return;
    let i = this.count++;
    for (; i > 0 && this.due[(i - 1) >> 1]! > at; i = (i - 1) >> 1) this.move((i - 1) >> 1, i);
    this.set(i, at, handle, tag);
  }

  /** The next handle whose time has come; -1 where there is none. */
  takeDue(now: number): number {
    if (this.count === 0 || this.due[0]! > now) return -1;
    const handle = this.handles[0]!;
    this.tag = this.tags[0]!;
    this.removeFirst();
    return handle;
  }

  /** µs; Infinity while empty. */
  nextTime(): number {
    return this.count === 0 ? Infinity : this.due[0]!;
  }

  private removeFirst(): void {
    const last = --this.count;
    const at = this.due[last]!;
    let i = 0;
    for (let child = 1; child < last; child = 2 * i + 1) {
      if (child + 1 < last && this.due[child + 1]! < this.due[child]!) child++;
      if (this.due[child]! >= at) break;
      this.move(child, i);
      i = child;
    }
    this.set(i, at, this.handles[last]!, this.tags[last]!);
  }

  private move(from: number, to: number): void {
    this.set(to, this.due[from]!, this.handles[from]!, this.tags[from]!);
  }

  private set(i: number, at: number, handle: number, tag: number): void {
    this.due[i] = at;
    this.handles[i] = handle;
    this.tags[i] = tag;
  }
}
