import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { firstAnswer, run, start } from '../lib/net.mjs';

const overlay = (host) => `10.67.0.${host.index + 1}`;

/** Debian's nebula with its default MTU of 1300 and AES-GCM; a relay is nebula's own (relay.am_relay). */
export const nebula = {
  name: 'nebula',
  needs: ['nebula', 'nebula-cert'],
  async up({ hosts, directory }) {
    const cert = (...args) => run('nebula-cert', args, { cwd: directory });
    await cert('ca', '-name', 'bench', '-out-crt', 'neb-ca.crt', '-out-key', 'neb-ca.key');
    const pids = [];
    const middle = hosts.length > 2 ? hosts[1] : undefined;
    for (const host of hosts) {
      await cert(
        'sign',
        '-name',
        host.name,
        '-ip',
        `${overlay(host)}/24`,
        '-ca-crt',
        'neb-ca.crt',
        '-ca-key',
        'neb-ca.key',
        '-out-crt',
        `neb-${host.name}.crt`,
        '-out-key',
        `neb-${host.name}.key`,
      );
      const config = join(directory, `neb-${host.name}.yml`);
      await writeFile(config, configuration(host, hosts, middle, directory));
      pids.push(start(host, 'nebula', ['-config', config]).pid);
    }
    await firstAnswer(hosts[0], overlay(hosts.at(-1)), 'nebula');
    return { address: overlay(hosts.at(-1)), pids };
  },
};

function configuration(host, hosts, middle, directory) {
  const isMiddle = middle === host;
  const lighthouse = middle ?? hosts[0];
  const reach = [...host.underlay].map(
    ([neighbour, { peer }]) => `  "${overlay(hosts[neighbour])}": ["${peer}:4242"]`,
  );
  return `pki: {ca: ${directory}/neb-ca.crt, cert: ${directory}/neb-${host.name}.crt, key: ${directory}/neb-${host.name}.key}
static_host_map:
${reach.join('\n')}
lighthouse: {am_lighthouse: ${host === lighthouse}, interval: 1, hosts: [${host === lighthouse ? '' : `"${overlay(lighthouse)}"`}]}
listen: {host: 0.0.0.0, port: 4242}
relay: {am_relay: ${isMiddle}, use_relays: true, relays: [${middle && !isMiddle ? `"${overlay(middle)}"` : ''}]}
tun: {dev: neb${host.name}, mtu: 1300}
logging: {level: error}
firewall:
  outbound: [{port: any, proto: any, host: any}]
  inbound: [{port: any, proto: any, host: any}]
`;
}
