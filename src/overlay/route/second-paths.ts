/**
 * The second best: for each node the shortest path that begins with another of the source's neighbours than its shortest one. In the tree of shortest
 * paths the nodes behind one neighbour are a branch; such a path comes out of another branch by one edge and stays in the node's own from there on.
 */
import { IndexHeap } from './index-heap.js';
import type { Graph, Paths } from './spf.js';

/** `best`: the shortest paths by the same costs. In the answer's `order` each node stands behind those of its own branch on its path. */
export function secondPaths(graph: Graph, costs: Float64Array, best: Paths): Paths {
  const { nodes, starts, targets } = graph;
  const source = best.order[0];
  const cost = new Float64Array(nodes).fill(Infinity);
  const hops = new Int32Array(nodes);
  const firstHop = new Int32Array(nodes).fill(-1);
  const lastEdge = new Int32Array(nodes).fill(-1);
  const before = new Int32Array(nodes).fill(-1);
  const order = new Int32Array(nodes);
  const heap = new IndexHeap(cost);
  let settled = 0;

  /** `reach` by edge `e` from `u`, `far` hops from the source, beginning with `via`. */
  const offer = (u: number, e: number, reach: number, far: number, via: number): void => {
    const v = targets[e];
    const nearer = reach < cost[v];
    if (!nearer && (reach > cost[v] || (far - hops[v] || via - firstHop[v]) >= 0)) return;
    cost[v] = reach;
    hops[v] = far;
    firstHop[v] = via;
    lastEdge[v] = e;
    before[v] = u;
    if (nearer) heap.raise(v);
  };

  for (const u of best.order) {
    for (let e = starts[u]; e < starts[u + 1]; e++) {
      const v = targets[e];
      const via = u === source ? v : best.firstHop[u];
      if (v !== source && via !== best.firstHop[v])
        offer(u, e, best.cost[u] + costs[e], best.hops[u] + 1, via);
    }
  }
  for (let u = heap.pop(); u !== -1; u = heap.pop()) {
    order[settled++] = u;
    for (let e = starts[u]; e < starts[u + 1]; e++) {
      const v = targets[e];
      if (v !== source && best.firstHop[v] === best.firstHop[u])
        offer(u, e, cost[u] + costs[e], hops[u] + 1, firstHop[u]);
    }
  }
  return { cost, hops, firstHop, lastEdge, before, order: order.subarray(0, settled) };
}
