import { describe, expect, it } from 'vitest';

import { RouterMesh } from '../support/sim/router-mesh.js';
import { simulate } from '../support/sim/simulator.js';
import { randomTopology } from '../support/sim/topology.js';

const SECOND = 1_000_000;

describe('a mesh of 200 nodes and 800 links', () => {
  const run = () =>
    simulate(20_001, (sim) => {
      const mesh = new RouterMesh(sim, { nodes: 200, edges: randomTopology(sim.random, 200, 800) });
      for (const { edge } of mesh.links)
        sim.at(sim.random.integer(SECOND), () => mesh.connect(edge.a, edge.b));
      sim.runUntil(10 * SECOND);
      return { hash: sim.traceHash, events: sim.events, differences: mesh.differences() };
    });

  it('converges to the shortest paths without a loop, in the same way each time', () => {
    const first = run();
    expect(first.differences).toEqual([]);
    const second = run();
    expect(second.events).toBe(first.events);
    expect(second.hash).toBe(first.hash);
  });
});
