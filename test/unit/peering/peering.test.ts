import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KIND_HOST, KIND_SEEN, type PublishedEndpoint } from '../../../src/overlay/peering/endpoint.js';
import { type NodeView, Peering, type PeeringAction } from '../../../src/overlay/peering/peering.js';
import { PEERING_TUNING, type PeeringTuning } from '../../../src/overlay/peering/tuning.js';
import { Random } from '../../support/sim/random.js';

const SECOND = 1_000_000;
const SELF = 1;
const OWN = [{ kind: KIND_HOST, host: '192.0.2.1', port: 7100 }];

function view(nodeId: number, more: Partial<NodeView> = {}): NodeView {
  const endpoints = [{ kind: KIND_HOST, host: `198.51.${nodeId >> 8}.${nodeId & 255}`, port: 7100 }];
  return { nodeId, endpoints, forms: true, hasEnough: false, configured: false, cost: 20_000, ...more };
}

/** A `Peering` on a clock of its own, with what it did and when. */
class Rig {
  now = 0;
  own: readonly PublishedEndpoint[] = OWN;
  nodes: NodeView[] = [];
  readonly done: (PeeringAction & { at: number })[] = [];
  readonly peering: Peering;

  constructor(tuning: Partial<PeeringTuning> = {}, seed = 1) {
    const chance = new Random(seed);
    const random = () => chance.u32();
    this.peering = new Peering({ self: SELF, random, isOverlay: () => false, tuning }, 0);
  }

  take(actions: PeeringAction[]): void {
    for (const action of actions) this.done.push({ ...action, at: this.now });
  }

  look(): void {
    this.take(this.peering.update(this.now, this.own, this.nodes));
  }

  /** A look a second, and what is due between. */
  run(seconds: number): void {
    const end = this.now + seconds * SECOND;
    for (let look = this.now; look <= end;) {
      const due = Math.min(look, this.peering.nextTimeout());
      this.now = Math.max(this.now, Math.min(due, end));
      if (this.now >= look) {
        this.look();
        look += SECOND;
      } else this.take(this.peering.timeout(this.now));
    }
    this.now = end;
  }

  of<T extends PeeringAction['type']>(type: T, nodeId?: number) {
    return this.done.filter(
      (action): action is Extract<PeeringAction, { type: T }> & { at: number } =>
        action.type === type && (nodeId === undefined || action.nodeId === nodeId),
    );
  }
}

describe('an attempt', () => {
  it('goes to what the record says, calls where nothing answers, and is over after six seconds', () => {
    const rig = new Rig();
    rig.nodes = [view(2)];
    rig.run(12);
    expect(rig.done.map(({ type }) => type)).toEqual(['try', 'call', 'end']);
    const [tried, called, ended] = rig.done;
    expect(tried).toMatchObject({ nodeId: 2, places: [{ host: '198.51.0.2', port: 7100 }] });
    expect(called.at - tried.at).toBe(0.6 * SECOND);
    expect(ended.at - tried.at).toBe(6 * SECOND);
    expect(rig.peering.status(2)).toMatchObject({ state: 'failed', failures: 1 });
  });

  it('calls first where a NAT is between, so that both ends begin at the same time', () => {
    const rig = new Rig();
    rig.nodes = [view(2, { endpoints: [{ kind: KIND_SEEN, host: '198.51.100.9', port: 40_000 }] })];
    rig.run(12);
    expect(rig.done.map(({ type }) => type)).toEqual(['call', 'try', 'end']);
    // Half the way there and back, which the call takes.
    expect(rig.done[1].at - rig.done[0].at).toBe(10_000);
  });

  it('ends with the link, which needs no call then', () => {
    const rig = new Rig();
    rig.nodes = [view(2)];
    while (rig.of('try').length === 0) rig.run(1);
    rig.peering.linkUp(rig.now, 2);
    rig.run(600);
    expect(rig.done.map(({ type }) => type)).toEqual(['try']);
    expect(rig.peering.status(2)).toEqual({ state: 'linked' });
  });

  it('follows after 35 s, 70 s, … up to an hour, a quarter more or less', () => {
    const rig = new Rig();
    rig.nodes = [view(2)];
    rig.run(4 * 3600);
    const at = rig.of('try').map((action) => action.at / SECOND);
    const gaps = at.slice(1).map((time, i) => time - at[i] - 6);
    gaps.forEach((gap, i) => {
      const ideal = Math.min(35 * 2 ** i, 3600);
      expect(gap).toBeGreaterThan(0.74 * ideal);
      expect(gap).toBeLessThan(1.26 * ideal + 8);
    });
    expect(gaps.length).toBeGreaterThan(6);
  });

  it('comes sooner where data goes there, and where the node published something else', () => {
    const rig = new Rig();
    rig.nodes = [view(2), view(3)];
    rig.run(1000);
    const before = rig.of('try').length;
    rig.nodes = [view(2), view(3, { endpoints: [{ kind: KIND_HOST, host: '203.0.113.3', port: 7100 }] })];
    rig.run(5);
    expect(rig.of('try').slice(before)).toMatchObject([{ nodeId: 3, places: [{ host: '203.0.113.3' }] }]);
    const then = rig.of('try', 2).length;
    for (let i = 0; i < 130; i++) {
      rig.peering.wish(rig.now, 2);
      rig.run(1);
    }
    expect(rig.of('try', 2).length).toBe(then + 1);
  });

  it('is made by whoever is called, at once and without calling back', () => {
    const rig = new Rig();
    rig.nodes = [view(2)];
    rig.look();
    rig.take(rig.peering.called(rig.now, 2));
    expect(rig.done).toMatchObject([{ type: 'try', nodeId: 2, at: 0 }]);
    rig.run(10);
    expect(rig.of('call')).toEqual([]);
    rig.take(rig.peering.called(rig.now, 77));
    expect(rig.peering.counters).toMatchObject({ calls: 1, callsRefused: 1 });
  });

  it('is not made with a node that forms no links, nor where both are behind NATs that vary', () => {
    const rig = new Rig();
    rig.own = [{ kind: 3, host: '203.0.113.1', port: 1 }];
    const behind = [{ kind: KIND_SEEN, host: '198.51.100.9', port: 40_000 }];
    rig.nodes = [view(2, { forms: false }), view(3, { endpoints: behind })];
    rig.run(100);
    expect(rig.done).toEqual([]);
    expect(rig.peering.status(2)).toBeUndefined();
    expect(rig.peering.status(3)).toEqual({ state: 'unreachable', reason: 'our-nat-varies' });
  });
});

