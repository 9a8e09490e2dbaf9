/** Programs that know nothing of Causeway, each with what it needs and what is read from its answer. */
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from './stage.mjs';

const BLOCK = 1024;

async function listening(stage, host, server, port) {
  const open = async () => (await stage.on(host, 'ss', '-Hltn', `sport = :${port}`)) !== '';
  await until(async () => {
    if (server.process.exitCode !== null) throw new Error(server.stderr().trim().split('\n').at(-1));
    return open();
  }, `port ${port} on ${host}`);
}

/** {sent, received, times: ms in order}. */
function readPings(output) {
  const times = [...output.matchAll(/time=([\d.]+)/g)].map((match) => Number(match[1]));
  const summary = /(\d+) packets transmitted, (\d+) received/.exec(output);
  if (!summary) throw new Error(`ping said: ${output.trim().split('\n').at(-1)}`);
  return { sent: Number(summary[1]), received: Number(summary[2]), times };
}

export function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

export async function ping(stage, from, address, count = 15) {
  return readPings(await stage.on(from, 'ping', '-n', '-c', String(count), '-i', '0.1', '-W', '2', address));
}

/** A ping that goes on until `stop`, which tells of the longest silence. */
export function startPing(stage, from, address) {
  const child = stage.start(from, 'ping', '-n', '-D', '-i', '0.05', address);
  return {
    /** {sent, received, times, silence: seconds of the longest gap between two answers}. */
    async stop() {
      await child.end('SIGINT');
      const heard = [...child.stdout().matchAll(/^\[([\d.]+)\].*time=/gm)].map((match) => Number(match[1]));
      const gaps = heard.slice(1).map((at, i) => at - heard[i]);
      return { ...readPings(child.stdout()), silence: Math.max(...gaps) };
    },
  };
}

/** The routers' addresses, one a hop. */
export async function traceroute(stage, from, address) {
  const output = await stage.on(from, 'traceroute', '-n', '-q', '1', '-w', '2', '-m', '8', address);
  return [...output.matchAll(/^\s*\d+\s+(\S+)(?:\s+([\d.]+) ms)?/gm)].map(([, hop, ms]) => ({
    hop,
    ms: Number(ms),
  }));
}

/** A file whose every kilobyte begins with `marker`, behind nginx on `host`. */
export async function serveFile(stage, host, address, marker, size) {
  const www = join(stage.folder, 'www');
  mkdirSync(www);
  const content = Buffer.alloc(size, '.');
  for (let at = 0; at < size; at += BLOCK) content.write(`\n${marker} ${at}\n`, at);
  writeFileSync(join(www, 'file'), content);
  const config = join(stage.folder, 'nginx.conf');
  writeFileSync(
    config,
    `user root; daemon off; worker_processes 1; pid ${stage.folder}/nginx.pid; error_log ${stage.folder}/nginx.log;
events {}
http { access_log off; sendfile on; server { listen ${address}:80; root ${www}; } }
`,
  );
  const nginx = stage.start(
    host,
    'nginx',
    '-p',
    stage.folder,
    '-e',
    join(stage.folder, 'nginx.log'),
    '-c',
    config,
  );
  await listening(stage, host, nginx, 80);
  return { markers: size / BLOCK, sha256: sha256(content) };
}

/** {seconds, bytes, sha256} of what curl fetched. */
export async function curl(stage, from, url) {
  const file = join(stage.folder, 'fetched');
  const said = await stage.on(from, 'curl', '-sSf', '--noproxy', '*', '-o', file, '-w', '%{time_total}', url);
  const content = readFileSync(file);
  return { seconds: Number(said), bytes: content.length, sha256: sha256(content) };
}

function sha256(content) {
  return createHash('sha256').update(content).digest('hex');
}

/**
 * An OpenSSH server with keys of its own, and a command run through it. In mount and host name spaces of its own the server finds the
 * directory that it insists on, a root account that isn't locked, and its host's name; the machine's stay as they are.
 */
export async function ssh(stage, from, to, command) {
  const folder = join(stage.folder, 'ssh');
  mkdirSync(folder, { mode: 0o700 });
  for (const name of ['host', 'user']) {
    await stage.run([
      'ssh-keygen',
      '-q',
      '-t',
      'ed25519',
      '-N',
      '',
      '-C',
      `demo ${name}`,
      '-f',
      join(folder, name),
    ]);
  }
  const address = stage.address(to);
  writeFileSync(join(folder, 'known_hosts'), `${address} ${readFileSync(join(folder, 'host.pub'), 'utf8')}`);
  writeFileSync(join(folder, 'shadow'), 'root:*:19000:0:99999:7:::\n', { mode: 0o600 });
  writeFileSync(join(folder, 'sshd_config'), sshdConfig(folder, address));
  const script = join(folder, 'start');
  writeFileSync(
    script,
    `#!/bin/sh
set -e
mount -t tmpfs tmpfs /run
mkdir -m 755 /run/sshd
mount --bind ${folder}/shadow /etc/shadow
hostname ${to}
exec /usr/sbin/sshd -D -e -f ${folder}/sshd_config
`,
  );
  chmodSync(script, 0o700);
  const server = stage.start(to, 'unshare', '--mount', '--uts', script);
  await listening(stage, to, server, 22);
  const options = ['BatchMode=yes', 'IdentitiesOnly=yes', `UserKnownHostsFile=${folder}/known_hosts`];
  const words = [
    '-T',
    '-F',
    '/dev/null',
    '-i',
    join(folder, 'user'),
    ...options.flatMap((option) => ['-o', option]),
  ];
  const output = await stage.on(from, 'ssh', ...words, `root@${address}`, command);
  return output.trim();
}

function sshdConfig(folder, address) {
  return `ListenAddress ${address}:22
HostKey ${folder}/host
AuthorizedKeysFile ${folder}/user.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
`;
}

/** Mbit/s that one TCP stream carried, its first second left out. */
export async function iperf3(stage, from, to, seconds = 4) {
  const server = stage.start(to, 'iperf3', '-s', '-1');
  await listening(stage, to, server, 5201);
  const words = ['-c', stage.address(to), '-t', String(seconds), '-O', '1', '-J'];
  const report = JSON.parse(await stage.on(from, 'iperf3', ...words));
  return report.end.sum_received.bits_per_second / 1e6;
}
