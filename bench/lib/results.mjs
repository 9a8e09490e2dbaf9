/** Where measurements go: `bench/results/NAME.json`, with what they were measured on. They are of one machine, so git ignores them. */
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, release } from 'node:os';
import { join } from 'node:path';

const folder = join(import.meta.dirname, '..', 'results');

export async function writeResults(name, results) {
  const processors = cpus();
  const machine = {
    cpu: processors[0].model,
    cores: processors.length,
    kernel: release(),
    node: process.version,
  };
  await mkdir(folder, { recursive: true });
  const text = JSON.stringify({ date: new Date().toISOString(), machine, ...results }, null, 1);
  await writeFile(join(folder, `${name}.json`), `${text}\n`);
}

/** A row of a table of bounds: [what, measured, asked, met or not]. */
export function judge(what, value, bound, digits = 2) {
  return [what, value.toFixed(digits), `≤ ${bound}`, value <= bound ? 'met' : 'MISSED'];
}
