/**
 * Unmodified programs between two hosts, over an underlay of IPv4, of IPv6, and with an agent that does without the addon:
 *
 *     a 10.77.0.1 fd77::1 ──── one veth pair, tapped by tcpdump ──── b 10.77.0.2 fd77::2
 */
import { createHash, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Program } from '../../support/net.js';
import { type Agent, type AgentChanges, Overlay, pair, SOON, usable } from './overlay.js';

const MARKER = 'a-marker-that-only-the-ends-may-read';

const cases: [string, 'v4' | 'v6', [AgentChanges, AgentChanges]][] = [
  ['an IPv4 underlay', 'v4', [{}, {}]],
  ['an IPv6 underlay', 'v6', [{}, {}]],
  ['an agent without the addon and one with it', 'v4', [{ plain: true }, {}]],
];

describe.skipIf(!usable)('two hosts (needs root, /dev/net/tun and a build)', () => {
  describe.each(cases)('over %s', (_what, family, changes) => {
    const overlay = new Overlay();
    let a: Agent;
    let b: Agent;
    /** Both ends called at once, so one of two handshakes came to nothing. */
    let before: unknown;

    beforeAll(async () => {
      ({ a, b } = await pair(overlay, family, changes));
      before = await dropped(a, b);
    });

    it('answers pings to IPv4 and IPv6 addresses, small, full-sized and fragmented', async () => {
      for (const address of [b.v4, b.v6]) {
        for (const size of [8, 1332, 4000, 20_000]) {
          expect(await a.pings(address, '-s', String(size)), `${address} with ${size} bytes`).toBe(true);
        }
      }
    });

    it('answers pings the other way', async () => {
      expect(await b.pings(a.v4)).toBe(true);
      expect(await b.pings(a.v6)).toBe(true);
    });

    it('refuses locally what is larger than the MTU and may not be cut', async () => {
      const { code, err } = await a.host.run('ping', '-c1', '-W0.1', '-Mdo', '-s1353', b.v4);
      expect([code, err]).toEqual([1, expect.stringContaining('mtu=1380')]);
      expect(await a.pings(b.v4, '-Mdo', '-s1352')).toBe(true);
    });

    it('carries a download whose bytes arrive as they were, over both families', async () => {
      const content = randomBytes(family === 'v4' && changes[0].plain ? 2 << 20 : 32 << 20);
      writeFileSync(join(overlay.directory, 'content'), content);
      const sum = createHash('sha256').update(content).digest('hex');
      for (const [bind, url] of [
        [b.v4, `http://${b.v4}:8080/content`],
        [b.v6, `http://[${b.v6}]:8080/content`],
      ]) {
        const server = await serve(b, bind, overlay.directory);
        const out = await a.host.well('sh', '-c', `curl -sS --max-time 60 '${url}' | sha256sum`);
        expect(out.split(' ')[0]).toBe(sum);
        await server.stop();
      }
    });

    it('carries UDP datagrams one by one, each as large as it was', async () => {
      const sizes = [0, 1, 100, 1352, 1353, 5000, 30_000];
      for (const address of [b.v4, b.v6]) {
        const receiver = b.host.start('python3', '-c', UDP_SIZES, address, String(sizes.length));
        await expect.poll(() => receiver.out, SOON).toContain('ready');
        await a.host.well('python3', '-c', UDP_SEND, address, ...sizes.map(String));
        await expect.poll(() => receiver.out, SOON).toContain(`${sizes.join(' ')}`);
        await receiver.stop();
      }
    });

    it('shows the underlay nothing but ciphertext', async () => {
      const { device } = a.host.port(b.host);
      const tap = a.host.start('tcpdump', '-i', device, '-l', '-U', '-n', '-A');
      await expect.poll(() => tap.err, SOON).toContain('listening');
      const pattern = Buffer.from(MARKER.slice(0, 16)).toString('hex');
      await a.host.well('ping', '-c1', '-W1', '-p', pattern, '-s', '200', b.v4);
      await a.host.well('ping', '-c1', '-W1', '-p', pattern, '-s', '200', b.v6);
      // Two requests and two answers: 208 bytes of ICMP, 20 or 40 of IP and 56 of ours.
      await expect.poll(() => tap.out.match(/UDP, length (284|304)\b/g)?.length, SOON).toBe(4);
      await tap.stop();
      expect(tap.out).not.toContain(MARKER.slice(0, 16));
      expect(tap.out).not.toContain('10.77.0.');
      expect(tap.out).not.toContain('fd77:');
      expect(tap.out).toMatch(/\.7100 > /);
    });

    it('counts what went through, and drops nothing of it', async () => {
      const status = await a.client.status();
      expect(status.counters.tunIn.packets).toBeGreaterThan(10);
      expect(status.counters.tunOut.packets).toBeGreaterThan(10);
      expect(status.io.kind).toBe(changes[0].plain ? 'plain' : 'native');
      expect(await dropped(a, b)).toEqual(before);
    });
  });
});

/** Drops by reason, but for what a link's full queue drops so that TCP goes slower. */
const dropped = (...agents: Agent[]): Promise<unknown> =>
  Promise.all(
    agents.map(async (agent) => {
      const drops = Object.entries(await agent.drops());
      return Object.fromEntries(drops.filter(([reason]) => reason !== 'void'));
    }),
  );

/** Serves a directory until it is stopped. */
async function serve(agent: Agent, address: string, directory: string): Promise<Program> {
  const server = agent.host.start(
    'python3',
    '-u',
    '-m',
    'http.server',
    '8080',
    '--bind',
    address,
    '--directory',
    directory,
  );
  await expect.poll(() => server.out, SOON).toContain('Serving');
  return server;
}

const UDP_SIZES = `
import socket, sys
family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 9999))
print('ready', flush=True)
print(*[len(s.recv(65535)) for _ in range(int(sys.argv[2]))], flush=True)
`;
const UDP_SEND = `
import socket, sys, time
family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
for size in sys.argv[2:]:
    s.sendto(bytes(int(size)), (sys.argv[1], 9999))
`;
