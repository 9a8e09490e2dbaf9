/**
 * Which flows are known, by life of a source and flow label: eight places to a hash, so that no choice of labels makes a look-up long.
 * Where all eight are taken, the flow that was idle longest makes room, one that holds packets last.
 */
const WAYS = 8;

export class FlowTable {
  readonly capacity: number;
  /** By flow: serial number of its source's life (0: free place), label, place of the source in `Sources`, time of its last packet. */
  readonly life: Int32Array;
  readonly label: Int32Array;
  readonly source: Int32Array;
  readonly lastAt: Float64Array;
  private readonly mask: number;

  /** Room for about `count` flows. */
  constructor(count: number) {
    this.capacity = Math.max(WAYS, 2 ** Math.ceil(Math.log2(count)));
    this.mask = this.capacity / WAYS - 1;
    this.life = new Int32Array(this.capacity);
    this.label = new Int32Array(this.capacity);
    this.source = new Int32Array(this.capacity);
    this.lastAt = new Float64Array(this.capacity);
  }

  /** −1: not known. */
  find(life: number, label: number): number {
    const set = this.set(life, label);
    for (let flow = set; flow < set + WAYS; flow++) {
      if (this.label[flow] === (label | 0) && this.life[flow] === life) return flow;
    }
    return -1;
  }

  /** The place that a new flow may have: a free one, or its present owner has to go. */
  placeFor(life: number, label: number, held: Int32Array): number {
    const set = this.set(life, label);
    let place = set;
    for (let flow = set; flow < set + WAYS; flow++) {
      if (this.life[flow] === 0) return flow;
      if (this.goesBefore(flow, place, held)) place = flow;
    }
    return place;
  }

  private goesBefore(a: number, b: number, held: Int32Array): boolean {
    if ((held[a] === 0) !== (held[b] === 0)) return held[a] === 0;
    return this.lastAt[a]! < this.lastAt[b]!;
  }

  private set(life: number, label: number): number {
    const mixed = Math.imul(Math.imul(life, 0x85ebca6b) ^ label, 0x9e3779b1);
    return ((mixed >>> 13) & this.mask) * WAYS;
  }
}
