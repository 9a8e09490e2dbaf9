/**
 * Transmissions of one kind, in the order of their numbers: a list through the slots of a ring, so that walking it costs what is in it and
 * not what lies between. A slot is in one list at most; lists of one ring share their links.
 */
export class ListLinks {
  readonly next: Int32Array;
  readonly previous: Int32Array;

  constructor(ring: number) {
    this.next = new Int32Array(ring);
    this.previous = new Int32Array(ring);
  }
}

export class TransmissionList {
  /** Slot of the oldest and of the newest; -1: none. */
  head = -1;
  tail = -1;

  constructor(private readonly links: ListLinks) {}

  /** The slot after `slot`; -1 at the end. */
  after(slot: number): number {
    return this.links.next[slot];
  }

  /** The slot before `slot`; -1 at the beginning. */
  before(slot: number): number {
    return this.links.previous[slot];
  }

  /** Adds a slot whose number is after all others'. */
  append(slot: number): void {
    const { tail } = this;
    this.links.next[slot] = -1;
    this.links.previous[slot] = tail;
    if (tail < 0) this.head = slot;
    else this.links.next[tail] = slot;
    this.tail = slot;
  }

  remove(slot: number): void {
    const next = this.links.next[slot];
    const previous = this.links.previous[slot];
    if (previous < 0) this.head = next;
    else this.links.next[previous] = next;
    if (next < 0) this.tail = previous;
    else this.links.previous[next] = previous;
  }

  clear(): void {
    this.head = this.tail = -1;
  }
}