describe('links', () => {
  /** Whoever is tried is linked. */
  const linkAll = (rig: Rig, seconds: number): void => {
    for (let i = 0; i < seconds; i++) {
      rig.run(1);
      for (const { nodeId } of rig.of('try')) {
        if (rig.peering.status(nodeId)?.state === 'trying') rig.peering.linkUp(rig.now, nodeId);
      }
    }
  };

  it('are formed until there are enough, and beyond only for data, up to the most', () => {
    const rig = new Rig({ enough: 5, most: 8 });
    rig.nodes = Array.from({ length: 40 }, (_, i) => view(i + 2));
    linkAll(rig, 60);
    expect(rig.peering.degree).toBe(5);
    expect(rig.peering.hasEnough).toBe(true);
    expect(rig.peering.admits(40)).toBe(true);
    for (let i = 0; i < 60; i++) {
      for (const { nodeId } of rig.nodes) rig.peering.wish(rig.now, nodeId);
      linkAll(rig, 1);
    }
    expect(rig.peering.degree).toBe(8);
    const stranger = rig.nodes.find(({ nodeId }) => rig.peering.status(nodeId)?.state !== 'linked')!;
    expect(rig.peering.admits(stranger.nodeId)).toBe(false);
    rig.nodes = rig.nodes.map((each) => (each === stranger ? { ...each, configured: true } : each));
    linkAll(rig, 10);
    expect(rig.peering.status(stranger.nodeId)).toEqual({ state: 'linked' });
  });

  it('are not sought with a node that has enough, but for data', () => {
    const rig = new Rig();
    rig.nodes = [view(2, { hasEnough: true })];
    rig.run(30);
    expect(rig.done).toEqual([]);
    expect(rig.peering.status(2)).toEqual({ state: 'enough', whose: 'theirs' });
    rig.peering.wish(rig.now, 2);
    rig.run(2);
    expect(rig.of('try')).toHaveLength(1);
  });

  it('that carried nothing for ten minutes are let go while there are more than enough, and not formed again soon', () => {
    const rig = new Rig({ enough: 3, most: 8 });
    rig.nodes = [2, 3, 4, 5, 6].map((nodeId) => view(nodeId, { configured: nodeId === 2 }));
    rig.look();
    for (const { nodeId } of rig.nodes) rig.peering.linkUp(rig.now, nodeId);
    for (let i = 0; i < 590; i += 10) {
      rig.run(10);
      rig.peering.used(rig.now, 3);
    }
    expect(rig.done).toEqual([]);
    rig.run(11);
    const dropped = rig.of('drop').map(({ nodeId }) => nodeId);
    expect(dropped).toHaveLength(2);
    expect(dropped).not.toContain(2);
    expect(dropped).not.toContain(3);
    for (const nodeId of dropped) rig.peering.linkDown(rig.now, nodeId);
    rig.run(300);
    expect(rig.of('try')).toEqual([]);
    expect(rig.peering.status(dropped[0])).toEqual({ state: 'unused' });
    rig.peering.wish(rig.now, dropped[0]);
    rig.run(2);
    expect(rig.of('try')).toMatchObject([{ nodeId: dropped[0] }]);
  });

  it('that went down are sought again', () => {
    const rig = new Rig();
    rig.nodes = [view(2)];
    rig.look();
    rig.peering.linkUp(rig.now, 2);
    rig.peering.linkDown(rig.now, 2);
    rig.run(3);
    expect(rig.of('try')).toHaveLength(1);
  });
});

