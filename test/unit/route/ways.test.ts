import { describe, expect, it } from 'vitest';

import { METRICS } from '../../../src/overlay/route/metric.js';
import type { Link } from '../../../src/overlay/route/record.js';
import { buildGraph, edgeCosts, type Graph } from '../../../src/overlay/route/spf.js';
import { rankAll, type RankedWay, Ways } from '../../../src/overlay/route/ways.js';
import { Random } from '../../support/sim/random.js';
import { randomTopology } from '../../support/sim/topology.js';
import { cleanLink } from '../../support/ways.js';

/** Links with a random delay, loss and price, each way on its own. */
function randomGraph(seed: number, nodes: number, edges: number): { graph: Graph; ids: Uint32Array } {
  const random = new Random(seed);
  const links: Link[][] = Array.from({ length: nodes }, () => []);
  const add = (from: number, to: number, rtt: number): void => {
    const loss = random.chance(0.3) ? random.integer(200_000) : 0;
    links[from].push({
      neighbour: to + 1,
      rtt,
      loss,
      burst: 1,
      price: random.chance(0.2) ? random.integer(5) : 0,
    });
  };
  for (const { a, b } of randomTopology(random, nodes, edges)) {
    const rtt = 2000 * (1 + random.integer(40));
    add(a, b, rtt);
    add(b, a, rtt);
  }
  links.forEach((list) => list.sort((a, b) => a.neighbour - b.neighbour));
  const ids = Uint32Array.from({ length: nodes }, (_, i) => i + 1);
  return { graph: buildGraph(ids, links), ids };
}

function rankWays(graph: Graph, costs: Float64Array, ids: Uint32Array, own: number): RankedWay[] {
  const table = new Ways(graph, costs, ids, own);
  return Array.from(ids, (_, i) => table.at(i));
}

/** Costs of the shortest paths from every node to every other that don't pass `without`, by the Floyd-Warshall method. */
function allCosts({ nodes, starts, targets }: Graph, costs: Float64Array, without = -1): number[][] {
  const cost = Array.from({ length: nodes }, (_, u) =>
    Array.from({ length: nodes }, (_, v) => (u === v ? 0 : Infinity)),
  );
  for (let u = 0; u < nodes; u++)
    for (let e = starts[u]; e < starts[u + 1]; e++)
      if (u !== without && targets[e] !== without) cost[u][targets[e]] = costs[e];
  for (let k = 0; k < nodes; k++)
    for (let u = 0; u < nodes; u++)
      for (let v = 0; v < nodes; v++) cost[u][v] = Math.min(cost[u][v], cost[u][k] + cost[k][v]);
  return cost;
}

const close = (a: number, b: number): boolean => a === b || Math.abs(a - b) < 1e-6 * Math.max(a, b);

