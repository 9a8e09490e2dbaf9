/**
 * Beginning, end and sudden death of an agent, on a host that has connections of its own:
 *
 *     a 10.77.0.1 ──── b 10.77.0.2        a has a default route by way of b
 */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Program } from '../../support/net.js';
import { type Agent, BIN, eventually, Overlay, pair, SOON, startAll, usable } from './overlay.js';

describe.skipIf(!usable)('an agent’s life (needs root, /dev/net/tun and a build)', () => {
  const overlay = new Overlay();
  let a: Agent;
  let b: Agent;
  /** The host of `a` without an agent. */
  let before: string;

  beforeAll(async () => {
    ({ a, b } = await pair(overlay));
    await a.stop();
    await a.host.well('ip', 'route', 'add', 'default', 'via', a.host.port(b.host).peer.v4);
    await a.host.well('ip', 'rule', 'add', 'pref', '99', 'to', '198.51.100.0/24', 'lookup', 'main');
    before = await a.host.state();
  });

  const up = async (agent: Agent): Promise<void> => {
    agent.start();
    await agent.ready();
  };
  const untouched = (): Promise<unknown> => eventually(async () => expect(await a.host.state()).toBe(before));

  it('reaches its peer within a second or so of its start', async () => {
    const started = performance.now();
    await b.stop();
    const begun = performance.now();
    a.start();
    b.start();
    await expect.poll(() => a.pings(b.v4), { timeout: 20_000, interval: 10 }).toBe(true);
    const took = performance.now() - begun;
    console.log(
      `first ping ${Math.round(took)} ms after both began (${Math.round(begun - started)} ms to stop)`,
    );
    expect(took).toBeLessThan(5000);
    await a.stop();
  });

  it.each<[string, () => Promise<unknown>]>([
    ['SIGTERM', () => a.stop('SIGTERM')],
    ['SIGINT', () => a.stop('SIGINT')],
    ['`causeway down`', () => a.host.well(process.execPath, BIN, 'down', '-c', a.file)],
  ])('leaves the host as it was after %s, and says goodbye to its peer', async (_what, stop) => {
    await up(a);
    await a.connected(b);
    expect(await a.host.state()).not.toBe(before);
    await stop();
    expect(await a.program!.ended).toBe(0);
    await untouched();
    const { state, reason } = (await b.client.peers())[0];
    expect([state, reason]).toEqual(['connecting', 'the peer stopped']);
  });

  it('touches nothing but what is the overlay’s', async () => {
    const routes = async (): Promise<string[]> =>
      Promise.all(
        ['198.51.100.1', '192.0.2.2', '8.8.8.8', '127.0.0.1', '10.78.0.1'].map((target) =>
          a.host.well('ip', 'route', 'get', target),
        ),
      );
    const free = await routes();
    await up(a);
    expect(await routes()).toEqual(free);
    expect(await a.host.well('ip', 'route', 'get', b.v4)).toContain('dev cw0');
    expect(await a.pings(a.host.port(b.host).peer.v4)).toBe(true);
    expect(await a.pings(a.host.port(b.host).peer.v6)).toBe(true);
    await a.stop();
  });

  it('has `causeway down` remove what a killed one left, and say what', async () => {
    await up(a);
    await a.stop('SIGKILL');
    await eventually(async () => expect(await a.host.well('ip', 'link')).not.toContain('cw0'));
    expect(await a.host.state()).not.toBe(before);
    // Meanwhile nothing that was meant for the overlay leaves in clear.
    expect((await a.host.run('ip', 'route', 'get', b.v4)).code).not.toBe(0);
    const out = await a.host.well(process.execPath, BIN, 'down', '-c', a.file);
    expect(out).toMatch(/^no agent at \S+\n(removed IPv[46] (rule|route) .*\n)+$/);
    await untouched();
    expect(await a.host.well(process.execPath, BIN, 'down', '-c', a.file)).toMatch(/^no agent at \S+\n$/);
  });

  it('removes at its start what a killed one left, and works', async () => {
    await up(a);
    await a.stop('SIGKILL');
    await up(a);
    await a.reaches(b.v4);
    expect(a.log.map(({ msg }) => msg)).toContain('removed what an agent that was killed had left');
    await a.stop();
    await untouched();
  });

  it('ends with one line where its device is taken from it, and leaves the host as it was', async () => {
    await up(a);
    await a.host.well('ip', 'link', 'del', 'cw0');
    expect(await a.program!.ended).toBe(1);
    expect(a.program!.err).toMatch(/^causeway: .*cw0.*\n$/);
    await untouched();
  });

  it('takes everything back when it is stopped in the middle of its start', async () => {
    for (const wait of [0.3, 0.4, 0.5, 0.6, 0.8]) {
      const program = a.start();
      await a.host.well('sleep', String(wait));
      await program.stop();
      await untouched();
    }
  });

  describe('a peer’s restart', () => {
    let client: Program;

    beforeAll(async () => {
      await up(a);
      await a.reaches(b.v4);
    });

    it.each<['SIGTERM' | 'SIGKILL']>([['SIGTERM'], ['SIGKILL']])(
      'by %s breaks no connection: traffic goes on within seconds',
      async (signal) => {
        const server = b.host.start('python3', '-uc', ECHO_SERVER, b.v4);
        await expect.poll(() => server.out, SOON).toContain('listening');
        client = a.host.start('python3', '-uc', ECHO_CLIENT, b.v4);
        await expect.poll(() => client.out, SOON).toMatch(/echo 3\n/);
        await b.stop(signal);
        // The address goes with the device, and the connection waits.
        await up(b);
        const seen = Number(/echo (\d+)\n$/.exec(client.out)![1]);
        const restarted = performance.now();
        await expect.poll(() => Number(/echo (\d+)\n$/.exec(client.out)![1]), SOON).toBeGreaterThan(seen + 3);
        console.log(`traffic goes on ${Math.round(performance.now() - restarted)} ms after the restart`);
        expect(client.running).toBe(true);
        expect(client.err).toBe('');
        await a.connected(b);
        await client.stop();
        await server.stop();
      },
    );
  });

  it('lives beside another overlay’s agent on one host', async () => {
    const { host } = a;
    const clean = await host.state();
    const other = new Overlay(overlay.ground, 88);
    const c = await other.agent(host, { listen: '{port: 7200}', tun: '{name: cw-second}' }, 'c');
    const d = await other.agent(
      b.host,
      {
        listen: '{port: 7200}',
        tun: '{name: cw-second}',
        peers: `[{name: c, endpoints: ["${b.host.port(host).peer.v4}:7200"]}]`,
      },
      'd',
    );
    await startAll(c, d);
    for (const address of [d.v4, d.v6]) await c.reaches(address);
    for (const address of [b.v4, b.v6]) await a.reaches(address);
    expect((await c.client.routes()).map(({ owner }) => owner)).not.toContain('a');
    await c.stop();
    await eventually(async () => expect(await host.state()).toBe(clean));
    expect(await a.pings(b.v4)).toBe(true);
    await d.stop();
  });
});

const ECHO_SERVER = `
import socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND: the address may come later
s.bind((sys.argv[1], 7777))
s.listen()
print('listening')
c, _ = s.accept()
while True:
    data = c.recv(1000)
    if not data: break
    c.sendall(data)
`;
const ECHO_CLIENT = `
import socket, sys, time
s = socket.create_connection((sys.argv[1], 7777))
n = 0
while True:
    n += 1
    s.sendall(b'x')
    if s.recv(1) != b'x': sys.exit('closed')
    print('echo', n)
    time.sleep(0.05)
`;
