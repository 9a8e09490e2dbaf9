import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Config } from '../../../src/agent/config/index.js';
import { loadConfig } from '../../../src/agent/config/index.js';
import { checkHost } from '../../../src/cli/checks.js';
import type { Host } from '../../../src/cli/host.js';
import { lifetime, TestAuthority } from '../../support/pki/authority.js';

const NOW = Date.UTC(2026, 5, 1);

const FILES: Record<string, string> = {
  '/proc/self/status': 'Name:\tnode\nCapEff:\t000001ffffffffff\n',
  '/proc/sys/net/ipv4/conf/all/rp_filter': '0',
  '/proc/sys/net/ipv4/ip_forward': '0',
  '/sys/class/net/eth0/mtu': '1500',
};

/** A host on which all is well, but for what a test says. */
function host(
  differs: Partial<Host> & { files?: Record<string, string>; programs?: Record<string, string | null> } = {},
): Host {
  const programs: Record<string, string | null> = {
    ip: 'ip utility, iproute2-6.1.0',
    nft: 'nftables v1.0.6 (Lester Gooch #5)',
    timedatectl: 'yes',
    'ip route': '[{"dst":"192.0.2.2","dev":"eth0","metrics":[{"mtu":1500}]}]',
    ...differs.programs,
  };
  return {
    kernel: () => '6.8.0-1-amd64',
    read: (path) => ({ ...FILES, ...differs.files })[path] ?? null,
    open: () => null,
    run: async (program, args) => programs[args.includes('get') ? `${program} route` : program] ?? null,
    engine: async () => ({ name: 'test', aes: true }),
    wallClock: () => NOW,
    ...differs,
  };
}

let directory: string;
let config: Config;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'cw-doctor-'));
  const authority = await TestAuthority.create(NOW);
  config = loadConfig(await authority.writeNode(directory, 'a', '10.77.0.1', lifetime(NOW)));
  config.peers = [{ name: 'b', endpoints: [{ host: '192.0.2.2', port: 7100, text: '192.0.2.2:7100' }] }];
});
afterAll(() => rmSync(directory, { recursive: true }));

const notOk = async (from: Host, running = false): Promise<string[]> =>
  (await checkHost(from, config, running))
    .filter(({ level }) => level !== 'ok')
    .map(
      ({ level, subject, message, remedy }) =>
        `${level} ${subject}: ${message}${remedy ? `; ${remedy}` : ''}`,
    );

test('a host on which all is well has nothing but good findings', async () => {
  expect(await notOk(host())).toEqual([]);
  expect((await checkHost(host(), config, false)).map(({ subject }) => subject)).toEqual([
    'kernel',
    'tun',
    'permissions',
    'engine',
    'clock',
    'ip',
    'nft',
    'sysctl',
    'certificate',
    'mtu to b',
  ]);
});

test.each<[string, Host, string]>([
  [
    'an old kernel',
    host({ kernel: () => '5.4.0' }),
    'warning kernel: 5.4.0 is older than 5.12, and slower here; use Linux 5.12 or later',
  ],
  [
    'no /dev/net/tun',
    host({ open: () => 'ENOENT' }),
    'error tun: /dev/net/tun doesn\'t open (ENOENT); run "modprobe tun"; in a container, pass the device in (--device /dev/net/tun)',
  ],
  [
    'no capabilities',
    host({ files: { '/proc/self/status': 'CapEff:\t0000000000002000\n' } }),
    'error permissions: without CAP_NET_ADMIN; run as root, or start it with systemd (causeway@.service)',
  ],
  [
    'no addon',
    host({ engine: () => Promise.reject(new Error('not built\nat x')) }),
    'warning engine: the native addon doesn\'t load: not built; run "make build"; or "causeway up --plain", slowly',
  ],
  [
    'a clock of 1970',
    host({ wallClock: () => 0 }),
    'error clock: says 1970-01-01T00:00:00Z; certificates will seem not yet valid; set it, and keep it right with "timedatectl set-ntp true"',
  ],
  [
    'no NTP',
    host({ programs: { timedatectl: 'no' } }),
    'warning clock: 2026-06-01T00:00:00Z, not kept right by NTP; set it, and keep it right with "timedatectl set-ntp true"',
  ],
  [
    'no ip',
    host({ programs: { ip: null } }),
    'error ip: the ip command is missing; run "apt-get install iproute2"',
  ],
  [
    'no nft',
    host({ programs: { nft: null } }),
    'warning nft: the nft command is missing; run "apt-get install nftables"',
  ],
  [
    'strict reverse path filter',
    host({ files: { '/proc/sys/net/ipv4/conf/all/rp_filter': '1' } }),
    'warning sysctl: net.ipv4.conf.all.rp_filter is 1: packets of prefixes behind other nodes may be dropped; run "sysctl net.ipv4.conf.all.rp_filter=2"',
  ],
  [
    'IPv6 off',
    host({ files: { '/proc/sys/net/ipv6/conf/default/disable_ipv6': '1' } }),
    'warning sysctl: net.ipv6.conf.default.disable_ipv6 is 1: IPv6 addresses of the overlay fail; run "sysctl net.ipv6.conf.default.disable_ipv6=0"',
  ],
  [
    'no route to a peer',
    host({ programs: { 'ip route': null } }),
    "error mtu to b: no route to 192.0.2.2; check the address and this host's default route",
  ],
  ['a leftover interface', host({ files: { '/sys/class/net/cw0/ifindex': '7' } }), ''],
])('%s is found, with its remedy', async (what, from, line) => {
  const expected =
    what === 'a leftover interface'
      ? `error tun: cw0 exists already; run "causeway down -c ${config.file}" if a crash left it, else name another tun.name`
      : line;
  const lines = await notOk(from);
  expect(lines).toContain(expected);
  // A clock of 1970 makes the certificate invalid too; everything else stands alone.
  if (what !== 'a clock of 1970') expect(lines).toEqual([expected]);
});

test("a running agent's device and capabilities are its own business", async () => {
  const files = { '/sys/class/net/cw0/ifindex': '7', '/proc/self/status': 'CapEff:\t0\n' };
  expect(await notOk(host({ files }), true)).toEqual([]);
});

test('a small MTU to a peer is worth a word only where packets are not to go in pieces', async () => {
  const narrow = (mtu: number): Host =>
    host({ programs: { 'ip route': `[{"dev":"eth0","metrics":[{"mtu":${mtu}}]}]` } });
  const unsplit = { ...config, links: { ...config.links, split: false } };
  const found = async (mtu: number, of: Config): Promise<string> => {
    const { level, message, remedy } = (await checkHost(narrow(mtu), of, false)).find(
      ({ subject }) => subject === 'mtu to b',
    )!;
    return `${level}: ${message}${remedy ? `; ${remedy}` : ''}`;
  };
  expect(await found(1400, config)).toBe('ok: 1400 by eth0, room for 1316: larger packets go in pieces');
  expect(await found(1280, config)).toBe('ok: 1280 by eth0, room for 1196: larger packets go in pieces');
  expect(await found(1400, unsplit)).toBe(
    'warning: 1400 by eth0: no room for packets of tun.mtu 1380; set tun.mtu to 1316',
  );
  expect(await found(1200, config)).toBe(
    'warning: 1200 by eth0: no room for packets of tun.mtu 1380; use a network with a larger MTU',
  );
});
