/**
 * Hosts for tests that need several: network namespaces joined by plain veth pairs, programs in them, and their end. Needs root.
 * Names carry the pid of the test, so that two runs never meet. Link number n has 192.0.2.4n+1 … +2/30 and 2001:db8:n::1 … 2/64.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { afterAll } from 'vitest';

export const isRoot = process.getuid?.() === 0;

export interface Outcome {
  /** Null where a signal ended it. */
  code: number | null;
  out: string;
  err: string;
}

/** Runs a program to its end, whatever that is. `timeout` in ms, then SIGKILL. */
export function run(command: readonly string[], timeout = 30_000): Promise<Outcome> {
  const [program, ...args] = command;
  return new Promise((resolve, reject) => {
    const settings = { timeout, killSignal: 'SIGKILL', maxBuffer: 64 << 20 } as const;
    execFile(program, args, settings, (error, out, err) => {
      if (typeof error?.code === 'string') reject(error);
      else resolve({ code: error ? ((error.code as number | undefined) ?? null) : 0, out, err });
    });
  });
}

/** Runs a program that must succeed; its standard output. */
export async function well(command: readonly string[], timeout?: number): Promise<string> {
  const { code, out, err } = await run(command, timeout);
  if (code !== 0) throw new Error(`${command.join(' ')}: exit code ${code}\n${err}${out}`);
  return out;
}

/** A program that was started and has not necessarily ended. */
export class Program {
  out = '';
  err = '';
  readonly ended: Promise<number | null>;

  constructor(
    readonly child: ChildProcess,
    readonly what: string,
  ) {
    child.stdout?.on('data', (chunk: Buffer) => (this.out += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (this.err += chunk.toString()));
    this.ended = new Promise((resolve) => child.once('close', (code) => resolve(code)));
  }

  /** The program's own: `ip netns exec` becomes what it runs. */
  get pid(): number {
    return this.child.pid!;
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  write(text: string): void {
    this.child.stdin!.write(text);
  }

  /** Exit code; null where a signal ended it. */
  stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (this.running) this.child.kill(signal);
    return this.ended;
  }

  /** Both outputs. */
  get text(): string {
    return this.out + this.err;
  }
}

/** Where a host meets a neighbour. */
export interface Port {
  device: string;
  v4: string;
  v6: string;
  /** The neighbour's end. */
  peer: { v4: string; v6: string };
}

export class Host {
  /** By the neighbour's name. */
  readonly ports = new Map<string, Port>();
  private readonly programs: Program[] = [];

  constructor(
    readonly name: string,
    readonly namespace: string,
  ) {}

  run(...command: string[]): Promise<Outcome> {
    return run(this.inside(command));
  }

  /** Its standard output; rejects unless it succeeds. */
  well(...command: string[]): Promise<string> {
    return well(this.inside(command));
  }

  /** A program that goes on until it is stopped, or the ground is cleared. */
  start(...command: string[]): Program {
    const [program, ...args] = this.inside(command);
    const started = new Program(
      spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] }),
      `${this.name}: ${command.join(' ')}`,
    );
    started.child.stdin!.on('error', () => undefined);
    this.programs.push(started);
    return started;
  }

  port(neighbour: Host): Port {
    const port = this.ports.get(neighbour.name);
    if (!port) throw new Error(`no link between ${this.name} and ${neighbour.name}`);
    return port;
  }

  /** Everything that an agent may have touched, as text to compare. */
  async state(): Promise<string> {
    const questions = [
      ['-4', 'rule'],
      ['-6', 'rule'],
      ['-4', 'route', 'show', 'table', 'all'],
      ['-6', 'route', 'show', 'table', 'all'],
      ['address'],
      ['link'],
    ];
    return (await Promise.all(questions.map((question) => this.well('ip', ...question)))).join('---\n');
  }

  async end(): Promise<void> {
    await Promise.all(this.programs.splice(0).map((program) => program.stop('SIGKILL')));
    await run(['ip', 'netns', 'del', this.namespace]);
  }

  private inside(command: readonly string[]): string[] {
    return ['ip', 'netns', 'exec', this.namespace, ...command];
  }
}

let grounds = 0;

/** Hosts and links of one test file; gone after its last test. */
export class Ground {
  private readonly hosts: Host[] = [];
  private readonly tag = `cwg${process.pid}-${grounds++}`;
  private links = 0;

  constructor() {
    afterAll(() => this.clear());
  }

  async host(name: string): Promise<Host> {
    const host = new Host(name, `${this.tag}-${name}`);
    await well(['ip', 'netns', 'add', host.namespace]);
    this.hosts.push(host);
    await well(['ip', '-n', host.namespace, 'link', 'set', 'lo', 'up']);
    return host;
  }

  async join(a: Host, b: Host): Promise<void> {
    const number = this.links++;
    const [left, right] = [`to-${b.name}`, `to-${a.name}`];
    const pair = ['link', 'add', left, 'netns', a.namespace, 'type', 'veth'];
    await well(['ip', ...pair, 'peer', 'name', right, 'netns', b.namespace]);
    const v4 = [`192.0.2.${4 * number + 1}`, `192.0.2.${4 * number + 2}`] as const;
    const v6 = [`2001:db8:${number}::1`, `2001:db8:${number}::2`] as const;
    const ends = [
      [a, left, b, 0],
      [b, right, a, 1],
    ] as const;
    for (const [host, device, neighbour, end] of ends) {
      const on = ['ip', '-n', host.namespace];
      await well([...on, 'link', 'set', device, 'addrgenmode', 'none', 'up']);
      await well([...on, 'address', 'add', `${v4[end]}/30`, 'dev', device]);
      await well([...on, 'address', 'add', `${v6[end]}/64`, 'dev', device, 'nodad']);
      host.ports.set(neighbour.name, {
        device,
        v4: v4[end],
        v6: v6[end],
        peer: { v4: v4[1 - end], v6: v6[1 - end] },
      });
    }
  }

  async clear(): Promise<void> {
    for (const host of this.hosts.splice(0)) await host.end();
  }
}
