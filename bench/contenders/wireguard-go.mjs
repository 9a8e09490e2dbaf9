import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { firstAnswer, forward, ip, on, start, until } from '../lib/net.mjs';

const overlay = (host) => `10.66.0.${host.index + 1}`;

/** Debian's wireguard-go with WireGuard's usual MTU of 1420; a relay is a host that is a peer of both ends and routes between them. */
export const wireguardGo = {
  name: 'wireguard-go',
  needs: ['wireguard-go', 'wg'],
  async up({ hosts, directory }) {
    const keys = [];
    for (const host of hosts) {
      const secret = (await on(host, 'wg', 'genkey')).trim();
      const file = join(directory, `wg-${host.name}.key`);
      await writeFile(file, secret, { mode: 0o600 });
      const open = (await on(host, 'sh', '-c', 'wg pubkey < "$0"', file)).trim();
      keys.push({ file, open });
    }
    const pids = [];
    for (const host of hosts) {
      const device = `wgb${host.name}`;
      const child = start(host, 'wireguard-go', ['-f', device], {
        env: { ...process.env, LOG_LEVEL: 'error' },
      });
      pids.push(child.pid);
      await until(() => ip('-n', host.namespace, 'link', 'show', device), `${device} of wireguard-go`);
      await on(host, 'wg', 'set', device, 'listen-port', '51820', 'private-key', keys[host.index].file);
      for (const [neighbour, { peer }] of host.underlay) {
        const behind = hosts.filter((other) =>
          neighbour > host.index ? other.index >= neighbour : other.index <= neighbour,
        );
        const allowed = behind.map((other) => `${overlay(other)}/32`).join(',');
        await on(
          host,
          'wg',
          'set',
          device,
          'peer',
          keys[neighbour].open,
          'endpoint',
          `${peer}:51820`,
          'allowed-ips',
          allowed,
        );
      }
      await ip('-n', host.namespace, 'addr', 'add', `${overlay(host)}/24`, 'dev', device);
      await ip('-n', host.namespace, 'link', 'set', device, 'mtu', '1420', 'up');
      if (host.underlay.size > 1) await forward(host);
    }
    await firstAnswer(hosts[0], overlay(hosts.at(-1)), 'wireguard-go');
    return { address: overlay(hosts.at(-1)), pids };
  },
};
