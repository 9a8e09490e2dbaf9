/**
 * Programs that people run, between two hosts' real addresses, moved on to the overlay by the agents' start and off it by their stop:
 *
 *     a 192.0.2.1 2001:db8:0::1 ──── one veth pair, tapped by tcpdump ──── b 192.0.2.2 2001:db8:0::2 (the servers)
 *
 * Connections outlive both, as their addresses are the hosts' own. Those to overlay addresses can't: their source goes with the device.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAddress } from '../../../src/crypto/identity/index.js';
import { type Host, type Program, well } from '../../support/net.js';
import { type Agent, eventually, Overlay, peersOf, SOON, startAll, usable } from '../agent/overlay.js';
import { askSession, askSsh, SECRET, Servers } from './host-programs.js';

const FAMILIES = ['v4', 'v6'] as const;

describe.skipIf(!usable)('real programs (needs root, /dev/net/tun and a build)', () => {
  const overlay = new Overlay();
  let a: Agent;
  let b: Agent;
  let servers: Servers;
  /** Begun before the agents start, and never again. */
  let sessions: { psql: Program[]; ssh: Program[] };

  beforeAll(async () => {
    const { ground } = overlay;
    const [hostA, hostB] = [await ground.host('a'), await ground.host('b')];
    await ground.join(hostA, hostB);
    const agent = (host: Host, peer: Host): Promise<Agent> =>
      overlay.agent(
        host,
        { peers: peersOf(host, 'v4', peer), intercept: '{participants: true, fallback: refuse}' },
        host.name,
        undefined,
        { real: FAMILIES.map((family) => host.port(peer)[family]) },
      );
    a = await agent(hostA, hostB);
    b = await agent(hostB, hostA);
    servers = new Servers(hostB, addressesOfB());
    await servers.start();
    sessions = {
      psql: addressesOfB().map((address) => servers.session(hostA, address)),
      ssh: addressesOfB().map((address) => servers.sshSession(hostA, address)),
    };
  });

  afterAll(() => servers?.stop());

  const addressOfB = (family: 'v4' | 'v6'): string => parseAddress(a.host.port(b.host).peer[family])!.text;
  const addressesOfB = (): string[] => FAMILIES.map(addressOfB);
  /** As programs write it. */
  const addressOfA = (family: 'v4' | 'v6'): string => parseAddress(a.host.port(b.host)[family])!.text;

  it('speak in clear before the agents start', async () => {
    const { lines, bytes } = await wire('before', everything);
    expect(lines.filter(isOverlay)).toEqual([]);
    expectPlain(lines, bytes);
  });

  it('speak over the overlay while they run, in ciphertext alone', async () => {
    await startAll(a, b);
    await a.connected(b);
    await eventually(async () => {
      for (const [from, to] of [
        [a, b],
        [b, a],
      ] as const)
        for (const address of Object.values(from.host.port(to.host).peer))
          if (address !== undefined) {
            expect(await from.host.well('ip', 'route', 'get', address)).toContain('dev cw0');
            // What leads into the device may be withheld still, while no path is known.
            expect(await from.pings(address), address).toBe(true);
          }
    });
    const { lines, bytes } = await wire('meanwhile', everything);
    expect(lines.filter(isOverlay).length).toBeGreaterThan(100);
    expect(lines.filter((line) => !isOverlay(line))).toEqual([]);
    expect(bytes.includes(SECRET)).toBe(false);
  });

  it('speak in clear again after they stop', async () => {
    await a.stop();
    await b.stop();
    const { lines, bytes } = await wire('after', everything);
    expect(lines.filter(isOverlay)).toEqual([]);
    expectPlain(lines, bytes);
  });

  /** Each program once in each family, and a word in each connection that is older than the agents. */
  async function everything(stage: string): Promise<void> {
    for (const family of FAMILIES) {
      const address = addressOfB(family);
      const own = addressOfA(family);
      expect(await servers.psql(a.host, address)).toBe(`${own} ${SECRET} 300000`);
      expect(await servers.curl(a.host, address)).toContain(`${own} ${SECRET}`);
      expect(await servers.ssh(a.host, address, 'echo $SSH_CLIENT')).toContain(`${own} `);
      expect(await servers.scp(a.host, address)).toBe(true);
      const iperf3 = await servers.iperf3(a.host, address);
      expect(iperf3.from).toBe(own);
      expect(iperf3.bytes).toBeGreaterThan(100_000);
      expect(await servers.dig(a.host, address)).toBe(`"${SECRET}"`);
      expect(await servers.dig(a.host, address, '+tcp')).toBe(`"${SECRET}"`);
      for (const size of ['56', '4000']) expect(await a.pings(address, '-s', size, '-W', '10')).toBe(true);
    }
    expect(await servers.baseBackup(a.host, addressesOfB()[0])).toContain('successfully verified');
    for (const session of sessions.psql) await askSession(session, stage);
    for (const session of sessions.ssh) await askSsh(session, stage);
  }

  /** What the wire carries while `work` runs: tcpdump's lines, without neighbour discovery, and the bytes themselves. */
  async function wire(
    stage: string,
    work: (stage: string) => Promise<void>,
  ): Promise<{ lines: string[]; bytes: Buffer }> {
    const file = join(overlay.directory, `${stage}.pcap`);
    const words = [
      '-i',
      a.host.port(b.host).device,
      '-U',
      '-n',
      '-B',
      '16384',
      '-s',
      '262144',
      '-Z',
      'root',
      '-w',
      file,
    ];
    const tap = a.host.start('tcpdump', ...words, 'ip or ip6');
    await expect.poll(() => tap.err, SOON).toContain('listening');
    await work(stage);
    await tap.stop('SIGINT');
    const lines = (await well(['tcpdump', '-n', '-r', file])).split('\n');
    return {
      lines: lines.filter(
        (line) => /\bIP6? /.test(line) && !/neighbor (solicitation|advertisement)/.test(line),
      ),
      bytes: readFileSync(file),
    };
  }
});

function isOverlay(line: string): boolean {
  return /\.7100[ :]/.test(line) && line.includes('UDP');
}

/** Every program's packets, by their ports, and what they say. */
function expectPlain(lines: readonly string[], bytes: Buffer): void {
  for (const sign of ['.22:', '.53:', '.80:', '.5201:', '.5432:', 'ICMP echo request', 'ICMP6, echo request'])
    expect(
      lines.some((line) => line.includes(sign)),
      sign,
    ).toBe(true);
  expect(bytes.includes(SECRET)).toBe(true);
}
