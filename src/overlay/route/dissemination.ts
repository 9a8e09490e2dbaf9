/**
 * Sets of links for the redundant service, a pure function of what is known of the links. Normally two node-disjoint paths, or two that share links where the second
 * would cost too much and nothing is wrong; where source or destination is in trouble, more of the links around it ("targeted redundancy": Babay, Wagner, Dinitz and Amir, ICDCS 2017): nearly all that two paths can't
 * carry is lost at one of their ends, so that more edges elsewhere would only cost.
 *
 *   destination in trouble:   the two paths, and the shortest ones by all its neighbours that are in time
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
  /** µs one way, what they take with recovery counted in; Infinity: gone, but maybe soon back. */
  readonly expected: Float64Array;
  /** µs one way, when nothing is wrong. */
  readonly base: Float64Array;
}

export const SET_KINDS = ['none', 'single', 'shared', 'disjoint', 'source', 'destination', 'both'] as const;
export type SetKind = (typeof SET_KINDS)[number];

export interface LinkSet {
  readonly kind: SetKind;
  /** Pairs of node indices. */
  readonly edges: readonly (readonly [number, number])[];
}

/** Tuned: what an edge costs, as µs of delay: of paths that are in time, those of fewer edges. */
const EDGE_PRICE = 30_000;
/** Tuned: a second path of more than so many times the first one's edges is dear. */
const DEAR = 1.5;
/** Tuned: nothing is wrong with a link that takes no more than so many times what it takes at best. */
const SOUND = 1.1;

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
  const paths = choosePaths(graph, request);
  if (paths.length === 0) return { kind: 'none', edges: [] };
  const set = new EdgeSet(graph.nodes, source, destination);
  set.add(graph, paths.flat());
  const { size } = set;
  const isShared = paths.length === 2 && size < paths.flat().length;
  if (destinationInTrouble) widen(graph, graph.base, set, request);
  if (sourceInTrouble) widenSource(graph, set, request);
  if (set.size === size) {
    const kind = paths.length < 2 ? 'single' : isShared ? 'shared' : 'disjoint';
    return { kind, edges: set.pairs() };
  }
  const kind = sourceInTrouble ? (destinationInTrouble ? 'both' : 'source') : 'destination';
  return { kind, edges: set.pairs() };
}

/** Two paths that are in time if there are such, else two, else one, else by links that are gone. Disjoint, but for two where that is dear. */
function choosePaths(graph: LinkGraph, request: SetRequest): number[][] {
  const { expected } = graph;
  const { source, destination, deadline } = request;
  const inTime = timely(graph, request);
  const isInTime = (path: readonly number[]): boolean =>
    path.reduce((sum, edge) => sum + expected[edge], 0) <= deadline;
  for (const price of [EDGE_PRICE, 0]) {
    const priced = inTime.map((weight) => weight + price);
    const paths = disjointPaths(graph, priced, source, destination);
    if (paths.length !== 2 || !paths.every(isInTime)) continue;
    const shared = isDear(paths) && !isInTrouble(request) ? sharingPaths(graph, priced, request) : [];
    return shared.length > 0 && new Set(shared.flat()).size < paths.flat().length ? shared : paths;
  }
  const paths = disjointPaths(graph, expected, source, destination);
  return paths.length > 0 ? paths : disjointPaths(graph, graph.base, source, destination);
}

function isInTrouble({ sourceInTrouble, destinationInTrouble }: SetRequest): boolean {
  return sourceInTrouble || destinationInTrouble;
}

function isDear([first, second]: readonly number[][]): boolean {
  return Math.max(first.length, second.length) > DEAR * Math.min(first.length, second.length);
}

/**
 * The shortest path, and another of the fewest further edges that leaves out at least one of its. While all of both are sound, a link that they share costs little: it
 * is missed for as long as it takes to notice that it isn't any more, and then the paths are disjoint. None where there are no such two.
 */
function sharingPaths(
  graph: LinkGraph,
  priced: Float64Array,
  { source, destination, deadline }: SetRequest,
): number[][] {
  const { expected, base } = graph;
  const sound = priced.map((weight, e) => (expected[e] <= SOUND * base[e] ? weight : Infinity));
  const shortest = (weights: Float64Array): number[] =>
    wayTo(graph, reach(graph, weights, new Map([[source, 0]])), destination);
  const sum = (weights: Float64Array, path: readonly number[]): number =>
    path.reduce((total, e) => total + weights[e], 0);
  const first = shortest(sound);
  const cheap = sound.slice();
  for (const e of first) cheap[e] = expected[e];
  const others = first
    .map((left) => shortest(cheap.map((weight, e) => (e === left ? Infinity : weight))))
    .filter((path) => path.length > 0 && sum(expected, path) <= deadline)
    .sort((a, b) => sum(cheap, a) - sum(cheap, b));
  return others.length > 0 ? [first, others[0]] : [];
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

/**
 * Lets the set reach the destination by as many of its neighbours as are in time, each by its shortest path: what is lost on the last link and sent again has no
 * time for a detour.
 */
function widen(
  graph: Edges,
  weights: Float64Array,
  set: EdgeSet,
  { source, destination, deadline }: SetRequest,
): void {
  const shortest = reach(graph, weights, new Map([[source, 0]]), destination);
  const arrival = (e: number): number => shortest.distance[graph.sources[e]] + weights[e];
  const last = Array.from(graph.targets.keys())
    .filter((e) => graph.targets[e] === destination && arrival(e) <= deadline)
    .sort((a, b) => arrival(a) - arrival(b));
  for (const edge of last) set.add(graph, [...wayTo(graph, shortest, graph.sources[edge]), edge]);
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
}
