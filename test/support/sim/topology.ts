/** Graphs for simulated meshes. Nodes are 0 .. n-1. */
import type { Random } from './random.js';

export interface Edge {
  readonly a: number;
  readonly b: number;
  /** One way, µs. */
  readonly latency: number;
}

/** A connected graph of exactly `edges` different edges, at least `nodes - 1`; latencies from 0.5 to 50 ms. */
export function randomTopology(random: Random, nodes: number, edges: number): Edge[] {
  const taken = new Set<string>();
  const list: Edge[] = [];
  const add = (x: number, y: number): void => {
    const [a, b] = x < y ? [x, y] : [y, x];
    if (a === b || taken.has(`${a} ${b}`)) return;
    taken.add(`${a} ${b}`);
    list.push({ a, b, latency: 500 + random.integer(49_500) });
  };
  for (let node = 1; node < nodes; node++) add(node, random.integer(node));
  while (list.length < edges) add(random.integer(nodes), random.integer(nodes));
  return list;
}

/** 0 – 1 – 2 – … */
export function chain(nodes: number, latency: number): Edge[] {
  return Array.from({ length: nodes - 1 }, (_, a) => ({ a, b: a + 1, latency }));
}
