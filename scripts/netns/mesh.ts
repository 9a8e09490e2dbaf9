/** The commands on a whole mesh and on its agents; `main.ts` reads the command line, this does what it asks. */
import { randomInt } from 'node:crypto';
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { hasAgents, prepareAgents, startAgent, stopAgent } from './agents.js';
import { emulatorBinary } from './emulator.js';
import { failed, MeshError, wrongUse } from './errors.js';
import { createNamespaces, refuseStrangers, removeNamespaces } from './network.js';
import { planMesh } from './plan.js';
import { endProcess, isAlive, signal } from './process.js';
import { isPlain } from './quantity.js';
import { createLinks } from './shaping.js';
import {
  chosenMesh,
  claim,
  forget,
  loadState,
  meshNames,
  newState,
  nodeOf,
  saveState,
  withLock,
} from './state.js';
import type { MeshState, NodeState } from './state.js';

/** Brings up what the file describes; on any failure, or a signal, takes down again what there is by then. */
export async function meshUp(path: string, options: { seed?: number }): Promise<MeshState> {
  // Only here: what checks a file costs more time to load than most commands take.
  const { readMeshFile } = await import('./file.js');
  const file = readMeshFile(path);
  const fresh = newState(planMesh(file), options.seed ?? file.seed ?? randomInt(2 ** 32));
  requireRoot();
  claim(fresh);
  const interruption = catchSignals();
  try {
    refuseStrangers(fresh);
    return await Promise.race([build(fresh), interruption.happens]);
  } catch (error) {
    await clear(fresh);
    throw error;
  } finally {
    interruption.ignore();
  }
}

/** Whatever is running when a signal comes may fail or go on; `clear` waits for that and then removes what it left. */
async function build(fresh: MeshState): Promise<MeshState> {
  if (!fresh.links.every((link) => isPlain(link.shape))) await emulatorBinary();
  claimed.building = (async () => {
    await createNamespaces(fresh);
    stopIfCleared();
    let state = await createLinks(fresh);
    saveState(state);
    stopIfCleared();
    if (!hasAgents(state)) return state;
    await prepareAgents(state);
    stopIfCleared();
    await Promise.all(
      state.nodes
        .filter((node) => node.agent !== false)
        .map((node) =>
          startAgent(state.name, node, (agent) => {
            state = withNode(state, { ...nodeOf(state, node.name), process: agent });
            saveState(state);
          }),
        ),
    );
    return state;
  })();
  return claimed.building;
}

/** What `clear` must wait for; there is one `up` a process. */
const claimed: { building?: Promise<MeshState>; cleared: boolean } = { cleared: false };

function stopIfCleared(): void {
  if (claimed.cleared) throw failed('interrupted');
}

async function clear(fresh: MeshState): Promise<void> {
  claimed.cleared = true;
  const state = loadState(fresh.name) ?? fresh;
  await Promise.all(state.nodes.map((node) => endProcess(node.process, 2000))); // ends the wait for agents, too
  await claimed.building?.catch(() => undefined);
  await tearDown(loadState(fresh.name) ?? fresh);
}

function catchSignals(): { happens: Promise<never>; ignore: () => void } {
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  let stop: (name: NodeJS.Signals) => void = () => undefined;
  const happens = new Promise<never>((_, reject) => {
    stop = (name) => reject(new Interrupted(name));
  });
  happens.catch(() => undefined);
  names.forEach((name) => process.on(name, stop));
  return { happens, ignore: () => names.forEach((name) => process.off(name, stop)) };
}

/** `mesh up` was told to stop; everything is taken down by the time this reaches the user. */
export class Interrupted extends Error {
  constructor(readonly signal: NodeJS.Signals) {
    super(`interrupted by ${signal}; nothing is left`);
  }
}

/** Takes down the mesh named, or the only one; without a name and a mesh there is nothing to do. Returns the name. */
export async function meshDown(name: string | undefined): Promise<string | undefined> {
  requireRoot();
  if (name === undefined && meshNames().length === 0) return undefined;
  if (name !== undefined && meshNames().includes(name) && loadState(name) === undefined) {
    forget(name); // an `up` that was killed before it made anything
    return name;
  }
  const state = chosenMesh(name);
  await withLock(state.name, tearDown);
  return state.name;
}

async function tearDown(state: MeshState): Promise<void> {
  await Promise.all(state.nodes.map((node) => stopAgent(node.process)));
  await endProcess(state.emulator, 2000);
  await removeNamespaces(state);
  forget(state.name);
}

/** `mesh agent NODE stop|start|kill`. */
export async function changeAgent(state: MeshState, name: string, action: string): Promise<void> {
  requireRoot();
  await withLock(state.name, async (current) => {
    const node = nodeOf(current, name);
    if (node.agent === false) throw wrongUse(`node ${name} has no agent`);
    if (action === 'start') return start(current, node);
    if (!isAlive(node.process)) throw failed(`the agent of node ${name} isn't running`);
    if (action === 'kill') signal(node.process, 'SIGKILL');
    await stopAgent(node.process);
  });
}

async function start(state: MeshState, node: NodeState): Promise<void> {
  if (isAlive(node.process))
    throw failed(`the agent of node ${node.name} is running already (pid ${node.process.pid})`);
  await startAgent(state.name, node, (agent) => saveState(withNode(state, { ...node, process: agent })));
}

const withNode = (state: MeshState, node: NodeState): MeshState => ({
  ...state,
  nodes: state.nodes.map((one) => (one.name === node.name ? node : one)),
});

/** Runs a command in a node's namespace with this process's own input and output; its exit code, 128 + n for a signal. */
export function execIn(node: NodeState, command: readonly string[]): Promise<number> {
  requireRoot();
  return new Promise((resolve, reject) => {
    const child = spawn('ip', ['netns', 'exec', node.namespace, ...command], { stdio: 'inherit' });
    for (const name of ['SIGTERM', 'SIGHUP'] as const) process.on(name, () => child.kill(name));
    process.on('SIGINT', () => undefined); // the terminal sends it to the command as well, which decides
    child.once('error', (error) => reject(failed(`ip can't be run: ${error.message}`, error)));
    child.once('exit', (code, name) => resolve(code ?? 128 + constants.signals[name!]));
  });
}

export function requireRoot(): void {
  if (process.getuid?.() !== 0) throw new MeshError('namespaces need root: run this with sudo', 1);
}
