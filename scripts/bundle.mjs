/**
 * Gathers what `tsc` made in dist/ and the packages that it needs into dist/bundle, which `bin/causeway` runs: the program, the forwarding
 * thread, and a file for each part that only some commands load. A start reads a few files instead of several hundred (docs/adr/0018-bundle.md).
 *
 *   node scripts/bundle.mjs
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'rolldown';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const dist = path.join(root, 'dist');
const folder = path.join(dist, 'bundle');

const { output } = await build({
  // As deep below the root as what they are made of, so that paths relative to a module stay true.
  input: {
    cli: path.join(dist, 'cli/main.js'),
    thread: path.join(dist, 'agent/worker/thread.js'),
  },
  platform: 'node',
  // Modules proper load faster than what stands in for them in CommonJS, and what isn't used of them is left out.
  resolve: { mainFields: ['module', 'main'] },
  output: { dir: folder, format: 'esm', cleanDir: true },
  onLog(level, log, handler) {
    handler(level === 'warn' ? 'error' : level, log);
  },
});

/** Folder of the package that a module belongs to; null for our own. */
function packageOf(module) {
  const [found] = /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(module) ?? [null];
  return found;
}

function licenceOf(home) {
  const { name, version, license } = JSON.parse(readFileSync(path.join(home, 'package.json'), 'utf8'));
  const file = readdirSync(home).find((entry) => /^licen[cs]e/i.test(entry));
  const text = file === undefined ? `Licence: ${license}\n` : readFileSync(path.join(home, file), 'utf8');
  return `${name} ${version}\n\n${text}`;
}

const packages = new Set(output.flatMap(({ moduleIds = [] }) => moduleIds.map(packageOf)));
packages.delete(null);
writeFileSync(
  path.join(folder, 'LICENCES.txt'),
  [...packages]
    .sort()
    .map(licenceOf)
    .join(`\n${'-'.repeat(80)}\n\n`),
);
