/**
 * Meshes that form themselves: fifty cores, of which some are behind NATs, and ten whole agents that at first know but one.
 */
import { describe, expect, it } from 'vitest';
import {
  KIND_HOST,
  KIND_SEEN,
  KIND_VARYING,
  type PublishedEndpoint,
} from '../../src/overlay/peering/endpoint.js';
import { type NodeView, Peering, type PeeringAction } from '../../src/overlay/peering/peering.js';
import { PEERING_TUNING } from '../../src/overlay/peering/tuning.js';
import { SimMesh } from '../support/sim-agent.js';
import { Random } from '../support/sim/random.js';
import { seedOf, Simulator } from '../support/sim/simulator.js';

const SECOND = 1_000_000;
const SEED = seedOf(20_260_604);
const LATENCY = 30_000;

/** Node 0 is everybody's configured peer. Who tries another gets a link where its datagrams pass the other's NAT, and the other admits it. */
class FormingMesh {
  readonly sim = new Simulator(SEED);
  readonly cores: Peering[];
  readonly links: Set<number>[];
  /** Until when a node sends to another, so that its NAT lets answers in. */
  private readonly sends: Map<number, number>[];
  most = 0;

  constructor(readonly kinds: readonly ('open' | 'nat' | 'varying')[]) {
    const chance = new Random(SEED);
    this.cores = kinds.map(
      (_, i) => new Peering({ self: i + 1, random: () => chance.u32(), isOverlay: () => false }, 0),
    );
    this.links = kinds.map(() => new Set());
    this.sends = kinds.map(() => new Map());
    for (let i = 1; i < kinds.length; i++) this.link(0, i);
  }

  run(seconds: number): void {
    const end = this.sim.now + seconds * SECOND;
    const step = SECOND / 20;
    for (let n = 0; this.sim.now < end; n++) {
      this.cores.forEach((core, i) => {
        const look = n % 20 === i % 20;
        this.perform(
          i,
          look ? core.update(this.sim.now, this.published(i), this.views(i)) : core.timeout(this.sim.now),
        );
        this.most = Math.max(this.most, core.degree);
      });
      this.sim.runFor(step);
    }
  }

  private published(i: number): PublishedEndpoint[] {
    const outside = `198.51.100.${i}`;
    if (this.kinds[i] === 'open') return [{ kind: KIND_HOST, host: outside, port: 7100 }];
    const kind = this.kinds[i] === 'nat' ? KIND_SEEN : KIND_VARYING;
    return [
      { kind, host: outside, port: 40_000 },
      { kind: KIND_HOST, host: '192.168.1.2', port: 7100 },
    ];
  }

  private views(self: number): NodeView[] {
    return this.cores.map((core, i) => ({
      nodeId: i + 1,
      endpoints: this.published(i),
      forms: true,
      hasEnough: core.hasEnough,
      configured: self === 0 || i === 0,
      cost: 2 * LATENCY,
    }));
  }

  private perform(i: number, actions: PeeringAction[]): void {
    for (const { type, nodeId, ...rest } of actions) {
      const to = nodeId - 1;
      if (type === 'call') {
        this.sim.after(2 * LATENCY, () => this.perform(to, this.cores[to].called(this.sim.now, i + 1)));
      }
      if (type === 'try') {
        expect('places' in rest && rest.places.map(({ host }) => host)).toEqual([`198.51.100.${to}`]);
        this.sends[i].set(to, this.sim.now + 6 * SECOND);
        // The handshake goes again and again.
        for (const wait of [0, 0.25, 0.75, 1.75, 3.75])
          this.sim.after(LATENCY + wait * SECOND, () => this.arrive(i, to));
      }
      if (type === 'drop') this.unlink(i, to);
    }
  }

  private arrive(from: number, to: number): void {
    const passes = this.kinds[to] === 'open' || (this.sends[to].get(from) ?? 0) > this.sim.now;
    if (passes && !this.links[from].has(to) && this.cores[to].admits(from + 1)) this.link(from, to);
  }

