import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { chooseSet, type LinkGraph, type SetRequest } from '../../../src/overlay/route/dissemination.js';
import { rowsOf } from '../../../src/overlay/route/reach.js';
import { Redundancy } from '../../../src/overlay/route/redundancy.js';
import type { MeasuredLinks } from '../../../src/overlay/route/trouble.js';
import { decodeSourceRoute } from '../../../src/overlay/wire/source-route.js';

const MS = 1000;
const SECOND = 1000 * MS;

/** Both ways: [a, b, ms one way]. */
type Wire = readonly [number, number, number];

function graphOf(nodes: number, wires: readonly Wire[]): LinkGraph {
  const list = wires.flatMap(([a, b, delay]) => [[a, b, delay] as const, [b, a, delay] as const]);
  const { edges, order } = rowsOf(
    nodes,
    list.map(([from, to]) => [from, to] as const),
  );
  const base = Float64Array.from(order, (i) => list[i][2] * MS);
  return { ...edges, base, expected: base };
}

const request = (source: number, destination: number, more: Partial<SetRequest> = {}): SetRequest => ({
  source,
  destination,
  deadline: 65 * MS,
  sourceInTrouble: false,
  destinationInTrouble: false,
  ...more,
});

//        ┌─ 1 ─┬─ 4 ─┐
//     0 ─┼─ 2 ─┼─ 5 ─┼─ 7       all of 10 ms; 1, 2, 3 to each other's far side as drawn: 1-4, 2-5, 3-6, 1-5, 2-6
//        └─ 3 ─┴─ 6 ─┘
const LADDER: Wire[] = [
  [0, 1, 10],
  [0, 2, 10],
  [0, 3, 10],
  [1, 4, 10],
  [2, 5, 10],
  [3, 6, 10],
  [1, 5, 10],
  [2, 6, 10],
  [4, 7, 10],
  [5, 7, 10],
  [6, 7, 10],
];
const sorted = (edges: readonly (readonly [number, number])[]): string[] =>
  edges.map(([from, to]) => `${from}-${to}`).sort();

