/**
 * Rules with real programs: nodes and groups by the names that certificates give them, and what a rejected program is told.
 *
 *     a 10.77.0.1 ──── b 10.77.0.2, of group web ──── c 10.77.0.3, of group db
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { lifetime } from '../../support/pki/authority.js';
import type { Program } from '../../support/net.js';
import { type Agent, eventually, Overlay, peersOf, startAll, usable } from './overlay.js';

describe.skipIf(!usable)('rules (needs root, /dev/net/tun and a build)', () => {
  const overlay = new Overlay();
  let a: Agent;
  let b: Agent;
  let c: Agent;

  beforeAll(async () => {
    const { ground } = overlay;
    const [hostA, hostB, hostC] = [await ground.host('a'), await ground.host('b'), await ground.host('c')];
    await ground.join(hostA, hostB);
    await ground.join(hostB, hostC);
    const rules = '[{match: {to: "group:db", proto: tcp, port: 8000}, do: reject}]';
    a = await overlay.agent(hostA, { peers: peersOf(hostA, 'v4', hostB), rules });
    b = await overlay.agent(hostB, { peers: peersOf(hostB, 'v4', hostA, hostC), groups: ['web'] });
    c = await overlay.agent(hostC, { peers: peersOf(hostC, 'v4', hostB), groups: ['db'] });
    await startAll(a, b, c);
    await a.reaches(b.v4);
    await a.reaches(c.v4);
    for (const { host } of [b, c])
      await serving(host.start('python3', '-m', 'http.server', '8000', '--bind', '::'), host);
  });

  const serving = (_server: Program, host: Agent['host']) =>
    eventually(async () => expect((await host.run('ss', '-tlnH')).out).toContain(':8000'));

  /** curl's exit code: 0 for a page, 7 where it can't connect, 28 where nobody answers. */
  const curl = async (address: string) =>
    (await a.host.run('curl', '-s', '-o', '/dev/null', '--max-time', '3', `http://${address}:8000/`)).code;

  it('tell nodes of a group apart, whose programs are refused at once', async () => {
    for (const address of [b.v4, `[${b.v6}]`]) expect(await curl(address)).toBe(0);
    const began = Date.now();
    for (const address of [c.v4, `[${c.v6}]`]) expect(await curl(address)).toBe(7);
    expect(Date.now() - began).toBeLessThan(3000);
    expect(await a.pings(c.v4)).toBe(true);
    expect((await a.drops())['rule']).toBeGreaterThanOrEqual(2);
  });

  it('name single nodes, and a reload puts them in force for flows that run', async () => {
    a.configure({ rules: '[{match: {to: "node:b", proto: icmp}, do: reject}]' });
    expect((await a.cli('reload')).out).toBe('applied: intercept.rules\n');
    const refused = await a.host.run('ping', '-n', '-c', '1', '-W', '1', b.v4);
    expect([refused.code, refused.out]).toEqual([1, expect.stringContaining('Packet filtered')]);
    for (const address of [c.v4, b.v6]) expect(await a.pings(address)).toBe(address === c.v4);
    for (const address of [b.v4, c.v4]) expect(await curl(address)).toBe(0);
  });

  it('know a group’s new member as soon as its certificate is known', async () => {
    a.configure({ rules: '[{match: {to: "group:db"}, do: drop}]' });
    expect((await a.cli('reload')).code).toBe(0);
    expect([await a.pings(b.v4), await a.pings(c.v4)]).toEqual([true, false]);
    await b.stop();
    await overlay.certify(b, lifetime(Date.now()), { groups: ['web', 'db'] });
    b.start();
    await b.ready();
    await a.connected(b);
    await eventually(async () =>
      expect(await a.client.routes()).toEqual(
        expect.arrayContaining([expect.objectContaining({ owner: 'b', hops: 1 })]),
      ),
    );
    expect(await a.pings(b.v4)).toBe(false);
  });
});
