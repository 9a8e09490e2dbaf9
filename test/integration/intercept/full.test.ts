/**
 * Everything that a host sends, through its agent:
 *
 *     b 10.77.0.2 (agent) ── a 10.77.0.1 (agent, mode full) ── c (no agent; stands for the Internet)
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { type Agent, eventually, Overlay, peersOf, SOON, startAll, usable } from '../agent/overlay.js';
import type { Host, Program } from '../../support/net.js';

const RULES = '[{match: {proto: udp, port: 4444}, do: drop}, {match: {proto: udp, port: 5555}, do: overlay}]';

describe.skipIf(!usable)('mode full (needs root, /dev/net/tun and a build)', () => {
  const overlay = new Overlay();
  let a: Agent;
  let b: Agent;
  let c: Host;

  beforeAll(async () => {
    const { ground } = overlay;
    const [hostA, hostB] = [await ground.host('a'), await ground.host('b')];
    c = await ground.host('c');
    await ground.join(hostA, hostB);
    await ground.join(hostA, c);
    a = await overlay.agent(hostA, {
      peers: peersOf(hostA, 'v4', hostB),
      intercept: `{mode: full, rules: ${RULES}}`,
    });
    b = await overlay.agent(hostB, { peers: peersOf(hostB, 'v4', hostA) });
    await startAll(a, b);
    await a.connected(b);
    await a.reaches(b.v4);
  });

  const toC = (family: 'v4' | 'v6' = 'v4'): string => a.host.port(c).peer[family];
  const direct = async (): Promise<number> => (await a.client.status()).counters.direct.packets;

  it('sends a flow’s first packet on as it was, and leaves the rest to the kernel', async () => {
    for (const family of ['v4', 'v6'] as const) {
      const before = await direct();
      const tap = c.start('tcpdump', '-i', c.port(a.host).device, '-l', '-U', '-n', '-v', 'icmp or icmp6');
      await expect.poll(() => tap.err, SOON).toContain('listening');
      await a.host.well(
        'ping',
        '-n',
        '-c',
        '5',
        '-i',
        '0.3',
        '-t',
        '37',
        '-Q',
        '0x28',
        '-W',
        '1',
        toC(family),
      );
      expect((await direct()) - before).toBe(1);
      await expect.poll(() => tap.out.match(/(ttl|hlim) 37/g)?.length, SOON).toBe(5);
      // Of requests and answers.
      expect(tap.out.match(family === 'v4' ? /tos 0x28/g : /class 0x28/g)?.length).toBe(10);
      expect(tap.out).toContain(`${a.host.port(c)[family]} > ${toC(family)}`);
      await tap.stop();
    }
  });

  it('sends large datagrams in the fragments that the kernel would have made', async () => {
    const tap = c.start(
      'tcpdump',
      '-i',
      c.port(a.host).device,
      '-l',
      '-U',
      '-n',
      '-v',
      'icmp or ip6 proto 44',
    );
    await expect.poll(() => tap.err, SOON).toContain('listening');
    for (const family of ['v4', 'v6'] as const)
      expect(await a.pings(toC(family), '-s', '4000', '-p', '77')).toBe(true);
    // Requests and answers: 1500 bytes each, but for the last.
    for (const fragment of [
      /offset 0, flags \[\+\]/g,
      /offset 1480, flags \[\+\]/g,
      /offset 2960, flags \[none\]/g,
    ])
      await expect.poll(() => tap.out.match(fragment)?.length, SOON).toBe(2);
    for (const fragment of [/frag \(0x[0-9a-f]+:0\|1448\)/g, /:1448\|1448\)/g, /:2896\|1112\)/g])
      await expect.poll(() => tap.out.match(fragment)?.length, SOON).toBe(2);
    await tap.stop();
  });

  it('drops a flow that leaves directly from the reload on whose rules say so', async () => {
    const flow = a.host.start('python3', '-c', STREAM, toC(), '7777');
    const tap = c.start('tcpdump', '-i', c.port(a.host).device, '-l', '-U', '-n', 'udp port 7777');
    const arrived = (): number => tap.out.split('\n').length;
    const passes = async (): Promise<boolean> => {
      const before = arrived();
      await new Promise((resolve) => setTimeout(resolve, 300));
      return arrived() > before;
    };
    await expect.poll(passes, SOON).toBe(true);
    for (const [rules, isThrough] of [
      [`[{match: {proto: udp, port: 7777}, do: drop}, ${RULES.slice(1)}`, false],
      [RULES, true],
    ] as const) {
      a.configure({ intercept: `{mode: full, rules: ${rules}}` });
      expect((await a.cli('reload')).code).toBe(0);
      await expect.poll(passes, SOON).toBe(isThrough);
    }
    await Promise.all([flow.stop(), tap.stop()]);
  });

  it('carries connections of both directions, and the overlay beside them', async () => {
    for (const [server, client, address] of [
      [c, a.host, toC()],
      [a.host, c, a.host.port(c).v4],
      [b.host, a.host, b.v4],
    ] as const) {
      const web = server.start('python3', '-u', '-m', 'http.server', '8080', '--bind', address, '-d', '/etc');
      await expect.poll(() => web.out, SOON).toContain('Serving');
      expect(await client.well('curl', '-sS', '--max-time', '5', `http://${address}:8080/hostname`)).not.toBe(
        '',
      );
      await web.stop();
    }
  });

  it('drops what a rule drops, and refuses what a rule leads where there is no way', async () => {
    const tap = c.start('tcpdump', '-i', c.port(a.host).device, '-l', '-U', '-n', 'udp');
    await expect.poll(() => tap.err, SOON).toContain('listening');
    expect(await sendUdp(a.host, toC(), 4444)).toBe('');
    expect(await sendUdp(a.host, toC(), 5555)).toContain('No route to host');
    expect(await sendUdp(a.host, toC(), 6666)).toContain('refused');
    await expect.poll(() => tap.out, SOON).toContain('.6666');
    await tap.stop();
    expect(tap.out).not.toMatch(/\.(4444|5555)/);
    expect((await a.drops())['rule']).toBeGreaterThan(0);
  });

  it('gives direct traffic back within a second of being killed, under load', async () => {
    const flood = a.host.start('python3', '-c', FLOOD, toC());
    const ping = a.host.start('ping', '-n', '-D', '-i', '0.05', toC());
    await expect.poll(() => ping.out.split('\n').length, SOON).toBeGreaterThan(5);
    const web = c.start('python3', '-u', '-m', 'http.server', '8081', '--bind', toC(), '-d', '/etc');
    await expect.poll(() => web.out, SOON).toContain('Serving');
    await a.stop('SIGKILL');
    const killed = performance.now();
    // A new flow, which nobody has decided about.
    await a.host.well('curl', '-sS', '--max-time', '1', `http://${toC()}:8081/hostname`);
    expect(performance.now() - killed).toBeLessThan(1000);
    await new Promise((resolve) => setTimeout(resolve, 500));
    const ended = Date.now() / 1000;
    await ping.stop('SIGINT');
    expect(longestGap(ping, ended)).toBeLessThan(1);
    await Promise.all([flood.stop(), web.stop()]);
    // What was meant for the overlay doesn't leave in clear.
    expect((await a.host.run('ping', '-n', '-c', '1', '-W', '1', b.v4)).err).toContain('No route to host');
    const { out } = await a.cli('down', '--tun', 'cw0');
    expect(out).toContain('nftables table inet causeway-cw0');
    expect(await a.host.well('nft', 'list', 'ruleset')).toBe('');
    expect(await a.host.well('ip', 'rule')).not.toContain('710');
  });

  it('puts back what others took away', async () => {
    await startAll(a);
    await a.connected(b);
    await a.reaches(b.v4);
    const table = /lookup (\d+)/.exec(await a.host.well('ip', '-N', 'rule', 'show', 'pref', '7100'))![1];
    await a.host.well('ip', 'route', 'flush', 'table', table);
    await a.host.well('ip', 'rule', 'del', 'pref', '7101');
    await a.host.well('ip', 'link', 'set', 'cw0', 'down');
    await a.host.well('ip', 'link', 'set', 'cw0', 'up');
    await a.host.well('nft', 'flush', 'ruleset');
    await eventually(async () => {
      expect(await a.host.well('ip', 'rule')).toContain('7101');
      expect(await a.host.well('nft', 'list', 'tables')).toContain('causeway-cw0');
    });
    await a.reaches(b.v4);
    expect(a.log.some(({ msg }) => msg === 'put back what something else took away')).toBe(true);
  });

  it('leaves no trace when it stops', async () => {
    await a.stop();
    expect(await a.host.well('nft', 'list', 'ruleset')).toBe('');
    expect(await a.host.well('ip', 'rule')).not.toContain('710');
    expect(await a.host.well('ip', '-6', 'rule')).not.toContain('710');
  });
});

/** What the kernel says of a datagram, half a second later. */
async function sendUdp(host: Host, address: string, port: number): Promise<string> {
  return (await host.run('python3', '-c', UDP, address, String(port))).err.trim();
}

/** Seconds without an answer, at most, until `ended`, seconds since 1970. */
function longestGap(ping: Program, ended: number): number {
  const answers = [...ping.out.matchAll(/^\[([\d.]+)\] \d+ bytes/gm)].map((match) => Number(match[1]));
  const times = [...answers, ended];
  return Math.max(...times.slice(1).map((time, i) => time - times[i]));
}

const UDP = `
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, 11, 1) # IP_RECVERR
s.connect((sys.argv[1], int(sys.argv[2])))
s.send(b'x')
time.sleep(0.5)
error = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
import os
if error: print(os.strerror(error), file=sys.stderr)
`;
/** One flow, a datagram every 20 ms. */
const STREAM = `
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    try: s.sendto(bytes(50), (sys.argv[1], int(sys.argv[2])))
    except OSError: pass
    time.sleep(0.02)
`;
const FLOOD = `
import socket, sys, time
while True:
    for port in range(20000, 21000):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try: s.sendto(bytes(200), (sys.argv[1], port))
        except OSError: pass
        s.close()
    time.sleep(0.001)
`;