  private link(a: number, b: number): void {
    for (const [x, y] of [
      [a, b],
      [b, a],
    ]) {
      this.links[x].add(y);
      this.cores[x].linkUp(this.sim.now, y + 1);
    }
  }

  private unlink(a: number, b: number): void {
    this.links[a].delete(b);
    this.links[b].delete(a);
    this.cores[b].letGo(this.sim.now, a + 1);
    this.cores[b].linkDown(this.sim.now, a + 1);
  }
}

/** Links on the way between the two nodes that are furthest apart, without node 0. */
function diameter(links: readonly ReadonlySet<number>[]): number {
  let most = 0;
  for (let start = 1; start < links.length; start++) {
    const hops = new Map([[start, 0]]);
    for (const [node, distance] of hops) {
      for (const next of links[node]) if (next !== 0 && !hops.has(next)) hops.set(next, distance + 1);
    }
    most = Math.max(most, hops.size < links.length - 1 ? Infinity : Math.max(...hops.values()));
  }
  return most;
}

describe(`a mesh that forms itself (seed ${SEED})`, () => {
  const kindOf = (i: number) => (i === 0 || i % 5 < 2 ? 'open' : i % 5 < 4 ? 'nat' : 'varying');
  const mesh = new FormingMesh(Array.from({ length: 50 }, (_, i) => kindOf(i)));

  it('has as many links as are enough within two minutes, and none has more than the most', () => {
    mesh.run(120);
    const degrees = mesh.links.slice(1).map(({ size }) => size);
    // Those whose NAT varies depend on who is in the open, and many of these have enough.
    const least = (varying: boolean) =>
      Math.min(...degrees.filter((_, i) => (mesh.kinds[i + 1] === 'varying') === varying));
    expect(least(false)).toBeGreaterThanOrEqual(PEERING_TUNING.enough - 4);
    expect(least(true)).toBeGreaterThanOrEqual(3);
    expect(mesh.links[0].size).toBe(49); // everybody's configured peer
    expect(Math.max(...degrees)).toBeLessThanOrEqual(PEERING_TUNING.most);
    expect(diameter(mesh.links)).toBeLessThanOrEqual(3);
  });

  it('joins nodes behind NATs with each other, but never two of which one has a port for each destination', () => {
    let punched = 0;
    mesh.links.forEach((links, i) => {
      for (const j of links) {
        if (mesh.kinds[i] === 'nat' && mesh.kinds[j] === 'nat') punched++;
        if (mesh.kinds[i] === 'varying') expect(mesh.kinds[j]).toBe('open');
      }
    });
    expect(punched).toBeGreaterThan(20);
  });

  it('comes to rest: nobody tries what there is enough of', () => {
    const before = mesh.cores.reduce((sum, { counters }) => sum + counters.attempts, 0);
    mesh.run(60);
    const after = mesh.cores.reduce((sum, { counters }) => sum + counters.attempts, 0);
    expect(after - before).toBeLessThan(50);
  });
});

describe('whole agents that know but one', () => {
  it('form links with each other, and need it no more', async () => {
    const sim = new Simulator(SEED);
    const nodes = 6;
    const edges = Array.from({ length: nodes }, (_, a) =>
      Array.from({ length: nodes - 1 - a }, (_unused, i) => ({ a, b: a + 1 + i })),
    ).flat();
    const mesh = await SimMesh.create(sim, nodes, edges, {
      mesh: 'auto',
      configured: (_, neighbour) => neighbour === 0,
    });
    mesh.startAll();
    sim.runUntil(40 * SECOND);
    const peers = mesh.agents[3].agent.peerStatus();
    expect(peers.map(({ name, origin, state }) => [name, origin, state])).toEqual(
      [0, 1, 2, 4, 5].map((i) => [`n${i}`, i === 0 ? 'configured' : 'formed', 'connected']),
    );
    mesh.agents[0].kill();
    sim.runFor(10 * SECOND);
    expect(mesh.agents[3].reaches()).toEqual([1, 2, 3, 4, 5].map((i) => `n${i}`));
    const number = mesh.send(3, 5);
    sim.runFor(SECOND);
    expect(mesh.received.get(number)).toEqual([5]);
  });
});
