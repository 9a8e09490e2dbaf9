/**
 * Order at the exit. Packets of a flow (source node, boot epoch, flow label) form a chain: each names its predecessor by the distance back
 * to it. Relays send on what comes as it comes; here a packet whose predecessor is missing waits for it, as long as recovery may take.
 *
 * 1. `arrive` finds the flow. The next in the chain passes at once, and what waited for it becomes ready.
 * 2. Another one ahead of the flow's front is held, by the caller's handle, in the order of sequence.
 * 3. One behind the front is late, if it may be from a range that the front passed over (`gaps`); otherwise it is a duplicate.
 * 4. `timeout` gives a predecessor up when a packet behind it has waited its time, and so does a lack of room.
 *
 * `flow-table` finds flows, `sources` the lives of sources, `held` keeps lists of nodes, `deadlines` says which flow is due. All bounded,
 * nothing is allocated after construction; a look-up looks at eight places, a list is at most `heldPerFlow` long. Nothing here reads a
 * packet, and nothing is held longer than the `wait` it came with, provided that `timeout` is called.
 */
import { Deadlines } from './deadlines.js';
import { FlowTable } from './flow-table.js';
import { Gaps } from './gaps.js';
import { Held } from './held.js';
import { RESTART_BEHIND } from './limits.js';
import { SOURCE_STRAGGLER, Sources } from './sources.js';

/** What `arrive` answers. */
export const ARRIVE_PASS = 0;
export const ARRIVE_HOLD = 1;
export const ARRIVE_DUPLICATE = 2;

/** Tuned: how long a packet that won't come holds its place, µs: as long as a reliable packet may be on its way. */
const VOID_WAIT = 1_000_000;
/** Tuned: among so many waiting flows the one is looked for that has to make room. */
const SAMPLE = 64;

export interface FlowOrderOptions {
  /** Handles are 0 .. handles − 1. */
  readonly handles: number;
  /** About the most flows remembered, rounded up to a power of two. */
  readonly flows: number;
  /** The most sources remembered, rounded up likewise. */
  readonly sources?: number;
  /** The most packets held, of all flows and of one; both at least 1. */
  readonly heldMax: number;
  readonly heldPerFlow: number;
}

/** Packets since the flow became known, or since the beginning. */
export interface OrderCounts {
  delivered: number;
  /** Of these, held until their predecessor came. */
  reordered: number;
  /** Of these, come after the flow had given them up. */
  late: number;
  /** Times that one packet or several in a row were given up. */
  skipped: number;
  duplicates: number;
}

export interface OrderedFlow extends Readonly<OrderCounts> {
  readonly source: number;
  readonly flow: number;
  /** Packets held now. */
  readonly held: number;
  /** µs. */
  readonly lastAt: number;
}

const DELIVERED = 0;
const REORDERED = 1;
const LATE = 2;
const SKIPPED = 3;
const DUPLICATES = 4;
const COUNTS = 5;

export class FlowOrder {
  /** Of all flows, and what happened for lack of room. */
  readonly totals = {
    delivered: 0,
    reordered: 0,
    late: 0,
    skipped: 0,
    duplicates: 0,
    crowdedOut: 0,
    evictedFlows: 0,
    /** µs, of all packets that were held. */
    waited: 0,
  };
  private readonly table: FlowTable;
  private readonly sources: Sources;
  private readonly held: Held;
  private readonly gaps: Gaps;
  private readonly deadlines: Deadlines;
  private readonly heldMax: number;
  private readonly heldPerFlow: number;
  /** By flow: sequence up to which all is delivered or given up; COUNTS columns of counts. */
  private readonly front: Int32Array;
  private readonly counts: Float64Array;
  /** By source: up to this sequence a flow unknown to us may have had packets that we delivered; packets held. */
  private readonly knownSince: Int32Array;
  private readonly heldBySource: Int32Array;
  /** Where the search for room goes on. */
  private cursor = 0;

  // The flow that was looked up last, by the key it was asked for with.
  private lastSource = -1;
  private lastEpoch = -1;
  private lastLabel = -1;
  private lastFlow = -1;

  // What `arrive` said HOLD to.
  private pendingFlow = -1;
  private pendingSequence = 0;
  private pendingDistance = 0;
  private pendingSince = 0;
  private pendingDeadline = 0;

  constructor({ handles, flows, sources = 1024, heldMax, heldPerFlow }: FlowOrderOptions) {
    this.table = new FlowTable(flows);
    const { capacity } = this.table;
    this.sources = new Sources(sources);
    this.held = new Held(handles, heldMax, capacity);
    this.gaps = new Gaps(capacity);
    this.deadlines = new Deadlines(capacity);
    this.heldMax = heldMax;
    this.heldPerFlow = heldPerFlow;
    this.front = new Int32Array(capacity);
    this.counts = new Float64Array(capacity * COUNTS);
    this.knownSince = new Int32Array(this.sources.capacity);
    this.heldBySource = new Int32Array(this.sources.capacity);
  }

