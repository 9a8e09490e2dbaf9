import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { disjointPaths } from '../../../src/overlay/route/disjoint.js';
import { type Edges, rowsOf } from '../../../src/overlay/route/reach.js';

type Weighted = readonly [number, number, number];

function graphOf(nodes: number, list: readonly Weighted[]): { edges: Edges; weights: Float64Array } {
  const { edges, order } = rowsOf(
    nodes,
    list.map(([from, to]) => [from, to] as const),
  );
  return { edges, weights: Float64Array.from(order, (i) => list[i][2]) };
}

/** Paths as nodes, and their total weight. */
function solve(nodes: number, list: readonly Weighted[], source: number, destination: number) {
  const { edges, weights } = graphOf(nodes, list);
  const found = disjointPaths(edges, weights, source, destination);
  const total = found.flat().reduce((sum, e) => sum + weights[e], 0);
  return { paths: found.map((path) => [source, ...path.map((e) => edges.targets[e])]), total };
}

const bothWays = (list: readonly Weighted[]): Weighted[] =>
  list.flatMap(([a, b, weight]) => [
    [a, b, weight],
    [b, a, weight],
  ]);

/** Every simple path, tried against every other. */
function naive(list: readonly Weighted[], source: number, destination: number): number[] {
  const paths: { between: number; total: number; direct: boolean }[] = [];
  const walk = (at: number, seen: number, total: number, hops: number): void => {
    for (const [from, to, weight] of list) {
      if (from !== at || (seen >> to) & 1) continue;
      if (to === destination)
        paths.push({ between: seen & ~(1 << source), total: total + weight, direct: hops === 0 });
      else walk(to, seen | (1 << to), total + weight, hops + 1);
    }
  };
  walk(source, 1 << source, 0, 0);
  const least = (totals: number[]): number => Math.min(Infinity, ...totals);
  const pairs = paths.flatMap((one, i) =>
    paths
      .slice(i + 1)
      .filter((other) => (one.between & other.between) === 0 && !(one.direct && other.direct))
      .map((other) => one.total + other.total),
  );
  return [least(paths.map(({ total }) => total)), least(pairs)];
}

describe('two disjoint paths', () => {
  it('give up the shortest path where it lies across every pair', () => {
    //        1        4
    //    0 ───── 1 ─────── 3
    //    │       │1        │
    //   4│       │         │1
    //    └────── 2 ────────┘
    const { paths, total } = solve(
      4,
      bothWays([
        [0, 1, 1],
        [1, 3, 4],
        [1, 2, 1],
        [0, 2, 4],
        [2, 3, 1],
      ]),
      0,
      3,
    );
    expect(total).toBe(10);
    expect(paths).toEqual([
      [0, 1, 3],
      [0, 2, 3],
    ]);
  });

  it('are one where a node can not be passed by', () => {
    //    0 ─── 1 ─── 2       every pair of paths meets in 1
    //      └── 3 ──┘ (from 3 only to 1)
    const { paths } = solve(
      4,
      bothWays([
        [0, 1, 1],
        [1, 2, 1],
        [0, 3, 1],
        [3, 1, 1],
      ]),
      0,
      2,
    );
    expect(paths).toEqual([[0, 1, 2]]);
  });

  it('are none where there is no way', () => {
    expect(solve(3, [[0, 1, 1]], 0, 2).paths).toEqual([]);
  });

  it('take the direct link once', () => {
    const { paths } = solve(
      3,
      bothWays([
        [0, 2, 1],
        [0, 1, 5],
        [1, 2, 5],
      ]),
      0,
      2,
    );
    expect(paths).toEqual([
      [0, 2],
      [0, 1, 2],
    ]);
  });

  it('have the least total weight that there is, and no node in common', () => {
    const graph = fc.integer({ min: 3, max: 7 }).chain((nodes) =>
      fc.record({
        nodes: fc.constant(nodes),
        list: fc.uniqueArray(
          fc.tuple(
            fc.integer({ min: 0, max: nodes - 1 }),
            fc.integer({ min: 0, max: nodes - 1 }),
            fc.integer({ min: 1, max: 50 }),
          ),
          { selector: ([from, to]) => from * nodes + to, maxLength: 24 },
        ),
      }),
    );
    fc.assert(
      fc.property(graph, ({ nodes, list }) => {
        const real = list.filter(([from, to]) => from !== to);
        const [one, two] = naive(real, 0, nodes - 1);
        const { paths, total } = solve(nodes, real, 0, nodes - 1);
        expect(paths.length).toBe(two < Infinity ? 2 : one < Infinity ? 1 : 0);
        if (paths.length > 0) expect(total).toBe(paths.length === 2 ? two : one);
        const between = paths.flatMap((path) => path.slice(1, -1));
        expect(new Set(between).size).toBe(between.length);
      }),
      { numRuns: 2000 },
    );
  });
});
