/**
 * Hosts behind NATs of their own, with the same private addresses, and a common peer:
 *
 *      a 10.77.0.1 ── NAT ──┐
 *      b 10.77.0.2 ── NAT ──┼── c 10.77.0.3
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { Internet, type Mapping } from '../../support/nat.js';
import { type Agent, eventually, Overlay, PORT, startAll, usable } from './overlay.js';

interface Site {
  a: Agent;
  b: Agent;
  relays: Agent[];
}

async function site(overlay: Overlay, mappings: readonly [Mapping, Mapping], relays: number): Promise<Site> {
  const { ground } = overlay;
  const internet = await Internet.create(ground);
  const [hostA, hostB] = [await ground.host('a'), await ground.host('b')];
  await internet.attachBehindNat(hostA, mappings[0]);
  await internet.attachBehindNat(hostB, mappings[1]);
  const common: Agent[] = [];
  const entries: string[] = [];
  for (let i = 0; i < relays; i++) {
    const host = await ground.host(`c${i}`);
    entries.push(`{name: ${host.name}, endpoints: ["${await internet.attach(host)}:${PORT}"]}`);
    common.push(await overlay.agent(host));
  }
  const changes = { peers: `[${entries.join(', ')}]`, more: 'mesh: auto' };
  const a = await overlay.agent(hostA, changes);
  const b = await overlay.agent(hostB, changes);
  await startAll(a, b, ...common);
  for (const relay of common) {
    await a.connected(relay);
    await b.connected(relay);
  }
  return { a, b, relays: common };
}

const relayed = async (agents: Agent[]): Promise<number> => {
  const all = await Promise.all(agents.map(({ client }) => client.status()));
  return all.reduce((sum, { counters }) => sum + counters.relayed.packets, 0);
};

const peer = async (of: Agent, name: string) => (await of.client.peers()).find((each) => each.name === name);

describe.skipIf(!usable)('hosts behind NATs (needs root, /dev/net/tun and a build)', () => {
  describe('that keep their ports', () => {
    const overlay = new Overlay();
    let on: Site;

    beforeAll(async () => {
      on = await site(overlay, ['same-port', 'same-port'], 1);
    });

    it('form a link with each other, over which their packets no longer pass the common peer', async () => {
      const { a, b, relays } = on;
      await a.reaches(b.v4);
      await a.connected(b);
      await b.connected(a);
      expect(await peer(a, 'b')).toMatchObject({ origin: 'formed', configured: false, state: 'connected' });
      await eventually(async () =>
        expect((await a.client.routes()).find(({ owner }) => owner === 'b')?.via).toBe('b'),
      );
      const before = await relayed(relays);
      expect(await a.pings(b.v4)).toBe(true);
      expect(await b.pings(a.v6)).toBe(true);
      expect(await relayed(relays)).toBe(before);
    });
  });

  describe('one of which has a port for each destination', () => {
    const overlay = new Overlay();
    let on: Site;

    beforeAll(async () => {
      on = await site(overlay, ['same-port', 'port-per-destination'], 2);
    });

    it('stay relayed, and `causeway peers` says why', async () => {
      const { a, b } = on;
      await a.reaches(b.v4);
      await eventually(async () => {
        expect(await peer(a, 'b')).toMatchObject({
          origin: 'formed',
          state: 'relayed',
          reason: expect.stringContaining('its NAT has another port for each destination (symmetric)'),
        });
        expect((await peer(b, 'a'))?.reason).toContain('the one here has another port for each destination');
      });
      expect((await a.cli('peers')).out).toMatch(/b +relayed +formed .*symmetric/);
    });
  });
});