describe('the links of a redundant flow', () => {
  it('are two paths without a common node', () => {
    const { kind, edges } = chooseSet(graphOf(8, LADDER), request(0, 7));
    expect(kind).toBe('disjoint');
    expect(edges).toHaveLength(6);
    const between = edges.map(([, to]) => to).filter((node) => node !== 7);
    expect(new Set(between).size).toBe(4);
  });

  //     ┌─ 2 ─┐
  //     0 ─── 1 ─── 6          all of 10 ms
  //     └─ 3 ─ 4 ─ 5 ─┘
  const DETOUR: Wire[] = [
    [0, 1, 10],
    [1, 6, 10],
    [0, 2, 10],
    [2, 1, 10],
    [0, 3, 10],
    [3, 4, 10],
    [4, 5, 10],
    [5, 6, 10],
  ];

  it('are two paths that share a link where disjoint ones have too many', () => {
    const { kind, edges } = chooseSet(graphOf(7, DETOUR), request(0, 6));
    expect([kind, sorted(edges)]).toEqual(['shared', ['0-1', '0-2', '1-6', '2-1']]);
  });

  it('are disjoint all the same as soon as something is wrong with what would be shared, or an end is in trouble', () => {
    const graph = graphOf(7, DETOUR);
    const foul = graph.expected.map((micros, e) =>
      graph.sources[e] === 1 && graph.targets[e] === 6 ? 1.2 * micros : micros,
    );
    const sets = [
      chooseSet({ ...graph, expected: foul }, request(0, 6)),
      chooseSet(graph, request(0, 6, { sourceInTrouble: true })),
    ];
    for (const { edges } of sets) expect(sorted(edges)).toEqual(expect.arrayContaining(['1-6', '5-6']));
  });

  it("reach every neighbour of the destination while it is in trouble, and few others'", () => {
    const { kind, edges } = chooseSet(graphOf(8, LADDER), request(0, 7, { destinationInTrouble: true }));
    expect(kind).toBe('destination');
    expect(sorted(edges).filter((edge) => edge.endsWith('-7'))).toEqual(['4-7', '5-7', '6-7']);
    expect(edges.length).toBeLessThanOrEqual(10);
  });

  it('leave the source by every neighbour while that is in trouble', () => {
    const { kind, edges } = chooseSet(graphOf(8, LADDER), request(0, 7, { sourceInTrouble: true }));
    expect(kind).toBe('source');
    expect(sorted(edges).filter((edge) => edge.startsWith('0-'))).toEqual(['0-1', '0-2', '0-3']);
    expect(edges.length).toBeLessThanOrEqual(10);
  });

  it('do both for both', () => {
    const more = { sourceInTrouble: true, destinationInTrouble: true };
    const { kind, edges } = chooseSet(graphOf(8, LADDER), request(0, 7, more));
    expect(kind).toBe('both');
    expect(sorted(edges).filter((edge) => edge.startsWith('0-') || edge.endsWith('-7'))).toHaveLength(6);
  });

  it('leave out neighbours that would be late', () => {
    const more = { destinationInTrouble: true };
    const late = LADDER.map(([a, b, delay]): Wire => [a, b, b === 7 && a === 6 ? 50 : delay]);
    const { edges } = chooseSet(graphOf(8, late), request(0, 7, more));
    expect(sorted(edges).filter((edge) => edge.endsWith('-7'))).toEqual(['4-7', '5-7']);
  });

  it('are one path, or none, where there are no two', () => {
    const line: Wire[] = [
      [0, 1, 1],
      [1, 2, 1],
    ];
    expect(chooseSet(graphOf(4, line), request(0, 2))).toEqual({ kind: 'single', edges: [[0, 1], [1, 2]] }); // prettier-ignore
    expect(chooseSet(graphOf(4, line), request(0, 3))).toEqual({ kind: 'none', edges: [] });
  });

  it('are never more than a header holds, never lead to the source or from the destination, and all can be reached', () => {
    const mesh = fc.uniqueArray(
      fc.tuple(
        fc.integer({ min: 0, max: 24 }),
        fc.integer({ min: 0, max: 24 }),
        fc.integer({ min: 1, max: 30 }),
      ),
      { selector: ([a, b]) => Math.min(a, b) * 25 + Math.max(a, b), minLength: 30, maxLength: 120 },
    );
    fc.assert(
      fc.property(mesh, (wires) => {
        const real = wires.filter(([a, b]) => a !== b);
        const { edges } = chooseSet(graphOf(25, real), {
          ...request(0, 24),
          sourceInTrouble: true,
          destinationInTrouble: true,
        });
        expect(edges.length).toBeLessThanOrEqual(24);
        expect(new Set(edges.flat().filter((node) => node !== 0 && node !== 24)).size).toBeLessThanOrEqual(
          14,
        );
        const reached = new Set([0]);
        for (let before = 0; before < reached.size;) {
          before = reached.size;
          for (const [from, to] of edges) if (reached.has(from)) reached.add(to);
        }
        for (const [from, to] of edges) {
          expect(from).not.toBe(24);
          expect(to).not.toBe(0);
          expect(reached.has(from)).toBe(true);
        }
      }),
    );
  });
});

const id = (node: number): number => 100 + node;

/** What the ladder's nodes say of their links, with changes: `from-to` → loss or round trip, or `null` for no link. */
function ladder(changes: Record<string, { loss?: number; rtt?: number } | null> = {}): MeasuredLinks {
  const list = LADDER.flatMap(([a, b]) => [[a, b] as const, [b, a] as const]).filter(
    ([from, to]) => changes[`${from}-${to}`] !== null,
  );
  const { edges } = rowsOf(8, list);
  const change = (e: number) => changes[`${edges.sources[e]}-${edges.targets[e]}`] ?? {};
  const each = Array.from(edges.targets.keys());
  return {
    ids: Uint32Array.from({ length: 8 }, (_, i) => id(i)),
    starts: edges.starts,
    targets: edges.targets,
    rtt: Float64Array.from(each, (e) => change(e).rtt ?? 20 * MS),
    loss: Float64Array.from(each, (e) => change(e).loss ?? 0),
  };
}

