/** Paths as the rest of the agent sees them: the next hop to each node, what the path is like, and what the second best would be. */
import { secondPaths } from './second-paths.js';
import type { Graph, Paths } from './spf.js';
import { shortestPaths } from './spf.js';

/** A path by one metric. */
export interface Way {
  /** Neighbour's node id, 0 where there is no path; the node's own id for this node itself. */
  readonly nextHop: number;
  /** µs, as the metric counts; Infinity where there is no path. */
  readonly cost: number;
  readonly hops: number;
  /** µs, there and back, and share lost on the way there if no hop repaired any. */
  readonly rtt: number;
  readonly loss: number;
  /** Sum of the prices of the queues behind the first link, in hops. */
  readonly price: number;
}

export interface RankedWay extends Way {
  /** The shortest path that begins with another neighbour; undefined where there is none. */
  readonly second: Way | undefined;
  /**
   * That neighbour is nearer to the destination than this node is, so that what it is given doesn't come back: a loop-free alternate (RFC 5286, inequality 3
   * with the source as the protecting node).
   */
  readonly isLoopFree: boolean;
}

/** Ways from node `own` (an index) to every node, by the cost of each edge. `ids`: node ids by index. */
export function rankWays(graph: Graph, costs: Float64Array, ids: Uint32Array, own: number): RankedWay[] {
  const best = shortestPaths(graph, costs, own);
  const second = secondPaths(graph, costs, best);
  const firsts = firstEdges(graph, own);
  const bestTotals = totalsOf(graph, best, best, emptyTotals(graph.nodes));
  const secondTotals = totalsOf(graph, second, best, bestTotals);
  return Array.from(ids, (id, i) => {
    const other = second.firstHop[i];
    return {
      ...(i === own ? { ...wayTo(i, best, bestTotals, ids), nextHop: id } : wayTo(i, best, bestTotals, ids)),
      second: other === -1 ? undefined : wayTo(i, second, secondTotals, ids),
      isLoopFree: other !== -1 && second.cost[i] - costs[firsts.get(other)!] < best.cost[i],
    };
  });
}

function wayTo(i: number, { firstHop, cost, hops }: Paths, totals: Totals, ids: Uint32Array): Way {
  return {
    nextHop: firstHop[i] === -1 ? 0 : ids[firstHop[i]],
    cost: cost[i],
    hops: hops[i],
    rtt: totals.rtt[i],
    loss: totals.loss[i],
    price: totals.price[i],
  };
}

/** Edges to each neighbour of `own`. */
function firstEdges({ starts, targets }: Graph, own: number): Map<number, number> {
  const edges = new Map<number, number>();
  for (let e = starts[own]; e < starts[own + 1]; e++) edges.set(targets[e], e);
  return edges;
}

interface Totals {
  readonly rtt: Float64Array;
  readonly loss: Float64Array;
  readonly price: Float64Array;
}

function emptyTotals(nodes: number): Totals {
  return { rtt: new Float64Array(nodes), loss: new Float64Array(nodes), price: new Float64Array(nodes) };
}

/** Sums along `paths`. Where the node before is of another branch of `best`, its path there is the best one, with the sums `through`. */
function totalsOf(graph: Graph, paths: Paths, best: Paths, through: Totals): Totals {
  const totals = emptyTotals(graph.nodes);
  const source = best.order[0];
  for (const v of paths.order) {
    const edge = paths.lastEdge[v];
    if (edge === -1) continue;
    const u = paths.before[v];
    const enters = paths !== best && (u === source || best.firstHop[u] !== best.firstHop[v]);
    const before = enters ? through : totals;
    totals.rtt[v] = before.rtt[u] + graph.rtt[edge];
    totals.loss[v] = 1 - (1 - before.loss[u]) * (1 - graph.loss[edge]);
    totals.price[v] = u === source ? 0 : before.price[u] + graph.price[edge];
  }
  return totals;
}
