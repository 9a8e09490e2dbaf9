import { describe, expect, it } from 'vitest';

import { encodeCertificate, encodeRecordMessage } from '../../src/overlay/route/messages.js';
import { certificateHash } from '../../src/overlay/route/identity.js';
import { encodeRecord, signedBytes } from '../../src/overlay/route/record.js';
import { ed25519Identities } from '../support/sim/identities.js';
import type { RouterTuning } from '../../src/overlay/route/tuning.js';
import type { MeshOptions } from '../support/sim/router-mesh.js';
import { addressOf, idOf, RouterMesh } from '../support/sim/router-mesh.js';
import type { Simulator } from '../support/sim/simulator.js';
import { simulate } from '../support/sim/simulator.js';
import { cleanLink } from '../support/ways.js';
import { chain, randomTopology } from '../support/sim/topology.js';

const SECOND = 1_000_000;
const MINUTE = 60 * SECOND;

/** A mesh whose links have all come up at random moments of the first second, ten seconds later. */
function settled(sim: Simulator, options: MeshOptions): RouterMesh {
  const mesh = new RouterMesh(sim, options);
  for (const { edge } of mesh.links) sim.at(sim.random.integer(SECOND), () => mesh.connect(edge.a, edge.b));
  sim.runUntil(10 * SECOND);
  return mesh;
}

function randomMesh(
  sim: Simulator,
  nodes: number,
  edges: number,
  tuning: Partial<RouterTuning> = {},
): RouterMesh {
  return settled(sim, { nodes, edges: randomTopology(sim.random, nodes, edges), tuning });
}

/** Where many tables are made for nothing but their last: so long a pause between two runs, µs. */
const HOLD = { pathHoldMicros: SECOND / 4 };

/** A few of them, so that a failure prints a page and not a book. */
const differences = (mesh: RouterMesh, sources?: readonly number[]): string[] =>
  mesh.differences(sources).slice(0, 5);

it('120 nodes and 480 links converge to the shortest paths without a loop', { timeout: 60_000 }, () => {
  simulate(12_001, (sim) => {
    const mesh = randomMesh(sim, 120, 480, HOLD);
    expect(differences(mesh)).toEqual([]);
  });
});

it('converges in the same way from the same seed', () => {
  const run = (seed: number) =>
    simulate(seed, (sim) => [randomMesh(sim, 60, 240, HOLD), sim.events, sim.traceHash]);
  const [, ...first] = run(6_001);
  const [, ...second] = run(6_001);
  expect(first).toEqual(second);
});

/** A thousand are in bench/scale. */
it('300 nodes in little more than a tree find each other', { timeout: 60_000 }, () => {
  simulate(1_000, (sim) => {
    const mesh = new RouterMesh(sim, {
      nodes: 300,
      edges: randomTopology(sim.random, 300, 315),
      tuning: { gatherMicros: SECOND, pathHoldMicros: 4 * SECOND },
    });
    mesh.connectAll();
    sim.runUntil(10 * SECOND);
    const sources = Array.from({ length: 20 }, () => sim.random.integer(300));
    expect(differences(mesh, sources)).toEqual([]);
  });
});

