/**
 * A host whose address changes again and again, and what runs over the overlay meanwhile:
 *
 *      a 10.77.0.1, 192.0.2.1 → 198.51.100.1 → 198.51.100.2 → … ──── b 10.77.0.2, 192.0.2.2
 */
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Agent, eventually, Overlay, pair, SOON, usable } from './overlay.js';

/** ms between changes, and how many there are. */
const PACE = 2000;
const CHANGES = 5;

describe.skipIf(!usable)('a host that moves (needs root, /dev/net/tun and a build)', () => {
  const overlay = new Overlay();
  let a: Agent;
  let b: Agent;
  let device: string;

  beforeAll(async () => {
    ({ a, b } = await pair(overlay));
    ({ device } = a.host.port(b.host));
    await b.host.well('ip', 'route', 'add', '198.51.100.0/24', 'dev', b.host.port(a.host).device);
  });

  /** The old address goes first, as when a lease ends. */
  const move = async (to: string): Promise<void> => {
    const gateway = b.host.port(a.host).v4;
    await a.host.well('ip', '-4', 'address', 'flush', 'dev', device);
    await a.host.well('ip', 'address', 'add', `${to}/32`, 'dev', device);
    await a.host.well('ip', 'route', 'add', gateway, 'dev', device);
  };
  const placeOfA = async (): Promise<string> =>
    (await b.client.links()).find(({ peer }) => peer === 'a')!.endpoint;

  it('holds an ssh session and an iperf3 run through every change', { timeout: 60_000 }, async () => {
    await startSshd(b, overlay.directory);
    const ssh = a.host.start(...sshTo(b, overlay.directory), 'while read line; do echo "heard $line"; done');
    ssh.write('the first\n');
    await expect.poll(() => ssh.out, SOON).toContain('heard the first');
    const server = b.host.start('iperf3', '-s', '--forceflush', '-B', b.v4);
    await expect.poll(() => server.out, SOON).toContain('listening');
    const seconds = Math.ceil(((CHANGES + 1) * PACE) / 1000);
    const iperf = a.host.start('iperf3', '-c', b.v4, '-t', String(seconds), '-b', '20M', '--json');

    for (let change = 1; change <= CHANGES; change++) {
      await new Promise((resolve) => setTimeout(resolve, PACE));
      await move(`198.51.100.${change}`);
      await eventually(async () => expect(await placeOfA()).toBe(`198.51.100.${change}:7100`));
      ssh.write(`line ${change}\n`);
      await expect.poll(() => ssh.out, SOON).toContain(`heard line ${change}`);
    }

    expect(await iperf.ended).toBe(0);
    const { end, intervals } = JSON.parse(iperf.out) as IperfReport;
    expect(end.sum_received.bytes / end.sum_sent.bytes).toBeGreaterThan(0.9);
    // Whatever a second with a change in it has lost, the next one carries again.
    const silent = intervals.map(({ sum }) => sum.bytes === 0);
    expect(silent.some((each, i) => each && silent[i + 1])).toBe(false);
    expect(ssh.running).toBe(true);
  });
});

interface IperfReport {
  end: { sum_sent: { bytes: number }; sum_received: { bytes: number } };
  intervals: { sum: { bytes: number } }[];
}

async function startSshd(agent: Agent, directory: string): Promise<void> {
  const { host } = agent;
  for (const name of ['host_key', 'user_key'])
    await host.well('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', join(directory, name));
  await host.well('cp', join(directory, 'user_key.pub'), join(directory, 'authorized_keys'));
  chmodSync(join(directory, 'authorized_keys'), 0o600);
  mkdirSync('/run/sshd', { recursive: true });
  const options = [
    `ListenAddress=${agent.v4}`,
    'Port=2222',
    `HostKey=${join(directory, 'host_key')}`,
    `AuthorizedKeysFile=${join(directory, 'authorized_keys')}`,
    'StrictModes=no',
    'UsePAM=no',
    'PermitRootLogin=yes',
    `PidFile=${join(directory, 'sshd.pid')}`,
  ];
  // Its sessions are processes of their own, which end with the namespace of their numbers.
  const alone = ['unshare', '--pid', '--fork', '--kill-child'];
  const words = ['/usr/sbin/sshd', '-D', '-e', '-f', '/dev/null', ...options.flatMap((o) => ['-o', o])];
  const sshd = host.start(...alone, ...words);
  await expect.poll(() => sshd.err, SOON).toContain('listening');
}

function sshTo(agent: Agent, directory: string): string[] {
  const options = ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR'];
  const key = ['-i', join(directory, 'user_key'), '-p', '2222'];
  return ['ssh', ...key, ...options.flatMap((o) => ['-o', o]), `root@${agent.v4}`];
}
