/**
 * Two paths without a common node but their ends, of least total weight (Suurballe 1974): the shortest path, then the shortest way of
 * changing it into two, which may take back some of its edges. Both by Dijkstra's algorithm, the second on weights reduced by the distances that the first
 * found, so that none is negative. A node is split in two, `in` and `out`, so that a path through it uses it up.
 */
import { type Edges, reach, rowsOf, wayTo } from './reach.js';

/** No paths, the only one, or two: each its edges in order, the lighter path first. `weights` by edge, positive; Infinity: not to be used. */
export function disjointPaths(
  edges: Edges,
  weights: Float64Array,
  source: number,
  destination: number,
): number[][] {
  const first = reach(edges, weights, new Map([[source, 0]]));
  const path = wayTo(edges, first, destination);
  if (path.length === 0) return [];
  const detour = findDetour(edges, weights, first.distance, path, source, destination);
  if (detour === undefined) return [path];
  const kept = new Set(path);
  for (const edge of detour) {
    // Negative: an edge of the first path, taken back.
    if (edge < 0) kept.delete(~edge);
    else kept.add(edge);
  }
  const weigh = (way: readonly number[]): number => way.reduce((sum, edge) => sum + weights[edge], 0);
  const starts = [...kept].filter((edge) => edges.sources[edge] === source);
  return starts
    .map((edge) => follow(edges, kept, edge, destination))
    .sort((a, b) => weigh(a) - weigh(b) || a.length - b.length);
}

/** The way through the residual graph: edges to be added, and complements of those to be taken back; undefined where there is none. */
function findDetour(
  edges: Edges,
  weights: Float64Array,
  distance: Float64Array,
  path: readonly number[],
  source: number,
  destination: number,
): number[] | undefined {
  const { nodes, sources, targets } = edges;
  const inside = (node: number): number => 2 * node;
  const outside = (node: number): number => 2 * node + 1;
  const used = new Set(path);
  const between = new Set(path.slice(1).map((edge) => sources[edge]));
  const arcs: [number, number][] = [];
  const costs: number[] = [];
  const meaning: (number | undefined)[] = [];
  const add = (from: number, to: number, cost: number, edge?: number): void => {
    arcs.push([from, to]);
    costs.push(cost);
    meaning.push(edge);
  };
  for (let node = 0; node < nodes; node++) {
    if (between.has(node)) add(outside(node), inside(node), 0);
    else if (node !== source && node !== destination) add(inside(node), outside(node), 0);
  }
  for (let e = 0; e < targets.length; e++) {
    const [from, to] = [sources[e], targets[e]];
    const isUseful = distance[from] < Infinity && weights[e] < Infinity;
    if (!isUseful || to === source || from === destination) continue;
    if (used.has(e)) add(inside(to), outside(from), 0, ~e);
    // Rounding may leave a hair below nothing.
    else add(outside(from), inside(to), Math.max(0, weights[e] + distance[from] - distance[to]), e);
  }
  const residual = rowsOf(2 * nodes, arcs);
  const reduced = Float64Array.from(residual.order, (i) => costs[i]);
  const found = reach(residual.edges, reduced, new Map([[outside(source), 0]]));
  const way = wayTo(residual.edges, found, inside(destination));
  if (way.length === 0) return undefined;
  return way.flatMap((arc) => meaning[residual.order[arc]] ?? []);
}

/** The path that begins with `edge` and goes on within `kept`. */
function follow(
  { sources, targets }: Edges,
  kept: ReadonlySet<number>,
  edge: number,
  destination: number,
): number[] {
  const path = [edge];
  for (let at = targets[edge]; at !== destination;) {
    const next = [...kept].find((other) => sources[other] === at)!;
    path.push(next);
    at = targets[next];
  }
  return path;
}
