import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { firstAnswer, on, run, start } from '../lib/net.mjs';

const overlay = (host) => `10.68.0.${host.index + 1}`;

/**
 * Debian's tinc 1.0: the device keeps an MTU of 1500, tinc finds the path's and clamps TCP's MSS. Relaying is its own. `more`: lines of its
 * configuration beyond the defaults.
 */
export const tincWith = (name, more) => ({
  name,
  needs: ['tincd'],
  async up({ hosts, directory }) {
    const home = (host) => join(directory, `tinc-${host.name}`);
    for (const host of hosts) await prepare(host, home(host), hosts, more);
    for (const host of hosts) {
      for (const other of hosts) {
        const description = await readFile(join(home(other), 'hosts', other.name), 'utf8');
        const address = host.underlay.get(other.index)?.peer;
        if (other !== host) {
          await writeFile(
            join(home(host), 'hosts', other.name),
            (address ? `Address = ${address}\n` : '') + description,
          );
        }
      }
    }
    const pids = hosts.map(
      (host) => start(host, 'tincd', ['-D', '-c', home(host), `--pidfile=${home(host)}/pid`]).pid,
    );
    await firstAnswer(hosts[0], overlay(hosts.at(-1)), 'tinc');
    // It begins over TCP and probes for UDP and the path's MTU while there is traffic.
    await on(hosts[0], 'ping', '-q', '-c', '40', '-i', '0.25', '-W', '1', overlay(hosts.at(-1)));
    return { address: overlay(hosts.at(-1)), pids };
  },
});

export const tinc = tincWith('tinc', '');

async function prepare(host, home, hosts, more) {
  await mkdir(join(home, 'hosts'), { recursive: true });
  const peers = [...host.underlay.keys()].map((i) => `ConnectTo = ${hosts[i].name}`);
  await writeFile(
    join(home, 'tinc.conf'),
    `Name = ${host.name}\nInterface = tinc${host.name}\n${peers.join('\n')}\n${more}`,
  );
  await writeFile(join(home, 'hosts', host.name), `Subnet = ${overlay(host)}/32\n`);
  await writeFile(
    join(home, 'tinc-up'),
    `#!/bin/sh\nip addr add ${overlay(host)}/24 dev $INTERFACE\nip link set $INTERFACE up\n`,
  );
  await chmod(join(home, 'tinc-up'), 0o755);
  await run('tincd', ['-c', home, '-K', '2048'], { input: '' });
}
