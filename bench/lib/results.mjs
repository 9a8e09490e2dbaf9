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

/**
 * A measured value and the bounds that it must keep, `least` and `most`, either or both; `unit` only names it.
 * @returns {{what: string, value: number, asked: string, met: boolean, text: string}}
 */
export function check(what, value, { least, most, unit = '', digits = 2 }) {
  const asked = [least !== undefined && `≥ ${least}${unit}`, most !== undefined && `≤ ${most}${unit}`];
  return {
    what,
    value,
    asked: asked.filter(Boolean).join(', '),
    met: value >= (least ?? -Infinity) && value <= (most ?? Infinity),
    text: `${value.toFixed(digits)}${unit}`,
  };
}

/** Checks as rows of a table, with its head. */
export const checkRows = (checks) => [
  ['required', 'measured', 'asked', ''],
  ...checks.map(({ what, text, asked, met }) => [what, text, asked, met ? 'met' : 'MISSED']),
];