  /** Packets held, with the places of those that won't come. */
  get heldPackets(): number {
    return this.held.total;
  }

  /** How many `ready` would give now. */
  get readyPackets(): number {
    return this.held.ready;
  }

  /**
   * A packet came. ARRIVE_PASS: deliver it, then what `ready` gives. ARRIVE_HOLD: deliver what `ready` gives, where room had to be made,
   * `hold` the packet (or drop it, which nothing here minds), and deliver what `ready` gives now. ARRIVE_DUPLICATE: drop it.
   * `wait`: µs it may wait for its predecessor. So `heldMax` handles are enough.
   */
  arrive(
    now: number,
    source: number,
    epoch: number,
    label: number,
    sequence: number,
    distance: number,
    wait: number,
  ): number {
    const flow =
      label === this.lastLabel && source === this.lastSource && epoch === this.lastEpoch
        ? this.lastFlow
        : this.lookUp(source, epoch, label, sequence, distance);
    if (flow < 0) return ARRIVE_PASS;
    this.table.lastAt[flow] = now;
    const ahead = (sequence - this.front[flow]!) | 0;
    if (ahead <= 0) return this.behind(flow, sequence, distance, -ahead);
    if (ahead === distance && this.held.count[flow] === 0) {
      this.front[flow] = sequence;
      this.count(flow, DELIVERED);
      return ARRIVE_PASS;
    }
    return this.ahead(now, flow, sequence, distance, now + wait);
  }

  /** Keeps the packet that `arrive` said ARRIVE_HOLD to, under `handle`; no other call of this object but `ready` may lie between. */
  hold(handle: number): void {
    const flow = this.pendingFlow;
    if (flow < 0) throw new Error('hold without a packet to hold');
    this.pendingFlow = -1;
    this.insert(
      flow,
      handle,
      this.pendingSequence,
      this.pendingDistance,
      this.pendingSince,
      this.pendingDeadline,
    );
    // Room made for it may have brought its turn.
    this.advance(flow);
  }

  /** The handle of the next packet that may be delivered, which is the caller's again; −1: none. To be asked until there is none. */
  ready(now: number): number {
    const node = this.held.popReady();
    if (node >= 0) this.totals.waited += now - this.held.since[node]!;
    return node;
  }

  /** Gives up waiting where it has lasted long enough: what is behind becomes ready. */
  timeout(now: number): void {
    while (this.deadlines.earliest() <= now) this.expire(this.deadlines.first(), now);
  }

  /** µs when `timeout` has something to do, Infinity: nothing waits, 0: `ready` has something. May be too early, never too late. */
  nextTimeout(): number {
    return this.held.ready > 0 ? 0 : this.deadlines.earliest();
  }

  /** The packet was dropped on the way: nothing waits for it. A copy of it that comes all the same is late. Then ask `ready`. */
  void(now: number, source: number, epoch: number, label: number, sequence: number, distance: number): void {
    const flow = this.lookUp(source, epoch, label, sequence, distance);
    if (flow < 0 || ((sequence - this.front[flow]!) | 0) <= 0) return;
    this.table.lastAt[flow] = now;
    if (this.isNext(flow, sequence, distance)) {
      this.moveFront(flow, sequence, distance);
      this.gaps.note(flow, sequence, sequence);
      this.advance(flow);
    } else if (!this.isFull(flow) && this.held.find(flow, sequence) < 0) {
      this.insert(flow, this.held.takeVoid(), sequence, distance, now, now + VOID_WAIT);
    }
  }

  /** The flows known, at most `limit`. Allocates. */
  flows(limit = Infinity): OrderedFlow[] {
    const known: OrderedFlow[] = [];
    for (let flow = 0; flow < this.table.capacity && known.length < limit; flow++) {
      if (this.isLive(flow)) known.push(this.describe(flow));
    }
    return known;
  }

  private describe(flow: number): OrderedFlow {
    const [delivered, reordered, late, skipped, duplicates] = this.counts.subarray(
      flow * COUNTS,
      (flow + 1) * COUNTS,
    );
    return {
      source: this.sources.nodeAt(this.table.source[flow]!),
      flow: this.table.label[flow]! >>> 0,
      delivered: delivered!,
      reordered: reordered!,
      late: late!,
      skipped: skipped!,
      duplicates: duplicates!,
      held: this.held.count[flow]!,
      lastAt: this.table.lastAt[flow]!,
    };
  }

  // 1. The flow

