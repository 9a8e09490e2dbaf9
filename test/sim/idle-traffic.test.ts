import { expect, it } from 'vitest';

import { SimMesh } from '../support/sim-agent.js';
import { seedOf, Simulator } from '../support/sim/simulator.js';
import { randomTopology } from '../support/sim/topology.js';

const SECOND = 1_000_000;
/** IPv4 and UDP headers. */
const HEADERS = 28;

it('an idle link of a mesh of fifty costs at most 2 kbit/s, both directions together', async () => {
  const sim = new Simulator(seedOf(20_261_126));
  const edges = randomTopology(sim.random, 50, 100);
  const mesh = await SimMesh.create(sim, 50, edges);
  mesh.startAll();
  sim.runUntil(30 * SECOND);
  const bytes = new Map<string, number>();
  mesh.tap = ({ source, destination, bytes: { length } }) => {
    const link = [source.address, destination.address].sort().join();
    bytes.set(link, (bytes.get(link) ?? 0) + length + HEADERS);
    return true;
  };
  const seconds = 60;
  sim.runFor(seconds * SECOND);
  const rates = [...bytes.values()].map((sum) => (sum * 8) / seconds).sort((a, b) => a - b);
  console.log(`idle links: ${rates[0]} to ${rates.at(-1)} bit/s`);
  expect(rates).toHaveLength(edges.length);
  expect(rates.at(-1)).toBeLessThan(2000);
});
