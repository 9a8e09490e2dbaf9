/**
 * A node that forwards: for the network behind it, and as an exit to the Internet. Neither l nor i has an agent, and a has no route to either:
 *
 *     a 10.77.0.1 (mode full, exit g) ── g 10.77.0.2 (forward) ─┬─ l (the network behind g)
 *                                                              └─ i (the Internet)
 */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Host } from '../../support/net.js';
import { type Agent, eventually, Overlay, peersOf, SOON, startAll, usable } from '../agent/overlay.js';

describe.skipIf(!usable)('a node that forwards (needs root, /dev/net/tun and a build)', () => {
  const overlay = new Overlay();
  let a: Agent;
  let g: Agent;
  let l: Host;
  let i: Host;

  beforeAll(async () => {
    const { ground } = overlay;
    const [hostA, hostG] = [await ground.host('a'), await ground.host('g')];
    [l, i] = [await ground.host('l'), await ground.host('i')];
    await ground.join(hostA, hostG);
    await ground.join(hostG, l);
    await ground.join(hostG, i);
    const behind = [
      `${l.port(hostG).v4.replace(/\d+$/, '4')}/30`,
      `${l.port(hostG).v6.replace(/::.*/, '::')}/64`,
    ];
    g = await overlay.agent(hostG, { more: 'forward: {masquerade: true}' }, 'g', undefined, {
      routes: behind,
      roles: ['exit'],
    });
    a = await overlay.agent(hostA, {
      peers: peersOf(hostA, 'v4', hostG),
      intercept: '{mode: full, exit: g}',
    });
    await startAll(a, g);
    await a.connected(g);
    await a.reaches(g.v4);
  });

  const addressOf = (host: Host, family: 'v4' | 'v6') => g.host.port(host).peer[family];
  const gatewayOf = (host: Host, family: 'v4' | 'v6') => g.host.port(host)[family];

  it('leads to the network behind it and to the Internet, under its own address', async () => {
    for (const host of [l, i]) {
      for (const family of ['v4', 'v6'] as const) {
        await eventually(async () => expect(await a.pings(addressOf(host, family))).toBe(true));
        const web = host.start('python3', '-u', '-c', PEER, addressOf(host, family));
        await expect.poll(() => web.out, SOON).toContain('ready');
        const shown = family === 'v4' ? addressOf(host, family) : `[${addressOf(host, family)}]`;
        expect(await a.host.well('curl', '-sS', '--max-time', '5', `http://${shown}:8080/`)).toContain(
          `from ${gatewayOf(host, family)}`,
        );
        await web.stop();
      }
    }
    expect((await a.client.status()).counters.direct.packets).toBe(0);
  });

  it('is no way for multicast and broadcast, which leave as without the agent', async () => {
    const way = async (to: string): Promise<string> => {
      const { out, err } = await a.host.run('ip', 'route', 'get', to);
      return out + err;
    };
    expect(await way('198.51.100.1')).toContain('dev cw0');
    for (const to of ['239.1.2.3', '255.255.255.255']) expect(await way(to)).not.toContain('cw0');
    expect(a.log.filter(({ msg }) => msg === 'put back what something else took away')).toEqual([]);
  });

  it('lets hosts behind it begin, which need no more than a route', async () => {
    await l.well('ip', 'route', 'add', '10.77.0.0/16', 'via', gatewayOf(l, 'v4'));
    expect((await l.run('ping', '-n', '-c', '1', '-W', '2', a.v4)).code).toBe(0);
    // But nobody from outside does.
    await i.well('ip', 'route', 'add', '10.77.0.0/16', 'via', gatewayOf(i, 'v4'));
    const before = (await g.drops())['foreign-source'] ?? 0;
    await i.run('ping', '-n', '-c', '1', '-W', '0.3', g.v4);
    expect((await g.drops())['foreign-source'] ?? 0).toBe(before);
  });

  it('forwards under the addresses of who sends, where it is not to masquerade', async () => {
    await g.stop();
    g.configure({ more: 'forward: {masquerade: false}' });
    await startAll(g);
    await a.connected(g);
    const web = l.start('python3', '-u', '-c', PEER, addressOf(l, 'v4'));
    await expect.poll(() => web.out, SOON).toContain('ready');
    // The way back is the route that l has by now.
    await eventually(async () =>
      expect(
        await a.host.well('curl', '-sS', '--max-time', '5', `http://${addressOf(l, 'v4')}:8080/`),
      ).toContain(`from ${a.v4}`),
    );
    await web.stop();
  });

  it('refuses what the exit would have carried once it has gone', async () => {
    await g.stop('SIGKILL');
    await eventually(async () => {
      const { code, err, out } = await a.host.run('ping', '-n', '-c', '1', '-W', '0.5', addressOf(i, 'v4'));
      expect([code, `${out}${err}`]).toEqual([1, expect.stringMatching(/Unreachable|unreachable/)]);
    });
  });

  it('gives back what it changed on the host, also after it was killed', async () => {
    const forwarding = () =>
      g.host.well('sysctl', '-n', 'net.ipv4.conf.all.forwarding', 'net.ipv6.conf.all.forwarding');
    const device = g.host.port(i).device;
    expect(await g.host.well('sysctl', '-n', `net.ipv4.conf.${device}.forwarding`)).toBe('1\n');
    const { out } = await g.cli('down', '--tun', 'cw0');
    expect(out).toContain(`removed setting net.ipv4.conf.${device}.forwarding, 0 again`);
    expect(await forwarding()).toBe('0\n0\n');
    expect(await g.host.well('sysctl', '-n', `net.ipv4.conf.${device}.forwarding`)).toBe('0\n');
    expect(await g.host.well('nft', 'list', 'ruleset')).toBe('');
    await a.stop();
    expect(await a.host.well('ip', 'rule')).not.toContain('710');
    expect(await a.host.well('ip', '-6', 'rule')).not.toContain('710');
  });
});

const PEER = `
import http.server, socket, sys
class Peer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = ('from ' + self.client_address[0]).encode()
        self.send_response(200); self.send_header('Content-Length', str(len(body))); self.end_headers(); self.wfile.write(body)
class Server(http.server.HTTPServer):
    address_family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
server = Server((sys.argv[1], 8080), Peer)
print('ready', flush=True)
server.serve_forever()
`;
