/**
 * What is up, in one directory a mesh (mode 0700): `state.json`, the network's certificates, and a directory a node with its
 * configuration, keys, control socket and log. Making the directory claims the mesh's name.
 */
import {
  accessSync,
  constants,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { failed, wrongUse } from './errors.js';
import type { Plan, PlannedLink, PlannedNode } from './plan.js';
import { isAlive, recordOf, waitFor, type ProcessRecord } from './process.js';
import type { Shape } from './quantity.js';

/** One direction of a link, as it is now. */
export interface Direction extends Shape {
  readonly blackhole: boolean;
  /** The interface at this direction's near end is down. */
  readonly down: boolean;
}

/** What makes the link: a veth pair, the kernel's netem on one, or two pairs with the emulator between them. */
export type LinkKind = 'veth' | 'netem' | 'emulator';

export interface LinkState extends PlannedLink {
  readonly kind: LinkKind;
  /** From `ends[0]` to `ends[1]`, and back. */
  readonly directions: readonly [Direction, Direction];
}

export interface NodeState extends PlannedNode {
  readonly process: ProcessRecord | null;
}

export interface MeshState {
  readonly name: string;
  readonly seed: number;
  readonly nodes: readonly NodeState[];
  readonly links: readonly LinkState[];
  readonly emulator: ProcessRecord | null;
}

export const newState = (plan: Plan, seed: number): MeshState => ({
  name: plan.name,
  seed,
  nodes: plan.nodes.map((node) => ({ ...node, process: null })),
  links: plan.links.map((link) => {
    const direction: Direction = { ...link.shape, blackhole: false, down: false };
    return { ...link, kind: 'veth', directions: [direction, direction] };
  }),
  emulator: null,
});

/** `CAUSEWAY_MESH_DIR`, else /run/causeway-mesh, else a directory under the temporary one. */
export function stateRoot(): string {
  const chosen = process.env['CAUSEWAY_MESH_DIR'];
  if (chosen !== undefined && chosen !== '') return chosen;
  try {
    accessSync('/run', constants.W_OK);
    return '/run/causeway-mesh';
  } catch {
    return join(tmpdir(), 'causeway-mesh');
  }
}

export const meshDirectory = (mesh: string): string => join(stateRoot(), mesh);
export const nodeDirectory = (mesh: string, node: string): string => join(meshDirectory(mesh), 'nodes', node);
export const emulatorSocket = (mesh: string): string => join(meshDirectory(mesh), 'emulator.sock');
export const emulatorLog = (mesh: string): string => join(meshDirectory(mesh), 'emulator.log');
const stateFile = (mesh: string): string => join(meshDirectory(mesh), 'state.json');

/** @throws MeshError (exit code 2) if a mesh of this name is up already. */
export function claim(state: MeshState): void {
  mkdirSync(stateRoot(), { recursive: true, mode: 0o700 });
  try {
    mkdirSync(meshDirectory(state.name), { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw wrongUse(`mesh ${state.name} is up already: end it with "mesh down ${state.name}" first`);
  }
  for (const node of state.nodes)
    mkdirSync(nodeDirectory(state.name, node.name), { recursive: true, mode: 0o700 });
  saveState(state);
}

export function saveState(state: MeshState): void {
  const path = stateFile(state.name);
  writeFileSync(`${path}.new`, JSON.stringify(state, null, 1), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** The state as it was saved, or `undefined` if the mesh was ended, or never got so far. */
export function loadState(mesh: string): MeshState | undefined {
  try {
    return JSON.parse(readFileSync(stateFile(mesh), 'utf8')) as MeshState;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw failed(`${stateFile(mesh)} can't be read: ${(error as Error).message}`, error);
  }
}

/** Removes all files of a mesh, and the directory of all meshes with the last of them. */
export function forget(mesh: string): void {
  rmSync(meshDirectory(mesh), { recursive: true, force: true });
  try {
    rmdirSync(stateRoot());
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOTEMPTY' && code !== 'ENOENT') throw error;
  }
}

export function meshNames(): string[] {
  try {
    return readdirSync(stateRoot(), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name)
      .sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** The mesh that is meant: the one named, or the only one. @throws MeshError (exit code 2). */
export function chosenMesh(name: string | undefined): MeshState {
  const names = meshNames();
  if (name === undefined && names.length === 0)
    throw wrongUse('no mesh is up: bring one up with "mesh up FILE"');
  if (name === undefined && names.length > 1)
    throw wrongUse(`several meshes are up (${names.join(', ')}): choose with -m NAME`);
  const mesh = name ?? names[0]!;
  const state = names.includes(mesh) ? loadState(mesh) : undefined;
  if (state === undefined)
    throw wrongUse(`no mesh ${mesh} is up${names.length > 0 ? `; up: ${names.join(', ')}` : ''}`);
  return state;
}

/** @throws MeshError (exit code 2). */
export function nodeOf(state: MeshState, name: string): NodeState {
  const node = state.nodes.find((one) => one.name === name);
  if (node !== undefined) return node;
  throw wrongUse(
    `mesh ${state.name} has no node "${name}"; nodes are ${state.nodes.map((one) => one.name).join(', ')}`,
  );
}

/** The link between two nodes, and which of its directions leads from the first to the second. @throws MeshError (exit code 2). */
export function linkBetween(state: MeshState, from: string, to: string): { link: LinkState; forward: 0 | 1 } {
  nodeOf(state, from);
  nodeOf(state, to);
  for (const link of state.links) {
    const [a, b] = link.ends.map((end) => end.node);
    if (a === from && b === to) return { link, forward: 0 };
    if (a === to && b === from) return { link, forward: 1 };
  }
  throw wrongUse(`mesh ${state.name} has no link between ${from} and ${to}`);
}

/** Runs `change` while no other `mesh` command changes this mesh; it gets the state afresh and saves what it makes of it. */
export async function withLock<T>(mesh: string, change: (state: MeshState) => Promise<T>): Promise<T> {
  const lock = join(meshDirectory(mesh), 'lock');
  const own = JSON.stringify(recordOf(process.pid));
  if (!(await waitFor(() => takeLock(lock, own), 30_000)))
    throw failed(`mesh ${mesh} is being changed by another command`);
  try {
    const state = loadState(mesh);
    if (state === undefined) throw wrongUse(`no mesh ${mesh} is up`);
    return await change(state);
  } finally {
    rmSync(lock, { force: true });
  }
}

function takeLock(lock: string, own: string): boolean {
  try {
    writeFileSync(lock, own, { flag: 'wx', mode: 0o600 });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    if (!holderLives(lock)) rmSync(lock, { force: true });
    return false;
  }
}

/** A lock that is just being written or removed counts as held. */
function holderLives(lock: string): boolean {
  try {
    const text = readFileSync(lock, 'utf8');
    return text === '' || isAlive(JSON.parse(text) as ProcessRecord);
  } catch {
    return true;
  }
}
