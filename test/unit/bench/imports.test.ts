/** Nothing compiles `bench/**.mjs` and no test runs it: here, what it takes from dist/ is looked for in src/. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../../..');
const IMPORT = /^import ([^']+) from '(\.[^']+)\.js';$/gm;

interface Import {
  readonly file: string;
  readonly names: readonly string[];
  /** Without `.js` and `.ts`. */
  readonly module: string;
}

function importsOf(file: string): Import[] {
  const all = [...readFileSync(join(root, file), 'utf8').matchAll(IMPORT)];
  return all.map(([, clause, specifier]) => ({
    file,
    names: clause.split(/[{},]/).flatMap((name) => name.trim().split(' as ')[0] || []),
    module: relative(join(root, 'dist'), join(root, dirname(file), specifier)),
  }));
}

const imports = readdirSync(join(root, 'bench'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.mjs'))
  .flatMap((name) => importsOf(join('bench', name)));

describe('what measurements import from dist/', () => {
  it.each(imports)('$file finds $names in $module', async ({ names, module }) => {
    const source = join(root, 'src', `${module}.ts`);
    expect(existsSync(source), `src/${module}.ts is there`).toBe(true);
    expect(Object.keys((await import(source)) as object)).toEqual(expect.arrayContaining([...names]));
  });
});
