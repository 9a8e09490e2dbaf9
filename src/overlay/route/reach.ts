/** Dijkstra's algorithm with its way back, over any weights and from any nodes: what choosing sets of links is built from. */
import { IndexHeap } from './index-heap.js';

/** Directed edges in compressed rows: node u's are `targets[starts[u] .. starts[u + 1])`; `sources` says whose each is. */
export interface Edges {
  readonly nodes: number;
  readonly starts: Int32Array;
  readonly sources: Int32Array;
  readonly targets: Int32Array;
}

export interface Reach {
  /** From the nearest seed; Infinity where there is no way. */
  readonly distance: Float64Array;
  /** The edge that each node is reached by; -1 for seeds, and where there is no way. */
  readonly via: Int32Array;
}

/** `weights` by edge, not negative, Infinity for what isn't to be used; `seeds`: node → where its distance begins. No way leads through `closed`. */
export function reach(
  { nodes, starts, targets }: Edges,
  weights: Float64Array,
  seeds: ReadonlyMap<number, number>,
  closed = -1,
): Reach {
  const distance = new Float64Array(nodes).fill(Infinity);
  const via = new Int32Array(nodes).fill(-1);
  const heap = new IndexHeap(distance);
  for (const [node, from] of seeds) {
    distance[node] = from;
    heap.raise(node);
  }
  for (let u = heap.pop(); u !== -1; u = heap.pop()) {
    if (u === closed) continue;
    for (let e = starts[u]; e < starts[u + 1]; e++) {
      const v = targets[e];
      const to = distance[u] + weights[e];
      if (to >= distance[v]) continue;
      distance[v] = to;
      via[v] = e;
      heap.raise(v);
    }
  }
  return { distance, via };
}

/** The edges from a seed to `node`, in order; none for a seed, and where there is no way. */
export function wayTo({ sources }: Edges, { via }: Reach, node: number): number[] {
  const way: number[] = [];
  for (let e = via[node]; e !== -1; e = via[sources[e]]) way.push(e);
  return way.reverse();
}

/** Edge lists into compressed rows, and for each edge there its index in `list`. */
export function rowsOf(
  nodes: number,
  list: readonly (readonly [number, number])[],
): { edges: Edges; order: Int32Array } {
  const starts = new Int32Array(nodes + 1);
  for (const [from] of list) starts[from + 1]++;
  for (let u = 0; u < nodes; u++) starts[u + 1] += starts[u];
  const next = starts.slice();
  const order = new Int32Array(list.length);
  list.forEach(([from], i) => (order[next[from]++] = i));
  const sources = Int32Array.from(order, (i) => list[i][0]);
  const targets = Int32Array.from(order, (i) => list[i][1]);
  return { edges: { nodes, starts, sources, targets }, order };
}
