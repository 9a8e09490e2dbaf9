/**
 * `make bench-failover`: what becomes of flows when the path they take is cut or goes bad, beside other programs that reroute, in one run. Needs root and
 * `make build`. Prints tables, each requirement with the measured value, and writes `bench/results/failover.json`.
 *
 *   node bench/failover.mjs [--quick] [--only cuts,flap,loss] [--rounds N] [--others N] [--kinds silent,interface,carrier,stop,kill]
 *     [--contenders causeway,tinc,…]
 *
 * A full run takes an hour, as others take a minute to notice a cut: --rounds (5) cuts of each kind, of which --others (as many) see the other programs too. Tables say
 * how many cuts each median is of. --quick takes some five minutes: one cut of each kind, waited for 15 s at most.
 */
import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { CUTS } from './failover/cuts.mjs';
import { cuts } from './failover/parts/cuts.mjs';
import { flap } from './failover/parts/flap.mjs';
import { loss } from './failover/parts/loss.mjs';
import { checkRows, writeResults } from './lib/results.mjs';
import { printTable } from './lib/table.mjs';

const PARTS = [cuts, flap, loss];

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    rounds: { type: 'string' },
    others: { type: 'string' },
    kinds: { type: 'string' },
    contenders: { type: 'string' },
  },
});

/** What a list names, all of `known` where there is no list. */
function chosen(what, list, known) {
  const names = list?.split(',') ?? known;
  const strange = names.find((name) => !known.includes(name));
  if (strange === undefined) return names;
  console.error(`failover: there is no ${what} "${strange}"; there are ${known.join(', ')}`);
  process.exit(2);
}

if (process.getuid() !== 0) {
  console.error('failover: making network namespaces needs root: run "sudo make bench-failover"');
  process.exit(1);
}
const wanted = chosen(
  'part',
  options.only,
  PARTS.map(({ name }) => name),
);
const rounds = Number(options.rounds ?? (options.quick ? 1 : 5));
const context = {
  quick: options.quick,
  rounds,
  others: Math.min(rounds, Number(options.others ?? rounds)),
  kinds: chosen('kind of cut', options.kinds, Object.keys(CUTS)),
  contenders: options.contenders?.split(','),
  log: (text) => console.error(`  ${text} …`),
};
const [busy] = loadavg();
if (busy > 0.5) console.error(`failover: this machine is busy (load ${busy.toFixed(1)}): times will show it`);

const results = {};
const checks = [];
const failed = [];
for (const { name, title, run } of PARTS.filter((part) => wanted.includes(part.name))) {
  console.log(`\n== ${title} (--only ${name}) ==`);
  try {
    const part = await run(context);
    for (const { title: heading, rows } of part.tables) {
      console.log(`\n${heading}\n`);
      printTable(rows);
    }
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
await writeResults('failover', { options, loadBefore: busy, results, checks, failed });
if (failed.length > 0) {
  console.log(`\ncould not be measured: ${failed.join(', ')}`);
  process.exitCode = 1;
}