describe('the sets of a node', () => {
  const begun = (): Redundancy => {
    const redundancy = new Redundancy(id(0));
    redundancy.update(0, ladder());
    redundancy.want(0, id(7));
    redundancy.timeout(0);
    return redundancy;
  };
  const kindAt = (redundancy: Redundancy, now: number): string => {
    redundancy.timeout(now);
    return redundancy.sets.get(id(7))!.kind;
  };

  it('are made for destinations that were asked for, and told once', () => {
    const redundancy = new Redundancy(id(0));
    redundancy.update(0, ladder());
    expect(redundancy.nextTimeout()).toBe(Infinity);
    redundancy.want(5, id(7));
    expect(redundancy.nextTimeout()).toBe(5);
    const [set, ...others] = redundancy.timeout(5)!;
    expect(others).toEqual([]);
    expect(set).toMatchObject({ nodeId: id(7), kind: 'disjoint' });
    const { counts, list } = set.route!;
    const decoded = decodeSourceRoute(new DataView(list.buffer), 0, counts, id(0), id(7));
    expect(decoded).toEqual(set.edges);
    redundancy.update(10, ladder());
    expect(redundancy.timeout(SECOND)).toBeUndefined();
  });

  it('go round one bad link, and need no more than that', () => {
    const redundancy = begun();
    redundancy.update(SECOND, ladder({ '0-1': { loss: 0.1 } }));
    expect(kindAt(redundancy, 2 * SECOND)).toBe('disjoint');
    expect(sorted(redundancy.sets.get(id(7))!.edges)).not.toContain('100-101');
  });

  it.each([
    ['two links of the source lose', 'source', { '0-1': { loss: 0.03 }, '0-2': { loss: 0.03 } }],
    ['two links of the source got slow', 'source', { '0-1': { rtt: 26 * MS }, '0-2': { rtt: 26 * MS } }],
    ['two links to the destination lose', 'destination', { '4-7': { loss: 0.03 }, '5-7': { loss: 0.03 } }],
    ['two links of the source are gone', 'source', { '0-1': null, '1-0': null, '0-2': null, '2-0': null }],
    ['what they lose is little', 'disjoint', { '0-1': { loss: 0.02 }, '0-2': { loss: 0.02 } }],
    ['they got slower by little', 'disjoint', { '0-1': { rtt: 25 * MS }, '0-2': { rtt: 25 * MS } }],
    ['only the other direction loses', 'disjoint', { '1-0': { loss: 0.5 }, '2-0': { loss: 0.5 } }],
  ])('when %s: %s', (_what, kind, changes) => {
    const redundancy = begun();
    redundancy.update(SECOND, ladder(changes));
    expect(kindAt(redundancy, 2 * SECOND)).toBe(kind);
  });

  it('grow at once, and shrink when the news is good', () => {
    const redundancy = begun();
    redundancy.update(SECOND, ladder({ '0-1': { loss: 0.1 }, '0-2': { loss: 0.1 } }));
    expect(redundancy.nextTimeout()).toBe(SECOND);
    expect(kindAt(redundancy, SECOND)).toBe('source');
    redundancy.update(10 * SECOND, ladder());
    expect(kindAt(redundancy, 10 * SECOND)).toBe('disjoint');
  });

  it('keep links that went for thirty seconds, whether they come back or not', () => {
    const redundancy = begun();
    redundancy.update(SECOND, ladder({ '0-1': null, '1-0': null, '0-2': null, '2-0': null }));
    expect(kindAt(redundancy, SECOND)).toBe('source');
    expect(sorted(redundancy.sets.get(id(7))!.edges)).toContain('100-101');
    redundancy.update(5 * SECOND, ladder());
    expect(kindAt(redundancy, 30 * SECOND)).toBe('source');
    expect(redundancy.nextTimeout()).toBe(31 * SECOND);
    expect(kindAt(redundancy, 31 * SECOND)).toBe('disjoint');
  });

  it('are forgotten when nobody asks any more', () => {
    const redundancy = begun();
    redundancy.want(60 * SECOND, id(7));
    redundancy.timeout(90 * SECOND);
    expect(redundancy.sets.size).toBe(1);
    expect(redundancy.timeout(240 * SECOND)).toEqual([]);
    expect(redundancy.nextTimeout()).toBe(Infinity);
  });

  it('keep to a tenth of the time where they are many', () => {
    const redundancy = begun();
    redundancy.update(1, ladder({ '0-1': { loss: 0.1 } }));
    expect(redundancy.nextTimeout()).toBeGreaterThan(1);
  });
});
