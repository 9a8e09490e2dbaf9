/**
 * The mesh's agents, by the product's own command line only: certificates, configurations, start, readiness, stop. `CAUSEWAY_BIN` names
 * another `causeway` to run, for tests.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { lastLines } from './emulator.js';
import { failed } from './errors.js';
import { mergeKeys, type AgentKeys } from './keys.js';
import { agentPort, overlayPrefixes } from './plan.js';
import { endProcess, isAlive, run, startDetached, waitFor, type ProcessRecord } from './process.js';
import { meshDirectory, nodeDirectory, type MeshState, type NodeState } from './state.js';

const repository = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const causeway = (): string => process.env['CAUSEWAY_BIN'] || join(repository, 'bin', 'causeway');

const readyWithinMs = 30_000;
const stopWithinMs = 10_000;

export const hasAgents = (state: MeshState): boolean => state.nodes.some((node) => node.agent !== false);

export interface AgentFiles {
  readonly config: string;
  readonly certificate: string;
  readonly key: string;
  readonly socket: string;
  readonly log: string;
}

export function agentFiles(mesh: string, node: string): AgentFiles {
  const directory = nodeDirectory(mesh, node);
  return {
    config: join(directory, 'causeway.yaml'),
    certificate: join(directory, 'node.crt'),
    key: join(directory, 'node.key'),
    socket: join(directory, 'causeway.sock'),
    log: join(directory, 'causeway.log'),
  };
}

/** Makes the mesh's authority, a certificate a node, and the nodes' configurations. */
export async function prepareAgents(state: MeshState): Promise<void> {
  const agents = state.nodes.filter((node) => node.agent !== false);
  if (agents.length === 0) return;
  if (!existsSync(causeway())) throw failed(`there is no ${causeway()}: build it with "make build"`);
  const { stringify } = await import('yaml');
  const authority = join(meshDirectory(state.name), 'ca');
  mkdirSync(authority, { recursive: true, mode: 0o700 });
  await run(causeway(), ['ca', 'init', '--overlay', overlayPrefixes.join(','), '--out-dir', authority]);
  for (const node of agents) {
    const { config, certificate, key } = agentFiles(state.name, node.name);
    const names = ['--name', node.name, '--address', node.overlay.join(',')];
    const files = ['--ca', join(authority, 'ca.crt'), '--out', certificate, '--key', key];
    await run(causeway(), ['ca', 'sign', ...names, ...files]);
    writeFileSync(config, stringify(agentConfig(state.name, node)), { mode: 0o600 });
  }
}

/** The node's configuration: what the mesh knows, under the file's `agent` keys. */
export function agentConfig(mesh: string, node: NodeState): AgentKeys {
  const files = agentFiles(mesh, node.name);
  const own = {
    node: node.name,
    pki: {
      ca: join(meshDirectory(mesh), 'ca', 'ca.crt'),
      cert: files.certificate,
      key: files.key,
    },
    listen: { host: '::', port: agentPort },
    tun: { name: 'cw0' },
    peers: node.peers,
    control: { socket: files.socket },
  };
  return mergeKeys(own, node.agent === false ? {} : node.agent);
}

/** Starts the node's agent and waits until it says that it is ready. @throws MeshError (exit code 1) with the end of its log. */
export async function startAgent(
  mesh: string,
  node: NodeState,
  started: (agent: ProcessRecord) => void,
): Promise<void> {
  const { config, log } = agentFiles(mesh, node.name);
  const agent = await startDetached(
    'ip',
    ['netns', 'exec', node.namespace, causeway(), 'up', '-c', config],
    log,
  );
  started(agent);
  const ready = await waitFor(async () => !isAlive(agent) || (await isReady(mesh, node.name)), readyWithinMs);
  if (!isAlive(agent)) throw failed(`the agent of node ${node.name} ended: ${lastLines(log, 5)}`);
  if (!ready)
    throw failed(
      `the agent of node ${node.name} isn't ready after ${readyWithinMs / 1000} s: ${lastLines(log, 5)}`,
    );
}

/** Asks only once there is a socket to ask at: each question is a process. */
async function isReady(mesh: string, node: string): Promise<boolean> {
  const { socket } = agentFiles(mesh, node);
  if (!existsSync(socket)) return false;
  try {
    const status = JSON.parse(await run(causeway(), ['status', '--json', '-s', socket])) as {
      ready?: unknown;
    };
    return status.ready === true;
  } catch {
    return false; // it doesn't answer yet
  }
}

export const stopAgent = (agent: ProcessRecord | null): Promise<void> => endProcess(agent, stopWithinMs);
