/**
 * A small Internet for tests, 203.0.113.0/24 on one switch, with hosts on it and hosts behind NATs (nftables masquerade). Needs root.
 *
 *      a 192.168.1.2 ── nat 192.168.1.1 | 203.0.113.N ──┐
 *      b 192.168.1.2 ── nat 192.168.1.1 | 203.0.113.M ──┼── switch ── c 203.0.113.K
 *
 * All NATs use the same addresses inside, and drop what they didn't ask for, as they do in real life. (Linux remembers a datagram to one of its
 * own ports that it accepts, if only to refuse it, as a flow; a later masqueraded flow of the same ports then gets another one.)
 */
import { type Ground, type Host, well } from './net.js';

/** What a NAT does with ports: one outside port whatever the destination, or another for each ("symmetric"). */
export type Mapping = 'same-port' | 'port-per-destination';

export class Internet {
  private hosts = 0;

  private constructor(
    private readonly ground: Ground,
    private readonly middle: Host,
  ) {}

  static async create(ground: Ground): Promise<Internet> {
    const middle = await ground.host('switch');
    await middle.well('ip', 'link', 'add', 'bridge', 'type', 'bridge');
    await middle.well('ip', 'link', 'set', 'bridge', 'up');
    return new Internet(ground, middle);
  }

  /** Puts a host on the Internet; its address there. */
  async attach(host: Host, device = 'wan'): Promise<string> {
    const number = ++this.hosts;
    const port = `port${number}`;
    await plug(this.middle, port, host, device);
    await this.middle.well('ip', 'link', 'set', port, 'master', 'bridge');
    const address = `203.0.113.${10 + number}`;
    await host.well('ip', 'address', 'add', `${address}/24`, 'dev', device);
    return address;
  }

  /** Puts a host behind a NAT of its own; the NAT's address on the Internet. */
  async attachBehindNat(host: Host, mapping: Mapping = 'same-port'): Promise<string> {
    const nat = await this.ground.host(`nat-${host.name}`);
    const address = await this.attach(nat);
    await plug(nat, 'lan', host, 'eth');
    await nat.well('ip', 'address', 'add', '192.168.1.1/24', 'dev', 'lan');
    await host.well('ip', 'address', 'add', '192.168.1.2/24', 'dev', 'eth');
    await host.well('ip', 'route', 'add', 'default', 'via', '192.168.1.1');
    await nat.well('sysctl', '-qw', 'net.ipv4.ip_forward=1');
    const how = mapping === 'same-port' ? 'masquerade' : 'masquerade fully-random';
    for (const line of [
      'add table ip nat',
      'add chain ip nat post { type nat hook postrouting priority 100; }',
      `add rule ip nat post oifname wan ${how}`,
      'add chain ip nat in { type filter hook input priority 0; }',
      'add rule ip nat in iifname wan ct state new drop',
    ])
      await nat.well('nft', line);
    return address;
  }
}

/** Joins two hosts by a cable, both ends up, without addresses. */
async function plug(a: Host, deviceA: string, b: Host, deviceB: string): Promise<void> {
  const ends = ['link', 'add', deviceA, 'netns', a.namespace, 'type', 'veth'];
  await well(['ip', ...ends, 'peer', 'name', deviceB, 'netns', b.namespace]);
  await a.well('ip', 'link', 'set', deviceA, 'up');
  await b.well('ip', 'link', 'set', deviceB, 'up');
}
