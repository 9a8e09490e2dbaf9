import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../../', import.meta.url));

describe('building the addon', () => {
  it.each([
    ['compiler', { CXX: 'no-such-compiler' }, 'no-such-compiler'],
    ['make', { MAKE: 'no-such-make' }, 'no-such-make'],
    ['python', { PYTHON: 'no-such-python' }, 'no-such-python'],
  ])(
    'a missing %s gives exactly one line that names it, the remedy and --plain, and fails no installation',
    (_what, env, name) => {
      const { status, stdout, stderr } = spawnSync(
        process.execPath,
        [path.join(root, 'native/install.mjs')],
        {
          env: { ...process.env, ...env },
          encoding: 'utf8',
        },
      );
      expect(status).toBe(0);
      expect(stdout).toBe('');
      expect(stderr).toMatch(/^[^\n]*\n$/);
      for (const part of [name, 'apt-get install g++ make python3', '--plain'])
        expect(stderr).toContain(part);
    },
  );
});