  /** The flow's place, which it gets if it has none; −1: the packet is of its source's life before, of which nothing is kept. */
  private lookUp(source: number, epoch: number, label: number, sequence: number, distance: number): number {
    const place = this.sources.find(source, epoch);
    if (place === SOURCE_STRAGGLER) return -1;
    if (this.sources.isNew) {
      this.knownSince[place] = sequence;
      this.heldBySource[place] = 0;
    }
    let flow = this.table.find(this.sources.life[place]!, label);
    if (flow < 0) flow = this.begin(place, label, sequence, distance);
    this.lastSource = source;
    this.lastEpoch = epoch;
    this.lastLabel = label;
    this.lastFlow = flow;
    return flow;
  }

  /**
   * A flow that isn't known. Its first packet's predecessor is waited for only if it is younger than what we may have delivered and
   * forgotten: all of the source before our first packet of it, and all before the front of a flow that had to make room.
   */
  private begin(place: number, label: number, sequence: number, distance: number): number {
    const life = this.sources.life[place]!;
    const flow = this.table.placeFor(life, label, this.held.count);
    if (this.table.life[flow] !== 0) this.forget(flow);
    this.table.life[flow] = life;
    this.table.label[flow] = label;
    this.table.source[flow] = place;
    this.counts.fill(0, flow * COUNTS, (flow + 1) * COUNTS);
    const predecessor = (sequence - (distance || 1)) | 0;
    const known = this.knownSince[place]!;
    const front = distance !== 0 && ((predecessor - known) | 0) > 0 ? known : predecessor;
    this.front[flow] = front;
    this.gaps.clear(flow);
    this.gaps.note(flow, front - RESTART_BEHIND, front);
    return flow;
  }

  /** Forgets a flow; what it holds becomes ready. */
  private forget(flow: number): void {
    this.releaseAll(flow);
    if (this.isLive(flow)) {
      const place = this.table.source[flow]!;
      const front = this.front[flow]!;
      if (((front - this.knownSince[place]!) | 0) > 0) this.knownSince[place] = front;
      this.totals.evictedFlows++;
    }
    this.table.life[flow] = 0;
  }

  /** Whether the flow is of its source's present life. */
  private isLive(flow: number): boolean {
    const life = this.table.life[flow]!;
    return life !== 0 && this.sources.life[this.table.source[flow]!] === life;
  }

  // 2. Ahead of the front

  private ahead(now: number, flow: number, sequence: number, distance: number, deadline: number): number {
    if (this.isNext(flow, sequence, distance)) return this.pass(flow, sequence, distance);
    const same = this.held.find(flow, sequence);
    if (same >= 0) {
      if (!this.held.isVoid(same)) return this.refuse(flow);
      this.takeBack(flow, same);
    }
    if (this.isFull(flow) && !this.makeRoom(flow, sequence)) return this.pass(flow, sequence, distance);
    this.pendingFlow = flow;
    this.pendingSequence = sequence;
    this.pendingDistance = distance;
    this.pendingSince = now;
    this.pendingDeadline = deadline;
    return ARRIVE_HOLD;
  }

  private refuse(flow: number): number {
    this.count(flow, DUPLICATES);
    return ARRIVE_DUPLICATE;
  }

  /** A copy came of a packet that was said to have been dropped: it keeps its place itself. */
  private takeBack(flow: number, node: number): void {
    this.held.remove(flow, node);
    this.held.giveVoid(node);
    this.uncount(flow);
  }

  private pass(flow: number, sequence: number, distance: number): number {
    this.moveFront(flow, sequence, distance);
    this.count(flow, DELIVERED);
    this.advance(flow);
    return ARRIVE_PASS;
  }

  /** Whether the packet, ahead of the front, may go before all that is held: its predecessor is done with, or it has none to wait for. */
  private isNext(flow: number, sequence: number, distance: number): boolean {
    return this.isDue(flow, sequence, distance) && this.held.isBeforeAll(flow, sequence);
  }

  private isDue(flow: number, sequence: number, distance: number): boolean {
    return distance === 0 || distance >= ((sequence - this.front[flow]!) | 0);
  }

  /** The front moves to a packet that goes now; what was missing before it isn't waited for any more. */
  private moveFront(flow: number, sequence: number, distance: number): void {
    const front = this.front[flow]!;
    if (((sequence - front) | 0) <= 0) return;
    const missing = (sequence - (distance || 1)) | 0;
    if (((missing - front) | 0) > 0) {
      this.gaps.note(flow, front + 1, missing);
      if (distance !== 0) this.count(flow, SKIPPED);
    }
    this.front[flow] = sequence;
  }

