/**
 * The ground that every contender runs on: namespaces joined by plain veth pairs in a chain, made for one run and removed after it.
 * Names carry the pid, so that two runs never meet.
 */
import { execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const exec = promisify(execFile);

const NAMES = 'abcdefghijklmnopqrstuvwxyz';

/** Runs a program to its end; rejects with its standard error. */
export async function run(command, args, options = {}) {
  try {
    return (await exec(command, args, { maxBuffer: 1 << 26, ...options })).stdout;
  } catch (error) {
    throw new Error(`${command} ${args.join(' ')}: ${error.stderr || error.message}`, { cause: error });
  }
}

export const ip = (...args) => run('ip', args);

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Polls `condition` until it holds; rejects with `what` after `timeoutMs`. */
export async function until(condition, what, timeoutMs = 15_000, intervalMs = 50) {
  const end = Date.now() + timeoutMs;
  for (;;) {
    try {
      if (await condition()) return;
    } catch {
      // not yet
    }
    if (Date.now() > end) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await sleep(intervalMs);
  }
}

/** CPU seconds that a process has used so far, user and system, all its threads. */
export async function cpuSeconds(pid) {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Resident memory of a process, MiB. */
export async function residentMiB(pid) {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)[1]) / 1024;
}

/** A chain of `count` hosts. Host i has 192.0.2.x addresses on its links; `host.underlay` maps a neighbour's index to {own, peer}. */
export const chain = (count) =>
  ground(
    count,
    Array.from({ length: count - 1 }, (_, i) => [i, i + 1]),
  );

/** Host 0 in the middle, `count - 1` others around it. */
export const star = (count) =>
  ground(
    count,
    Array.from({ length: count - 1 }, (_, i) => [0, i + 1]),
  );

/** Host a on one side, d on the other, b and c between them: two ways, each over one relay. */
export const diamond = () =>
  ground(4, [
    [0, 1],
    [1, 3],
    [0, 2],
    [2, 3],
  ]);

let grounds = 0;

async function ground(count, links) {
  const tag = `cwb${process.pid % 100000}-${grounds++}`;
  const directory = await mkdtemp(join(tmpdir(), 'causeway-bench-'));
  const hosts = Array.from({ length: count }, (_, i) => ({
    index: i,
    name: NAMES[i],
    namespace: `${tag}-${NAMES[i]}`,
    directory,
    underlay: new Map(),
    children: [],
  }));
  const made = { hosts, directory, down: () => removeGround(made) };
  made.ready = build(hosts, links);
  standing.add(made);
  if (process.listenerCount('SIGINT', interrupted) === 0) {
    process.on('SIGINT', interrupted).on('SIGTERM', interrupted);
  }
  await made.ready;
  return made;
}

async function build(hosts, links) {
  const steps = [
    ...hosts.flatMap(({ namespace }) => [
      () => ip('netns', 'add', namespace),
      () => ip('-n', namespace, 'link', 'set', 'lo', 'up'),
    ]),
    ...links.map(
      ([a, b], number) =>
        () =>
          joinHosts(hosts[a], hosts[b], number),
    ),
  ];
  for (const step of steps) {
    if (ending) throw new Error('interrupted');
    await step();
  }
}

/** Grounds that are there or being made. */
const standing = new Set();
/** Pending from an interruption to the process's end. */
let ending;

function interrupted() {
  ending ??= Promise.all([...standing].map((ground) => ground.down())).finally(() => process.exit(130));
}

/** Brings a contender up on a ground, runs `measure` with what it made, removes everything. */
export async function onGround(make, contender, measure) {
  try {
    const made = await make();
    try {
      return await measure({ ...(await contender.up(made)), hosts: made.hosts });
    } finally {
      await made.down();
    }
  } finally {
    await ending; // what fails now fails because of it
  }
}

async function joinHosts(a, b, number) {
  const [left, right] = [`to-${b.name}`, `to-${a.name}`];
  await ip(
    'link',
    'add',
    left,
    'netns',
    a.namespace,
    'type',
    'veth',
    'peer',
    'name',
    right,
    'netns',
    b.namespace,
  );
  const addresses = [`192.0.2.${number * 4 + 1}`, `192.0.2.${number * 4 + 2}`];
  for (const [host, device, address] of [
    [a, left, addresses[0]],
    [b, right, addresses[1]],
  ]) {
    await ip('-n', host.namespace, 'addr', 'add', `${address}/30`, 'dev', device);
    await ip('-n', host.namespace, 'link', 'set', device, 'up');
  }
  a.underlay.set(b.index, { own: addresses[0], peer: addresses[1] });
  b.underlay.set(a.index, { own: addresses[1], peer: addresses[0] });
}

/** Twice is as good as once. */
async function removeGround({ ready, hosts, directory }) {
  await ready.catch(() => undefined);
  for (const host of hosts) {
    for (const child of host.children) child.kill('SIGKILL');
    await run('ip', ['netns', 'del', host.namespace]).catch(() => undefined);
  }
  await rm(directory, { recursive: true, force: true });
  for (const ground of standing) if (ground.directory === directory) standing.delete(ground);
}

/** Runs a program on a host to its end. */
export const on = (host, command, ...args) => run('ip', ['netns', 'exec', host.namespace, command, ...args]);

/** Starts a program on a host that goes on until the ground is removed. `ip netns exec` replaces itself, so the pid is the program's. */
export function start(host, command, args, options = {}) {
  const child = spawn('ip', ['netns', 'exec', host.namespace, command, ...args], {
    stdio: ['ignore', options.log ?? 'ignore', options.log ?? 'ignore'],
    ...options,
  });
  host.children.push(child);
  child.on('error', (error) => {
    throw error;
  });
  return child;
}

/**
 * Waits until a tunnel answers a ping for the first time; returns how many ms that took. A ping at a time: while the tunnel's device has
 * no address yet, ping gives up at once.
 */
export async function firstAnswer(from, address, what) {
  const began = performance.now();
  await until(() => on(from, 'ping', '-c', '1', '-W', '0.2', address), what, 30_000);
  return performance.now() - began;
}

/** Turns on forwarding in a host, for contenders whose relays are the kernel's. */
export const forward = (host) => on(host, 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
