/**
 * An agent's life in a network namespace of its own, from outside: `bin/causeway` as a user runs it. Needs root.
 *
 *   [ namespace cw-life-PID: lo, cw0 while an agent runs ]
 */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { ControlClient } from '../../../src/control/client.js';
import { lifetime, TestAuthority } from '../../support/pki/authority.js';

const COMMAND = fileURLToPath(new URL('../../../bin/causeway', import.meta.url));
const NAMESPACE = `cw-life-${process.pid}`;
const PATIENCE = { timeout: 40_000, interval: 50 };

interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** In the namespace, to its end. */
function inside(...argv: string[]): Ended {
  return spawnSync('ip', ['netns', 'exec', NAMESPACE, ...argv], { encoding: 'utf8', timeout: 60_000 });
}

const causeway = (...argv: string[]): Ended => inside(COMMAND, ...argv);

/** All that an agent could leave on the host: interfaces, addresses, rules, routes of every table. */
const hostState = (): string =>
  [
    ['-br', 'link'],
    ['-br', 'addr'],
    ['rule'],
    ['-6', 'rule'],
    ['route', 'show', 'table', 'all'],
    ['-6', 'route', 'show', 'table', 'all'],
  ]
    .map((argv) => inside('ip', ...argv).stdout)
    .join('--\n');

const started: ChildProcess[] = [];

/** Starts an agent and waits until it says that it is ready; asked at its socket, for a command each time would cost more than the agent. */
async function up(): Promise<ChildProcess> {
  // `ip netns exec` becomes the command, so the child's pid is the agent's.
  const child = spawn('ip', ['netns', 'exec', NAMESPACE, COMMAND, 'up', '-c', file], { stdio: 'ignore' });
  started.push(child);
  const client = new ControlClient(socket);
  await vi.waitFor(async () => expect((await client.status()).ready).toBe(true), PATIENCE);
  return child;
}

const ended = (child: ChildProcess): Promise<number | null> =>
  child.exitCode !== null || child.signalCode !== null
    ? Promise.resolve(child.exitCode)
    : new Promise((resolve) => child.once('exit', resolve));

let directory: string;
let file: string;
let socket: string;
let untouched: string;

beforeAll(() => {
  if (process.getuid?.() !== 0) throw new Error('these tests make network namespaces: run them as root');
  expect(spawnSync('ip', ['netns', 'add', NAMESPACE]).status).toBe(0);
  inside('ip', 'link', 'set', 'lo', 'up');
  untouched = hostState();
});
afterAll(() => void spawnSync('ip', ['netns', 'del', NAMESPACE]));

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'cw-life-'));
  socket = join(directory, 'a.sock');
  const now = Date.now();
  file = await (await TestAuthority.create(now)).writeNode(directory, 'a', '10.77.0.1', lifetime(now));
});
afterEach(async () => {
  for (const child of started.splice(0)) {
    child.kill('SIGKILL');
    await ended(child);
  }
  if (hostState() !== untouched) inside(COMMAND, 'down', '--tun', 'cw0', '-s', socket);
  rmSync(directory, { recursive: true });
});

describe('an agent', () => {
  test('serves its socket to root alone, and takes everything back when told to stop', async () => {
    const child = await up();
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    expect(inside('ip', '-br', 'addr', 'show', 'cw0').stdout).toContain('10.77.0.1');
    const down = causeway('down', '-c', file);
    expect([down.status, down.stdout, down.stderr]).toEqual([0, 'stopped\n', '']);
    expect(await ended(child)).toBe(0);
    expect(hostState()).toBe(untouched);
    expect(existsSync(socket)).toBe(false);
  });

  test('is stopped by its socket alone', async () => {
    const child = await up();
    expect(causeway('down', '-s', socket).status).toBe(0);
    expect(await ended(child)).toBe(0);
    expect(hostState()).toBe(untouched);
  });

  test.each(['SIGTERM', 'SIGINT'] as const)('ends well on %s', async (signal) => {
    const child = await up();
    child.kill(signal);
    expect(await ended(child)).toBe(0);
    expect(hostState()).toBe(untouched);
  });

  test('that was killed leaves nothing after `down`, nor after the next `up` and its end', async () => {
    const first = await up();
    first.kill('SIGKILL');
    await ended(first);
    const down = causeway('down', '-c', file, '--json');
    expect(down.status).toBe(0);
    expect(JSON.parse(down.stdout)).toMatchObject({ stopped: false });
    expect(hostState()).toBe(untouched);

    const second = await up();
    second.kill('SIGKILL');
    await ended(second);
    const third = await up();
    expect(causeway('down', '-c', file).status).toBe(0);
    expect(await ended(third)).toBe(0);
    expect(hostState()).toBe(untouched);
  });

  test('is not disturbed by a second one on its configuration', async () => {
    await up();
    const second = causeway('up', '-c', file);
    expect([second.status, second.stderr]).toEqual([
      1,
      `causeway: an agent is already running at ${socket}; stop it with "causeway down -s ${socket}"\n`,
    ]);
    expect(causeway('status', '-s', socket).status).toBe(0);
  });

  test('is left alone by `down` of another configuration that names the same socket', async () => {
    await up();
    const other = join(directory, 'other.yaml');
    writeFileSync(other, `${readFileSync(file, 'utf8')}tun: {name: cw9}\n`);
    const down = causeway('down', '-c', other, '--json');
    expect([down.status, JSON.parse(down.stdout)]).toEqual([0, { stopped: false, removed: [] }]);
    expect(causeway('status', '-s', socket).status).toBe(0);
  });

  test('reads its configuration again, and refuses a wrong one without harm', async () => {
    await up();
    writeFileSync(file, `${readFileSync(file, 'utf8')}log: {level: debug}\ntun: {mtu: 1300}\n`);
    const reload = causeway('reload', '-s', socket, '--json');
    expect(JSON.parse(reload.stdout)).toEqual({ applied: ['log.level'], restart: ['tun.mtu'] });
    writeFileSync(file, `${readFileSync(file, 'utf8')}tnu: {}\n`);
    const wrong = causeway('reload', '-s', socket);
    expect([wrong.status, wrong.stderr.split('\n').length]).toEqual([1, 2]);
    expect(wrong.stderr).toContain('tnu: unknown key; did you mean "tun"?');
    expect(causeway('status', '-s', socket).status).toBe(0);
  });
});

