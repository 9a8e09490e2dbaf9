import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { firstAnswer, forward, ip, on, start, until } from '../lib/net.mjs';

const overlay = (host) => `10.65.0.${host.index + 1}`;
/**
 * The device, and the UDP port, of a host's link to a neighbour. wireguard-go has a socket by the device's name that all namespaces share, so two grounds
 * must not use the same.
 */
const deviceOf = (host, other) => `bb${host.namespace.replace(/\D/g, '')}${host.name}${other.name}`;
const portOf = (other) => 51_821 + other.index;

/**
 * Debian's babeld over Debian's wireguard-go, a tunnel and a device for each link; the kernel forwards. `more`: lines of babeld's
 * configuration beyond the defaults, each of which `DEVICE` stands for every device in.
 */
export const babeldWith = (name, more) => ({
  name,
  needs: ['babeld', 'wireguard-go', 'wg'],
  async up({ hosts, directory }) {
    const keys = [];
    for (const host of hosts) {
      const secret = (await on(host, 'wg', 'genkey')).trim();
      const file = join(directory, `bb-${host.name}.key`);
      await writeFile(file, secret, { mode: 0o600 });
      keys.push({ file, open: (await on(host, 'sh', '-c', 'wg pubkey < "$0"', file)).trim() });
    }
    const pids = [];
    for (const host of hosts) {
      await forward(host);
      await ip('-n', host.namespace, 'addr', 'add', `${overlay(host)}/32`, 'dev', 'lo');
      for (const [neighbour, { peer }] of host.underlay) {
        pids.push(await tunnel(host, hosts[neighbour], peer, keys));
      }
      const file = join(directory, `bb-${host.name}.conf`);
      await writeFile(file, configuration(host, hosts, more));
      const state = join(directory, `bb-${host.name}`);
      pids.push(start(host, 'babeld', ['-c', file, '-S', `${state}.state`, '-I', `${state}.pid`]).pid);
    }
    await firstAnswer(hosts[0], overlay(hosts.at(-1)), name);
    return { address: overlay(hosts.at(-1)), pids };
  },
});

async function tunnel(host, other, peer, keys) {
  const device = deviceOf(host, other);
  const env = { ...process.env, LOG_LEVEL: 'error' };
  const { pid } = start(host, 'wireguard-go', ['-f', device], { env });
  await until(() => ip('-n', host.namespace, 'link', 'show', device), `${device} of wireguard-go`);
  const own = ['listen-port', String(portOf(other)), 'private-key', keys[host.index].file];
  const theirs = ['peer', keys[other.index].open, 'endpoint', `${peer}:${portOf(host)}`];
  await on(host, 'wg', 'set', device, ...own, ...theirs, 'allowed-ips', '0.0.0.0/0,::/0');
  const linkLocal = `fe80::${host.index + 1}:${other.index + 1}/64`;
  await ip('-n', host.namespace, 'addr', 'add', `${overlay(host)}/32`, 'dev', device);
  await ip('-n', host.namespace, 'addr', 'add', linkLocal, 'dev', device);
  await ip('-n', host.namespace, 'link', 'set', device, 'mtu', '1420', 'up');
  return pid;
}

function configuration(host, hosts, more) {
  const devices = [...host.underlay.keys()].map((neighbour) => deviceOf(host, hosts[neighbour]));
  return `${devices.map((device) => `interface ${device} type tunnel\n${more.replaceAll('DEVICE', device)}`).join('')}
redistribute local ip ${overlay(host)}/32 allow
redistribute local deny
redistribute deny
`;
}
