/**
 * `make bench-recovery`: hop-by-hop recovery beside the plain kernel, in one run on emulated links. Needs root, gcc and `make build`. Prints
 * tables, each requirement with the measured value, and writes `bench/results/recovery.json` and `bench/results/recovery-*.svg`.
 *
 *   node bench/recovery.mjs [--quick] [--only NAME,NAME] [--messages N] [--losses LOSS,LOSS] [--kbps RATE,RATE] [--side kernel|causeway] [--apart]
 *
 * A full run takes some 35 minutes on an otherwise idle machine; --quick some 3, too short for the tails that the requirements are about. --losses and
 * --kbps choose points of `tcp` and `realtime`: a loss is 5 for 5 % at random, 5x3 for 5 % in runs of 3. The sides
 * of a part are measured side by side, each on a mesh of its own, as they are light and so have the same of whatever else the machine
 * does; --apart measures one after the other.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { chosen, needRoot, runParts } from './lib/parts.mjs';
import { blackhole } from './recovery/parts/blackhole.mjs';
import { bulk } from './recovery/parts/bulk.mjs';
import { fairness } from './recovery/parts/fairness.mjs';
import { fast } from './recovery/parts/fast.mjs';
import { overhead } from './recovery/parts/overhead.mjs';
import { queue } from './recovery/parts/queue.mjs';
import { realtime } from './recovery/parts/realtime.mjs';
import { tcp } from './recovery/parts/tcp.mjs';
import { thin } from './recovery/parts/thin.mjs';
import { delayPlot } from './recovery/plot.mjs';

const PARTS = [tcp, realtime, bulk, overhead, queue, fairness, thin, fast, blackhole];

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    messages: { type: 'string' },
    losses: { type: 'string' },
    kbps: { type: 'string' },
    side: { type: 'string' },
    apart: { type: 'boolean', default: false },
  },
});

const isNamed = (names, name) => names === undefined || names.split(',').includes(name);

/** What a part has to know. */
const context = {
  quick: options.quick,
  /** How many messages to send at a rate: 5000, or a few seconds of them. */
  messages: (kbps) => Number(options.messages ?? (options.quick ? Math.round((4 * kbps) / 8) : 5000)),
  /** Whether messages are to be sent at this rate, with this loss. */
  isWanted: ({ kbps, loss: { percent, burst } }) =>
    isNamed(options.kbps, String(kbps)) &&
    isNamed(options.losses, burst ? `${percent}x${burst}` : String(percent)),
  /** Seconds that something lasts. */
  seconds: (full, quick) => (options.quick ? quick : full),
  /** Measures those of `sides` that are wanted; their results, in order. `agent` is `false` for the kernel's. */
  bySide: async (sides, measure) => {
    const wanted = sides.filter(
      ({ agent }) => options.side === undefined || (options.side === 'kernel') === (agent === false),
    );
    if (!options.apart) return Promise.all(wanted.map(measure));
    const results = [];
    for (const side of wanted) results.push(await measure(side));
    return results;
  },
  log: (text) => console.error(`  ${text} …`),
};

const resultsFolder = join(import.meta.dirname, 'results');

async function writePlots(plots) {
  await mkdir(resultsFolder, { recursive: true });
  for (const plot of plots)
    await writeFile(join(resultsFolder, `recovery-${plot.name}.svg`), delayPlot(plot));
}

needRoot('recovery');
const possible = PARTS.filter(({ needsAgents }) => !needsAgents || options.side !== 'kernel');
const names = PARTS.map(({ name }) => name);
const wanted = chosen('recovery', 'part', options.only, names);
const parts = possible.filter(({ name }) => wanted.includes(name));
await runParts('recovery', parts, context, options, writePlots);
