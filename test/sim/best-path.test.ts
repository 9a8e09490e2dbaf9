import { describe, expect, it } from 'vitest';

import { METRICS } from '../../src/overlay/route/metric.js';
import { SimMesh, type MeshEdge } from '../support/sim-agent.js';
import { seedOf, Simulator } from '../support/sim/simulator.js';

const MS = 1000;
const SECOND = 1000 * MS;

//          8 ms  ┌── n1 ──┐  8 ms
//          n0 ───┤        ├─── n3
//         10 ms  └── n2 ──┘  10 ms
async function diamond(more: Partial<MeshEdge> = {}) {
  const sim = new Simulator(seedOf(20_261_125));
  const edges = [
    { a: 0, b: 1, latency: 8 * MS, ...more },
    { a: 1, b: 3, latency: 8 * MS, ...more },
    { a: 0, b: 2, latency: 10 * MS, ...more },
    { a: 2, b: 3, latency: 10 * MS, ...more },
  ];
  const mesh = await SimMesh.create(sim, 4, edges);
  mesh.startAll();
  sim.runUntil(10 * SECOND);
  /** Which of n1 and n2 node `from` goes by to `to`, by each metric. */
  const vias = (from: number, to: number): string[] => {
    const { nodes } = mesh.agents[from].agent.router;
    const { ways } = nodes.find(({ certificate }) => certificate.name === `n${to}`)!;
    return ways.map(
      ({ nextHop }) => nodes.find(({ certificate }) => certificate.nodeId === nextHop)!.certificate.name,
    );
  };
  return { sim, mesh, vias };
}

const all = (name: string): string[] => METRICS.map(() => name);

describe('a path that begins to lose a tenth', () => {
  it('is left within three seconds, by all services, and taken again once, twenty seconds or more after the loss', async () => {
    const { sim, mesh, vias } = await diamond();
    // Pings every 20 ms, both ways.
    const ping = (seconds: number, each: () => void = () => undefined): void => {
      for (const end = sim.now + seconds * SECOND; sim.now < end;) {
        mesh.send(0, 3);
        mesh.send(3, 0);
        sim.runFor(20 * MS);
        each();
      }
    };
    ping(5);
    expect(vias(0, 3)).toEqual(all('n1'));
    mesh.edge(0, 1).loss = 0.1;
    ping(3);
    expect([vias(0, 3), vias(3, 0)]).toEqual([all('n2'), all('n2')]);
    ping(20);
    expect(vias(0, 3)).toEqual(all('n2'));
    mesh.edge(0, 1).loss = 0;
    const over = sim.now;
    const changes: { at: number; via: string }[] = [];
    let before = 'n2';
    ping(150, () => {
      const via = vias(0, 3)[2];
      if (via !== before) changes.push({ at: sim.now - over, via });
      before = via;
    });
    expect(changes.map(({ via }) => via)).toEqual(['n1']);
    expect(changes[0].at).toBeGreaterThan(20 * SECOND);
    expect(vias(0, 3)).toEqual(all('n1'));
  });

  it('is left too where it carries nothing, though later', async () => {
    const { sim, mesh, vias } = await diamond();
    mesh.edge(0, 1).loss = 0.2;
    sim.runFor(90 * SECOND);
    expect(vias(0, 3)).toEqual(all('n2'));
  });
});

describe('a path that its own traffic fills', () => {
  // Beyond its rate a queue stands that drops what nothing holds back: the other path would fare no better.
  it.each([0.9, 1.3])('is kept at %d times its rate: no oscillation', async (load) => {
    const rate = 100_000;
    const { sim, mesh, vias } = await diamond({ rate, queue: 60 * MS });
    const size = 900;
    const gap = ((size + 28 + 84) / (load * rate)) * SECOND;
    const seen = new Map<string, number>();
    let changes = 0;
    let before = vias(0, 3).join();
    for (const end = sim.now + 90 * SECOND; sim.now < end;) {
      mesh.send(0, 3, 4, size);
      sim.runFor(gap);
      const via = vias(0, 3).join();
      if (via !== before) changes++;
      before = via;
      seen.set(via, (seen.get(via) ?? 0) + 1);
    }
    expect([changes, [...seen.keys()]]).toEqual([0, [all('n1').join()]]);
  });
});
