/** Network namespaces for tests of native/: names of this process's own, gone with `cleanUp`. Needs root. */
import type { ChildProcess } from 'node:child_process';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { promisify } from 'node:util';

export const hasRoot = process.getuid?.() === 0;

const run = promisify(execFile);

/** `ip` with the words of `command`. */
export function ip(command: string): string {
  return execFileSync('ip', command.split(' '), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Listens from the start, so that nothing is missed however early it comes. */
export interface Started {
  /** The program printed something. */
  ready: Promise<void>;
  /** It ended; all that it printed. */
  output: Promise<string>;
}

export class Namespaces {
  readonly #names: string[] = [];
  readonly #children: ChildProcess[] = [];

  /** A new namespace with its loopback up. */
  add(label: string): string {
    const name = `cwio-${process.pid}-${label}`;
    ip(`netns add ${name}`);
    this.#names.push(name);
    ip(`-n ${name} link set lo up`);
    return name;
  }

  /** Runs a program to its end; resolves with what it printed. Rejects if it fails. */
  async exec(name: string, command: string): Promise<string> {
    return (await run('ip', ['netns', 'exec', name, ...command.split(' ')], { timeout: 60_000 })).stdout;
  }

  /** Starts a program that `cleanUp` ends if it still runs. */
  start(name: string, command: string, args: string[]): Started {
    const child = spawn('ip', ['netns', 'exec', name, command, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#children.push(child);
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => (text += String(chunk)));
    return {
      ready: new Promise((resolve) => child.stdout.once('data', () => resolve())),
      output: new Promise((resolve) => child.once('close', () => resolve(text))),
    };
  }

  async cleanUp(): Promise<void> {
    for (const child of this.#children.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await ended;
    }
    for (const name of this.#names.splice(0)) ip(`netns del ${name}`);
  }
}
