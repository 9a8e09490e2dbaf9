import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

const UNIT = readFileSync(new URL('../../../systemd/causeway@.service', import.meta.url), 'utf8');
/** Tenths: a rating of 2.5. */
const WORST_RATING = '25';

let directory: string;
beforeEach(() => void (directory = mkdtempSync(join(tmpdir(), 'cw-systemd-'))));
afterEach(() => rmSync(directory, { recursive: true }));

/** Writes the unit as an instance whose command exists on this machine, and has systemd judge it. */
function analyze(unit: string, ...argv: string[]): { status: number | null; output: string } {
  const file = join(directory, 'causeway@test.service');
  writeFileSync(file, unit.replaceAll('/usr/local/bin/causeway', '/bin/true').replace(/ file:\S+/, ''));
  const { status, stdout, stderr } = spawnSync('systemd-analyze', [...argv, '--no-pager', file], {
    encoding: 'utf8',
  });
  return { status, output: stdout + stderr };
}

const rate = (unit: string) => analyze(unit, 'security', '--offline=true', `--threshold=${WORST_RATING}`);

test('systemd finds nothing to complain of in the unit', () => {
  expect(analyze(UNIT, 'verify')).toEqual({ status: 0, output: '' });
  expect(analyze(UNIT.replace('DevicePolicy', 'DevicePolice'), 'verify').output).toContain('DevicePolice');
});

test('the unit rates 2.5 or better', () => {
  const { status, output } = rate(UNIT);
  expect(output).toMatch(/Overall exposure level for causeway@test\.service: [0-2]\.\d/);
  expect(status).toBe(0);
  expect(
    rate(UNIT.replace(/^ProtectSystem.*|^SystemCallFilter.*|^RestrictNamespaces.*/gm, '')).status,
  ).not.toBe(0);
});

test('an instance has two capabilities, and starts only where it is configured', () => {
  const values = (key: string): string[] =>
    [...UNIT.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map(([, value]) => value);
  expect(values('CapabilityBoundingSet')).toEqual(['CAP_NET_ADMIN CAP_NET_RAW']);
  expect(values('ConditionPathExists')).toEqual(['/etc/causeway/%i.yaml']);
  expect(values('Type')).toEqual(['notify']);
});
