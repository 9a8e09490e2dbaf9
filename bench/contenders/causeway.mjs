import { readFile, writeFile } from 'node:fs/promises';
import { openSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { on, run, start } from '../lib/net.mjs';

const BIN = join(dirname(fileURLToPath(import.meta.url)), '../../bin/causeway');
const MESH_PATIENCE_S = 60;
const overlay = (host) => `10.77.0.${host.index + 1}`;

/** A rule that pins the service, so that figures of the data path stay comparable when other services come. */
const BEST_EFFORT = `intercept:
  mode: split
  rules:
    - {match: {}, do: overlay, service: best-effort}
`;

/** Ourselves. `more`: further keys of each configuration. */
export const causewayWith = (more) => ({
  name: 'causeway',
  needs: [],
  async up({ hosts, directory }) {
    const files = { ca: join(directory, 'ca.crt'), key: join(directory, 'ca.key') };
    await run(BIN, [
      'ca',
      'init',
      '--overlay',
      '10.77.0.0/16,fd77::/48',
      '--ca',
      files.ca,
      '--key',
      files.key,
    ]);
    const pids = [];
    for (const host of hosts) {
      const base = join(directory, host.name);
      const address = `${overlay(host)},fd77::${host.index + 1}`;
      await run(BIN, [
        'ca',
        'sign',
        '--name',
        host.name,
        '--address',
        address,
        '--ca',
        files.ca,
        '--ca-key',
        files.key,
        '--out',
        `${base}.crt`,
        '--key',
        `${base}.key`,
      ]);
      await writeFile(`${base}.yaml`, configuration(host, hosts, files, base, more));
    }
    const started = performance.now();
    for (const host of hosts) {
      const log = openSync(`${join(directory, host.name)}.log`, 'w');
      pids.push(
        start(
          host,
          process.execPath,
          [
            ...(process.env.CWNODE ?? '').split(' ').filter(Boolean),
            BIN,
            'up',
            '-c',
            `${join(directory, host.name)}.yaml`,
          ],
          { log },
        ).pid,
      );
    }
    const target = overlay(hosts.at(-1));
    await firstAnswer(hosts[0], target).catch(async (error) => {
      const logs = await Promise.all(
        hosts.map((host) => readFile(join(directory, `${host.name}.log`), 'utf8')),
      );
      throw new Error(`${error.message}\n${logs.join('\n')}`);
    });
    return {
      address: target,
      pids,
      firstPingMs: performance.now() - started,
      sockets: hosts.map((host) => `${join(directory, host.name)}.sock`),
    };
  },
});

export const causeway = causewayWith(BEST_EFFORT);

/**
 * Resolves when `target` answers a ping. A shell asks again and again: were it this process, whose fork takes a core for 10 ms or more, what
 * asks would be much of what is measured.
 */
async function firstAnswer(host, target) {
  const asking = 'until ping -c 1 -W 0.1 "$0"; do sleep 0.01; done >/dev/null 2>&1';
  await on(host, 'timeout', String(MESH_PATIENCE_S), 'sh', '-c', asking, target).catch(() => {
    throw new Error(`causeway mesh: no answer within ${MESH_PATIENCE_S} s`);
  });
}

function configuration(host, hosts, { ca }, base, more) {
  const peers = [...host.underlay].map(
    ([neighbour, { peer }]) => `  - {name: ${hosts[neighbour].name}, endpoints: ["${peer}:7100"]}`,
  );
  return `node: ${host.name}
pki: {ca: ${ca}, cert: ${base}.crt, key: ${base}.key}
listen: {host: "::", port: 7100}
tun: {name: cwb${host.name}}
peers:
${peers.join('\n')}
${more}control: {socket: ${base}.sock}
log: {level: warn}
`;
}
