import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

let destination: string;
let prefix: string;
beforeAll(() => {
  destination = mkdtempSync(join(tmpdir(), 'cw-install-'));
  prefix = join(destination, 'opt/causeway');
  make('install');
});
afterAll(() => rmSync(destination, { recursive: true, force: true }));

function make(target: string): string {
  const argv = ['--no-print-directory', target, `DESTDIR=${destination}`, 'PREFIX=/opt/causeway'];
  const { status, stdout, stderr } = spawnSync('make', argv, { cwd: ROOT, encoding: 'utf8' });
  expect(status, stdout + stderr).toBe(0);
  return stdout;
}

/** The installed command, from a folder that has nothing to do with the sources. */
function causeway(...argv: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(join(prefix, 'bin/causeway'), argv, { cwd: destination, encoding: 'utf8' });
}

const files = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name));

test('the installed command runs on what was installed alone', () => {
  expect(readlinkSync(join(prefix, 'bin/causeway'))).toBe('../lib/causeway/bin/causeway');
  const help = causeway('--help');
  expect([help.status, help.stderr]).toEqual([0, '']);
  expect(help.stdout).toContain('Usage: causeway');
});

test('the installed command works end to end on files, with the exit codes as designed', () => {
  const pki = join(destination, 'pki');
  expect(causeway('ca', 'init', '--overlay', '10.77.0.0/16', '--out-dir', pki).status).toBe(0);
  const nobody = causeway('status', '-s', join(destination, 'nobody.sock'));
  expect([nobody.status, nobody.stdout]).toEqual([3, '']);
  expect(nobody.stderr).toMatch(
    /^causeway: no agent at .*nobody\.sock; start one with "causeway up -c FILE"\n$/,
  );
  const file = join(destination, 'bad.yaml');
  writeFileSync(file, 'nod: a\n');
  const bad = causeway('check', '-c', file);
  expect(bad.status).toBe(2);
  expect(bad.stderr).toContain(`${file}:1:1: nod: unknown key; did you mean "node"?`);
});

test('a command whose reader has left ends quietly', () => {
  const piped = spawnSync('sh', ['-c', '"$1" --help | true', 'sh', join(prefix, 'bin/causeway')], {
    encoding: 'utf8',
  });
  expect(piped.stderr).toBe('');
});

test('the unit names the prefix, and nobody but root may write what was installed', () => {
  const unit = readFileSync(join(prefix, 'lib/systemd/system/causeway@.service'), 'utf8');
  expect(unit).toContain('ExecStart=/opt/causeway/bin/causeway up -c /etc/causeway/%i.yaml');
  expect(unit).not.toContain('/usr/local');
  expect(files(prefix).filter((file) => existsSync(file) && (statSync(file).mode & 0o022) !== 0)).toEqual([]);
  expect(existsSync(join(prefix, 'lib/causeway/node_modules'))).toBe(false);
  const licences = readFileSync(join(prefix, 'lib/causeway/dist/bundle/LICENCES.txt'), 'utf8');
  expect(licences).toContain('zod');
  expect(existsSync(join(prefix, 'share/doc/causeway/configuration.md'))).toBe(true);
});

test('nothing is put outside the prefix, and uninstalling removes all of it and nothing else', () => {
  const keepsake = join(prefix, 'bin/other');
  writeFileSync(keepsake, 'not ours');
  expect(readdirSync(destination).sort()).toEqual(['bad.yaml', 'opt', 'pki']);
  make('uninstall');
  expect(files(join(destination, 'opt'))).toEqual([keepsake]);
  make('uninstall');
});
