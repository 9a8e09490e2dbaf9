import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/** The compiler's sanitizer libraries, which must be loaded before node; undefined where there are none. */
function sanitizerLibraries(): string | undefined {
  try {
    const paths = ['libasan.so', 'libubsan.so'].map((name) =>
      realpathSync(execFileSync('g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).trim()),
    );
    return paths.every((each) => existsSync(each)) ? paths.join(':') : undefined;
  } catch {
    return undefined;
  }
}

const libraries = sanitizerLibraries();

describe.skipIf(libraries === undefined)('native/ under address and undefined-behaviour sanitizers', () => {
  it('survives the stress script on every seed', () => {
    execFileSync(process.execPath, ['native/install.mjs', '--sanitize'], { cwd: root, stdio: 'inherit' });
    const seeds = [1, 2, 3, Date.now() % 1e6];
    for (const seed of seeds) {
      // Node itself keeps memory to its end, so leaks are not looked for.
      const env = {
        ...process.env,
        LD_PRELOAD: libraries,
        ASAN_OPTIONS: 'detect_leaks=0',
        UBSAN_OPTIONS: 'print_stacktrace=1',
      };
      const args = [
        'test/support/native-stress.mjs',
        path.join(root, 'build-asan/build/Debug/causeway.node'),
        String(seed),
      ];
      const { status, stdout, stderr } = spawnSync(process.execPath, args, {
        cwd: root,
        env,
        encoding: 'utf8',
      });
      expect({ seed, status, stdout, stderr }).toEqual({ seed, status: 0, stdout: 'survived\n', stderr: '' });
    }
  });
});
