/**
 * Whether anything grows: two agents carry one TCP stream at full rate for minutes while their resident memory is sampled. Needs root and
 * `npm run build`. Prints a table and writes `bench/results/soak.json`. Not part of `make bench`; `bench/all --soak` includes it.
 *
 *   node bench/soak.mjs [--minutes 10]
 */
import { parseArgs } from 'node:util';
import { causeway } from './contenders/causeway.mjs';
import { status } from './lib/agent.mjs';
import { tcp } from './lib/measure.mjs';
import { chain, onGround, residentMiB, sleep } from './lib/net.mjs';
import { judge, writeResults } from './lib/results.mjs';
import { median, printTable } from './lib/table.mjs';

const SAMPLE_MS = 2000;
/** MiB that count as noise: what a collection more or less makes of the medians. */
const NOISE_MIB = 5;

const { values: options } = parseArgs({ options: { minutes: { type: 'string', default: '10' } } });
const seconds = Number(options.minutes) * 60;

/** `samples` of one agent: growth from its second tenth, when all is compiled, to its last, MiB; medians, as collections come and go. */
function growth(samples) {
  const tenth = Math.max(1, Math.floor(samples.length / 10));
  return median(samples.slice(-tenth)) - median(samples.slice(tenth, 2 * tenth));
}

const { stream, samples, drops } = await onGround(
  () => chain(2),
  causeway,
  async ({ hosts, address, pids, sockets }) => {
    let running = true;
    const stream = tcp(hosts[0], hosts[1], address, pids, { seconds }).finally(() => (running = false));
    stream.catch(() => undefined); // awaited below, after the samples
    const samples = pids.map(() => []);
    while (running) {
      const now = await Promise.all(pids.map(residentMiB));
      now.forEach((mib, i) => samples[i].push(mib));
      await Promise.race([sleep(SAMPLE_MS), stream.catch(() => undefined)]);
    }
    const drops = await Promise.all(sockets.map(async (socket) => (await status(socket)).counters.drops));
    return { stream: await stream, samples, drops };
  },
);
const ends = ['sender', 'receiver'];
printTable([
  [`${options.minutes} min at ${stream.gbps.toFixed(2)} Gbit/s`, 'measured', 'asked', ''],
  ...samples.map((each, i) => judge(`${ends[i]}: growth, MiB`, growth(each), NOISE_MIB, 1)),
  ...samples.map((each, i) => judge(`${ends[i]}: most resident, MiB`, Math.max(...each), 120, 0)),
  ['CPU seconds a GiB, both', stream.cpuPerGiB.toFixed(2), '', ''],
]);
await writeResults('soak', {
  minutes: Number(options.minutes),
  stream,
  growthMiB: samples.map(growth),
  samples,
  drops,
});
