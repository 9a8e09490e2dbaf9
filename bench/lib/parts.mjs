/**
 * A bench of several parts, each `{ name, title, run }` where `run(context)` gives `{ tables: [{ title?, rows }], checks, data, plots? }`: runs those
 * that are wanted one after the other, prints their tables, then each requirement with what was measured, and writes `bench/results/BENCH.json`.
 */
import { loadavg } from 'node:os';
import { checkRows, writeResults } from './results.mjs';
import { printTable } from './table.mjs';

/** Above this load others take part in what is measured. */
const BUSY = 0.5;

/** What a list `text` names, all of `known` where there is none; exits with code 2 where it names something else. */
export function chosen(bench, what, text, known) {
  const names = text?.split(',') ?? known;
  const strange = names.find((name) => !known.includes(name));
  if (strange === undefined) return names;
  console.error(`${bench}: there is no ${what} "${strange}"; there are ${known.join(', ')}`);
  process.exit(2);
}

/** Exits with code 1 where the bench can't make network namespaces. */
export function needRoot(bench) {
  if (process.getuid() === 0) return;
  console.error(`${bench}: making network namespaces needs root: run "sudo make bench-${bench}"`);
  process.exit(1);
}

/** `options` are written down with the results. Exit code 1 where a part couldn't be measured. */
export async function runParts(bench, parts, context, options, onPlots) {
  const [load] = loadavg();
  if (load > BUSY)
    console.error(`${bench}: this machine is busy (load ${load.toFixed(1)}): what is measured will show it`);
  const results = {};
  const checks = [];
  const failed = [];
  for (const { name, title, run } of parts) {
    console.log(`\n== ${title} (--only ${name}) ==`);
    try {
      const part = await run(context);
      for (const { title: heading, rows } of part.tables) {
        console.log(heading === undefined ? '' : `\n${heading}\n`);
        printTable(rows);
      }
      if (part.plots) await onPlots?.(part.plots);
      results[name] = part.data;
      checks.push(...part.checks.map((each) => ({ part: name, ...each })));
    } catch (error) {
      console.error(`${name}: ${error.message}`);
      failed.push(name);
    }
  }
  if (checks.length > 0) {
    console.log();
    printTable(checkRows(checks));
  }
  await writeResults(bench, { options, loadBefore: load, results, checks, failed });
  if (failed.length === 0) return;
  console.log(`\ncould not be measured: ${failed.join(', ')}`);
  process.exitCode = 1;
}
