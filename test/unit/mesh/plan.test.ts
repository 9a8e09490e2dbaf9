import { describe, expect, it } from 'vitest';
import { agentConfig } from '../../../scripts/netns/agents.js';
import { shapeLine } from '../../../scripts/netns/emulator.js';
import { parseMeshFile } from '../../../scripts/netns/file.js';
import { gilbert, netemLines } from '../../../scripts/netns/netem.js';
import { planMesh, type Plan, type PlannedNode } from '../../../scripts/netns/plan.js';
import { plainShape } from '../../../scripts/netns/quantity.js';
import { shortestPaths } from '../../../scripts/netns/routes.js';
import { newState } from '../../../scripts/netns/state.js';
import { statusOf } from '../../../scripts/netns/status.js';

const plan = (text: string): Plan => planMesh(parseMeshFile(text, 'test.yaml'));
const node = (of: Plan, name: string): PlannedNode => of.nodes.find((one) => one.name === name)!;
const peers = (of: Plan, name: string): string[] => node(of, name).peers.map((peer) => peer.name);

const chain = `
name: chain
nodes: {a: {}, b: {}, c: {peers: [b]}}
links: [{between: [a, b], delay: 10ms}, {between: [b, c]}]`;

describe('shortest paths', () => {
  //      1      1
  //   a ─── b ─── c
  //    ╲____5____╱
  const edges = [
    { ends: ['a', 'c'], delayMs: 5 },
    { ends: ['a', 'b'], delayMs: 1 },
    { ends: ['b', 'c'], delayMs: 1 },
  ] as const;

  it('count delay before links', () => {
    expect(shortestPaths('a', edges, () => true).get('c')).toEqual(['a', 'b', 'c']);
  });

  it('count links where the delay is the same', () => {
    const flat = edges.map((edge) => ({ ...edge, delayMs: 0 }));
    expect(shortestPaths('a', flat, () => true).get('c')).toEqual(['a', 'c']);
  });

  it('lead through no node that doesn’t relay', () => {
    expect(shortestPaths('a', edges, (name) => name !== 'b').get('c')).toEqual(['a', 'c']);
  });

  it('lead nowhere where no link does', () => {
    expect([...shortestPaths('d', edges, () => true).keys()]).toEqual(['d']);
  });
});

describe('the plan of a mesh', () => {
  it('names namespaces and gives overlay addresses in the order of the nodes', () => {
    const { nodes } = plan(chain);
    expect(nodes.map((one) => one.namespace)).toEqual(['cw-chain-a', 'cw-chain-b', 'cw-chain-c']);
    expect(nodes.map((one) => one.overlay)).toEqual([
      ['10.77.0.1', 'fd77::1'],
      ['10.77.0.2', 'fd77::2'],
      ['10.77.0.3', 'fd77::3'],
    ]);
  });

  it('makes every neighbour a peer, at its address on the common link', () => {
    expect(node(plan(chain), 'b').peers).toEqual([
      { name: 'a', endpoints: ['10.90.0.1:7100', '[fd90::1]:7100'] },
      { name: 'c', endpoints: ['10.90.0.6:7100', '[fd90:0:0:1::2]:7100'] },
    ]);
  });

  it('leaves out a neighbour that lists its peers without this node', () => {
    const triangle = plan(`
nodes: {a: {peers: [b]}, b: {}, c: {}}
links: [{between: [a, b]}, {between: [b, c]}, {between: [a, c]}]`);
    expect([peers(triangle, 'a'), peers(triangle, 'b'), peers(triangle, 'c')]).toEqual([
      ['b'],
      ['a', 'c'],
      ['b'],
    ]);
  });

  it('gives agents no kernel route: what is beyond a link is the overlay’s to find', () => {
    expect(plan(chain).nodes.flatMap((one) => one.routes)).toEqual([]);
  });

  it('without agents routes every address along the shortest path', () => {
    const baseline = plan(`${chain}\nagent: false`);
    expect(node(baseline, 'a').overlayOnLoopback).toBe(true);
    expect(node(baseline, 'a').routes).toContainEqual({
      to: '10.77.0.3',
      via: '10.90.0.2',
      interface: 'to-b',
      from: '10.77.0.1',
    });
    expect(node(baseline, 'a').routes).toContainEqual({
      to: 'fd90:0:0:1::2',
      via: 'fd90::2',
      interface: 'to-b',
    });
  });

  //   a ── r ── c      r has no agent
  it('reaches a peer through nodes without an agent, at its address on the last link', () => {
    const routed = plan(`
nodes: {a: {peers: [c]}, r: {agent: false}, c: {}}
links: [{between: [a, r]}, {between: [r, c]}]`);
    expect(node(routed, 'a').peers[0]!.endpoints[0]).toBe('10.90.0.6:7100');
    expect(node(routed, 'a').routes).toContainEqual({ to: '10.90.0.6', via: '10.90.0.2', interface: 'to-r' });
    expect(node(routed, 'c').routes).toContainEqual({ to: '10.90.0.1', via: '10.90.0.5', interface: 'to-r' });
    expect(node(routed, 'r').overlay).toEqual([]);
  });

  it('refuses a peer that no link leads to, or that has no agent', () => {
    expect(() => plan(chain.replace('peers: [b]', 'peers: [a]'))).toThrowError(/no link leads to its peer a/);
    expect(() => plan(chain.replace('b: {}', 'b: {agent: false}'))).toThrowError(/its peer b has no agent/);
  });

  it('keeps interface names within the 15 characters that Linux allows', () => {
    const long = plan(
      '{nodes: {a: {}, a-rather-long-name.example: {}}, links: [{between: [a, a-rather-long-name.example]}]}',
    );
    expect(long.links[0]!.ends.map((end) => end.interface)).toEqual(['link0', 'to-a']);
  });

  it('gives every end of many links an address of its own', () => {
    const names = Array.from({ length: 40 }, (_, index) => `n${index}`);
    const links = names.flatMap((a, i) => names.slice(i + 1).map((b) => `{between: [${a}, ${b}]}`));
    const full = plan(
      `{nodes: {${names.map((name) => `${name}: {}`).join(', ')}}, links: [${links.join(', ')}]}`,
    );
    const ends = full.links.flatMap((link) => link.ends);
    expect(ends).toHaveLength(1560);
    for (const key of ['address4', 'address6', 'mac'] as const)
      expect(new Set(ends.map((end) => end[key])).size).toBe(ends.length);
  });
});

