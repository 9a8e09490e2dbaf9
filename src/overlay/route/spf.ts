/**
 * The graph of links, and shortest paths in it: pure functions of the records. Of paths of equal cost the one of fewer hops counts, then the one by
 * the lowest-numbered neighbour, so that every node computes the same tree from the same database; as every link costs something, each hop is
 * nearer to the destination than the one before, and no tie can make a loop.
 */
import { IndexHeap } from './index-heap.js';
import { LOSS_UNIT } from './measure.js';
import type { Metric } from './metric.js';
import { linkCost } from './metric.js';
import type { Link } from './record.js';

/** A round-trip time counts as at most this, µs. */
const MAX_RTT_MICROS = 60_000_000;

/**
 * Directed edges in compressed rows: node u's are those from `starts[u]` to `starts[u + 1]`. What an edge says is what its beginning
 * advertises, but for the round trip.
 */
export interface Graph {
  readonly nodes: number;
  readonly starts: Int32Array;
  readonly targets: Int32Array;
  /** µs, the greater of both ends'. */
  readonly rtt: Float64Array;
  /** Share lost in the edge's direction, 0 … 1, and the mean run of losses. */
  readonly loss: Float64Array;
  readonly burst: Float64Array;
  /** Of the queue in the edge's direction, in hops. */
  readonly price: Float64Array;
}

export interface Paths {
  /** From the source; Infinity where there is no path. */
  readonly cost: Float64Array;
  readonly hops: Int32Array;
  /** The source's neighbour on the path; -1 where there is no path, and for the source. */
  readonly firstHop: Int32Array;
  /** The path's last edge; -1 likewise. */
  readonly lastEdge: Int32Array;
  /** Where that edge begins. */
  readonly before: Int32Array;
  /** Nodes that there is a path to, the source first, each behind those on its path. */
  readonly order: Int32Array;
}

/**
 * The graph of links that both ends list. `ids` ascend; `linksOf[i]` are those of node `ids[i]`, neighbours
 * ascending, and empty for a node without a record. `index`: where each id stands.
 */
export function buildGraph(
  ids: Uint32Array,
  linksOf: readonly (readonly Link[])[],
  index: ReadonlyMap<number, number> = indexOf(ids),
): Graph {
  const total = linksOf.reduce((sum, links) => sum + links.length, 0);
  const starts = new Int32Array(ids.length + 1);
  const targets = new Int32Array(total);
  const [rtt, loss, burst, price] = Array.from({ length: 4 }, () => new Float64Array(total));
  // Nodes are gone through in the order of each list, so that each list is gone through once.
  const looked = new Int32Array(ids.length);
  let edges = 0;
  for (let u = 0; u < ids.length; u++) {
    for (const link of linksOf[u]) {
      const v = index.get(link.neighbour);
      if (v === undefined) continue;
      const others = linksOf[v];
      let at = looked[v];
      while (at < others.length && others[at].neighbour < ids[u]) at++;
      looked[v] = at;
      if (at === others.length || others[at].neighbour !== ids[u]) continue;
      const back = others[at].rtt;
      targets[edges] = v;
      rtt[edges] = Math.min(Math.max(link.rtt, back), MAX_RTT_MICROS);
      loss[edges] = link.loss / LOSS_UNIT;
      burst[edges] = link.burst;
      price[edges++] = link.price;
    }
    starts[u + 1] = edges;
  }
  return {
    nodes: ids.length,
    starts,
    targets: targets.subarray(0, edges),
    rtt: rtt.subarray(0, edges),
    loss: loss.subarray(0, edges),
    burst: burst.subarray(0, edges),
    price: price.subarray(0, edges),
  };
}

export function indexOf(ids: Uint32Array): Map<number, number> {
  return new Map(Array.from(ids, (id, i) => [id, i]));
}

/** What each edge costs; positive, and whole, so that sums don't depend on their order and equal paths are equal at every node. */
export function edgeCosts({ rtt, loss }: Graph, metric: Metric): Float64Array {
  const costs = new Float64Array(rtt.length);
  for (let e = 0; e < costs.length; e++) costs[e] = Math.round(linkCost(metric, rtt[e] / 2, loss[e]));
  return costs;
}

/** Dijkstra's algorithm from node `source` (an index), by the cost of each edge. */
export function shortestPaths(graph: Graph, costs: Float64Array, source: number): Paths {
  const { nodes, starts, targets } = graph;
  const cost = new Float64Array(nodes).fill(Infinity);
  const hops = new Int32Array(nodes);
  const firstHop = new Int32Array(nodes).fill(-1);
  const lastEdge = new Int32Array(nodes).fill(-1);
  const before = new Int32Array(nodes).fill(-1);
  const order = new Int32Array(nodes);
  let settled = 0;
  const heap = new IndexHeap(cost);
  cost[source] = 0;
  heap.raise(source);
  for (let u = heap.pop(); u !== -1; u = heap.pop()) {
    order[settled++] = u;
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
      lastEdge[v] = e;
      before[v] = u;
      if (nearer) heap.raise(v);
    }
  }
  return { cost, hops, firstHop, lastEdge, before, order: order.subarray(0, settled) };
}
