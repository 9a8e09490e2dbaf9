/**
 * Packets that wait for a predecessor: for each flow a list in order of sequence, linked in typed arrays. A node is the caller's handle,
 * or, at `handles` and beyond, one of this class for a packet that was dropped on the way and only holds its place (void).
 *
 * Also the queue of those that wait no longer. A node is in one of the two, so they share the links.
 */
import { difference32 } from '../wire/sequence.js';

export class Held {
  /** By node. */
  readonly sequence: Int32Array;
  readonly distance: Uint16Array;
  readonly since: Float64Array;
  readonly deadline: Float64Array;
  /** By flow: first node or −1, and how many. */
  readonly head: Int32Array;
  readonly count: Int32Array;
  total = 0;
  ready = 0;
  private readonly next: Int32Array;
  private readonly previous: Int32Array;
  private readonly tail: Int32Array;
  private readyHead = -1;
  private readyTail = -1;
  private freeVoid = -1;

  constructor(
    private readonly handles: number,
    voids: number,
    flows: number,
  ) {
    const nodes = handles + voids;
    this.sequence = new Int32Array(nodes);
    this.distance = new Uint16Array(nodes);
    this.since = new Float64Array(nodes);
    this.deadline = new Float64Array(nodes);
    this.next = new Int32Array(nodes).fill(-1);
    this.previous = new Int32Array(nodes).fill(-1);
    this.head = new Int32Array(flows).fill(-1);
    this.tail = new Int32Array(flows).fill(-1);
    this.count = new Int32Array(flows);
    for (let node = handles; node < nodes; node++) this.giveVoid(node);
  }

  isVoid(node: number): boolean {
    return node >= this.handles;
  }

  /** A node for a packet that won't come; −1: none left. */
  takeVoid(): number {
    const node = this.freeVoid;
    if (node >= 0) this.freeVoid = this.next[node]!;
    return node;
  }

  giveVoid(node: number): void {
    this.next[node] = this.freeVoid;
    this.freeVoid = node;
  }

  /** Whether nothing that is held of the flow comes before `sequence`, or is it. */
  isBeforeAll(flow: number, sequence: number): boolean {
    const head = this.head[flow]!;
    return head < 0 || difference32(this.sequence[head]!, sequence) > 0;
  }

  /** The node at `sequence`, −1: none. */
  find(flow: number, sequence: number): number {
    const before = this.lastUpTo(flow, sequence);
    return before >= 0 && this.sequence[before] === (sequence | 0) ? before : -1;
  }

  /** Puts `node` where it belongs. The caller has made sure that the sequence isn't there. */
  insert(
    flow: number,
    node: number,
    sequence: number,
    distance: number,
    since: number,
    deadline: number,
  ): void {
    const before = this.lastUpTo(flow, sequence);
    const after = before < 0 ? this.head[flow]! : this.next[before]!;
    this.sequence[node] = sequence;
    this.distance[node] = distance;
    this.since[node] = since;
    this.deadline[node] = deadline;
    this.previous[node] = before;
    this.next[node] = after;
    if (before < 0) this.head[flow] = node;
    else this.next[before] = node;
    if (after < 0) this.tail[flow] = node;
    else this.previous[after] = node;
    this.count[flow]!++;
    this.total++;
  }

  /** Takes the first node off a list that has one. */
  takeHead(flow: number): number {
    const node = this.head[flow]!;
    this.remove(flow, node);
    return node;
  }

  /** Takes a node off the list that it is in. */
  remove(flow: number, node: number): void {
    const before = this.previous[node]!;
    const after = this.next[node]!;
    if (before < 0) this.head[flow] = after;
    else this.next[before] = after;
    if (after < 0) this.tail[flow] = before;
    else this.previous[after] = before;
    this.count[flow]!--;
    this.total--;
  }

  /** The last node of the flow whose deadline has come, −1: none. */
  lastExpired(flow: number, now: number): number {
    let node = this.tail[flow]!;
    while (node >= 0 && this.deadline[node]! > now) node = this.previous[node]!;
    return node;
  }

  earliestDeadline(flow: number): number {
    let earliest = Infinity;
    for (let node = this.head[flow]!; node >= 0; node = this.next[node]!)
      earliest = Math.min(earliest, this.deadline[node]!);
    return earliest;
  }

  /** Puts a node that is in no list at the end of the ready ones. */
  pushReady(node: number): void {
    this.next[node] = -1;
    if (this.readyTail < 0) this.readyHead = node;
    else this.next[this.readyTail] = node;
    this.readyTail = node;
    this.ready++;
  }

  /** −1: none. */
  popReady(): number {
    const node = this.readyHead;
    if (node < 0) return -1;
    this.readyHead = this.next[node]!;
    if (this.readyHead < 0) this.readyTail = -1;
    this.ready--;
    return node;
  }

  /** The last node at or before `sequence`, −1: none. Looked for from the end, as most arrivals belong there, unless it belongs before all. */
  private lastUpTo(flow: number, sequence: number): number {
    if (this.isBeforeAll(flow, sequence)) return -1;
    let node = this.tail[flow]!;
    while (difference32(this.sequence[node]!, sequence) > 0) node = this.previous[node]!;
    return node;
  }
}
