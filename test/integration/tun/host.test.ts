/**
 * The host around a TUN device, in a namespace of its own:
 *
 *   overlay 10.77.0.0/16, fd77::/48                          Internet (nobody answers)
 *        ▲                                                        ▲
 *   cw… 10.77.0.1 fd77::1 (answers pings to anywhere)     under 192.0.2.1/24, default via 192.0.2.254
 *        └──────────────────── namespace cwt… ────────────────────┘
 */
import { existsSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createBatch } from '../../../src/io/batch.js';
import { createPlainIo } from '../../../src/io/plain/index.js';
import type { TunDevice } from '../../../src/io/ports.js';
import {
  HostInterception,
  hostTools,
  removeLeftovers,
  routingTable,
  type HostInput,
} from '../../../src/tun/index.js';
import { packetInto } from '../../unit/io/batches.js';
import { buildPacket } from '../../unit/io/packets.js';
import { until } from '../../unit/io/conformance.js';
import { answerPings } from './echo.js';
import { createNamespace, isRoot, moveInto, type Namespace } from './namespace.js';

const NAME = `cwh${process.pid}`;
const TABLE = String(routingTable(NAME));
const MARK = 0xca75;
/** The device goes with its last descriptor, which the plain device's helper process holds until it has ended. */
const WAIT = { timeout: 5_000 };
const usable = isRoot && existsSync('/dev/net/tun');

const input: HostInput = {
  tun: { name: NAME, mtu: 1380, txQueueLength: 777, gsoMaxSize: 32_768, gsoMaxSegments: 40 },
  addresses: ['10.77.0.1', 'fd77::1'],
  prefixes: ['10.77.0.0/16', 'fd77::/48'],
  routed: ['10.20.0.0/16'],
  mark: MARK,
};

