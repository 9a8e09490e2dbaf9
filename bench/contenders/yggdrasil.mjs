import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { firstAnswer, on, run, start } from '../lib/net.mjs';

const PORT = 9001;

/** Debian's yggdrasil with its defaults, over TCP as it is; each host peers with its neighbours, and relaying is its own. */
export const yggdrasil = {
  name: 'yggdrasil',
  needs: ['yggdrasil'],
  async up({ hosts, directory }) {
    const addresses = [];
    for (const host of hosts) {
      const file = join(directory, `ygg-${host.name}.json`);
      const fresh = JSON.parse(await run('yggdrasil', ['-genconf', '-json']));
      const peers = [...host.underlay.values()].map(({ peer }) => `tcp://${peer}:${PORT}`);
      const configuration = {
        ...fresh,
        Peers: peers,
        Listen: [`tcp://0.0.0.0:${PORT}`],
        MulticastInterfaces: [],
        AdminListen: 'none',
        IfName: `ygg${host.name}`,
      };
      await writeFile(file, JSON.stringify(configuration), { mode: 0o600 });
      addresses.push((await run('yggdrasil', ['-useconffile', file, '-address'])).trim());
      host.yggdrasil = file;
    }
    // Its device gets an IPv6 address.
    for (const host of hosts) await on(host, 'sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=0');
    const pids = hosts.map((host) => start(host, 'yggdrasil', ['-useconffile', host.yggdrasil]).pid);
    await firstAnswer(hosts[0], addresses.at(-1), 'yggdrasil');
    return { address: addresses.at(-1), pids };
  },
};
