import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';

const SCRIPT = fileURLToPath(new URL('../../../scripts/deps', import.meta.url));

let directory: string;
beforeEach(() => void (directory = mkdtempSync(join(tmpdir(), 'cw-deps-'))));
afterEach(() => rmSync(directory, { recursive: true }));

/** What `scripts/deps -n KIND` would install on a Debian that lacks and doesn't offer these packages, with this Node.js. */
function missing(kind: string, { lacks = '', withholds = '', node = '20.20.0' } = {}): string[] {
  const stub = (name: string, script: string): void => {
    writeFileSync(join(directory, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(directory, name), 0o755);
  };
  const among = (list: string, word: string, then: string, otherwise: string): string =>
    `case " ${list} " in *" ${word} "*) echo "${then}";; *) echo "${otherwise}";; esac`;
  stub('dpkg-query', among(lacks, '$4', 'not-installed', 'installed'));
  stub('apt-cache', among(withholds, '$2', '  Candidate: (none)', '  Candidate: 1.0'));
  stub('apt-get', 'echo "apt-get ran: $*"; exit 1');
  stub('npm', 'echo "npm ran: $*"; exit 1');
  stub('node', `echo ${node}`);
  const env = { ...process.env, PATH: `${directory}:${process.env['PATH'] ?? ''}` };
  const { status, stdout, stderr } = spawnSync(SCRIPT, ['-n', kind], { encoding: 'utf8', env });
  expect([status, stderr]).toEqual([0, '']);
  return stdout.split('\n').filter(Boolean);
}

test('with everything there, nothing is to be installed', () => {
  for (const kind of ['build', 'demo', 'test', 'bench']) expect(missing(kind)).toEqual([]);
});

test('only what is missing is named', () => {
  expect(missing('test', { lacks: 'tshark curl' })).toEqual(['curl', 'tshark']);
  expect(missing('build', { lacks: 'tshark curl' })).toEqual([]);
});

test('of alternatives one is enough, and the first on offer is taken', () => {
  const all = 'libclang-rt-14-dev libclang-rt-19-dev libclang-rt-dev';
  expect(missing('test', { lacks: 'libclang-rt-14-dev' })).toEqual([]);
  expect(missing('test', { lacks: all })).toEqual(['libclang-rt-14-dev']);
  expect(missing('test', { lacks: all, withholds: 'libclang-rt-14-dev' })).toEqual(['libclang-rt-19-dev']);
});

test('what this Debian does not have is passed over where it is optional, and named where it is not', () => {
  expect(missing('bench', { lacks: 'nebula', withholds: 'nebula' })).toEqual([]);
  expect(missing('bench', { lacks: 'nebula' })).toEqual(['nebula']);
  expect(missing('bench', { lacks: 'iperf3', withholds: 'iperf3' })).toEqual(['iperf3']);
});

test.each([
  ['18.19.0', ['Node.js 20.19 or later']],
  ['20.9.0', ['Node.js 20.19 or later']],
  ['20.19.0', []],
  ['24.0.0', []],
])('Node.js %s: %j', (node, expected) => {
  expect(missing('build', { node })).toEqual(expected);
});
