import { mkdir, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { RouterMesh } from '../../test/support/sim/router-mesh.js';
import { Random } from '../../test/support/sim/random.js';
import { simulate, type Simulator } from '../../test/support/sim/simulator.js';
import { randomTopology } from '../../test/support/sim/topology.js';
import { recomputeCpu } from './recompute.js';

const SECOND = 1_000_000;
/** Nodes whose tables are made and checked; all others flood, and make none. */
const WATCHED = 12;
/** Links that fail one after the other; the median counts. */
const FAILURES = 9;
const NEVER = 3600 * SECOND;
const STEP = SECOND / 100;
/** IPv4, UDP, record and stream frame around a message of routing, and the record that acknowledges it. */
const AROUND = 28 + 32 + 12 + 28 + 32 + 19;

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '1000' },
    links: { type: 'string', default: '4000' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string' },
  },
});
const nodes = Number(values.nodes);
const links = Number(values.links);
const rows: [string, string, string, string][] = [];
const results: Record<string, number> = { nodes, links };

function note(key: string, what: string, value: number, unit: string, most?: number): void {
  results[key] = value;
  console.error(`  ${what}: ${value.toFixed(value < 10 ? 2 : 0)} ${unit} …`);
  const verdict = most === undefined ? '' : value <= most ? 'met' : 'MISSED';
  rows.push([
    what,
    `${value.toFixed(value < 10 ? 2 : 0)} ${unit}`,
    most === undefined ? '' : `≤ ${most.toFixed(0)} ${unit}`,
    verdict,
  ]);
}

/** Runs until the watched tables are right; ms that it took, and what control traffic that was, bytes a link. */
function converge(
  sim: Simulator,
  mesh: RouterMesh,
  watched: readonly number[],
  patience = 120,
): [number, number] {
  const began = sim.now;
  const before = { ...mesh.traffic };
  while (mesh.wrongCosts(watched) > 0) {
    if (sim.now - began > patience * SECOND) throw new Error('no convergence');
    sim.runFor(STEP);
  }
  return [(sim.now - began) / 1000, bytesSince(mesh, before)];
}

const bytesSince = (mesh: RouterMesh, before: RouterMesh['traffic']): number =>
  (mesh.traffic.bytes - before.bytes + AROUND * (mesh.traffic.messages - before.messages)) / links;

function diameter(mesh: RouterMesh, watched: readonly number[]): number {
  let most = 0;
  for (const source of watched) {
    const { tables } = mesh.nodes[source];
    for (let i = 0; i < tables!.size; i++) most = Math.max(most, tables!.rtt(i) / 2);
  }
  return most / 1000;
}

function median(list: readonly number[]): number {
  return [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
}

const shape = { nodes, edges: randomTopology(new Random(Number(values.seed)), nodes, links) };
const recompute = (key: string, what: string, more: { lossy: number; renew?: boolean }): void =>
  note(key, `CPU of a recompute, all services, ${what}`, recomputeCpu({ ...shape, ...more }), 'ms', 20);
recompute('recomputeMs', 'a fifth of the links lose', { lossy: 0.2 });
recompute('recomputeCleanMs', 'no link loses', { lossy: 0 });
recompute('recomputeRenewedMs', 'and a certificate has changed', { lossy: 0.2, renew: true });

/** Everything that takes a whole mesh. */
function simulateMesh(sim: Simulator): void {
  const edges = randomTopology(sim.random, nodes, links);
  const watched = Array.from({ length: WATCHED }, (_, i) => Math.floor((i * nodes) / WATCHED));
  global.gc?.();
  const empty = process.memoryUsage().heapUsed;
  const mesh = new RouterMesh(sim, {
    nodes,
    edges,
    tuning: (index) => (watched.includes(index) ? {} : { pathHoldMicros: NEVER, pathDelayMicros: NEVER }),
  });

  for (const { edge } of mesh.links) sim.at(sim.random.integer(SECOND), () => mesh.connect(edge.a, edge.b));
  // Until the last link is up, tables may be right of what there is.
  sim.runFor(SECOND);
  const [cold] = converge(sim, mesh, watched);
  note('coldStartMs', 'cold start, all within a second: converged after the last', cold, 'ms');
  const coldBytes = bytesSince(mesh, { messages: 0, bytes: 0 });
  note('coldStartBytesPerLink', 'its control traffic, both directions, a link', coldBytes / 1024, 'KiB');
  sim.runFor(10 * SECOND);
  global.gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  note(
    'memoryPerNodeKiB',
    'memory a node (bytes of records shared in the simulator)',
    (heapUsed + arrayBuffers - empty) / nodes / 1024,
    'KiB',
  );

  const across = diameter(mesh, watched);
  note('diameterMs', 'diameter, one way', across, 'ms');
  const times: number[] = [];
  while (times.length < FAILURES) {
    const { edge } = sim.random.pick(mesh.links.filter(({ up }) => up));
    mesh.disconnect(edge.a, edge.b);
    // Only those count that lie on a watched node's paths.
    const matters = mesh.wrongCosts(watched) > 0;
    const [ms] = converge(sim, mesh, watched);
    if (matters) times.push(ms);
  }
  note(
    'linkFailureMs',
    'a link in use fails, noticed at both ends: converged after',
    median(times),
    'ms',
    3 * across,
  );

  const before = { ...mesh.traffic };
  const churned = Math.max(1, Math.round(nodes / 100));
  const gone: number[][] = [];
  for (let second = 0; second < 10; second++) {
    const dead = Array.from({ length: churned }, () => sim.random.integer(nodes)).filter(
      (index) => mesh.nodes[index].running && !watched.includes(index),
    );
    const neighbours = dead.map((index) => [index, ...mesh.neighboursOf(index)]);
    for (const index of dead) mesh.kill(index);
    for (const [index, ...others] of gone) {
      mesh.restart(index, 2 + second);
      for (const other of others.filter((peer) => mesh.nodes[peer].running)) mesh.connect(index, other);
    }
    gone.splice(0, gone.length, ...neighbours);
    sim.runFor(SECOND);
  }
  note(
    'churnKbitPerLink',
    '1 % of nodes a second leave and come: control traffic a link',
    (bytesSince(mesh, before) * 8) / 10_000,
    'kbit/s',
  );
  const [churn] = converge(sim, mesh, watched);
  note('churnMs', 'converged after the last of it', churn, 'ms');

  const crossing = mesh.links.filter(({ edge, up }) => up && edge.a < nodes / 2 !== edge.b < nodes / 2);
  for (const { edge } of crossing) mesh.disconnect(edge.a, edge.b);
  note('partitionMs', 'partition into halves: converged after', converge(sim, mesh, watched)[0], 'ms');
  sim.runFor(30 * SECOND);
  for (const { edge } of crossing) mesh.connect(edge.a, edge.b);
  const [merge, mergeBytes] = converge(sim, mesh, watched);
  note('mergeMs', 'merge: converged after', merge, 'ms');
  note('mergeBytesPerLink', 'its control traffic a link', mergeBytes / 1024, 'KiB');
}

if (values.only !== 'recompute') simulate(Number(values.seed), simulateMesh);

const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column].length)));
for (const row of rows)
  console.log(
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );
const machine = { cpu: cpus()[0].model, cores: cpus().length, node: process.version };
await mkdir('bench/results', { recursive: true });
await writeFile(
  'bench/results/scale.json',
  `${JSON.stringify({ date: new Date().toISOString(), machine, ...results }, null, 1)}\n`,
);
