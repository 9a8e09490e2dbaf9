/**
 * Deaths under traffic, of links and of agents:
 *
 *               m1 10.77.0.2
 *              /            \
 *     a 10.77.0.1           b 10.77.0.3
 *              \            /
 *               m2 10.77.0.4
 */
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Program } from '../../support/net.js';
import { type Agent, eventually, Overlay, peersOf, SOON, startAll, usable } from './overlay.js';

const STREAM = join(import.meta.dirname, '../../../bench/failover/stream.mjs');
/** ms; what the agents need is much less (bench/failover.mjs measures it), the rest is room for a busy machine. */
const PATIENCE = 4000;
/** ms of silence that end a busy link. */
const SILENCE = 500;

describe.skipIf(!usable)('a diamond (needs root, /dev/net/tun, nft and a build)', () => {
  const overlay = new Overlay();
  let a: Agent;
  let b: Agent;
  let m1: Agent;
  let m2: Agent;
  let ping: Program;
  let server: Program;
  let sender: Program;

  beforeAll(async () => {
    const { ground } = overlay;
    const [hostA, hostM1, hostB, hostM2] = [
      await ground.host('a'),
      await ground.host('m1'),
      await ground.host('b'),
      await ground.host('m2'),
    ];
    for (const relay of [hostM1, hostM2]) {
      await ground.join(hostA, relay);
      await ground.join(relay, hostB);
    }
    a = await overlay.agent(hostA, { peers: peersOf(hostA, 'v4', hostM1, hostM2) });
    m1 = await overlay.agent(hostM1, { peers: peersOf(hostM1, 'v4', hostA, hostB) });
    b = await overlay.agent(hostB, { peers: peersOf(hostB, 'v4', hostM1, hostM2) });
    m2 = await overlay.agent(hostM2, { peers: peersOf(hostM2, 'v4', hostA, hostB) });
    await startAll(a, b, m1, m2);
    await whole();
  }, 60_000);

  afterEach(async () => {
    await Promise.all([ping, sender, server].map((program) => program.stop('SIGKILL')));
  });

  /** Everyone has its links. */
  const whole = async (): Promise<void> => {
    await a.connected(m1, m2);
    await b.connected(m1, m2);
    await a.reaches(b.v4);
  };

  const answers = (): number[] => [...ping.out.matchAll(/icmp_seq=(\d+) ttl/g)].map(([, n]) => Number(n));
  const answered = (): number => answers().length;
  /** Pings sent before the last that was answered, and after the first, and not answered. */
  const missing = (): number => Math.max(...answers()) - Math.min(...answers()) + 1 - new Set(answers()).size;
  /** When an agent's link to a peer went down, ms since 1970, and why: by its log from line `from` on. */
  const downs = (agent: Agent, peer: Agent, from: number): { at: number; reason: unknown }[] =>
    agent.log
      .slice(from)
      .filter((line) => line['msg'] === 'link down' && line['peer'] === peer.name)
      .map(({ time, reason }) => ({ at: Number(time), reason }));

  /** Pings each 20 ms and a TCP stream from a to b. */
  async function traffic(): Promise<void> {
    server = b.host.start(process.execPath, STREAM, 'serve');
    await eventually(() => expect(server.out).toContain('listening'));
    sender = a.host.start(process.execPath, STREAM, 'send', b.v4);
    ping = a.host.start('ping', '-n', '-i0.02', b.v4);
    await expect.poll(answered, SOON).toBeGreaterThan(20);
  }

  /** Waits until pings are answered again; returns how many ms went by without an answer. */
  async function restored(): Promise<number> {
    const began = Date.now();
    const before = answered();
    await expect.poll(() => answered() - before, SOON).toBeGreaterThan(25);
    return Date.now() - began - 25 * 20;
  }

  /** The stream arrived whole and in order, and goes on. */
  async function streamIsWhole(): Promise<void> {
    expect(sender.text).toBe('');
    expect(sender.running).toBe(true);
    await sender.stop('SIGTERM');
    await new Promise((resolve) => setTimeout(resolve, 300));
    await server.stop('SIGTERM');
    const line = server.out.split('\n').find((each) => each.startsWith('{')) ?? '{}';
    expect(JSON.parse(line)).toMatchObject({ inOrder: true, ended: 'end' });
    expect((JSON.parse(line) as { bytes: number }).bytes).toBeGreaterThan(100_000);
  }

  const relayInUse = async (): Promise<Agent> =>
    (await a.client.routes()).find(({ owner }) => owner === 'b')!.via === 'm1' ? m1 : m2;
  /** Which relay an echo takes, that is, best effort; `routes` may name another for what is recovered. */
  const relayOfEchoes = async (): Promise<Agent> =>
    (await a.cli('ping', 'b', '-n', '1', '--json')).out.includes('"pathThere":["m1"') ? m1 : m2;
  const timesOutOfTtl = async (): Promise<number[]> =>
    Promise.all([a, b, m1, m2].map(async (agent) => (await agent.drops())['ttl-exceeded'] ?? 0));

  /** Lets no IP packet from `from` in, without anyone being told. */
  const blackhole = (at: Agent, from: Agent): Promise<string> =>
    at.host.well(
      'nft',
      `add table inet cut; add chain inet cut c { type filter hook prerouting priority -500; }; add rule inet cut c iifname ${at.host.port(from.host).device} drop`,
    );
  const clear = (at: Agent): Promise<string> => at.host.well('nft', 'delete table inet cut');

  it('carries on when the path in use dies silently, again and again, with no packet going round', async () => {
    await traffic();
    for (let k = 0; k < 3; k++) {
      const relay = await relayInUse();
      await Promise.all([blackhole(a, relay), blackhole(relay, a)]);
      expect(await restored()).toBeLessThan(PATIENCE);
      expect(await relayInUse()).not.toBe(relay);
      await Promise.all([clear(a), clear(relay)]);
      await whole();
    }
    expect(await timesOutOfTtl()).toEqual([0, 0, 0, 0]);
    await streamIsWhole();
  }, 60_000);

  it('carries on when one direction of a link dies', async () => {
    await traffic();
    const relay = await relayInUse();
    await blackhole(a, relay);
    expect(await restored()).toBeLessThan(PATIENCE);
    await clear(a);
    await whole();
    await streamIsWhole();
  }, 30_000);

  /** Takes an interface of the relay in use down and up again; ms until both ends of the link knew. */
  async function interfaceDown(end: 'own' | 'other'): Promise<number> {
    const relay = await relayInUse();
    const [at, from] = end === 'own' ? [a, relay] : [relay, a];
    const { device } = at.host.port(from.host);
    const lines = [a.log.length, relay.log.length] as const;
    const cutAt = Date.now();
    await at.host.well('ip', 'link', 'set', device, 'down');
    expect(await restored()).toBeLessThan(PATIENCE);
    const known = [downs(a, relay, lines[0]), downs(relay, a, lines[1])].map((each) => each[0]!.at - cutAt);
    await at.host.well('ip', 'link', 'set', device, 'up');
    await whole();
    return Math.max(...known);
  }

  it.each(['own', 'other'] as const)(
    'hears of an interface that goes down at its %s end, at both, before silence could tell',
    async (end) => {
      await traffic();
      // A busy machine may take that long once, or twice.
      let soonest = Infinity;
      for (let k = 0; k < 4 && soonest >= SILENCE; k++) soonest = Math.min(soonest, await interfaceDown(end));
      expect(soonest).toBeLessThan(SILENCE);
      await streamIsWhole();
    },
    60_000,
  );

  it.each(['SIGTERM', 'SIGKILL'] as const)(
    'loses no connection to a relay that ends by %s and begins again, and uses it again',
    async (signal) => {
      await traffic();
      const relay = await relayInUse();
      const [lines, lost] = [a.log.length, missing()];
      await relay.stop(signal);
      expect(await restored()).toBeLessThan(PATIENCE);
      if (signal === 'SIGTERM') expect(downs(a, relay, lines)).toMatchObject([{ reason: 'closed' }]);
      // Who is told to stop goes on relaying until the others go round it.
      if (signal === 'SIGTERM') expect(missing() - lost).toBeLessThanOrEqual(1);
      relay.start();
      await relay.ready();
      await whole();
      await relay.reaches(b.v4);
      // Now it is the only way.
      const other = relay === m1 ? m2 : m1;
      await other.stop('SIGTERM');
      expect(await restored()).toBeLessThan(PATIENCE);
      expect(await relayInUse()).toBe(relay);
      other.start();
      await other.ready();
      await whole();
      await streamIsWhole();
    },
    90_000,
  );

  it('leaves flows of others alone when an end is killed, and serves that end again', async () => {
    await traffic();
    const own = ping;
    const others = m1.host.start('ping', '-n', '-i0.02', m2.v4);
    await expect.poll(() => others.out, SOON).toMatch(/icmp_seq=20 /);
    await b.stop('SIGKILL');
    await expect.poll(() => others.out, SOON).toMatch(/icmp_seq=80 /);
    b.start();
    await b.ready();
    await whole();
    const before = answered();
    await expect.poll(() => answered() - before, SOON).toBeGreaterThan(20);
    await others.stop('SIGINT');
    await own.stop('SIGINT');
    const lost = Number(/(\d+(\.\d+)?)% packet loss/.exec(others.out)![1]);
    // m1 and m2 see each other over a, or over b: at most its death is noticed.
    expect(lost).toBeLessThan(40);
  }, 60_000);

  it('traces each hop, and pings name the way', async () => {
    await traffic();
    const relay = await relayOfEchoes();
    const { code, out } = await a.cli('trace', 'b', '-c', '3', '-i', '0.05', '--json');
    expect(code).toBe(0);
    const trace = JSON.parse(out) as { hops: { nodes: string[]; received: number }[]; paths: string[][] };
    expect(trace.hops.map(({ nodes }) => nodes)).toEqual([[relay.name], ['b']]);
    expect(trace.hops.map(({ received }) => received)).toEqual([3, 3]);
    expect(trace.paths).toEqual([[relay.name, 'b']]);
    // Equally good ways may change places by themselves, so each is cut once: the ping that takes it changes over.
    const told = a.cli('ping', 'b', '-n', '160', '-i', '0.05');
    await new Promise((resolve) => setTimeout(resolve, 2000));
    for (const relay of [m1, m2]) {
      await a.host.well('ip', 'link', 'set', a.host.port(relay.host).device, 'down');
      await new Promise((resolve) => setTimeout(resolve, 1000));
      await a.host.well('ip', 'link', 'set', a.host.port(relay.host).device, 'up');
      await a.connected(m1, m2);
    }
    expect((await told).out).toMatch(/path there changed: m. → b, was m. → b[^]*the path changed/);
    await whole();
  }, 60_000);
});
