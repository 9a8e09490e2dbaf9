// Runs every kind of test and ends with one line: `N passed, N failed`. Exit status 1 unless all passed.
//
//   node scripts/test-all.mjs [PROJECT…]      unit sim fuzz integration by default
//
//   1. unit, sim and fuzz together: they compute, so one process a core is kept busy to the end;
//   2. integration tests, three files at a time: each waits for something some of the time;
//   3. those of them that measure time, beside nobody else: they wait more than they compute;
//   4. files of steps 2 and 3 that failed, if few: once more with nothing beside them, since a real program over a real device that
//      had no turn for seconds says nothing about us. Both outcomes are printed at the end; the second one counts.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { countResults, listFailures } from './test-count.mjs';
import { againOf, stepsOf } from './test-steps.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/** What each file of a step gave; a runner that ends badly without saying why stands for a file that failed. */
function run({ title, words, workers }, folder) {
  const output = path.join(folder, 'report.json');
  const vitest = path.join(root, 'node_modules/vitest/vitest.mjs');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${output}`];
  process.stdout.write(`\n== ${title} ==\n`);
  const { status } = spawnSync(process.execPath, [vitest, 'run', ...words, ...reporters], {
    cwd: root,
    env: { ...process.env, ...(workers && { CAUSEWAY_TEST_WORKERS: String(workers) }) },
    stdio: 'inherit',
  });
  let files = [];
  try {
    files = JSON.parse(readFileSync(output, 'utf8')).testResults;
    rmSync(output);
  } catch (error) {
    process.stdout.write(`${title}: no results (${error.code ?? error.message})\n`);
  }
  if (status !== 0 && listFailures(files).length === 0) {
    const message = `the runner ended with ${status}`;
    files.push({ name: path.join(root, title), status: 'failed', message, assertionResults: [] });
  }
  return files.map((file) => ({ ...file, name: path.relative(root, file.name) }));
}

function print(heading, failures) {
  if (failures.length === 0) return;
  process.stdout.write(`\n${heading}\n`);
  for (const { file, test, why } of failures) process.stdout.write(`  ${file} > ${test}\n      ${why}\n`);
}

const folder = mkdtempSync(path.join(tmpdir(), 'causeway-tests-'));
/** By the file's name; what is run again takes the place of what was. */
const results = new Map();
const runAll = (steps) => {
  for (const step of steps) for (const file of run(step, folder)) results.set(file.name, file);
};
let beside = [];
try {
  runAll(stepsOf(process.argv.slice(2)));
  beside = listFailures([...results.values()]);
  runAll(againOf(beside));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
const files = [...results.values()];
const { passed, failed, skipped } = countResults(files);
if (skipped > 0) process.stdout.write(`\n${skipped} skipped; their own lines above say why\n`);
print('failed beside others, and was run again alone:', againOf(beside).length > 0 ? beside : []);
print('failed:', listFailures(files));
process.stdout.write(`\n${passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
