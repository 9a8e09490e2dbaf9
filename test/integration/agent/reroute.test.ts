/**
 * Cut links and better ones:
 *
 *            m 10.77.0.3
 *           /           \
 *     a 10.77.0.1 ──── b 10.77.0.2
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { type Agent, eventually, Overlay, peersOf, SOON, startAll, usable } from './overlay.js';

describe.skipIf(!usable)('a triangle (needs root, /dev/net/tun and a build)', () => {
  const overlay = new Overlay();
  let a: Agent;
  let b: Agent;
  let m: Agent;

  beforeAll(async () => {
    const { ground } = overlay;
    const [hostA, hostB, hostM] = [await ground.host('a'), await ground.host('b'), await ground.host('m')];
    await ground.join(hostA, hostB);
    await ground.join(hostA, hostM);
    await ground.join(hostM, hostB);
    a = await overlay.agent(hostA, { peers: peersOf(hostA, 'v4', hostB, hostM) });
    b = await overlay.agent(hostB, { peers: peersOf(hostB, 'v4', hostA, hostM) });
    m = await overlay.agent(hostM, { peers: peersOf(hostM, 'v4', hostA, hostB) });
    await startAll(a, b, m);
    await a.reaches(b.v4);
    await a.connected(b, m);
    await m.connected(b);
  });

  /** Next hop from a to b: b itself or m. Which is nearer by a few µs is chance on this ground. */
  const hop = async (): Promise<Agent> =>
    (await a.client.routes()).find(({ owner }) => owner === 'b')!.via === 'm' ? m : b;
  const set = (neighbour: Agent, state: 'up' | 'down'): Promise<string> =>
    a.host.well('ip', 'link', 'set', a.host.port(neighbour.host).device, state);

  it.each([['once'], ['and once more']])(
    'goes the other way when the link in use is cut under traffic, %s',
    async () => {
      const inUse = await hop();
      const other = inUse === b ? m : b;
      const ping = a.host.start('ping', '-n', '-i0.02', b.v4);
      await expect.poll(() => ping.out, SOON).toMatch(/icmp_seq=20 /);
      await set(inUse, 'down');
      const answered = (): number[] =>
        [...ping.out.matchAll(/icmp_seq=(\d+) ttl/g)].map((match) => Number(match[1]));
      const before = answered().length;
      await eventually(() => expect(answered().length).toBeGreaterThan(before + 50));
      expect(await hop()).toBe(other);
      await ping.stop('SIGINT');
      const gaps = answered().map((sequence, i, all) => sequence - (all[i - 1] ?? 0));
      const longest = Math.max(...gaps) * 20;
      console.log(`${longest} ms without an answer`);
      // Silence counts as death after 500 ms; the rest is room for a busy machine.
      expect(longest).toBeLessThan(5000);
      const peer = (await a.client.peers()).find(({ name }) => name === inUse.name)!;
      expect([peer.state, peer.reason]).toEqual([
        expect.stringMatching(/connecting|failed/),
        expect.stringMatching(/link down|no answer/),
      ]);
      await set(inUse, 'up');
      await a.connected(b, m);
      await a.reaches(b.v6);
    },
  );

  it('reaches the others when one dies, and that one again when it is back', async () => {
    await m.stop('SIGKILL');
    await eventually(async () => {
      expect((await a.client.routes()).find(({ owner }) => owner === 'm')!.via).toBe(null);
      expect(await a.pings(b.v4)).toBe(true);
    });
    m.start();
    await m.ready();
    await a.reaches(m.v4);
    await b.reaches(m.v6);
  });
});
