/**
 * Which links are in trouble, by what their ends advertise, who tell bad news at once and good news after it has lasted (`damped.ts`). A link that is gone counts as
 * in trouble for a while, also when it is back; then it is forgotten. All times in µs. Pure.
 */

/** What is known of the links at a time: directed edges in compressed rows, as `spf.ts` has them. */
export interface MeasuredLinks {
  /** By node index. */
  readonly ids: Uint32Array;
  readonly starts: Int32Array;
  readonly targets: Int32Array;
  /** µs, there and back. */
  readonly rtt: Float64Array;
  /** Share lost in the edge's direction, 0 to 1. */
  readonly loss: Float64Array;
}

/** Fixed by the published scheme: what marks a link. */
const LOSS_LIMIT = 0.02;
const RTT_RATIO = 1.25;
const RTT_MARGIN = 5_000;
const GOOD_AFTER = 30_000_000;
/** Tuned: the least round trip of half an hour to an hour is a link's base. */
const BASE_WINDOW = 1_800_000_000;

class Watched {
  isGone = false;
  /** Least round trips of the present window and the one before. */
  private least = Infinity;
  private leastBefore = Infinity;
  private windowAt: number;
  isBad = false;
  private goneAt = -Infinity;
  /** While in trouble, the worst of it. */
  rtt = 0;
  loss = 0;
  /** Of the update that had it last. */
  round = 0;

  constructor(
    now: number,
    readonly from: number,
    readonly to: number,
  ) {
    this.windowAt = now;
  }

  get base(): number {
    return Math.min(this.least, this.leastBefore);
  }

  measure(now: number, rtt: number, loss: number): void {
    this.isGone = false;
    if (now - this.windowAt >= BASE_WINDOW) {
      this.leastBefore = this.least;
      this.least = Infinity;
      this.windowAt = now;
    }
    this.least = Math.min(this.least, rtt);
    const { base } = this;
    const isBad = loss > LOSS_LIMIT || rtt > Math.max(base * RTT_RATIO, base + RTT_MARGIN);
    const wasInTrouble = this.inTrouble(now);
    this.isBad = isBad;
    const holds = isBad || wasInTrouble;
    this.rtt = holds ? Math.max(rtt, this.rtt) : rtt;
    this.loss = holds ? Math.max(loss, this.loss) : loss;
  }

  /** It isn't there. */
  miss(now: number): void {
    if (!this.isGone) this.goneAt = now;
    this.isGone = true;
    this.isBad = false;
  }

  inTrouble(now: number): boolean {
    return this.isBad || now < this.endsAt;
  }

  /** When the trouble is over if nothing changes; before `now` where there is none. */
  get endsAt(): number {
    return this.isBad ? Infinity : this.goneAt + GOOD_AFTER;
  }
}

export interface LinkState {
  /** Node ids. */
  readonly from: number;
  readonly to: number;
  /** µs, there and back: with nothing wrong, and the worst of its trouble, or as advertised where there is none. */
  readonly base: number;
  readonly rtt: number;
  readonly loss: number;
  /** It was there lately. */
  readonly isGone: boolean;
}

export class Troubles {
  private readonly byFrom = new Map<number, Map<number, Watched>>();
  private round = 0;

  /** Takes all links there are. */
  update(now: number, { ids, starts, targets, rtt, loss }: MeasuredLinks): void {
    this.round++;
    for (let from = 0; from < ids.length; from++) {
      for (let e = starts[from]; e < starts[from + 1]; e++) {
        const watched = this.watch(now, ids[from], ids[targets[e]]);
        watched.measure(now, rtt[e], loss[e]);
        watched.round = this.round;
      }
    }
    this.missOthers(now);
  }

  /** All links, and those that were there lately. */
  states(): LinkState[] {
    return [...this.byFrom.values()].flatMap((links) => [...links.values()]);
  }

  private missOthers(now: number): void {
    for (const [from, links] of this.byFrom) {
      for (const [to, watched] of links) {
        if (watched.round === this.round) continue;
        watched.miss(now);
        if (!watched.inTrouble(now)) links.delete(to);
      }
      if (links.size === 0) this.byFrom.delete(from);
    }
  }

  /**
   * Whether a node is in trouble as the source of packets, or as their destination: two of its links are that way, or so many that
   * two paths can't pass them by.
   */
  isInTrouble(now: number, node: number, as: 'source' | 'destination'): boolean {
    const links =
      as === 'source'
        ? [...(this.byFrom.get(node)?.values() ?? [])]
        : [...this.byFrom.values()].flatMap((others) => others.get(node) ?? []);
    const troubled = links.filter((link) => link.inTrouble(now)).length;
    return troubled >= 2 || (troubled === 1 && links.length <= 2);
  }

  /** When the next trouble is over; Infinity for none. */
  nextEnd(now: number): number {
    let next = Infinity;
    for (const links of this.byFrom.values()) {
      for (const { endsAt } of links.values()) if (endsAt > now) next = Math.min(next, endsAt);
    }
    return next;
  }

  private watch(now: number, from: number, to: number): Watched {
    let links = this.byFrom.get(from);
    if (!links) this.byFrom.set(from, (links = new Map<number, Watched>()));
    let watched = links.get(to);
    if (!watched) links.set(to, (watched = new Watched(now, from, to)));
    return watched;
  }
}
