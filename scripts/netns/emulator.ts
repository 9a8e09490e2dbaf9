/**
 * The mesh's own link emulator: compiling it, starting it, and talking to it. One process a mesh shapes all its emulated links; what it
 * does is described in `emulator/main.cc`.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { failed } from './errors.js';
import { emulatorNamespace } from './plan.js';
import { endProcess, isAlive, run, startDetached, waitFor, type ProcessRecord } from './process.js';
import { emulatorLog, emulatorSocket, type Direction, type LinkState, type MeshState } from './state.js';

/** Frames of one direction since the link was made; `late…` is how long after its due time a frame left, in microseconds. */
export interface DirectionCounters {
  readonly received: number;
  readonly passed: number;
  /** By the random loss that was asked for. */
  readonly lost: number;
  /** Would have waited longer than the queue allows. */
  readonly dropped: number;
  readonly blackholed: number;
  /** Couldn't be kept or sent: no memory left, or the interface is down. */
  readonly failed: number;
  /** Inside now: waiting, being sent at the link's rate, or under way. */
  readonly held: number;
  readonly lateMeanUs: number;
  readonly lateMaxUs: number;
}

export interface EmulatorReport {
  /** Whether the kernel lets it run before ordinary processes (SCHED_FIFO). */
  readonly realtime: boolean;
  readonly links: readonly {
    readonly index: number;
    readonly directions: readonly [DirectionCounters, DirectionCounters];
  }[];
}

/** The interfaces in the emulator's namespace that face a link's two ends. */
export const emulatorInterfaces = (link: LinkState): [string, string] => [
  `l${link.index}a`,
  `l${link.index}b`,
];

const here = dirname(fileURLToPath(import.meta.url));
/** This module runs from scripts/netns (tests) or compiled from dist/netns. */
const repository = join(here, '..', '..');
const sources = join(repository, 'scripts', 'netns', 'emulator');

/** Our native programs, each with its main source; the headers are common. */
const programs = { 'link-emulator': 'main.cc', 'link-probe': 'probe.cc' } as const;

export const emulatorBinary = (): Promise<string> => nativeProgram('link-emulator');

/** A program, compiled if there is none newer than the sources. @throws MeshError (exit code 1) without a compiler. */
export async function nativeProgram(name: keyof typeof programs): Promise<string> {
  const binary = join(repository, 'dist', 'netns', name);
  const files = readdirSync(sources).map((file) => join(sources, file));
  if (files.every((file) => modified(file) <= modified(binary))) return binary;
  mkdirSync(dirname(binary), { recursive: true });
  const fresh = `${binary}.${process.pid}`;
  const compiler = process.env['CXX'] ?? 'g++';
  try {
    await run(compiler, [
      '-std=c++17',
      '-O2',
      '-Wall',
      '-Wextra',
      '-o',
      fresh,
      join(sources, programs[name]),
    ]);
    renameSync(fresh, binary);
  } catch (error) {
    rmSync(fresh, { force: true });
    throw failed(
      `${name} can't be compiled (Debian: apt-get install g++): ${(error as Error).message}`,
      error,
    );
  }
  return binary;
}

function modified(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? -Infinity;
}

/** Starts the emulator and gives it every emulated link of the mesh. */
export async function startEmulator(state: MeshState): Promise<ProcessRecord> {
  const socket = emulatorSocket(state.name);
  const log = emulatorLog(state.name);
  rmSync(socket, { force: true });
  const program = await emulatorBinary();
  const args = ['netns', 'exec', emulatorNamespace(state.name), program, 'run', socket];
  const emulator = await startDetached('ip', args, log);
  try {
    const answers = (): Promise<boolean> =>
      request(state.name, ['show'])
        .then(() => true)
        .catch(() => false);
    await waitFor(async () => !isAlive(emulator) || (await answers()), 10_000);
    if (!isAlive(emulator)) throw failed(`the link emulator ended at once: ${lastLines(log, 3)}`);
    const links = state.links.filter((link) => link.kind === 'emulator');
    await request(
      state.name,
      links.flatMap((link) => addLines(link, state.seed)),
    );
  } catch (error) {
    await endProcess(emulator, 1000);
    throw error;
  }
  return emulator;
}

/** Requests that add a link with its present shape. */
export const addLines = (link: LinkState, seed: number): string[] => [
  `link ${link.index} ${emulatorInterfaces(link).join(' ')} ${seed}`,
  ...([0, 1] as const).map((side) => shapeLine(link.index, side, link.directions[side])),
];

/** The request that shapes one direction; nanoseconds and bits per second, 0 for no limit and for independent losses. */
export function shapeLine(index: number, side: 0 | 1, direction: Direction): string {
  const nanoseconds = (ms: number): number => Math.round(ms * 1e6);
  const { delayMs, loss, burst, rateBps, queueMs, blackhole } = direction;
  return `shape ${index} ${side} ${nanoseconds(delayMs)} ${loss} ${burst ?? 0} ${rateBps ?? 0} ${nanoseconds(queueMs)} ${blackhole ? 1 : 0}`;
}

export async function emulatorReport(mesh: string): Promise<EmulatorReport> {
  const [answer] = await request(mesh, ['show']);
  return JSON.parse(answer!) as EmulatorReport;
}

/** Sends requests and returns the answer to each. @throws MeshError (exit code 1) for no answer, or one that refuses. */
export function request(mesh: string, lines: readonly string[]): Promise<string[]> {
  if (lines.length === 0) return Promise.resolve([]);
  return new Promise((resolve, reject) => {
    const socket = connect(emulatorSocket(mesh));
    const refuse = (reason: string, cause?: unknown): void => {
      socket.destroy();
      reject(failed(`the link emulator of mesh ${mesh} ${reason}`, cause));
    };
    let text = '';
    socket.setEncoding('utf8').setTimeout(10_000, () => refuse('doesn’t answer'));
    socket.once('error', (error) => refuse(`isn't there (${error.message})`, error));
    socket.once('end', () => refuse('hung up'));
    socket.on('data', (chunk: string) => {
      text += chunk;
      const answers = text.split('\n').slice(0, -1);
      const refusal = answers.find((answer) => answer.startsWith('error '));
      if (refusal !== undefined) return refuse(`says: ${refusal.slice('error '.length)}`);
      if (answers.length < lines.length) return;
      socket.destroy();
      resolve(answers);
    });
    socket.write(`${lines.join('\n')}\n`);
  });
}

/** The end of a log file, on one line. */
export function lastLines(file: string, count: number): string {
  try {
    const lines = readFileSync(file, 'utf8').split('\n').filter(Boolean);
    return lines.slice(-count).join(' | ') || `${file} is empty`;
  } catch {
    return `there is no ${file.split(sep).pop()}`;
  }
}
