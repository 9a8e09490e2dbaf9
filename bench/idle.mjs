/**
 * What an agent costs that has nothing to carry: share of a core and resident memory of one with ten links, and of its neighbours with
 * one each. Needs root and `npm run build`. Prints a table and writes `bench/results/idle.json`.
 *
 *   node bench/idle.mjs [--links 10] [--seconds 30]
 */
import { parseArgs } from 'node:util';
import { causeway } from './contenders/causeway.mjs';
import { cpuSeconds, onGround, residentMiB, sleep, star, until } from './lib/net.mjs';
import { linksUp } from './lib/agent.mjs';
import { judge, writeResults } from './lib/results.mjs';
import { median, printTable } from './lib/table.mjs';

/** Until all that belongs to starting is over: compilation, handshakes, flooding. */
const SETTLE_MS = 15_000;

const { values: options } = parseArgs({
  options: { links: { type: 'string', default: '10' }, seconds: { type: 'string', default: '30' } },
});
const links = Number(options.links);
const seconds = Number(options.seconds);

const measured = await onGround(
  () => star(links + 1),
  causeway,
  async ({ pids, sockets }) => {
    await until(async () => (await linksUp(sockets[0])) === links, `${links} links`, 60_000);
    await sleep(SETTLE_MS);
    const before = await Promise.all(pids.map(cpuSeconds));
    await sleep(seconds * 1000);
    const after = await Promise.all(pids.map(cpuSeconds));
    const share = after.map((spent, i) => ((spent - before[i]) / seconds) * 100);
    return { share, resident: await Promise.all(pids.map(residentMiB)) };
  },
);
const { share, resident } = measured;
printTable([
  [`idle for ${seconds} s`, 'measured', 'asked', ''],
  judge(`${links} links: % of a core`, share[0], 1),
  judge(`${links} links: resident, MiB`, resident[0], 120, 0),
  ['one link: % of a core, median', median(share.slice(1)).toFixed(2), '', ''],
  ['one link: resident, MiB, median', median(resident.slice(1)).toFixed(0), '', ''],
]);
await writeResults('idle', {
  links,
  seconds,
  hub: { cpuPercent: share[0], residentMiB: resident[0] },
  share,
  resident,
});
