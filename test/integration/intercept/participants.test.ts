/**
 * Unmodified programs between two hosts' real addresses, led over the overlay by the agents' start and off it by their stop:
 *
 *     a 192.0.2.1 2001:db8:0::1 ──── one veth pair, tapped by tcpdump ──── b 192.0.2.2 2001:db8:0::2
 */
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Program } from '../../support/net.js';
import { type Agent, eventually, Overlay, peersOf, SOON, startAll, usable } from '../agent/overlay.js';

describe.skipIf(!usable)("participants' real addresses (needs root, /dev/net/tun and a build)", () => {
  const overlay = new Overlay();
  let a: Agent;
  let b: Agent;

  beforeAll(async () => {
    const { ground } = overlay;
    const [hostA, hostB] = [await ground.host('a'), await ground.host('b')];
    await ground.join(hostA, hostB);
    // The strictest that a host may be set to.
    for (const host of [hostA, hostB]) await host.well('sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=1');
    const real = (host: typeof hostA, peer: typeof hostA) => [host.port(peer).v4, host.port(peer).v6];
    const intercept = '{participants: true}';
    a = await overlay.agent(hostA, { peers: peersOf(hostA, 'v4', hostB), intercept }, 'a', undefined, {
      real: real(hostA, hostB),
    });
    b = await overlay.agent(hostB, { peers: peersOf(hostB, 'v4', hostA), intercept }, 'b', undefined, {
      real: real(hostB, hostA),
    });
  });

  const realB = (): string[] => Object.values(a.host.port(b.host).peer);

  /** Packets on the wire while `work` runs, a line each. */
  async function wire(work: () => Promise<unknown>): Promise<string[]> {
    const { device } = a.host.port(b.host);
    const tap = a.host.start('tcpdump', '-i', device, '-l', '-U', '-n', 'ip or ip6');
    await expect.poll(() => tap.err, SOON).toContain('listening');
    await work();
    await new Promise((resolve) => setTimeout(resolve, 200));
    await tap.stop();
    return tap.out.split('\n').filter((line) => line.includes('IP') && !line.includes('neighbor'));
  }

  const pingBoth = async (): Promise<void> => {
    for (const address of realB()) expect(await a.pings(address), address).toBe(true);
  };

  const intercepted = (): Promise<unknown> =>
    eventually(async () => {
      for (const address of realB())
        for (const [from, to] of [
          [a, address],
          [b, a.host.port(b.host)[address.includes(':') ? 'v6' : 'v4']],
        ] as const) {
          expect(await from.host.well('ip', 'route', 'get', to)).toContain('dev cw0');
          // What leads into the device may be withheld still, while no path is known.
          expect(await from.pings(to), to).toBe(true);
        }
    });

  it('are reached in clear before the agents start', async () => {
    const lines = await wire(pingBoth);
    expect(lines.some((line) => line.includes('echo request'))).toBe(true);
  });

  it('carry an established connection on to the overlay and off it again, nothing of it in clear meanwhile', async () => {
    const [v4] = realB();
    const server = b.host.start('python3', '-u', '-c', ECHO, v4);
    await expect.poll(() => server.out, SOON).toContain('ready');
    const client = a.host.start('python3', '-u', '-c', CLIENT, v4);
    await echoes(client, 'before');
    await startAll(a, b);
    await a.connected(b);
    await intercepted();
    const lines = await wire(async () => {
      await pingBoth();
      await echoes(client, 'meanwhile');
      expect(await a.host.well('curl', '-sS', '--max-time', '5', `http://${v4}:9998/`)).toContain(
        `from ${a.host.port(b.host).v4}`,
      );
    });
    expect(lines.length).toBeGreaterThan(4);
    expect(inClear(lines)).toEqual([]);
    await a.stop();
    await b.stop();
    await echoes(client, 'after');
    const after = await wire(() => echoes(client, 'again'));
    expect(after.some((line) => line.includes('.9999'))).toBe(true);
    await server.stop();
  });

  it('are refused, not reached in clear, while there is no link; by what an earlier run wrote down', async () => {
    // Nothing but what a's run learnt says whose the addresses are.
    const certificate = join(overlay.directory, 'b.crt');
    renameSync(certificate, `${certificate}.away`);
    await startAll(a);
    const lines = await wire(async () => {
      for (const address of realB()) {
        const { code, err, out } = await a.host.run('ping', '-n', '-c', '1', '-W', '1', address);
        expect(code).not.toBe(0);
        expect(err + out).toMatch(/No route to host|[Uu]nreachable/);
      }
    });
    expect(inClear(lines)).toEqual([]);
    renameSync(`${certificate}.away`, certificate);
    await startAll(b);
    await a.connected(b);
    await intercepted();
    await pingBoth();
    // One that leaves is still known.
    await b.stop();
    const left = await wire(async () => {
      for (const address of realB()) expect(await a.pings(address), address).toBe(false);
    });
    expect(inClear(left)).toEqual([]);
    await a.stop();
    await pingBoth();
  });

  it('are refused from the first start on, where their certificates lie beside its own', async () => {
    rmSync(join(overlay.directory, 'state/a.known.pem'), { force: true });
    await startAll(a);
    for (const address of realB()) expect(await a.pings(address), address).toBe(false);
    await a.stop();
  });

  it('are reached in clear while there is no way, where `fallback` says so', async () => {
    a.configure({ intercept: '{participants: true, fallback: direct}' });
    await startAll(a);
    const alone = await wire(pingBoth);
    expect(inClear(alone).some((line) => line.includes('echo request'))).toBe(true);
    await startAll(b);
    await a.connected(b);
    await intercepted();
    expect(inClear(await wire(pingBoth))).toEqual([]);
    await b.stop();
    await eventually(pingBoth);
    await a.stop();
  });

  it('leave no trace on the host', async () => {
    for (const { host } of [a, b]) {
      expect(await host.well('ip', 'rule')).not.toContain('7100');
      expect(await host.well('nft', 'list', 'ruleset')).toBe('');
      expect(
        await host.well(
          'sysctl',
          '-n',
          `net.ipv4.conf.${host.port(host === a.host ? b.host : a.host).device}.rp_filter`,
        ),
      ).toBe('0\n');
    }
  });
});

/** What is neither a datagram of an agent's nor the kernel's word that none is there to take it. */
const inClear = (lines: readonly string[]): string[] =>
  lines.filter((line) => !/\.7100|port 7100 unreachable/.test(line));

/** Sends a word and waits for it to come back. */
async function echoes(client: Program, word: string): Promise<void> {
  client.write(`${word}\n`);
  await expect.poll(() => client.out, SOON).toContain(`${word} came back`);
}

const ECHO = `
import socket, sys, threading, http.server
class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = ('from ' + self.client_address[0]).encode()
        self.send_response(200); self.send_header('Content-Length', str(len(body))); self.end_headers(); self.wfile.write(body)
web = http.server.HTTPServer((sys.argv[1], 9998), Hello)
threading.Thread(target=web.serve_forever, daemon=True).start()
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((sys.argv[1], 9999)); s.listen(); print('ready', flush=True)
c, _ = s.accept()
while True:
    data = c.recv(4096)
    if not data: break
    c.sendall(data)
`;
const CLIENT = `
import socket, sys
s = socket.create_connection((sys.argv[1], 9999))
for line in sys.stdin:
    s.sendall(line.encode() * 1)
    back = s.recv(4096).decode().strip()
    print(back, 'came back', flush=True)
`;