describe.each(METRICS)('ways by the metric of %s', (metric) => {
  it('are the shortest, and the second begins with the best of the other neighbours', () => {
    for (let seed = 1; seed <= 6; seed++) {
      const { graph, ids } = randomGraph(seed, 16, 30);
      const costs = edgeCosts(graph, metric);
      const whole = allCosts(graph, costs);
      for (let own = 0; own < ids.length; own++) {
        const elsewhere = allCosts(graph, costs, own);
        rankWays(graph, costs, ids, own).forEach(({ cost, nextHop, second }, v) => {
          expect(close(cost, whole[own][v])).toBe(true);
          if (v === own) return;
          let least = Infinity;
          for (let e = graph.starts[own]; e < graph.starts[own + 1]; e++) {
            const first = graph.targets[e];
            if (ids[first] !== nextHop) least = Math.min(least, costs[e] + elsewhere[first][v]);
          }
          expect(close(second?.cost ?? Infinity, least), `seed ${seed}: ${own} → ${v}`).toBe(true);
        });
      }
    }
  });

  it('lead to the destination from a loop-free alternate without coming back', () => {
    let alternates = 0;
    for (let seed = 1; seed <= 6; seed++) {
      const { graph, ids } = randomGraph(100 + seed, 24, 50);
      const costs = edgeCosts(graph, metric);
      const ways = Array.from(ids, (_, own) => rankWays(graph, costs, ids, own));
      ways.forEach((list, own) =>
        list.forEach(({ second, isLoopFree }, v) => {
          if (!isLoopFree) return;
          alternates++;
          const path = [own];
          for (let at = second!.nextHop - 1; at !== v; at = ways[at][v].nextHop - 1) {
            expect(path).not.toContain(at);
            path.push(at);
          }
          expect(path.length).toBe(second!.hops);
        }),
      );
    }
    expect(alternates).toBeGreaterThan(500);
  });

  it('say what they add up to', () => {
    const { graph, ids } = randomGraph(200, 20, 40);
    const costs = edgeCosts(graph, metric);
    const edgeOf = (u: number, v: number): number => {
      for (let e = graph.starts[u]; e < graph.starts[u + 1]; e++) if (graph.targets[e] === v) return e;
      throw new Error('no such edge');
    };
    const ways = Array.from(ids, (_, own) => rankWays(graph, costs, ids, own));
    ways[0].forEach((way, v) => {
      const check = (
        first: number,
        told: { rtt: number; loss: number; price: number; hops: number },
      ): void => {
        let [rtt, arrives, price, hops] = [0, 1, 0, 0];
        for (let u = 0, at = first; u !== v; [u, at] = [at, at === v ? v : ways[at][v].nextHop - 1], hops++) {
          const e = edgeOf(u, at);
          rtt += graph.rtt[e];
          arrives *= 1 - graph.loss[e];
          if (u !== 0) price += graph.price[e];
        }
        expect([told.rtt, told.price, told.hops]).toEqual([rtt, price, hops]);
        expect(told.loss).toBeCloseTo(1 - arrives, 9);
      };
      if (v === 0) return;
      check(way.nextHop - 1, way);
      if (way.isLoopFree) check(way.second!.nextHop - 1, way.second!);
    });
  });
});

it('no other way is told of where a neighbour is the only one', () => {
  //  1 ── 2 ── 3
  const { graph, ids } = randomGraph(1, 3, 2);
  const ends = Array.from(ids, (_, i) => i).filter((i) => graph.starts[i + 1] - graph.starts[i] === 1);
  for (const own of ends)
    for (const { second } of rankWays(graph, edgeCosts(graph, 'reliable'), ids, own))
      expect(second).toBeUndefined();
});

it('metrics that count alike share a table, and others have their own', () => {
  const { graph, ids } = randomGraph(3, 20, 40);
  const clean = { ...graph, loss: new Float64Array(graph.loss.length) };
  expect(new Set(rankAll(clean, ids, 0)).size).toBe(1);
  const lossy = rankAll(graph, ids, 0);
  expect(new Set(lossy).size).toBe(3);
  METRICS.forEach((metric, m) =>
    expect(lossy[m].cost).toEqual(new Ways(graph, edgeCosts(graph, metric), ids, 0).cost),
  );
});

it('the same path costs the same from either end, whatever is lost, so that ties are ties at every node', () => {
  for (let seed = 1; seed <= 4; seed++) {
    const { graph, ids } = randomGraph(seed, 30, 60);
    // Both directions alike.
    const loss = graph.rtt.map((rtt) => (rtt % 7) / 100);
    for (const metric of METRICS) {
      const costs = edgeCosts({ ...graph, loss }, metric);
      const all = Array.from(ids, (_, own) => new Ways(graph, costs, ids, own).cost);
      for (let u = 0; u < ids.length; u++) for (let v = 0; v < u; v++) expect(all[u][v]).toBe(all[v][u]);
    }
  }
});

it('a second way that loses more than the best is no alternate for bulk', () => {
  //  1 ── 2 ── 4        all of 10 ms; 1-3 a little longer
  //  └─── 3 ───┘
  const alternateAt = (loss: number): number => {
    const link = (neighbour: number, rtt: number, share = 0) => ({
      ...cleanLink(neighbour, rtt),
      loss: share,
    });
    const links: Link[][] = [
      [link(2, 20_000), link(3, 22_000, loss)],
      [link(1, 20_000), link(4, 20_000)],
      [link(1, 22_000), link(4, 20_000)],
      [link(2, 20_000), link(3, 20_000)],
    ];
    const ids = Uint32Array.of(1, 2, 3, 4);
    const graph = buildGraph(ids, links);
    return new Ways(graph, edgeCosts(graph, 'reliable'), ids, 0).alternate[3];
  };
  expect(alternateAt(0)).toBe(3);
  expect(alternateAt(2_000)).toBe(3);
  expect(alternateAt(100_000)).toBe(0);
});
