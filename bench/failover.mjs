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
import { parseArgs } from 'node:util';
import { CUTS } from './failover/cuts.mjs';
import { cuts } from './failover/parts/cuts.mjs';
import { flap } from './failover/parts/flap.mjs';
import { loss } from './failover/parts/loss.mjs';
import { chosen, needRoot, runParts } from './lib/parts.mjs';

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

needRoot('failover');
const names = PARTS.map(({ name }) => name);
const wanted = chosen('failover', 'part', options.only, names);
const rounds = Number(options.rounds ?? (options.quick ? 1 : 5));
const context = {
  quick: options.quick,
  rounds,
  others: Math.min(rounds, Number(options.others ?? rounds)),
  kinds: chosen('failover', 'kind of cut', options.kinds, Object.keys(CUTS)),
  contenders: options.contenders?.split(','),
  log: (text) => console.error(`  ${text} …`),
};
const parts = PARTS.filter(({ name }) => wanted.includes(name));
await runParts('failover', parts, context, options);
