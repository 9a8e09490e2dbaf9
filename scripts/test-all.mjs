// Runs every kind of test and ends with one line: `N passed, N failed`. Exit status 1 unless all passed.
//
//   node scripts/test-all.mjs [PROJECT…]      unit sim fuzz integration by default
//
//   1. unit, sim and fuzz together: they compute, so one process a core is kept busy to the end;
//   2. integration tests, three files at a time: each waits for something some of the time;
//   3. those of them that measure time, with no more than one neighbour.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { countResults } from './test-count.mjs';
import { stepsOf } from './test-steps.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/** Counts of one step; a runner that ends badly without saying why counts as one failure. */
function run({ title, words, workers }, folder) {
  const file = path.join(folder, `${title}.json`);
  const vitest = path.join(root, 'node_modules/vitest/vitest.mjs');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`];
  process.stdout.write(`\n== ${title} ==\n`);
  const { status } = spawnSync(process.execPath, [vitest, 'run', ...words, ...reporters], {
    cwd: root,
    env: { ...process.env, ...(workers && { CAUSEWAY_TEST_WORKERS: String(workers) }) },
    stdio: 'inherit',
  });
  let counts = { passed: 0, failed: 0, skipped: 0 };
  try {
    counts = countResults(JSON.parse(readFileSync(file, 'utf8')));
  } catch (error) {
    process.stdout.write(`${title}: no results (${error.code ?? error.message})\n`);
  }
  if (status !== 0 && counts.failed === 0) counts.failed = 1;
  return counts;
}

const folder = mkdtempSync(path.join(tmpdir(), 'causeway-tests-'));
const total = { passed: 0, failed: 0, skipped: 0 };
try {
  for (const step of stepsOf(process.argv.slice(2))) {
    const counts = run(step, folder);
    for (const key of Object.keys(total)) total[key] += counts[key];
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
if (total.skipped > 0) process.stdout.write(`\n${total.skipped} skipped; their own lines above say why\n`);
process.stdout.write(`\n${total.passed} passed, ${total.failed} failed\n`);
process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;
