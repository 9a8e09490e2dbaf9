/** Runs `scripts/netns/mesh` with a state directory of its own, and cleans up whatever a test leaves. */
import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MeshStatus } from '../../../scripts/netns/status.js';

export const isRoot = process.getuid?.() === 0;
const tool = join(import.meta.dirname, '../../../scripts/netns/mesh');

export interface Outcome {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export class Sandbox {
  readonly directory = mkdtempSync(join(tmpdir(), 'causeway-mesh-test-'));
  private readonly state = join(this.directory, 'state');
  /** For names of our own: tests of other processes run on this machine too. */
  readonly tag = `t${process.pid}`;
  agentProgram = join(this.directory, 'causeway');

  name(text: string): string {
    return `${this.tag}${text}`;
  }

  /** A mesh file of this text, with `NAME` replaced. */
  file(name: string, text: string): string {
    const path = join(this.directory, `${name}.yaml`);
    writeFileSync(path, `name: ${this.name(name)}\n${text}`);
    return path;
  }

  start(...args: string[]): ChildProcess {
    return spawn(tool, args, {
      env: {
        ...process.env,
        CAUSEWAY_MESH_DIR: this.state,
        CAUSEWAY_BIN: this.agentProgram,
        CAUSEWAY_MESH_LINKS: 'emulator',
      },
    });
  }

  mesh(...args: string[]): Promise<Outcome> {
    return outcome(this.start(...args));
  }

  /** @throws Error if the command ends other than well. */
  async well(...args: string[]): Promise<string> {
    const { code, out, err } = await this.mesh(...args);
    if (code !== 0) throw new Error(`mesh ${args.join(' ')}: exit code ${code}: ${err}${out}`);
    return out;
  }

  async status(name: string): Promise<MeshStatus> {
    return JSON.parse(await this.well('status', '--json', '-m', this.name(name))) as MeshStatus;
  }

  /** What there is of our meshes: namespaces and state directories. */
  remains(): string[] {
    const entries = (path: string): string[] => {
      try {
        return readdirSync(path);
      } catch {
        return [];
      }
    };
    return [
      ...(existsSync(this.state) ? [this.state] : []),
      ...entries('/run/netns').filter((entry) => entry.startsWith(`cw-${this.tag}`)),
    ];
  }

  async clear(): Promise<void> {
    for (const name of JSON.parse(await this.well('list', '--json')) as string[])
      await this.mesh('down', name);
    rmSync(this.directory, { recursive: true, force: true });
  }

  /**
   * A stand-in for the agent: its socket is a file, it is ready when that is there, and it ends at SIGTERM. Nodes named `bad…` die with a
   * complaint, nodes named `slow…` never become ready.
   */
  writeAgent(): void {
    writeFileSync(
      this.agentProgram,
      `#!/bin/sh
case "$1 $2" in
  'ca init') exit 0 ;;
  'ca sign') exit 0 ;;
  'status --json') [ -e "$4" ] && echo '{"ready":true}' || exit 3 ;;
  'up -c')
    grep -q '^node: bad' "$3" && { echo 'the sky fell on this agent'; exit 1; }
    socket=$(sed -n 's/^ *socket: //p' "$3")
    grep -q '^node: slow' "$3" || touch "$socket"
    trap 'rm -f "$socket"; exit 0' TERM
    while :; do sleep 0.05; done ;;
  *) echo "unexpected: $*" >&2; exit 2 ;;
esac
`,
    );
    chmodSync(this.agentProgram, 0o755);
  }
}

export function outcome(child: ChildProcess): Promise<Outcome> {
  return new Promise((resolve) => {
    let out = '';
    let err = '';
    child.stdout!.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr!.on('data', (chunk: Buffer) => (err += chunk.toString()));
    child.once('close', (code) => resolve({ code, out, err }));
  });
}