  private insert(
    flow: number,
    node: number,
    sequence: number,
    distance: number,
    since: number,
    deadline: number,
  ): void {
    this.held.insert(flow, node, sequence, distance, since, deadline);
    if (this.isLive(flow)) this.heldBySource[this.table.source[flow]!]!++;
    // The flow's date stays where the packet that it was set for has gone: `expire` then finds nothing due and sets it right.
    if (deadline < this.deadlines.of(flow)) this.deadlines.set(flow, deadline);
  }

  /** Lets go, from the first on, what has its predecessor. */
  private advance(flow: number): void {
    const { held } = this;
    for (let node = held.head[flow]!; node >= 0; node = held.head[flow]!) {
      if (!this.isDue(flow, held.sequence[node]!, held.distance[node]!)) return;
      this.releaseHead(flow);
      if (!held.isVoid(node)) this.count(flow, REORDERED);
    }
    this.deadlines.remove(flow);
  }

  /** Lets go the first packet held, whatever is missing before it. */
  private releaseHead(flow: number): void {
    const { held } = this;
    const node = held.takeHead(flow);
    const sequence = held.sequence[node]!;
    this.uncount(flow);
    this.moveFront(flow, sequence, held.distance[node]!);
    if (held.isVoid(node)) {
      this.gaps.note(flow, sequence, sequence);
      held.giveVoid(node);
    } else {
      this.count(flow, DELIVERED);
      held.pushReady(node);
    }
  }

  /** One packet less is held for the flow's source. */
  private uncount(flow: number): void {
    if (this.isLive(flow)) this.heldBySource[this.table.source[flow]!]!--;
  }

  private releaseAll(flow: number): void {
    while (this.held.count[flow]! > 0) this.releaseHead(flow);
    this.deadlines.remove(flow);
  }

  // 3. Behind the front

  private behind(flow: number, sequence: number, distance: number, by: number): number {
    if (by >= RESTART_BEHIND) return this.restart(flow, sequence);
    if (this.gaps.take(flow, sequence, distance)) {
      this.count(flow, DELIVERED);
      this.count(flow, LATE);
      return ARRIVE_PASS;
    }
    return this.refuse(flow);
  }

  /** Nothing is so late: the flow's numbers began anew. */
  private restart(flow: number, sequence: number): number {
    this.releaseAll(flow);
    this.front[flow] = sequence;
    this.gaps.clear(flow);
    this.gaps.note(flow, sequence - RESTART_BEHIND, sequence - 1);
    this.count(flow, DELIVERED);
    return ARRIVE_PASS;
  }

  // 4. Giving up

  /** The flow's date has come: what has waited its time goes, with all before it and what that lets go. */
  private expire(flow: number, now: number): void {
    const { held } = this;
    const last = held.lastExpired(flow, now);
    if (last >= 0) {
      while (held.head[flow] !== last) this.releaseHead(flow);
      this.releaseHead(flow);
      this.advance(flow);
    }
    if (held.count[flow]! > 0) this.deadlines.set(flow, held.earliestDeadline(flow));
  }

  private isFull(flow: number): boolean {
    return this.held.total >= this.heldMax || this.held.count[flow]! >= this.heldPerFlow;
  }

  /**
   * Makes room for a packet of `flow`, at the cost of its own order or, where all flows together hold too much, of the one that holds most. False: it is the
   * packet itself that has waited enough.
   */
  private makeRoom(flow: number, sequence: number): boolean {
    const from = this.held.count[flow]! >= this.heldPerFlow ? flow : this.fattest();
    if (from === flow && this.held.isBeforeAll(flow, sequence)) return false;
    this.totals.crowdedOut++;
    this.releaseHead(from);
    this.advance(from);
    return true;
  }

  /** Of the next SAMPLE waiting flows in turn the one whose source holds most, and of these the one that itself does. */
  private fattest(): number {
    const { size } = this.deadlines;
    let fattest = this.deadlines.first();
    for (let i = Math.min(size, SAMPLE); i > 0; i--) {
      this.cursor = this.cursor + 1 < size ? this.cursor + 1 : 0;
      const flow = this.deadlines.at(this.cursor);
      if (this.weight(flow) > this.weight(fattest)) fattest = flow;
    }
    return fattest;
  }

  private weight(flow: number): number {
    const own = this.held.count[flow]!;
    return this.isLive(flow) ? this.heldBySource[this.table.source[flow]!]! * this.heldPerFlow + own : own;
  }

  private count(flow: number, what: number): void {
    this.counts[flow * COUNTS + what]!++;
    const { totals } = this;
    if (what === DELIVERED) totals.delivered++;
    else if (what === REORDERED) totals.reordered++;
    else if (what === LATE) totals.late++;
    else if (what === SKIPPED) totals.skipped++;
    else totals.duplicates++;
  }
}
