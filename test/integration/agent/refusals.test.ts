/**
 * Two agents that can't come together, each time for another reason; what each end says of it, in peers, doctor and log:
 *
 *     a 10.77.0.1 ──── b 10.77.0.2
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Host } from '../../support/net.js';
import { lifetime, TestAuthority } from '../../support/pki/authority.js';
import { type Agent, eventually, Overlay, peersOf, PORT, startAll, usable } from './overlay.js';

const DAY = 86_400_000;

describe.skipIf(!usable)('agents that cannot come together (needs root, /dev/net/tun and a build)', () => {
  const overlay = new Overlay();
  let hostA: Host;
  let hostB: Host;
  let running: Agent[] = [];

  beforeAll(async () => {
    const { ground } = overlay;
    [hostA, hostB] = [await ground.host('a'), await ground.host('b')];
    await ground.join(hostA, hostB);
  });
  afterEach(async () => {
    for (const agent of running.splice(0)) await agent.stop();
  });

  const started = async (...agents: Agent[]): Promise<void> => {
    running = agents;
    await startAll(...agents);
  };
  /** Why the agent isn't connected with its only peer. */
  const reasonAt = async (agent: Agent): Promise<string> => (await agent.client.peers())[0]?.reason ?? '';
  const says = (agent: Agent, what: RegExp): Promise<unknown> =>
    eventually(async () => expect(await reasonAt(agent)).toMatch(what));
  const logs = (agent: Agent, what: RegExp): Promise<unknown> =>
    eventually(() => expect(agent.log.map(({ msg }) => msg)).toContainEqual(expect.stringMatching(what)));

  it('says who is who where the peer has another name than the configured one', async () => {
    const endpoint = `"${hostA.port(hostB).peer.v4}:${PORT}"`;
    const a = await overlay.agent(hostA, { peers: `[{name: bob, endpoints: [${endpoint}]}]` });
    const b = await overlay.agent(hostB);
    await started(a, b);
    await says(a, /"?bob"?.*"?b"?|"?b"?.*"?bob"?/);
    expect((await a.client.peers()).find(({ name }) => name === 'bob')!.state).toBe('failed');
    const doctor = await a.cli('doctor');
    expect([doctor.code, doctor.out]).toEqual([1, expect.stringMatching(/^ERROR +peer bob +.*bob/m)]);
    await logs(a, /bob/);
    await logs(b, /bob|configured/);
  });

  it('says on both ends that a certificate has expired', async () => {
    const now = Date.now();
    // Valid when its own agent starts, for the agent wouldn't start otherwise, and soon no more.
    const a = await overlay.agent(hostA, {}, 'brief', { notBefore: now - DAY, notAfter: now + 8000 });
    const b = await overlay.agent(
      hostB,
      { peers: `[{name: brief, endpoints: ["${hostB.port(hostA).peer.v4}:${PORT}"]}]` },
      'c',
    );
    await started(a);
    await eventually(() => expect(Date.now()).toBeGreaterThan(now + 8000));
    running.push(b);
    await startAll(b);
    await says(b, /expired/);
    await logs(b, /brief.*expired/);
    expect((await a.client.status()).warnings).toEqual([
      'the certificate has expired; renew it with "causeway ca sign" and restart the agent',
    ]);
    await logs(a, /expired/);
  });

  it('tells a stranger nothing, and says on the called end alone that it is of another network', async () => {
    const directory = join(overlay.directory, 'other');
    const other = await TestAuthority.create(Date.now(), 'Other CA', '10.77.0.0/16,fd77::/48');
    await other.writeNode(directory, 'e', '10.77.5.1,fd77:0:0:5::1', lifetime(Date.now()));
    const a = await overlay.agent(
      hostA,
      {
        peers: peersOf(hostA, 'v4', hostB),
        pki: `{ca: other/ca.crt, cert: other/e.crt, key: other/e.key}`,
      },
      'e',
    );
    // The harness signed for e too; the other authority's files are what it uses.
    const b = await overlay.agent(hostB, {}, 'f');
    await started(a, b);
    await says(a, /no answer/);
    await logs(b, /belongs to another network/);
    expect(await b.client.peers()).toEqual([]);
    expect((await b.drops())['handshake-wrong-network']).toBeGreaterThan(0);
    expect(b.log.filter(({ msg }) => /another network/.test(String(msg))).length).toBeLessThan(10);
  });

  it('says on both ends that a CA is unknown to one of them', async () => {
    // b trusts both networks, so its calls carry a network MAC that a knows; a trusts its own alone.
    const directory = join(overlay.directory, 'third');
    const third = await TestAuthority.create(Date.now(), 'Third CA', '10.77.0.0/16,fd77::/48');
    await third.writeNode(directory, 'g', '10.77.6.1,fd77:0:0:6::1', lifetime(Date.now()));
    const a = await overlay.agent(hostA, {}, 'h');
    const bundle =
      (await hostB.well('cat', join(overlay.directory, 'ca.crt'))) +
      (await hostB.well('cat', join(directory, 'ca.crt')));
    const b = await overlay.agent(
      hostB,
      {
        peers: `[{name: h, endpoints: ["${hostB.port(hostA).peer.v4}:${PORT}"]}]`,
        pki: '{ca: both.crt, cert: third/g.crt, key: third/g.key}',
      },
      'g',
    );
    writeFileSync(join(overlay.directory, 'both.crt'), bundle);
    await started(a, b);
    await says(b, /CA|root|trust/);
    await logs(a, /Third CA/);
    await logs(b, /refused|trust/);
  });
});