describe('whatever records, calls and data say', () => {
  const endpoint = fc.record({
    kind: fc.integer({ min: 0, max: 4 }),
    host: fc.constantFrom(
      '203.0.113.66',
      '203.0.113.67',
      '127.0.0.1',
      '10.0.0.1',
      '224.0.0.1',
      '192.0.2.1',
      '::1',
    ),
    port: fc.constantFrom(0, 53, 1024, 7100, 65_535),
  });
  const event = fc.oneof(
    fc.record({ do: fc.constant('call' as const), node: fc.integer({ min: 2, max: 40 }) }),
    fc.record({ do: fc.constant('wish' as const), node: fc.integer({ min: 2, max: 40 }) }),
    fc.record({ do: fc.constant('up' as const), node: fc.integer({ min: 2, max: 40 }) }),
    fc.record({ do: fc.constant('down' as const), node: fc.integer({ min: 2, max: 40 }) }),
    fc.record({
      do: fc.constant('publish' as const),
      node: fc.integer({ min: 2, max: 40 }),
      endpoints: fc.array(endpoint, { maxLength: 8 }),
    }),
    fc.record({ do: fc.constant('wait' as const), node: fc.integer({ min: 1, max: 20 }) }),
  );

  it('attempts, and what any address gets to see of them, stay within their limits', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 200 }), fc.nat(), (events, seed) => {
        const rig = new Rig({}, seed);
        rig.nodes = Array.from({ length: 39 }, (_, i) => view(i + 2));
        const linked = new Set<number>();
        for (const each of events) {
          if (each.do === 'call') rig.take(rig.peering.called(rig.now, each.node));
          if (each.do === 'wish') rig.peering.wish(rig.now, each.node);
          if (each.do === 'up' && !linked.has(each.node) && rig.peering.admits(each.node)) {
            linked.add(each.node);
            rig.peering.linkUp(rig.now, each.node);
          }
          if (each.do === 'down' && linked.delete(each.node)) rig.peering.linkDown(rig.now, each.node);
          if (each.do === 'publish') {
            const { node, endpoints } = each;
            rig.nodes = rig.nodes.map((old) => (old.nodeId === node ? { ...old, endpoints } : old));
          }
          if (each.do === 'wait') rig.run(each.node);
          expect(rig.peering.degree).toBeLessThanOrEqual(PEERING_TUNING.most);
        }
        judge(rig);
      }),
      { numRuns: 100 },
    );
  });

  function judge(rig: Rig): void {
    const { attemptBurst, attemptMicros, hostBurst, hostMicros, placesPerHost, places } = PEERING_TUNING;
    const tries = rig.of('try');
    // Own attempts and those of calls have a bucket each.
    within(
      tries.map(({ at }) => at),
      2 * attemptBurst,
      attemptMicros / 2,
    );
    const hosts = new Map<string, number[]>();
    for (const { places: tried, at } of tries) {
      expect(tried.length).toBeLessThanOrEqual(places);
      const here = new Map<string, number>();
      for (const { host, port } of tried) {
        expect(['127.0.0.1', '224.0.0.1', '192.0.2.1', '::1', '10.0.0.1']).not.toContain(host);
        expect(port).toBeGreaterThanOrEqual(1024);
        here.set(host, (here.get(host) ?? 0) + 1);
      }
      for (const [host, count] of here) {
        expect(count).toBeLessThanOrEqual(placesPerHost);
        hosts.set(host, [...(hosts.get(host) ?? []), at]);
      }
    }
    // Taken when the attempt is made, which is up to 0.6 s before it is begun.
    for (const times of hosts.values()) within(times, hostBurst + 1, hostMicros);
  }

  /** Any n further ones take n − burst intervals at least. */
  function within(times: number[], burst: number, interval: number): void {
    for (let i = burst; i < times.length; i++)
      expect(times[i] - times[0]).toBeGreaterThanOrEqual((i - burst) * interval);
  }
});
