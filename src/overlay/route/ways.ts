/**
 * Paths as the rest of the agent sees them: the next hop to each node, what the path is like, and what the second best would be. Kept in columns, so that
 * a run over a thousand nodes makes no objects for each; what few ask for is found when it is asked for.
 */
import { METRICS } from './metric.js';
import { secondPaths } from './second-paths.js';
import type { Graph, Paths } from './spf.js';
import { edgeCosts, shortestPaths } from './spf.js';

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

/** A path that loses more than another by more than so much, a share, is no place for bulk, however empty its queues. Tuned. */
const LOSES_MORE = 0.005;

/** Ways to all nodes by one metric, by node index; each as `Way` has it. */
export interface WayColumns {
  readonly nextHop: ArrayLike<number>;
  readonly cost: ArrayLike<number>;
  readonly hops: ArrayLike<number>;
  readonly rtt: ArrayLike<number>;
  readonly price: ArrayLike<number>;
  /** Next hop of the second best where that is loop-free and loses no more than the best, else 0; and what it is like there. */
  readonly alternate: ArrayLike<number>;
  readonly alternateHops: ArrayLike<number>;
  readonly alternatePrice: ArrayLike<number>;
}

/** By each metric, in the order of METRICS; metrics by which all edges cost the same share a table, as they do where nothing is lost. */
export function rankAll(graph: Graph, ids: Uint32Array, own: number): Ways[] {
  const tables: Ways[] = [];
  for (const metric of METRICS) {
    const costs = edgeCosts(graph, metric);
    const alike = tables.find((table) => sameNumbers(table.costs, costs));
    tables.push(alike ?? new Ways(graph, costs, ids, own));
  }
  return tables;
}

function sameNumbers(a: Float64Array, b: Float64Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return a.length === b.length;
}

/** Ways from node `own` (an index) to every node, by the cost of each edge. `ids`: node ids by index. */
export class Ways implements WayColumns {
  readonly best: Paths;
  readonly nextHop: Uint32Array;
  private bestSums: Sums | undefined;
  private secondBest: Paths | undefined;
  private secondSums: Sums | undefined;

  constructor(
    private readonly graph: Graph,
    readonly costs: Float64Array,
    private readonly ids: Uint32Array,
    private readonly own: number,
  ) {
    this.best = shortestPaths(graph, costs, own);
    this.nextHop = idsAt(ids, this.best.firstHop);
    this.nextHop[own] = ids[own];
  }

  get cost(): Float64Array {
    return this.best.cost;
  }

  get hops(): Int32Array {
    return this.best.hops;
  }

  get rtt(): Float64Array {
    return this.sums.rtt;
  }

  get price(): Float64Array {
    return this.sums.price;
  }

  get alternate(): Uint32Array {
    const firstEdges = this.firstEdges();
    const { second, sums, sumsOfSecond } = this;
    const isGood = (to: number, i: number): boolean =>
      to !== -1 && this.comesNearer(firstEdges[to], i) && sumsOfSecond.loss[i] <= sums.loss[i] + LOSES_MORE;
    return idsAt(
      this.ids,
      second.firstHop.map((to, i) => (isGood(to, i) ? to : -1)),
    );
  }

  get alternateHops(): Int32Array {
    return this.second.hops;
  }

  get alternatePrice(): Float64Array {
    return this.sumsOfSecond.price;
  }

  at(i: number): RankedWay {
    const { second, sumsOfSecond } = this;
    const first = second.firstHop[i];
    return {
      ...wayAt(i, this.nextHop[i], this.best, this.sums),
      second: first === -1 ? undefined : wayAt(i, this.ids[first], second, sumsOfSecond),
      isLoopFree: first !== -1 && this.comesNearer(this.firstEdges()[first], i),
    };
  }

  private get second(): Paths {
    return (this.secondBest ??= secondPaths(this.graph, this.costs, this.best));
  }

  private get sums(): Sums {
    return (this.bestSums ??= sumsOf(this.graph, this.best, this.best, emptySums(this.graph.nodes)));
  }

  private get sumsOfSecond(): Sums {
    return (this.secondSums ??= sumsOf(this.graph, this.second, this.best, this.sums));
  }

  /** Whether who begins with this edge on the second best path to node `i` is nearer to it than this node. */
  private comesNearer(edge: number, i: number): boolean {
    return this.second.cost[i] - this.costs[edge] < this.best.cost[i];
  }

  /** By neighbour, the edge to it. */
  private firstEdges(): Int32Array {
    const { starts, targets, nodes } = this.graph;
    const edges = new Int32Array(nodes);
    for (let e = starts[this.own]; e < starts[this.own + 1]; e++) edges[targets[e]] = e;
    return edges;
  }
}

function wayAt(i: number, nextHop: number, { cost, hops }: Paths, { rtt, loss, price }: Sums): Way {
  return { nextHop, cost: cost[i], hops: hops[i], rtt: rtt[i], loss: loss[i], price: price[i] };
}

/** 0 for -1. */
function idsAt(ids: Uint32Array, indices: Int32Array): Uint32Array {
  const at = new Uint32Array(indices.length);
  for (let i = 0; i < at.length; i++) if (indices[i] !== -1) at[i] = ids[indices[i]];
  return at;
}

/** Along each path. */
interface Sums {
  readonly rtt: Float64Array;
  readonly loss: Float64Array;
  readonly price: Float64Array;
}

function emptySums(nodes: number): Sums {
  return { rtt: new Float64Array(nodes), loss: new Float64Array(nodes), price: new Float64Array(nodes) };
}

/** Where the node before is of another branch of `best`, its path there is the best one, with the sums `through`. */
function sumsOf(graph: Graph, paths: Paths, best: Paths, through: Sums): Sums {
  const sums = emptySums(graph.nodes);
  const source = best.order[0];
  for (const v of paths.order) {
    const edge = paths.lastEdge[v];
    if (edge === -1) continue;
    const u = paths.before[v];
    const enters = paths !== best && (u === source || best.firstHop[u] !== best.firstHop[v]);
    const before = enters ? through : sums;
    sums.rtt[v] = before.rtt[u] + graph.rtt[edge];
    sums.loss[v] = 1 - (1 - before.loss[u]) * (1 - graph.loss[edge]);
    sums.price[v] = u === source ? 0 : before.price[u] + graph.price[edge];
  }
  return sums;
}
