/** What `causeway reload` and SIGHUP change while traffic goes on, and what they leave alone:  a 10.77.0.1 ──── b 10.77.0.2 */
import { beforeAll, describe, expect, it } from 'vitest';
import { type Agent, BIN, eventually, Overlay, pair, peersOf, usable } from './overlay.js';

describe.skipIf(!usable)('a reload (needs root, /dev/net/tun and a build)', () => {
  const overlay = new Overlay();
  let a: Agent;
  let b: Agent;

  beforeAll(async () => {
    ({ a, b } = await pair(overlay, 'v4', [{ peers: '[]' }, {}]));
  });

  const peersAt = async (agent: Agent): Promise<unknown[]> =>
    (await agent.client.peers()).map(({ name, configured, state }) => [name, configured, state]);

  it('puts a drop rule in force, counts what it drops, and takes it back', async () => {
    const ping = [b.v4, b.v6] as const;
    for (const address of ping) expect(await a.pings(address)).toBe(true);
    a.configure({ rules: `[{match: {proto: icmp, to: ${b.v4}}, do: drop}]` });
    const { code, out } = await a.cli('reload');
    expect([code, out]).toEqual([0, 'applied: intercept.rules\n']);
    expect(await a.pings(b.v4)).toBe(false);
    expect((await a.drops())['rule']).toBe(1);
    expect(await a.pings(b.v6)).toBe(true);
    a.configure({ rules: '[]' });
    expect((await a.cli('reload')).out).toBe('applied: intercept.rules\n');
    expect(await a.pings(b.v4)).toBe(true);
  });

  it('says that nothing changed, and what needs a restart', async () => {
    expect((await a.cli('reload')).out).toBe('nothing changed\n');
    a.configure({ tun: '{name: cw0, mtu: 1300}' });
    expect((await a.cli('reload')).out).toBe('changed, but in force only after a restart: tun.mtu\n');
    a.configure({ tun: '{name: cw0, mtu: 1380}' });
    expect((await a.cli('reload')).out).toBe('nothing changed\n');
  });

  it.each<[string, Parameters<Agent['configure']>[0], RegExp]>([
    ['an unknown key', { more: 'pears: []' }, /a\.yaml:\d+:1: pears: unknown key; did you mean "peers"\?\n$/],
    [
      'a bad rule',
      { rules: '[{match: {to: nowhere}, do: drop}]' },
      /rules\[0\]\.match\.to: "nowhere" is no address/,
    ],
    ['text that is no YAML', { more: '[' }, /a\.yaml:\d+:\d+: .*YAML/],
  ])('keeps the old configuration where the new one has %s, and says why', async (_what, changes, says) => {
    const restored = { more: '', rules: '[]' };
    a.configure(changes);
    const { code, err } = await a.cli('reload');
    expect([code, err]).toEqual([1, expect.stringMatching(says)]);
    const strict = await a.host.run(process.execPath, BIN, 'reload', '-c', a.file);
    expect([strict.code, strict.err]).toEqual([2, expect.stringMatching(says)]);
    expect(await a.pings(b.v4)).toBe(true);
    const refused = (): number => a.log.filter(({ msg }) => String(msg).startsWith('reload refused')).length;
    const before = refused();
    a.program!.child.kill('SIGHUP');
    await eventually(() => expect(refused()).toBe(before + 1));
    a.configure(restored);
    expect(await a.pings(b.v4)).toBe(true);
  });

  it('adds a peer and drops one, on SIGHUP too', async () => {
    expect(await peersAt(a)).toEqual([['b', false, 'connected']]);
    a.configure({ peers: peersOf(a.host, 'v6', b.host) });
    a.program!.child.kill('SIGHUP');
    await eventually(async () => expect(await peersAt(a)).toEqual([['b', true, 'connected']]));
    expect(await a.pings(b.v4)).toBe(true);
    b.configure({ peers: '[]' });
    expect((await b.cli('reload')).out).toBe('applied: peers\n');
    // b let go of the link; a calls again, and b answers who calls.
    await eventually(async () => expect(await peersAt(b)).toEqual([['a', false, 'connected']]));
    await a.reaches(b.v4);
    a.configure({ peers: '[]' });
    expect((await a.cli('reload')).out).toBe('applied: peers\n');
    // Now nobody calls.
    await eventually(async () => {
      expect(await peersAt(a)).toEqual([]);
      expect((await a.client.links()).filter(({ state }) => state === 'up')).toEqual([]);
    });
    expect((await a.host.run('ping', '-n', '-c1', '-W1', b.v4)).out).toContain('Host Unreachable');
    a.configure({ peers: peersOf(a.host, 'v4', b.host) });
    expect((await a.cli('reload')).code).toBe(0);
    await a.reaches(b.v4);
    for (const agent of [a, b]) expect(agent.program!.running).toBe(true);
  });

  it('changes the log’s level', async () => {
    const lines = a.log.length;
    a.configure({ more: 'log: {level: debug}' });
    expect((await a.cli('reload')).out).toBe('applied: log.level\n');
    expect(a.log.length).toBeGreaterThan(lines);
  });
});