describe('what a node’s agent is told', () => {
  it('is its own keys under those of the mesh file', () => {
    const state = newState(plan(`${chain}\nagent: {tun: {mtu: 1300}, log: {level: debug}}`), 1);
    const config = agentConfig('chain', state.nodes[0]!);
    expect(config).toMatchObject({
      node: 'a',
      listen: { host: '::', port: 7100 },
      tun: { name: 'cw0', mtu: 1300 },
      log: { level: 'debug' },
    });
    expect(config['peers']).toEqual(state.nodes[0]!.peers);
  });
});

describe('status', () => {
  it('has the keys that scripts rely on', () => {
    const status = statusOf(newState(plan(`${chain}\nagent: false`), 1));
    expect(status.nodes['b']).toEqual({
      namespace: 'cw-chain-b',
      overlay: ['10.77.0.2', 'fd77::2'],
      underlay: {
        a: { interface: 'to-a', address: '10.90.0.2', peer: '10.90.0.1' },
        c: { interface: 'to-c', address: '10.90.0.5', peer: '10.90.0.6' },
      },
      socket: null,
      pid: null,
      config: null,
    });
    expect(status.links[0]).toEqual({
      between: ['a', 'b'],
      delay_ms: 10,
      loss_pct: 0,
      rate_mbit: null,
      up: true,
    });
  });

  it('says that a link is not up while one of its directions is a blackhole', () => {
    const state = newState(plan(chain), 1);
    const [first, ...others] = state.links;
    const directions = [first!.directions[0], { ...first!.directions[1], blackhole: true }] as const;
    const status = statusOf({ ...state, links: [{ ...first!, directions }, ...others] });
    expect(status.links.map((link) => link.up)).toEqual([false, true]);
  });
});

describe('a shape as commands', () => {
  const shape = { delayMs: 10, loss: 0.01, burst: 3, rateBps: 10e6, queueMs: 50 };

  it('is netem with a token bucket under it where the kernel has netem', () => {
    expect(netemLines('to-b', shape, 1500)).toEqual([
      'qdisc add dev to-b root handle 1: netem limit 1000000 delay 10000us loss gemodel 0.3367% 33.333333%',
      'qdisc add dev to-b parent 1:1 handle 2: tbf rate 10000000bit burst 1514 latency 50000us',
    ]);
    expect(netemLines('to-b', { ...plainShape, loss: 0.05 }, 1500)).toEqual([
      'qdisc add dev to-b root handle 1: netem limit 1000000 delay 0us loss random 5%',
    ]);
  });

  it('is nanoseconds and bits per second for the emulator', () => {
    expect(shapeLine(2, 1, { ...shape, blackhole: true, down: false })).toBe(
      'shape 2 1 10000000 0.01 3 10000000 50000000 1',
    );
    expect(shapeLine(0, 0, { ...plainShape, blackhole: false, down: false })).toBe(
      'shape 0 0 0 0 0 0 50000000 0',
    );
  });

  it('loses in the long run the share that was asked for', () => {
    const { toBad, toGood } = gilbert(0.05, 3);
    expect(toBad / (toBad + toGood)).toBeCloseTo(0.05);
    expect(1 / toGood).toBe(3);
  });
});
