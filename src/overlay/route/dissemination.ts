/**
 * Sets of links for the redundant service, a pure function of what is known of the links. Normally two node-disjoint paths; where source or
 * destination is in trouble, more of the links around it ("targeted redundancy": Babay, Wagner, Dinitz and Amir, ICDCS 2017): nearly all that two paths can't
 * carry is lost at one of their ends, so that more edges elsewhere would only cost.
 *
 *   destination in trouble:   the two paths, and from them the cheapest ways to its other neighbours that are still in time
 *   source in trouble:        the same, seen from the destination against the arrows
 *   both:                     one, then the other
 *
 * A packet takes every edge of its set once, so that the number of edges is what it costs.
 */
import { disjointPaths } from './disjoint.js';
import { type Edges, reach, rowsOf, wayTo } from './reach.js';
import { SOURCE_ROUTE_EDGES_MAX, SOURCE_ROUTE_NODES_MAX } from '../wire/source-route.js';

/** Links as one node knows them, by edge. */
export interface LinkGraph extends Edges {
  /** µs one way, what they take with recovery counted in; Infinity: not to be used. */
  readonly expected: Float64Array;
  /** µs one way, when nothing is wrong. */
  readonly base: Float64Array;
}

export const SET_KINDS = ['none', 'single', 'disjoint', 'source', 'destination', 'both'] as const;
export type SetKind = (typeof SET_KINDS)[number];

export interface LinkSet {
  readonly kind: SetKind;
  /** Pairs of node indices. */
  readonly edges: readonly (readonly [number, number])[];
}

/** Tuned: what a further edge has to save, µs, before a way with more of them is taken. */
const EDGE_PRICE = 20_000;

export interface SetRequest {
  readonly source: number;
  readonly destination: number;
  /** µs one way; what takes longer is no use. */
  readonly deadline: number;
  readonly sourceInTrouble: boolean;
  readonly destinationInTrouble: boolean;
}

export function chooseSet(graph: LinkGraph, request: SetRequest): LinkSet {
  const { source, destination, sourceInTrouble, destinationInTrouble } = request;
  const paths = disjointPaths(graph, timely(graph, request), source, destination);
  const chosen = paths.length === 2 ? paths : disjointPaths(graph, graph.expected, source, destination);
  if (chosen.length === 0) return { kind: 'none', edges: [] };
  const set = new EdgeSet(graph.nodes, source, destination);
  set.add(graph, chosen.flat());
  if (destinationInTrouble) widen(graph, graph.base, set, request);
  if (sourceInTrouble) widenSource(graph, set, request);
  const grown = set.size > chosen.flat().length;
  if (!grown) return { kind: chosen.length === 2 ? 'disjoint' : 'single', edges: set.pairs() };
  const kind = sourceInTrouble ? (destinationInTrouble ? 'both' : 'source') : 'destination';
  return { kind, edges: set.pairs() };
}

/** The weights of those edges that lie on some way within the deadline. */
function timely(graph: LinkGraph, { source, destination, deadline }: SetRequest): Float64Array {
  const { expected, sources, targets } = graph;
  const there = reach(graph, expected, new Map([[source, 0]]), destination).distance;
  const { edges, order } = reversed(graph);
  const weights = Float64Array.from(order, (e) => expected[e]);
  const back = reach(edges, weights, new Map([[destination, 0]]), source).distance;
  return expected.map((weight, e) =>
    there[sources[e]] + weight + back[targets[e]] <= deadline ? weight : Infinity,
  );
}

function reversed({ nodes, sources, targets }: Edges): { edges: Edges; order: Int32Array } {
  return rowsOf(
    nodes,
    Array.from(sources, (source, e) => [targets[e], source] as const),
  );
}

function widenSource(graph: LinkGraph, set: EdgeSet, request: SetRequest): void {
  const { edges, order } = reversed(graph);
  const weights = Float64Array.from(order, (e) => graph.base[e]);
  const { source, destination } = request;
  set.turn();
  widen(edges, weights, set, { ...request, source: destination, destination: source });
  set.turn();
}

/** Lets the set reach the destination by as many of its neighbours as are in time, each by the cheapest way from the set to it. */
function widen(
  graph: Edges,
  weights: Float64Array,
  set: EdgeSet,
  { source, destination, deadline }: SetRequest,
): void {
  const shortest = reach(graph, weights, new Map([[source, 0]]), destination).distance;
  const last = Array.from(graph.targets.keys())
    .filter((e) => graph.targets[e] === destination && shortest[graph.sources[e]] + weights[e] <= deadline)
    .sort((a, b) => shortest[graph.sources[a]] + weights[a] - shortest[graph.sources[b]] - weights[b]);
  for (const edge of last) {
    if (set.has(graph.sources[edge], destination)) continue;
    const arrivals = set.arrivals(graph, weights, source, destination);
    const way = [EDGE_PRICE, 0]
      .map((price) => wayFrom(graph, weights, arrivals, graph.sources[edge], destination, price))
      .find((found) => found !== undefined && found.arrival + weights[edge] <= deadline);
    if (way) set.add(graph, [...way.edges, edge]);
  }
}

/** From wherever the set passes to `node`, `price` µs for an edge; and when what takes it is there. */
function wayFrom(
  graph: Edges,
  weights: Float64Array,
  arrivals: ReadonlyMap<number, number>,
  node: number,
  closed: number,
  price: number,
): { edges: number[]; arrival: number } | undefined {
  const priced = weights.map((weight) => weight + price);
  const found = reach(graph, priced, arrivals, closed);
  if (found.distance[node] === Infinity) return undefined;
  const edges = wayTo(graph, found, node);
  return { edges, arrival: found.distance[node] - price * edges.length };
}

/** Edges by the nodes that they join, within what the wire can carry. */
class EdgeSet {
  private edges = new Map<number, readonly [number, number]>();

  constructor(
    private readonly nodes: number,
    private readonly source: number,
    private readonly destination: number,
  ) {}

  get size(): number {
    return this.edges.size;
  }

  pairs(): (readonly [number, number])[] {
    return [...this.edges.values()];
  }

  has(from: number, to: number): boolean {
    return this.edges.has(from * this.nodes + to);
  }

  /** Adds all of them, or none where they are too many. */
  add({ sources, targets }: Edges, more: readonly number[]): void {
    const next = new Map(this.edges);
    for (const e of more) next.set(sources[e] * this.nodes + targets[e], [sources[e], targets[e]]);
    const between = new Set([...next.values()].flat());
    between.delete(this.source);
    between.delete(this.destination);
    if (next.size <= SOURCE_ROUTE_EDGES_MAX && between.size <= SOURCE_ROUTE_NODES_MAX) this.edges = next;
  }

  /** Turns every arrow around. */
  turn(): void {
    const pairs = this.pairs();
    this.edges = new Map(pairs.map(([from, to]) => [to * this.nodes + from, [to, from] as const]));
  }

  /** When a packet that takes the set arrives first at each node that may send it on. */
  arrivals(graph: Edges, weights: Float64Array, source: number, destination: number): Map<number, number> {
    const within = weights.map((weight, e) =>
      this.has(graph.sources[e], graph.targets[e]) ? weight : Infinity,
    );
    const { distance } = reach(graph, within, new Map([[source, 0]]), destination);
    const arrivals = new Map<number, number>();
    distance.forEach((at, node) => {
      if (at < Infinity && node !== destination) arrivals.set(node, at);
    });
    return arrivals;
  }
}
