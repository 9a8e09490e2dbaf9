/**
 * A relay between hosts that have no link of their own; nobody but the relay is called, and it calls nobody:
 *
 *     a 10.77.0.1 ──── m 10.77.0.2 ──── b 10.77.0.3
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LinkStatus, PeerStatus, RouteStatus, Status } from '../../../src/control/index.js';
import { type Agent, eventually, Overlay, peersOf, SOON, startAll, usable } from './overlay.js';

describe.skipIf(!usable)('a chain of three (needs root, /dev/net/tun and a build)', () => {
  const overlay = new Overlay();
  let a: Agent;
  let m: Agent;
  let b: Agent;

  beforeAll(async () => {
    const { ground } = overlay;
    const [hostA, hostM, hostB] = [await ground.host('a'), await ground.host('m'), await ground.host('b')];
    await ground.join(hostA, hostM);
    await ground.join(hostM, hostB);
    a = await overlay.agent(hostA, { peers: peersOf(hostA, 'v4', hostM) });
    m = await overlay.agent(hostM);
    b = await overlay.agent(hostB, { peers: peersOf(hostB, 'v6', hostM) });
    await startAll(a, m, b);
    await a.reaches(b.v4);
  });

  const json = async <T>(agent: Agent, command: string): Promise<T> => {
    const { code, out, err } = await agent.cli(command, '--json');
    expect([code, err]).toEqual([0, '']);
    return JSON.parse(out) as T;
  };

  it('reaches the far end through the relay, both ways, in both families, whole and in fragments', async () => {
    for (const [from, to] of [
      [a, b],
      [b, a],
      [a, m],
      [m, b],
    ])
      for (const address of [to.v4, to.v6])
        expect(await from.pings(address, '-s', '3000'), `${from.name} to ${address}`).toBe(true);
  });

  it.each([
    ['UDP over IPv4', (): string[] => ['-4', b.v4], (agent: Agent): string => agent.v4],
    ['ICMP over IPv4', (): string[] => ['-4', '-I', b.v4], (agent: Agent): string => agent.v4],
    ['TCP over IPv4', (): string[] => ['-4', '-T', b.v4], (agent: Agent): string => agent.v4],
    ['UDP over IPv6', (): string[] => ['-6', b.v6], (agent: Agent): string => agent.v6],
    ['ICMP over IPv6', (): string[] => ['-6', '-I', b.v6], (agent: Agent): string => agent.v6],
  ])('shows the relay and the far end to traceroute by %s', async (_what, target, addressOf) => {
    const out = await a.host.well('traceroute', '-n', '-q1', '-w2', ...target());
    const hops = out
      .split('\n')
      .slice(1, -1)
      .map((line) => line.trim().split(/\s+/));
    expect(hops.map(([number, address]) => [number, address])).toEqual([
      ['1', addressOf(m)],
      ['2', addressOf(b)],
    ]);
  });

  it('has the relay say that the TTL was exceeded', async () => {
    for (const [address, relay] of [
      [b.v4, m.v4],
      [b.v6, m.v6],
    ]) {
      const { code, out } = await a.host.run('ping', '-n', '-c1', '-W2', '-t1', address);
      expect(code).toBe(1);
      expect(out).toMatch(/Time (to live )?exceeded/);
      expect(out).toContain(`From ${relay} `);
      expect(await a.pings(address, '-t2')).toBe(true);
    }
  });

  it('names the hops in `causeway ping`, by name and by address', async () => {
    for (const target of ['b', b.v4, b.v6]) {
      const { code, out } = await a.cli('ping', '-n2', '-i0.05', target);
      expect(code).toBe(0);
      expect(out).toMatch(/m.*b/);
      expect(out).toContain('2 sent, 2 answered, 0 % lost');
    }
    const { out } = await a.cli('ping', '-n1', '--json', 'b');
    const events = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(events.map(({ type }) => type)).toEqual(['start', 'reply', 'summary']);
    expect(events[1]).toMatchObject({ number: 0, pathThere: ['m', 'b'], pathBack: ['m', 'a'] });
  });

  it('says in `causeway ping` what it does not know', async () => {
    const nobody = await a.cli('ping', 'bb');
    expect([nobody.code, nobody.err]).toEqual([
      1,
      'causeway: no node of the overlay is called bb; did you mean b?\n',
    ]);
    expect((await a.cli('ping', '10.77.9.9')).err).toContain(
      'no node of the overlay has the address 10.77.9.9',
    );
  });

  it('lists who owns what and the way there', async () => {
    const routes = await json<RouteStatus[]>(a, 'routes');
    const shown = routes.map(({ prefix, owner, via, hops }) => [prefix, owner, via, hops]);
    expect(shown.sort()).toEqual(
      [
        ['10.77.0.1/32', 'a', null, 0],
        ['fd77::1/128', 'a', null, 0],
        ['10.77.0.2/32', 'm', 'm', 1],
        ['fd77::2/128', 'm', 'm', 1],
        ['10.77.0.3/32', 'b', 'm', 2],
        ['fd77::3/128', 'b', 'm', 2],
      ].sort(),
    );
    for (const { owner, costMicros } of routes) {
      if (owner === 'a') expect(costMicros).toBe(0);
      else expect(costMicros).toBeGreaterThan(0);
    }
    const { out } = await a.cli('routes');
    expect(out).toMatch(/^10\.77\.0\.3\/32 +b +m +2 /m);
    expect(out).toMatch(/^10\.77\.0\.1\/32 +a +this node +0 /m);
  });

  it('lists peers and links, whether configured or callers', async () => {
    const { peer: towards } = m.host.port(a.host);
    const peers = await json<PeerStatus[]>(m, 'peers');
    expect(peers).toMatchObject([
      { name: 'a', configured: false, state: 'connected', reason: null, endpoint: `${towards.v4}:7100` },
      { name: 'b', configured: false, state: 'connected', reason: null },
    ]);
    expect(peers[0].rttMicros).toBeGreaterThan(0);
    const links = await json<LinkStatus[]>(m, 'links');
    expect(links.map(({ peer, state }) => [peer, state])).toEqual([
      ['a', 'up'],
      ['b', 'up'],
    ]);
    expect(links[1].endpoint).toBe(`[${m.host.port(b.host).peer.v6}]:7100`);
    for (const { sent, received, rttMicros } of links) {
      expect(Math.min(sent.packets, received.packets, rttMicros ?? 0)).toBeGreaterThan(0);
    }
    expect((await m.cli('peers')).out).toMatch(/^a +connected +called +/m);
    expect((await a.cli('peers')).out).toMatch(/^m +connected +/m);
    expect((await a.cli('links')).out).toMatch(/^m +(good|slow) +/m);
  });

  it('counts on the relay what it passed on, and on the ends what entered and left', async () => {
    const before = await json<Status>(m, 'status');
    expect(await a.pings(b.v4)).toBe(true);
    const after = await json<Status>(m, 'status');
    expect(after.counters.relayed.packets - before.counters.relayed.packets).toBe(2);
    expect(after.counters.tunOut.packets).toBe(before.counters.tunOut.packets);
    expect(after).toMatchObject({
      ready: true,
      node: 'm',
      addresses: ['10.77.0.2', 'fd77::2'],
      overlay: ['10.77.0.0/16', 'fd77::/48'],
      tun: { name: 'cw0', mtu: 1380 },
      peers: { configured: 0, connected: 2 },
      warnings: [],
    });
    const { out } = await a.cli('status');
    expect(out).toMatch(/^node +a \(.*\), ready, up /m);
    expect(out).toMatch(/^peers +1 configured, 1 connected/m);
  });

  it('drops a packet whose source is not this node’s, and counts it', async () => {
    for (const [family, foreign, target, bits] of [
      ['-4', '10.77.0.99', b.v4, 32],
      ['-6', 'fd77::99', b.v6, 128],
      ['-4', '198.51.100.7', b.v4, 32],
    ] as const) {
      await a.host.well('ip', family, 'address', 'add', `${foreign}/${bits}`, 'dev', 'lo');
      const before = (await a.drops())['foreign-source'] ?? 0;
      const arrived = (await b.client.status()).counters.tunOut.packets;
      expect(await a.pings(target, '-I', foreign)).toBe(false);
      expect((await a.drops())['foreign-source']).toBe(before + 1);
      expect((await b.client.status()).counters.tunOut.packets).toBe(arrived);
      await a.host.well('ip', family, 'address', 'del', `${foreign}/${bits}`, 'dev', 'lo');
    }
  });

  it('answers "host unreachable" for an address that nobody owns, and lets nothing of it out', async () => {
    const tap = a.host.start(
      'tcpdump',
      '-i',
      a.host.port(m.host).device,
      '-l',
      '-U',
      '-n',
      'not',
      'port',
      '7100',
    );
    await expect.poll(() => tap.err, SOON).toContain('listening');
    for (const [address, from] of [
      ['10.77.9.9', '10.77.9.9'],
      ['fd77::9:9', a.v6],
    ]) {
      const { out } = await a.host.run('ping', '-n', '-c1', '-W2', address);
      expect(out).toMatch(new RegExp(`From ${from} icmp_seq=1 Destination .*unreachable`, 'i'));
    }
    expect((await a.host.run('curl', '-sS', '--max-time', '5', 'http://10.77.9.9/')).err).toMatch(
      /No route to host|Couldn't connect/,
    );
    // Whatever went out went before this one, which the tap must show.
    await a.host.run('ping', '-c1', '-W1', a.host.port(m.host).peer.v4);
    await expect.poll(() => tap.out, SOON).toContain('ICMP echo reply');
    await tap.stop();
    expect(tap.out).not.toMatch(/10\.77\.|fd77:/);
  });

  describe('when the far end has gone', () => {
    beforeAll(async () => {
      await b.stop('SIGKILL');
    });
    afterAll(async () => {
      b.start();
      await b.ready();
      await a.reaches(b.v4);
    });

    it('answers "host unreachable" for it, and says so in routes', async () => {
      await eventually(async () => {
        const { out } = await a.host.run('ping', '-n', '-c1', '-W1', b.v4);
        expect(out).toMatch(/Destination Host Unreachable/);
      });
      await eventually(async () => {
        const gone = (await a.client.routes()).filter(({ owner }) => owner === 'b');
        for (const { via, hops } of gone) expect([via, hops]).toEqual([null, null]);
      });
      const { code, err } = await a.cli('ping', '-n1', 'b');
      expect([code, err]).toEqual([1, 'causeway: no answer from b\n']);
      expect(await a.pings(m.v4)).toBe(true);
    });
  });
});
