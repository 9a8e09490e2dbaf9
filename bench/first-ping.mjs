/**
 * How soon two hosts talk: ms from starting both agents, certificates in place, to the first answered ping of an application. Needs
 * root and `npm run build`. Prints a table and writes `bench/results/first-ping.json`.
 *
 *   node bench/first-ping.mjs [--rounds 5]
 */
import { parseArgs } from 'node:util';
import { causeway } from './contenders/causeway.mjs';
import { chain, onGround } from './lib/net.mjs';
import { judge, writeResults } from './lib/results.mjs';
import { median, printTable } from './lib/table.mjs';

const BOUND_MS = 1000;

const { values: options } = parseArgs({ options: { rounds: { type: 'string', default: '5' } } });
const rounds = [];
for (let round = 0; round < Number(options.rounds); round++) {
  rounds.push(
    await onGround(
      () => chain(2),
      causeway,
      ({ firstPingMs }) => firstPingMs,
    ),
  );
}
const ms = median(rounds);
printTable([
  ['first ping', 'measured', 'asked', ''],
  judge(`ms after start, median of ${rounds.length}`, ms, BOUND_MS, 0),
  ['each', rounds.map((each) => each.toFixed(0)).join(' '), '', ''],
]);
await writeResults('first-ping', { medianMs: ms, rounds });
