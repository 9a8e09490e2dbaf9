/**
 * A host whose every packet meets the agent, and what befalls hosts: managers that clean up rules and routes, a second agent, full disks.
 *
 *     a (agent, mode full) ── c (no agent; stands for the Internet)
 */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Host, Program } from '../../support/net.js';
import { type Agent, BIN, eventually, Overlay, SOON, usable } from '../agent/overlay.js';

describe.skipIf(!usable)('a host in mode full (needs root, /dev/net/tun and a build)', () => {
  const overlay = new Overlay();
  let a: Agent;
  let c: Host;
  /** Of the host before any agent. */
  let before: string;

  beforeAll(async () => {
    const { ground } = overlay;
    const host = await ground.host('a');
    c = await ground.host('c');
    await ground.join(host, c);
    // Strict, so that there is a setting to give back.
    await host.well('sysctl', '-qw', `net.ipv4.conf.${host.port(c).device}.rp_filter=1`);
    a = await overlay.agent(
      host,
      { intercept: '{mode: full, participants: true}', more: 'forward: {masquerade: true}' },
      'a',
      undefined,
      { real: [host.port(c).v4] },
    );
    before = await everything();
    a.start();
    await a.ready();
  });

  const toC = (family: 'v4' | 'v6' = 'v4'): string => a.host.port(c).peer[family];

  /** What an agent may have changed, without what counts or times. */
  async function everything(): Promise<string> {
    const settings = await a.host.well('sysctl', '-a', '--pattern', 'forwarding|rp_filter|accept_ra$');
    return [await a.host.state(), await a.host.well('nft', 'list', 'ruleset'), settings].join('---\n');
  }

  const isWhole = async (): Promise<void> => {
    for (const family of ['-4', '-6']) expect(await a.host.well('ip', family, 'rule')).toContain('7101');
    expect(await a.host.well('nft', 'list', 'tables')).toContain('causeway-cw0');
  };

  const reachesC = async (): Promise<void> => {
    for (const family of ['v4', 'v6'] as const) await a.reaches(toC(family));
  };

  it('goes on where a manager flushes rules, routes and nftables again and again; doctor says so', async () => {
    const tables = [...(await a.host.well('ip', '-N', 'rule')).matchAll(/lookup (\d{6,})/g)].map(
      ([, id]) => id,
    );
    const ping = a.host.start('ping', '-n', '-i', '0.2', toC());
    for (let round = 0; round < 2; round++) {
      for (const family of ['-4', '-6']) {
        for (const table of tables) await a.host.run('ip', family, 'route', 'flush', 'table', table);
        await a.host.well('ip', family, 'rule', 'flush');
        await a.host.well('ip', family, 'rule', 'add', 'pref', '32766', 'lookup', 'main');
        // IPv6 has no such rule.
        if (family === '-4')
          await a.host.well('ip', family, 'rule', 'add', 'pref', '32767', 'lookup', 'default');
      }
      await a.host.well('nft', 'flush', 'ruleset');
      await reachesC();
      await eventually(isWhole);
      await reachesC();
    }
    const answered = answers(ping);
    await expect.poll(() => answers(ping), SOON).toBeGreaterThan(answered);
    expect(ping.running).toBe(true);
    await ping.stop('SIGINT');
    const { out } = await a.cli('doctor', '-c', a.file);
    expect(out).toMatch(/something on this host took away what the agent needs, \d+ times/);
  });

  it('is left as it is by a second agent with the same configuration', async () => {
    const second = a.host.start(process.execPath, BIN, 'up', '-c', a.file);
    expect(await second.ended).toBe(1);
    expect(second.err).toContain('an agent is already running');
    await isWhole();
    await reachesC();
  });

  it('is as it was after the agent was killed, and `causeway down`', async () => {
    await a.stop('SIGKILL');
    await reachesC();
    expect((await a.cli('down', '--tun', 'cw0')).code).not.toBe(2);
    await expect.poll(everything, SOON).toBe(before);
  });

  it('is served where no disk has room left, and given back', async () => {
    a.configure({ through: ['unshare', '--mount', 'sh', '-c', FULL_DISKS, 'sh', overlay.directory] });
    a.start();
    await a.ready();
    await isWhole();
    await reachesC();
    expect(await a.host.well('sysctl', '-n', `net.ipv4.conf.${a.host.port(c).device}.forwarding`)).toBe(
      '1\n',
    );
    await a.stop();
    await reachesC();
    await expect.poll(everything, SOON).toBe(before);
  });
});

function answers(ping: Program): number {
  return ping.out.split('bytes from').length;
}

/** Where the agent keeps things, a page each, and full; the socket finds room, as it needs none. */
const FULL_DISKS = `
mkdir -p /run/causeway
for place in /run/causeway "$1/state"; do
  mkdir -p "$place"
  mount -t tmpfs -o size=4k tmpfs "$place"
  head -c 4096 /dev/zero > "$place/filled"
  ! echo more > "$place/more" 2>/dev/null || exit 9
done
shift
exec "$@"
`;
