/**
 * Which nodes sent us something lately, and in which life (boot epoch) each of them is. Bounded: eight places to a hash, the one asked for
 * longest ago makes room. A life has a serial number of its own, so that what is kept elsewhere under an old one is forgotten by no longer matching.
 *
 * An epoch is the low 16 bits of a start's time in seconds, so any other epoch is a new life, but for the one just before: its last
 * packets may still be under way when the first of the new one arrive.
 */

const WAYS = 8;

/** What `find` answers for a packet of the life before the present one. */
export const SOURCE_STRAGGLER = -1;

export class Sources {
  /** Places there are; `find` answers one of 0 .. capacity − 1. */
  readonly capacity: number;
  /** Serial number of the life that a place is about, never 0; 0: the place is free. */
  readonly life: Int32Array;
  /** Whether `find` began a life just now: what was kept by place is about another source or another life. */
  isNew = false;
  private readonly node: Int32Array;
  private readonly epoch: Int32Array;
  private readonly previous: Int32Array;
  private readonly usedAt: Float64Array;
  private readonly mask: number;
  private uses = 0;
  private lives = 0;

  /** Room for at least `count` sources. */
  constructor(count: number) {
    this.capacity = Math.max(WAYS, 2 ** Math.ceil(Math.log2(count)));
    this.mask = this.capacity / WAYS - 1;
    this.life = new Int32Array(this.capacity);
    this.node = new Int32Array(this.capacity);
    this.epoch = new Int32Array(this.capacity);
    this.previous = new Int32Array(this.capacity);
    this.usedAt = new Float64Array(this.capacity);
  }

  /** The place of `source` in `epoch` (16 bits), beginning it where that life is new, or SOURCE_STRAGGLER. */
  find(source: number, epoch: number): number {
    const node = source | 0;
    this.isNew = false;
    const set = ((Math.imul(node, 0x9e3779b1) >>> 16) & this.mask) * WAYS;
    let place = set;
    for (let i = set; i < set + WAYS; i++) {
      if (this.node[i] === node && this.life[i] !== 0) return this.enter(i, epoch);
      if (this.usedAt[i]! < this.usedAt[place]!) place = i;
    }
    this.node[place] = node;
    this.previous[place] = -1;
    this.begin(place, epoch);
    return place;
  }

  /** Node id of the source at `place`. */
  nodeAt(place: number): number {
    return this.node[place]! >>> 0;
  }

  private enter(place: number, epoch: number): number {
    this.usedAt[place] = ++this.uses;
    if (this.epoch[place] === epoch) return place;
    if (this.previous[place] === epoch) return SOURCE_STRAGGLER;
    this.previous[place] = this.epoch[place]!;
    this.begin(place, epoch);
    return place;
  }

  private begin(place: number, epoch: number): void {
    this.usedAt[place] = ++this.uses;
    this.epoch[place] = epoch;
    this.lives = (this.lives + 1) | 0 || 1;
    this.life[place] = this.lives;
    this.isNew = true;
  }
}