describe.skipIf(!usable)('the host around a TUN device (needs root and /dev/net/tun)', () => {
  let namespace: Namespace;
  let interception: HostInterception;
  let tuns: TunDevice[] = [];

  beforeEach(async () => {
    namespace = await createNamespace();
    await namespace.run('ip', 'link', 'add', 'under', 'type', 'veth', 'peer', 'name', 'far');
    for (const device of ['under', 'far']) {
      await namespace.run('ip', 'link', 'set', device, 'addrgenmode', 'none');
      await namespace.run('ip', 'link', 'set', device, 'up');
    }
    await namespace.run('ip', 'address', 'add', '192.0.2.1/24', 'dev', 'under');
    await namespace.run('ip', 'route', 'add', 'default', 'via', '192.0.2.254');
    await namespace.run('ip', '-6', 'address', 'add', '2001:db8::1/64', 'dev', 'under', 'nodad');
    await namespace.run('ip', '-6', 'route', 'add', 'default', 'via', '2001:db8::fe');
    interception = new HostInterception(NAME, hostTools(NAME, { namespace: namespace.name }));
  });
  afterEach(async () => {
    for (const tun of tuns) tun.close();
    tuns = [];
    await namespace.remove();
  });

  const openTun = async (name = NAME): Promise<TunDevice> => {
    const tun = createPlainIo().createTun({ name });
    tuns.push(tun);
    await moveInto(name, namespace);
    return tun;
  };
  /** Everything that interception may touch. */
  const dump = async (): Promise<string> => {
    const parts = [
      ['-4', 'rule'],
      ['-6', 'rule'],
      ['-4', 'route', 'show', 'table', 'all'],
      ['-6', 'route', 'show', 'table', 'all'],
      ['address'],
    ];
    return (await Promise.all(parts.map((part) => namespace.run('ip', ...part)))).join('---\n');
  };
  const routeTo = async (...what: string[]): Promise<Record<string, unknown>> =>
    (await namespace.ip('route', 'get', ...what))[0];

  it('gives the device its addresses, MTU and queue, and neither a link-local address nor a route in main', async () => {
    await openTun();
    const main = await namespace.run('ip', 'route');
    expect(await interception.apply(input)).toEqual({ warnings: [], families: [4, 6] });
    const [device] = await namespace.ip('-d', 'address', 'show', 'dev', NAME);
    expect(device).toMatchObject({ mtu: 1380, txqlen: 777, gso_max_size: 32_768, gso_max_segs: 40 });
    expect(
      (device['addr_info'] as { local: string; prefixlen: number }[]).map(
        ({ local, prefixlen }) => `${local}/${prefixlen}`,
      ),
    ).toEqual(['10.77.0.1/32', 'fd77::1/128']);
    expect(await namespace.run('ip', 'route')).toBe(main);
  });

  it('has one rule per family to a table that holds the overlay’s prefixes and the routed ones', async () => {
    await openTun();
    await interception.apply(input);
    for (const family of ['-4', '-6']) {
      const rules = (await namespace.ip(family, '-N', 'rule')).filter((rule) => rule['table'] === TABLE);
      expect(rules).toEqual([
        {
          priority: 7100,
          not: null,
          src: 'all',
          fwmark: '0xca75',
          fwmask: '0xfffffffd',
          table: TABLE,
          protocol: '203',
        },
      ]);
    }
    const routes = [
      ...(await namespace.ip('-4', 'route', 'show', 'table', TABLE)),
      ...(await namespace.ip('-6', 'route', 'show', 'table', TABLE)),
    ];
    expect(routes.map((route) => [route['type'] ?? 'unicast', route['dst'], route['prefsrc']])).toEqual([
      ['unicast', '10.20.0.0/16', '10.77.0.1'],
      ['unicast', '10.77.0.0/16', '10.77.0.1'],
      ['unreachable', '10.77.0.0/16', undefined],
      ['unicast', 'fd77::/48', 'fd77::1'],
      ['unreachable', 'fd77::/48', undefined],
    ]);
  });

  it('sends overlay destinations through the device from the overlay address, marked and other ones as before', async () => {
    await openTun();
    await interception.apply(input);
    expect(await routeTo('10.77.0.5')).toMatchObject({ dev: NAME, prefsrc: '10.77.0.1' });
    expect(await routeTo('10.20.3.4')).toMatchObject({ dev: NAME, prefsrc: '10.77.0.1' });
    expect(await routeTo('fd77::5')).toMatchObject({ dev: NAME, prefsrc: 'fd77::1' });
    expect(await routeTo('10.77.0.5', 'mark', String(MARK))).toMatchObject({
      dev: 'under',
      prefsrc: '192.0.2.1',
    });
    expect(await routeTo('fd77::5', 'mark', String(MARK))).toMatchObject({
      dev: 'under',
      prefsrc: '2001:db8::1',
    });
    expect(await routeTo('198.51.100.1')).toMatchObject({ dev: 'under', gateway: '192.0.2.254' });
  });

  it.each([
    ['IPv4', '10.77.0.5'],
    ['a routed subnet', '10.20.0.5'],
    ['IPv6', 'fd77::5'],
  ])('carries traffic both ways under strict reverse-path filtering: %s', async (_what, target) => {
    for (const device of ['all', 'default'])
      await namespace.run('sysctl', '-qw', `net.ipv4.conf.${device}.rp_filter=1`);
    answerPings(await openTun());
    await interception.apply(input);
    expect(await namespace.run('ping', '-c', '3', '-i', '0.05', '-W', '2', target)).toContain('3 received');
  });

  it('lets a program of the host answer a peer under strict reverse-path filtering', async () => {
    for (const device of ['all', 'default'])
      await namespace.run('sysctl', '-qw', `net.ipv4.conf.${device}.rp_filter=1`);
    const tun = await openTun();
    await interception.apply(input);
    const [request, answers] = [createBatch(256, 1), createBatch(1 << 16, 8)];
    const { bytes } = buildPacket({ version: 4, protocol: 'udp', payload: Buffer.from('hello') });
    // A datagram from 10.77.0.2 to a closed port of 10.77.0.1: addresses swapped, which no checksum notices.
    const [first, second] = [bytes.slice(12, 16), bytes.slice(16, 20)];
    bytes.set(second, 12);
    bytes.set(first, 16);
    packetInto(request, bytes);
    let answer: Uint8Array | undefined;
    tun.onReadable(() => {
      const n = tun.read(answers);
      for (let i = 0; i < n; i++)
        if (answers.bytes[answers.offset[i] + 9] === 1) answer = answers.bytes.slice(answers.offset[i]);
    });
    expect(tun.write(request, Int32Array.of(0), 1)).toBe(1);
    await until(() => answer !== undefined, 'port unreachable');
    expect([
      answer![20],
      answer![21],
      answer!.subarray(12, 16).join('.'),
      answer!.subarray(16, 20).join('.'),
    ]).toEqual([3, 3, '10.77.0.1', '10.77.0.2']);
  });

  it('follows a change of the routed subnets', async () => {
    await openTun();
    await interception.apply(input);
    await interception.setRouted({ prefixes: ['10.21.0.0/16', 'fd20::/64'], real: [], exit: false });
    expect(await routeTo('10.21.0.1')).toMatchObject({ dev: NAME, prefsrc: '10.77.0.1' });
    expect(await routeTo('fd20::1')).toMatchObject({ dev: NAME, prefsrc: 'fd77::1' });
    expect(await routeTo('10.20.0.1')).toMatchObject({ dev: 'under' });
    await interception.setRouted({ prefixes: ['10.21.0.0/16', 'fd20::/64'], real: [], exit: false });
    await interception.setRouted({ prefixes: [], real: [], exit: false });
    expect(await routeTo('10.21.0.1')).toMatchObject({ dev: 'under' });
    expect(await routeTo('10.77.0.1')).toMatchObject({ type: 'local' });
  });

  it('leaves the host as it was', async () => {
    const before = await dump();
    expect(await interception.prepare()).toEqual([]);
    const tun = await openTun();
    await interception.apply(input);
    expect(await dump()).not.toBe(before);
    expect((await interception.revert()).sort()).toEqual([
      `IPv4 route 10.20.0.0/16 in table ${TABLE}`,
      `IPv4 route 10.77.0.0/16 in table ${TABLE}`,
      `IPv4 route unreachable 10.77.0.0/16 in table ${TABLE}`,
      `IPv4 rule 7100 to table ${TABLE}`,
      `IPv6 route fd77::/48 in table ${TABLE}`,
      `IPv6 route unreachable fd77::/48 in table ${TABLE}`,
      `IPv6 rule 7100 to table ${TABLE}`,
    ]);
    tun.close();
    await expect.poll(dump, WAIT).toBe(before);
  });

  it('leaks nothing after SIGKILL, and leaves the host as it was once the next start or `causeway down` has cleaned up', async () => {
    const before = await dump();
    const tun = await openTun();
    await interception.apply(input);
    tun.close();
    await expect.poll(() => namespace.run('ip', 'link'), WAIT).not.toContain(NAME);
    for (const target of ['10.77.0.5', 'fd77::5'])
      await expect(namespace.ip('route', 'get', target)).rejects.toThrow();
    expect(await dump()).not.toBe(before);
    const next = new HostInterception(NAME, hostTools(NAME, { namespace: namespace.name }));
    expect((await next.prepare()).sort()).toEqual([
      `IPv4 route unreachable 10.77.0.0/16 in table ${TABLE}`,
      `IPv4 rule 7100 to table ${TABLE}`,
      `IPv6 route unreachable fd77::/48 in table ${TABLE}`,
      `IPv6 rule 7100 to table ${TABLE}`,
    ]);
    await expect.poll(dump, WAIT).toBe(before);
    expect(await removeLeftovers(NAME, hostTools(NAME, { namespace: namespace.name }))).toEqual([]);
    expect(await dump()).toBe(before);
  });

  it('removes nothing of another agent’s or of the administrator’s', async () => {
    const other = `cwo${process.pid}`;
    await openTun(other);
    await new HostInterception(other, hostTools(other, { namespace: namespace.name })).apply({
      ...input,
      tun: { name: other, mtu: 1380 },
      addresses: ['10.78.0.1'],
      prefixes: ['10.78.0.0/16'],
      routed: [],
    });
    await namespace.run('ip', 'route', 'add', '10.99.0.0/16', 'dev', 'under', 'table', TABLE);
    await namespace.run('ip', 'rule', 'add', 'pref', '99', 'to', '10.99.0.0/16', 'lookup', TABLE);
    const before = await dump();
    const tun = await openTun();
    await interception.apply(input);
    await interception.revert();
    tun.close();
    await expect.poll(dump, WAIT).toBe(before);
  });

  it('neither takes over nor removes a device that has the name', async () => {
    await namespace.run('ip', 'tuntap', 'add', 'dev', NAME, 'mode', 'tun');
    await expect(interception.prepare()).rejects.toMatchObject({ name: 'HostError', code: 'name-taken' });
    expect(await removeLeftovers(NAME, hostTools(NAME, { namespace: namespace.name }))).toEqual([]);
    expect(await namespace.ip('link', 'show', 'dev', NAME)).toHaveLength(1);
  });

  it('works without IPv6 where the host has switched it off, and says so', async () => {
    for (const device of ['all', 'default'])
      await namespace.run('sysctl', '-qw', `net.ipv6.conf.${device}.disable_ipv6=1`);
    const before = await dump();
    const tun = await openTun();
    answerPings(tun);
    const { families, warnings } = await interception.apply(input);
    expect(families).toEqual([4]);
    expect(warnings).toEqual([expect.stringContaining('IPv6 is switched off on this host')]);
    await interception.setRouted({ prefixes: ['fd20::/64', '10.21.0.0/16'], real: [], exit: false });
    expect(await namespace.run('ping', '-c', '1', '-W', '2', '10.21.0.5')).toContain('1 received');
    await interception.revert();
    tun.close();
    await expect.poll(dump, WAIT).toBe(before);
  });

  it('leaves nothing where it fails half-way, and names the line', async () => {
    await namespace.run('ip', 'route', 'add', '10.77.0.0/16', 'dev', 'under', 'table', TABLE);
    const before = await dump();
    const tun = await openTun();
    const line = `ip route add 10.77.0.0/16 dev ${NAME} src 10.77.0.1 table ${TABLE} proto 203: File exists`;
    await expect(interception.apply(input)).rejects.toMatchObject({
      name: 'HostError',
      code: 'exists',
      message: line,
    });
    tun.close();
    await expect.poll(dump, WAIT).toBe(before);
  });

  it('says so where the device has gone', async () => {
    await expect(interception.apply(input)).rejects.toMatchObject({ code: 'no-device' });
  });
});