describe('an agent that cannot start says why in a line and leaves nothing', () => {
  /** One line on stderr, and the host as it was. */
  function refused(result: Ended, status: number): string {
    expect(result.status, result.stderr).toBe(status);
    expect(result.stderr).toMatch(/^[^\n]+\n$/);
    expect(hostState()).toBe(untouched);
    expect(existsSync(socket)).toBe(false);
    return result.stderr;
  }

  const withLine = (line: string): void => writeFileSync(file, `${readFileSync(file, 'utf8')}${line}\n`);

  test('an unknown key', () => {
    withLine('tnu: {}');
    expect(refused(causeway('up', '-c', file), 2)).toContain('tnu: unknown key; did you mean "tun"?');
  });

  test("a key that isn't the certificate's", async () => {
    const now = Date.now();
    await (
      await TestAuthority.create(now)
    ).writeNode(join(directory, 'other'), 'a', '10.77.0.1', lifetime(now));
    writeFileSync(file, readFileSync(file, 'utf8').replace('key: a.key', 'key: other/a.key'));
    expect(refused(causeway('up', '-c', file), 2)).toContain('pki.key: ');
  });

  test('an interface name that is taken', () => {
    expect(inside('ip', 'tuntap', 'add', 'cw0', 'mode', 'tun').status).toBe(0);
    const taken = hostState();
    try {
      const { status, stderr } = causeway('up', '-c', file);
      expect(status).toBe(1);
      expect(stderr).toMatch(/^causeway: [^\n]*cw0[^\n]*\n$/);
      expect(hostState()).toBe(taken);
    } finally {
      inside('ip', 'link', 'del', 'cw0');
    }
  });

  test('a UDP port that is taken', async () => {
    const script = "require('dgram').createSocket('udp6').bind(7100, '::', () => console.log('bound'))";
    const holder = spawn('ip', ['netns', 'exec', NAMESPACE, process.execPath, '-e', script]);
    started.push(holder);
    await new Promise((resolve) => holder.stdout.once('data', resolve));
    expect(refused(causeway('up', '-c', file), 1)).toMatch(/7100/);
  });

  test('no root', () => {
    chmodSync(directory, 0o755);
    for (const name of ['a.key', 'a.yaml']) chmodSync(join(directory, name), 0o644);
    const argv = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', COMMAND, 'up', '-c', file];
    expect(refused(inside(...argv), 1)).toMatch(/run as root/);
  });

  test('a root without its capabilities', () => {
    const argv = [
      'setpriv',
      '--bounding-set=-all',
      '--inh-caps=-all',
      '--securebits=+noroot',
      COMMAND,
      'up',
      '-c',
      file,
    ];
    refused(inside(...argv), 1);
  });
});

test('down cleans by the interface alone where the configuration is broken', async () => {
  const child = await up();
  child.kill('SIGKILL');
  await ended(child);
  writeFileSync(file, 'nod: a\n');
  const without = causeway('down', '-c', file);
  expect(without.status).toBe(2);
  expect(without.stderr).toContain('add --tun NAME');
  expect(causeway('down', '-c', file, '--tun', 'cw0', '-s', socket).status).toBe(0);
  expect(hostState()).toBe(untouched);
});
