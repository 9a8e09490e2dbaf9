// Prints the folders of the packages that the installed agent needs, one a line, from package-lock.json: what package.json names under
// dependencies and what those need in turn, without the tools that only build the addon.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const BUILD_ONLY = new Set(['node-gyp']);

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const { packages } = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8'));

/** Where Node would find `name` from the package in `folder`: the nearest node_modules upwards. */
function resolve(name, folder) {
  for (let at = folder; ; at = at.slice(0, Math.max(0, at.lastIndexOf('node_modules') - 1))) {
    const candidate = path.posix.join(at, 'node_modules', name);
    if (candidate in packages) return candidate;
    if (at === '') return null;
  }
}

const found = new Set();
function visit(folder) {
  const { dependencies = {}, optionalDependencies = {} } = packages[folder];
  for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
    const next = folder === '' && BUILD_ONLY.has(name) ? null : resolve(name, folder);
    if (next === null || found.has(next)) continue;
    found.add(next);
    visit(next);
  }
}
visit('');

const folders = [...found].filter((folder) => existsSync(path.join(root, folder)));
process.stdout.write(
  folders
    .sort()
    .map((folder) => `${folder}\n`)
    .join(''),
);
