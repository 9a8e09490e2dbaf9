/**
 * Shortest paths, a pure function of the records. Cost of a link: the greater of both ends' round-trip times and a
 * constant per hop. Of paths of equal cost the one of fewer hops counts, then the one by the lowest-numbered neighbour, so that every
 * node computes the same tree from the same database; as every link costs something, each hop is nearer to the
 * destination than the one before, and no tie can make a loop.
 */
import type { Link } from './record.js';

/** What a relay adds to a path, µs. Tuned. */
export const HOP_COST_MICROS = 200;
/** A round-trip time counts as at most this, µs. */
const MAX_RTT_MICROS = 60_000_000;

/** Directed edges in compressed rows: node u's are `targets[starts[u] .. starts[u + 1])`. */
export interface Graph {
  readonly nodes: number;
  readonly starts: Int32Array;
  readonly targets: Int32Array;
  /** µs, positive. */
  readonly costs: Float64Array;
}

export interface Paths {
  /** µs from the source; Infinity where there is no path. */
  readonly cost: Float64Array;
  readonly hops: Int32Array;
  /** The source's neighbour on the path; -1 where there is no path, and for the source. */
  readonly firstHop: Int32Array;
}

/**
 * The graph of links that both ends list. `ids` ascend; `linksOf[i]` are those of node `ids[i]`, neighbours
 * ascending, and empty for a node without a record.
 */
export function buildGraph(ids: Uint32Array, linksOf: readonly (readonly Link[])[]): Graph {
  const index = new Map<number, number>();
  ids.forEach((id, i) => index.set(id, i));
  const total = linksOf.reduce((sum, links) => sum + links.length, 0);
  const starts = new Int32Array(ids.length + 1);
  const targets = new Int32Array(total);
  const costs = new Float64Array(total);
  let edges = 0;
  for (let u = 0; u < ids.length; u++) {
    for (const { neighbour, rtt } of linksOf[u]) {
      const v = index.get(neighbour);
      if (v === undefined) continue;
      const back = rttTo(linksOf[v], ids[u]);
      if (back === 0) continue;
      targets[edges] = v;
      costs[edges++] = Math.min(Math.max(rtt, back), MAX_RTT_MICROS) + HOP_COST_MICROS;
    }
    starts[u + 1] = edges;
  }
  return { nodes: ids.length, starts, targets: targets.subarray(0, edges), costs: costs.subarray(0, edges) };
}

/** Binary search; 0 where `links` don't name the neighbour. */
function rttTo(links: readonly Link[], neighbour: number): number {
  let low = 0;
  let high = links.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const at = links[middle].neighbour;
    if (at === neighbour) return links[middle].rtt;
    if (at < neighbour) low = middle + 1;
    else high = middle - 1;
  }
  return 0;
}

/** Dijkstra's algorithm from node `source` (an index). */
export function shortestPaths(graph: Graph, source: number): Paths {
  const { nodes, starts, targets, costs } = graph;
  const cost = new Float64Array(nodes).fill(Infinity);
  const hops = new Int32Array(nodes);
  const firstHop = new Int32Array(nodes).fill(-1);
  const heap = new IndexHeap(cost);
  cost[source] = 0;
  heap.raise(source);
  for (let u = heap.pop(); u !== -1; u = heap.pop()) {
    for (let e = starts[u]; e < starts[u + 1]; e++) {
      const v = targets[e];
      const reach = cost[u] + costs[e];
      if (reach > cost[v] || v === source) continue;
      const via = u === source ? v : firstHop[u];
      const nearer = reach < cost[v];
      const tie = hops[u] + 1 - hops[v] || via - firstHop[v];
      if (!nearer && tie >= 0) continue;
      cost[v] = reach;
      hops[v] = hops[u] + 1;
      firstHop[v] = via;
      if (nearer) heap.raise(v);
    }
  }
  return { cost, hops, firstHop };
}

/** A binary heap of node indices, least key first, that knows where each node stands. */
class IndexHeap {
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
