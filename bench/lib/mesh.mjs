/**
 * Benches on emulated links: a mesh of `scripts/netns/mesh` (docs/mesh.md), up for as long as one function runs. Its hosts are of the kind that
 * `net.mjs` and `measure.mjs` know. Losses are the same in every run, and on every mesh frame by frame: CAUSEWAY_BENCH_SEED draws others.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { on, run, until } from './net.mjs';

const repository = join(import.meta.dirname, '..', '..');
const tool = join(repository, 'scripts', 'netns', 'mesh');
const seed = process.env.CAUSEWAY_BENCH_SEED ?? '1';
const bin = join(repository, 'bin', 'causeway');

let made = 0;
/** The meshes that are up or coming up: folders of their files, by name. */
const standing = new Map();
/** Pending from an interruption to the process's end. */
let ending;

function interrupted() {
  ending ??= Promise.all([...standing.keys()].map(takeDown)).finally(() => process.exit(130));
}

async function takeDown(name) {
  await run(tool, ['down', name]).catch(() => undefined);
  await rm(standing.get(name) ?? '', { recursive: true, force: true });
  standing.delete(name);
}

/**
 * Brings a mesh up as `description` says (the keys of a mesh file but `name`), runs `use` with it, takes it down. With agents, every node is
 * reachable from the first before `use` begins; what `use` fails with also says which of them died, and of what.
 */
export async function withMesh(description, use) {
  if (standing.size === 0) process.on('SIGINT', interrupted).on('SIGTERM', interrupted);
  const name = `bench-${process.pid}-${made++}`;
  const directory = await mkdtemp(join(tmpdir(), 'causeway-bench-'));
  standing.set(name, directory);
  try {
    const file = join(directory, 'mesh.yaml');
    await writeFile(file, JSON.stringify({ ...description, name }));
    await run(tool, ['up', file, '--seed', seed]);
    const mesh = await describe(name);
    try {
      await untilReachable(mesh);
      return await use(mesh);
    } catch (error) {
      throw new Error([error.message, ...(await deaths(name))].join('\n'), { cause: error });
    }
  } finally {
    await ending; // what fails now fails because of it
    await takeDown(name);
    if (standing.size === 0) process.off('SIGINT', interrupted).off('SIGTERM', interrupted);
  }
}

/** The last words of each agent that doesn't run any more. */
async function deaths(name) {
  const { nodes } = JSON.parse(await run(tool, ['status', '--json', '-m', name]));
  const dead = Object.entries(nodes).filter(([, { config, pid }]) => config !== null && pid === null);
  return Promise.all(
    dead.map(async ([node, { config }]) => {
      const log = await readFile(join(dirname(config), 'causeway.log'), 'utf8').catch(() => '');
      return `the agent of ${node} died: ${log.trimEnd().split('\n').slice(-2).join('\n')}`;
    }),
  );
}

async function describe(name) {
  const status = JSON.parse(await run(tool, ['status', '--json', '-m', name]));
  const hosts = Object.entries(status.nodes).map(([node, { overlay, ...rest }]) => ({
    name: node,
    address: overlay[0],
    children: [],
    ...rest,
  }));
  await Promise.all(hosts.map(forgetConnections));
  return {
    name,
    hosts: Object.fromEntries(hosts.map((host) => [host.name, host])),
    pids: hosts.map((host) => host.pid).filter((pid) => pid !== null),
    /** `mesh link A B …`, such as `link('c', 'd', '--loss', '1%')`. */
    link: (a, b, ...change) => run(tool, ['link', a, b, '-m', name, ...change]),
  };
}

/** The kernel would begin a connection with what an earlier one to the same address learnt; each measurement stands alone. */
const forgetConnections = (host) => on(host, 'sysctl', '-qw', 'net.ipv4.tcp_no_metrics_save=1');

async function untilReachable({ hosts }) {
  const [first, ...others] = Object.values(hosts);
  for (const { name, address } of others.filter((host) => host.address !== undefined)) {
    await until(
      () => on(first, 'ping', '-c', '1', '-W', '0.5', address),
      `ping from ${first.name} to ${name}`,
    );
  }
}

/** Bytes and frames of an interface so far, {rx: {bytes, packets, …}, tx}. Bytes count Ethernet headers, 14 each. */
export async function counters(host, device) {
  const [{ stats64 }] = JSON.parse(
    await run('ip', ['-n', host.namespace, '-s', '-j', 'link', 'show', 'dev', device]),
  );
  return stats64;
}

/** What an interface carried while `work` ran: bytes and frames each way, and what `work` returned. */
export async function carried(host, device, work) {
  const before = await counters(host, device);
  const result = await work();
  const after = await counters(host, device);
  const grown = (way) => ({
    bytes: after[way].bytes - before[way].bytes,
    packets: after[way].packets - before[way].packets,
  });
  return { tx: grown('tx'), rx: grown('rx'), result };
}

/** A host's links as its agent reports them, `undefined` where none runs. */
export const linkReports = async (host) =>
  host.socket === null ? undefined : JSON.parse(await run(bin, ['links', '--json', '-s', host.socket]));

/** Two hosts, a and b, and one link between them; keys of the link as in a mesh file. */
export const withPair = (agent, link, use) =>
  withMesh({ agent, nodes: { a: {}, b: {} }, links: [{ between: ['a', 'b'], ...link }] }, use);