describe('a mesh of 40 nodes', () => {
  it('that falls apart routes within its parts, and as a whole again when they meet', () => {
    //   0 … 19 ══ random ══ crossing links ══ random ══ 20 … 39
    simulate(40_001, (sim) => {
      const mesh = randomMesh(sim, 40, 120);
      const crossing = mesh.links.map(({ edge }) => edge).filter(({ a, b }) => a < 20 !== b < 20);
      for (const { a, b } of crossing) mesh.disconnect(a, b);
      sim.runFor(5 * SECOND);
      expect(differences(mesh)).toEqual([]);
      // Both parts change while they are apart.
      for (const { a, b } of [mesh.links.find(({ up }) => up)!.edge]) mesh.disconnect(a, b);
      sim.runFor(30 * MINUTE);
      for (const { a, b } of crossing) mesh.connect(a, b);
      sim.runFor(10 * SECOND);
      expect(differences(mesh)).toEqual([]);
    });
  });

  it('that was apart for longer than a record lives finds together again', () => {
    simulate(40_002, (sim) => {
      const mesh = randomMesh(sim, 40, 120);
      const crossing = mesh.links.map(({ edge }) => edge).filter(({ a, b }) => a < 20 !== b < 20);
      for (const { a, b } of crossing) mesh.disconnect(a, b);
      sim.runFor(100 * MINUTE);
      expect(mesh.nodes[0].router.db.records.has(idOf(39))).toBe(false);
      for (const { a, b } of crossing) mesh.connect(a, b);
      sim.runFor(10 * SECOND);
      expect(differences(mesh)).toEqual([]);
    });
  });

  it('takes back a node that starts again with an older epoch', () => {
    simulate(40_003, (sim) => {
      const mesh = randomMesh(sim, 40, 120);
      const neighbours = mesh.neighboursOf(7);
      mesh.kill(7);
      sim.runFor(5 * SECOND);
      mesh.restart(7, 0);
      for (const neighbour of neighbours) mesh.connect(7, neighbour);
      sim.runFor(10 * SECOND);
      expect(differences(mesh)).toEqual([]);
      const notice = { kind: 'epoch-overtaken', epoch: 1 };
      expect(mesh.nodes[7].notices).toContainEqual(notice);
    });
  });

  it('takes back a node that starts again within the same epoch', () => {
    simulate(40_004, (sim) => {
      const mesh = randomMesh(sim, 40, 120);
      const neighbours = mesh.neighboursOf(7);
      mesh.kill(7);
      mesh.restart(7, 1);
      // One link fewer than before, and in another order.
      for (const neighbour of neighbours.reverse().slice(1)) mesh.connect(7, neighbour);
      sim.runFor(10 * SECOND);
      expect(differences(mesh)).toEqual([]);
    });
  });

  it('is right within seconds after its links have flapped for a minute', () => {
    simulate(40_005, (sim) => {
      const mesh = randomMesh(sim, 40, 120, HOLD);
      for (let i = 0; i < 600; i++) {
        const { a, b } = sim.random.pick(mesh.links).edge;
        sim.after(sim.random.integer(MINUTE), () => mesh.disconnect(a, b));
        sim.after(sim.random.integer(MINUTE), () => mesh.connect(a, b));
      }
      sim.runFor(MINUTE);
      sim.runFor(15 * SECOND);
      expect(differences(mesh)).toEqual([]);
    });
  });

  it('forgets a node that went without a word, after an hour and everywhere', () => {
    simulate(40_006, (sim) => {
      const mesh = randomMesh(sim, 40, 120);
      mesh.kill(3);
      sim.runFor(70 * MINUTE);
      const knowing = mesh.nodes.filter(
        ({ index, router }) => index !== 3 && router.db.certificates.has(idOf(3)),
      );
      expect(knowing).toEqual([]);
      expect(differences(mesh, [0, 1, 2])).toEqual([]);
    });
  });

  it('sends nothing but renewals when nothing happens', () => {
    simulate(40_007, (sim) => {
      const mesh = randomMesh(sim, 40, 120);
      const messages = (): number => mesh.links.reduce((sum, { link }) => sum + link.counters.messages, 0);
      const before = messages();
      sim.runFor(20 * MINUTE);
      // Every node once, over every link at most twice.
      expect(messages() - before).toBeLessThanOrEqual(40 * 2 * 120);
    });
  });
});

describe('with real signatures', () => {
  //  0 ── 1 ── 2 ── 3 ── 4
  const real = (sim: Simulator) =>
    settled(sim, { nodes: 5, edges: chain(5, 5_000), identities: ed25519Identities() });

  it('a chain of five converges', () => {
    simulate(5_001, (sim) => {
      const mesh = real(sim);
      expect(differences(mesh)).toEqual([]);
      expect(mesh.walk(0, 4)).toEqual([0, 1, 2, 3, 4]);
    });
  });

  it('a relay that forges records and certificates changes nothing beyond itself', () => {
    simulate(5_002, (sim) => {
      const mesh = real(sim);
      const victim = mesh.nodes[4];
      const evil = mesh.nodes[1];
      const version = { origin: victim.nodeId, epoch: 99, sequence: 1, lifetime: 3600 };
      const links = [cleanLink(evil.nodeId, 1)];
      const record = encodeRecord({ ...version, certificate: certificateHash(victim.certificate), links });
      const signature = mesh.identities.sign(evil.nodeId, signedBytes(record));
      mesh.inject(2, 1, encodeRecordMessage(0, record, signature));
      const claims = { nodeId: 77, name: 'thief', addresses: [addressOf(4)], foreign: true };
      mesh.inject(2, 1, encodeCertificate(77, mesh.identities.certificate(claims)));
      sim.runFor(5 * SECOND);
      expect(mesh.nodes[2].drops).toEqual(['signature', 'certificate-refused']);
      expect(mesh.nodes[3].drops).toEqual([]);
      expect(differences(mesh)).toEqual([]);
      const { tables } = mesh.nodes[2];
      expect(tables!.nodeId(tables!.owner4((10 << 24) | (77 << 16) | 4))).toBe(victim.nodeId);
    });
  });
});

describe('two certificates that claim one prefix', () => {
  it('are told apart in the same way by every node, by age', () => {
    //  0 ── 1 ── 2 ── 3       0 and 3 both claim 10.77.9.0/24; 3 has done so for longer
    simulate(4_001, (sim) => {
      const routes = ['10.77.9.0/24'];
      const mesh = settled(sim, {
        nodes: 4,
        edges: chain(4, 5_000),
        claims: (index) => (index === 0 || index === 3 ? { routes, notBefore: 1000 - index } : {}),
      });
      for (const { tables, notices } of mesh.nodes) {
        expect(tables!.nodeId(tables!.owner4((10 << 24) | (77 << 16) | (9 << 8) | 1))).toBe(idOf(3));
        const conflicts = notices.filter(({ kind }) => kind === 'prefix-conflict');
        expect(conflicts).toMatchObject([{ winner: 'n3', loser: 'n0' }]);
      }
    });
  });
});
