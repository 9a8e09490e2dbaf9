/**
 * What rules do to multicast and broadcast in mode full, seen on the wire:
 *
 *     a 10.77.0.1 (agent, mode full) ── c (no agent)
 *        └ tapped: what it sends
 */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Host, Program } from '../../support/net.js';
import { type Agent, eventually, Overlay, SOON, usable } from '../agent/overlay.js';

const ALICE = 61_001;
const GROUP = 61_100;
const CGROUP = `cwmany-${process.pid}`;
/** The agent sees cgroups of its own mount namespace, which has them in one hierarchy. */
const WITH_CGROUPS = 'mount -t cgroup2 none /sys/fs/cgroup && ';

/** Of every kind, with one above that spares what a later one drops. */
const RULES = `
    - {match: {to: [239.9.0.0/16, 239.9.1.1, ff0e::9], proto: udp, port: [7000, 7002-7004]}, do: direct}
    - {match: {to: [239.9.0.0/16, "ff0e::/16"], from: "node:a", proto: udp, port: 7000-7010}, do: drop}
    - {match: {to: 255.255.255.255, proto: udp, source_port: 7101}, do: reject}
    - {match: {user: ${ALICE}, to: 239.0.0.0/8}, do: drop}
    - {match: {group: ${GROUP}, dscp: 0, proto: udp}, do: drop}
    - {match: {cgroup: ${CGROUP}}, do: drop}
    - {match: {to: 239.8.0.0/16}, do: overlay}`;

describe.skipIf(!usable)(
  'multicast and broadcast in mode full (needs root, /dev/net/tun and a build)',
  () => {
    const overlay = new Overlay();
    let a: Agent;
    let c: Host;
    let tap: Program;

    beforeAll(async () => {
      const { ground } = overlay;
      const host = await ground.host('a');
      c = await ground.host('c');
      await ground.join(host, c);
      a = await overlay.agent(host, {
        intercept: `\n  mode: full\n  rules:${RULES}`,
        through: ['unshare', '-m', 'sh', '-c', `${WITH_CGROUPS}exec "$@"`, 'sh'],
      });
      a.start();
      await a.ready();
      const { device } = host.port(c);
      tap = host.start('tcpdump', '-i', device, '-Q', 'out', '-l', '-U', '-n');
      await eventually(() => expect(tap.err).toContain('listening'));
    });

    const send = (
      to: string,
      port: number,
      { from = 0, user = 0, group = 0, through = [] as readonly string[] } = {},
    ): Promise<string> => {
      const { device, v4 } = a.host.port(c);
      const words = [to, port, device, v4, from, user, group].map(String);
      return a.host.well(...through, 'python3', '-c', SEND, ...words);
    };
    /** Which of the ports that were sent to by now were seen on the wire. */
    const seen = async (...ports: number[]): Promise<number[]> => {
      // What has come last is seen last.
      const last = 40_000 + Math.floor(Math.random() * 20_000);
      await send('239.200.0.1', last);
      await expect.poll(() => tap.out, SOON).toMatch(new RegExp(`\\.${last}:`));
      return ports.filter((port) => new RegExp(`[.](${port}):`).test(tap.out));
    };

    it('is dropped by the first rule that matches, by all that rules ask', async () => {
      await send('239.9.1.1', 7000);
      await send('239.9.1.1', 7001);
      await send('ff0e::9', 7002);
      await send('ff0e::8', 7003);
      await send('239.8.1.1', 7004);
      await send('255.255.255.255', 7005, { from: 7101 });
      await send('255.255.255.255', 7006);
      await send('239.8.1.1', 7007, { user: ALICE, group: ALICE });
      await send('239.8.1.1', 7008, { group: GROUP });
      expect(await seen(7000, 7001, 7002, 7003, 7004, 7005, 7006, 7007, 7008)).toEqual([
        7000, 7002, 7004, 7006,
      ]);
      expect((await a.drops())['rule-many']).toBe(5);
    });

    it('is told apart by cgroup, also one that is made later', async () => {
      const inside = `${WITH_CGROUPS}d=/sys/fs/cgroup/${CGROUP} && mkdir -p $d/inner && sleep 2.5 && echo $$ > $d/inner/cgroup.procs && "$@"; code=$?;
      echo $$ > /sys/fs/cgroup/cgroup.procs; rmdir $d/inner $d; exit $code`;
      await send('239.8.1.1', 7020, { through: ['unshare', '-m', 'sh', '-c', inside, 'sh'] });
      await send('239.8.1.1', 7021);
      expect(await seen(7020, 7021)).toEqual([7021]);
    });

    it('leaves its hosts what they live by, whatever rules say; a reload changes what is dropped', async () => {
      const all = '[{match: {to: [224.0.0.0/4, 255.255.255.255, "ff00::/8"]}, do: drop}]';
      a.configure({ intercept: `{mode: full, rules: ${all}}` });
      expect((await a.cli('reload')).out).toBe('applied: intercept.rules\n');
      const { device, peer } = a.host.port(c);
      await expect
        .poll(async () => {
          const port = 30_000 + Math.floor(Math.random() * 9000);
          await send('239.8.1.1', port);
          await new Promise((resolve) => setTimeout(resolve, 200));
          return new RegExp(`\\.${port}:`).test(tap.out);
        }, SOON)
        .toBe(false);
      await send('255.255.255.255', 67);
      await a.host.well('python3', '-c', JOIN, device);
      await a.host.well('ip', '-6', 'neigh', 'flush', 'dev', device);
      await a.host.run('ping', '-6', '-n', '-c', '1', '-W', '1', peer.v6);
      await a.host.run('ping', '-6', '-n', '-c', '1', '-W', '1', `ff02::1%${device}`);
      await expect.poll(() => tap.out, SOON).toMatch(/255\.255\.255\.255\.67:/);
      await expect.poll(() => tap.out, SOON).toMatch(/igmp.*report/);
      await expect.poll(() => tap.out, SOON).toMatch(/multicast listener report/);
      await expect.poll(() => tap.out, SOON).toMatch(/neighbor solicitation, who has 2001:db8/);
      expect(tap.out).not.toMatch(/> ff02::1: ICMP6, echo request/);
    });

    it('stays dropped when the agent is killed, until `causeway down`', async () => {
      await a.stop('SIGKILL');
      await send('239.8.1.1', 7030);
      await a.cli('down', '--tun', 'cw0');
      await send('239.8.1.1', 7031);
      expect(await seen(7030, 7031)).toEqual([7031]);
      expect(await a.host.well('nft', 'list', 'ruleset')).toBe('');
    });
  },
);

const SEND = `
import os, socket, sys
to, port, device, source = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
sport, user, group = map(int, sys.argv[5:])
os.setresgid(group, group, group)
os.setresuid(user, user, user)
six = ':' in to
s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
if six: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex(device))
else: s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(source))
s.bind(('::' if six else source, sport))
try: s.sendto(b'to many', (to, port))
except PermissionError: pass
`;
const JOIN = `
import socket, struct, sys, time
index = socket.if_nametoindex(sys.argv[1])
four = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
four.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton('239.7.7.7') + bytes(4) + struct.pack('=i', index))
six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, 'ff0e::7') + struct.pack('=i', index))
time.sleep(2)
`;
