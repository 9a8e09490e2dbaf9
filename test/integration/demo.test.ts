/** `scripts/demo` from start to end, and ended by the user halfway. Needs root, and what `scripts/deps demo` installs. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

const isRoot = process.getuid?.() === 0;
const demo = join(import.meta.dirname, '../../scripts/demo');

interface Ended {
  readonly code: number | null;
  readonly pid: number;
  readonly out: string;
}

describe.skipIf(!isRoot)('the demo (needs root)', () => {
  const folder = mkdtempSync(join(tmpdir(), 'causeway-demo-test-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** Runs it to its end; `at` is shown all output so far whenever there is more, and may end it. */
  function run(at?: (out: string, end: () => void) => void): Promise<Ended> {
    const env = { ...process.env, TMPDIR: folder, CAUSEWAY_MESH_DIR: join(folder, 'meshes') };
    const child = spawn(demo, [], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    return new Promise((resolve, reject) => {
      child.stdout.on('data', (text: Buffer) => {
        out += text.toString();
        at?.(out, () => child.kill('SIGINT'));
      });
      child.on('error', reject);
      child.on('close', (code) => resolve({ code, pid: child.pid!, out }));
    });
  }

  function expectNothingLeftOf({ pid }: Ended): void {
    const namespaces = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' });
    expect(namespaces).not.toContain(`cw-demo${pid}-`);
    const files = readdirSync(folder, { recursive: true }).map(String);
    expect(files.filter((name) => name.includes('demo'))).toEqual([]);
  }

  it('shows every program at work and leaves nothing behind', async () => {
    const ended = await run();
    expect(ended.out).not.toContain('✗');
    for (const step of [
      'ping',
      'traceroute',
      'curl',
      'tcpdump',
      'ssh',
      'iperf3',
      'lossy wire',
      'cut a wire',
    ]) {
      expect(ended.out).toContain(`✓ ${step}`);
    }
    expect(ended.out).toContain("the file's marker 0 times");
    expect(ended.code).toBe(0);
    expectNothingLeftOf(ended);
  });

  it('takes everything down when it is interrupted halfway', async () => {
    let told = false;
    const ended = await run((out, end) => {
      if (told || !out.includes('✓ ping')) return;
      told = true;
      end();
    });
    expect(ended.code).toBe(130);
    expect(ended.out).not.toContain('✓ cut a wire');
    expectNothingLeftOf(ended);
  });
});
