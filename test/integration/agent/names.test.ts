/**
 * Names of nodes, asked with dig on the host, from another host of the overlay, and from one that isn't:
 *
 *     a 10.77.0.1 fd77::1, serves names ──── b 10.77.0.2
 *     └──── stranger, on a's other network
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Agent, BIN, eventually, Overlay, pair, usable } from './overlay.js';

const NAMES = 'names: {enabled: true}';

describe.skipIf(!usable)('names of nodes (needs root, /dev/net/tun and a build)', () => {
  const overlay = new Overlay();
  let a: Agent;
  let b: Agent;
  const dig = async (from: Agent, ...words: string[]) =>
    (await from.host.run('dig', '+short', '+tries=1', '+time=2', ...words)).out.trim();

  beforeAll(async () => {
    ({ a, b } = await pair(overlay, 'v4', [{ more: NAMES }, {}]));
  });

  it('answers A, AAAA and PTR, over UDP and TCP, on this host and from another of the overlay', async () => {
    for (const from of [a, b]) {
      for (const transport of ['+notcp', '+tcp']) {
        expect(await dig(from, transport, `@${a.v4}`, 'b.causeway', 'A')).toBe(b.v4);
        expect(await dig(from, transport, `@${a.v6}`, 'b.causeway', 'AAAA')).toBe(b.v6);
        expect(await dig(from, transport, `@${a.v4}`, '-x', b.v6)).toBe('b.causeway.');
      }
    }
  });

  it('knows a node from the moment that its certificate has come, and says so when there is none', async () => {
    const { out } = await a.host.run('dig', '+tries=1', `@${a.v4}`, 'nobody.causeway');
    expect(out).toContain('status: NXDOMAIN');
    expect((await a.host.run('dig', '+tries=1', `@${a.v4}`, 'example.com')).out).toContain('status: REFUSED');
  });

  it('lets a program of the host use the names by its resolver, resolv.conf of its own', async () => {
    const resolv = join(overlay.directory, 'resolv.conf');
    writeFileSync(resolv, `nameserver ${a.v4}\n`);
    const script = `mount --bind ${resolv} /etc/resolv.conf && exec ping -4 -c 1 -W 2 b.causeway`;
    const { code, out } = await a.host.run('unshare', '--mount', 'sh', '-c', script);
    expect([code, out]).toEqual([0, expect.stringContaining(b.v4)]);
  });

  it('gives no answer to a host outside the overlay, that reaches the address over a network of its own', async () => {
    const stranger = await overlay.ground.host('stranger');
    await overlay.ground.join(stranger, a.host);
    const { peer } = stranger.port(a.host);
    await stranger.well('ip', 'route', 'add', `${a.v4}/32`, 'via', peer.v4);
    const before = (await a.client.status()).names!.queries['foreign'];
    const { code } = await stranger.run('dig', '+tries=1', '+time=1', `@${a.v4}`, 'b.causeway');
    expect(code).not.toBe(0);
    expect((await a.client.status()).names!.queries['foreign']).toBeGreaterThan(before);
  });

  it('tells systemd-resolved, where it runs, which names to ask here', async () => {
    await a.stop();
    const bin = join(overlay.directory, 'bin');
    const calls = join(overlay.directory, 'calls');
    mkdirSync(bin);
    writeFileSync(join(bin, 'resolvectl'), `#!/bin/sh\necho "$@" >>${calls}\n`, { mode: 0o755 });
    // A run-time directory of the agent's own, in which the service seems to run.
    const script = `mount -t tmpfs none /run/systemd && mkdir /run/systemd/resolve && touch /run/systemd/resolve/io.systemd.Resolve && PATH=${bin}:$PATH exec "$@"`;
    a.configure({ through: ['unshare', '--mount', 'sh', '-c', `mkdir -p /run/systemd && ${script}`, 'sh'] });
    a.start();
    await a.ready();
    await eventually(() => {
      expect(readFileSync(calls, 'utf8')).toBe(
        `dns cw0 ${a.v4} ${a.v6}\ndomain cw0 ~causeway ~77.10.in-addr.arpa ~0.0.0.0.0.0.0.0.7.7.d.f.ip6.arpa\n`,
      );
    });
    await a.stop();
  });

  it('refuses to start at a port that is taken, and names the key', async () => {
    a.configure({ through: [], more: 'names: {enabled: true, port: 5301}' });
    const holder = a.host.start('python3', '-c', HOLD);
    await eventually(() => expect(holder.out).toContain('held'));
    const { code, err } = await a.host.run(process.execPath, BIN, 'up', '-c', a.file);
    expect([code, err]).toEqual([1, expect.stringContaining('names.port 5301 is in use')]);
    await holder.stop();
  });
});

const HOLD = `
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('0.0.0.0', 5301))
print('held', flush=True)
time.sleep(60)
`;
