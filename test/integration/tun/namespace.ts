/** A network namespace of a test's own, and commands in it. Needs root. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const execute = promisify(execFile);

export interface Namespace {
  readonly name: string;
  /** Runs a command in the namespace; its standard output. */
  run(...command: string[]): Promise<string>;
  /** Output of `ip -j …` in it. */
  ip(...args: string[]): Promise<Record<string, unknown>[]>;
  remove(): Promise<void>;
}

let made = 0;

/** Creates a namespace whose loopback is up. */
export async function createNamespace(): Promise<Namespace> {
  const name = `cwt-${process.pid}-${made++}`;
  await execute('ip', ['netns', 'add', name]);
  const run = async (...command: string[]): Promise<string> =>
    (await execute('ip', ['netns', 'exec', name, ...command], { timeout: 20_000 })).stdout;
  await run('ip', 'link', 'set', 'lo', 'up');
  return {
    name,
    run,
    ip: async (...args) => JSON.parse((await run('ip', '-j', ...args)) || '[]') as Record<string, unknown>[],
    remove: async () => {
      await execute('ip', ['netns', 'del', name]);
    },
  };
}

/** Moves a device of this namespace into another. Its addresses and state are lost. */
export async function moveInto(device: string, namespace: Namespace): Promise<void> {
  await execute('ip', ['link', 'set', 'dev', device, 'netns', namespace.name]);
}

export const isRoot = process.getuid?.() === 0;
