/**
 * Choosing paths on real packets, over a diamond a – {m1, m2} – b whose upper path is a little shorter. Needs root and `npm run build`. Prints a
 * table and writes `bench/results/best-path.json`.
 *
 *   node bench/best-path.mjs [--cuts 5] [--only loss|spread]
 *
 *   loss    10 % is put on the path in use, under pings every 20 ms and a TCP stream: ms until realtime and reliable traffic have left it;
 *           then taken away: seconds until they are back, and how often they moved
 *   spread  TCP through two paths of 10 Mbit/s each: one stream, then two
 */
import { parseArgs } from 'node:util';
import { withDiamond } from './best-path/diamond.mjs';
import { iperf } from './lib/measure.mjs';
import { sleep, start } from './lib/net.mjs';
import { check, checkRows, writeResults } from './lib/results.mjs';
import { median, printTable } from './lib/table.mjs';

const { values: options } = parseArgs({
  options: { cuts: { type: 'string', default: '5' }, only: { type: 'string' } },
});
const rounds = Number(options.cuts);
const SERVICES = ['reliable', 'realtime'];
const WATCH_MS = 20;
const LEAVE_MOST_MS = 15_000;
const RETURN_MOST_MS = 180_000;

const checks = [];
const results = {};

/** ms until `isDone` is true of the ways to b and the ms that have passed; Infinity after `most`. */
async function watch(ways, most, isDone) {
  const began = performance.now();
  while (performance.now() - began < most) {
    const now = await ways();
    if (isDone(now, performance.now() - began)) return performance.now() - began;
    await sleep(WATCH_MS);
  }
  return Infinity;
}

/** One cut on a fresh mesh: who moved before moves back later each time. `andBack`: until traffic is back on the path. */
const cut = (andBack) =>
  withDiamond({}, async ({ mesh, ways }) => {
    const { a, b } = mesh.hosts;
    start(a, 'ping', ['-n', '-q', '-i', '0.02', b.address]);
    start(b, 'iperf3', ['-s', '-1']);
    await sleep(500);
    start(a, 'iperf3', ['-c', b.address, '-t', '600', '-b', '1M']);
    await sleep(7000);
    if (!Object.values(await ways()).every((via) => via === 'm1'))
      throw new Error('the shorter path is not in use');
    await mesh.link('a', 'm1', '--loss', '10%');
    const left = {};
    await watch(ways, LEAVE_MOST_MS, (w, ms) => {
      for (const service of SERVICES) if (w[service] === 'm2') left[service] ??= ms;
      return SERVICES.every((service) => left[service] !== undefined);
    });
    if (!andBack) return { left };
    await sleep(5000);
    await mesh.link('a', 'm1', '--loss', '0%');
    let before = 'm2';
    let moves = 0;
    const back = await watch(ways, RETURN_MOST_MS, (w) => {
      if (w.realtime !== before) moves++;
      before = w.realtime;
      return SERVICES.every((service) => w[service] === 'm1');
    });
    return { left, back, moves };
  });

async function measureLoss() {
  const cuts = [];
  for (let round = 0; round < rounds; round++) cuts.push(await cut(round === 0));
  return cuts;
}

const measureSpread = () =>
  withDiamond({ rate: '10mbit' }, async ({ mesh }) => {
    const { a, b } = mesh.hosts;
    const rate = async (streams) => {
      const { end } = await iperf(a, b, b.address, ['-t', '20', '-O', '2', '-P', String(streams)]);
      return end.sum_received.bits_per_second / 1e6;
    };
    const one = await rate(1);
    await sleep(3000);
    const two = await rate(2);
    return { one, two };
  });

if (options.only !== 'spread') {
  results.loss = await measureLoss();
  for (const service of SERVICES) {
    const left = median(results.loss.map((one) => one.left[service] ?? Infinity));
    checks.push(check(`10 % loss: ${service} has left after`, left / 1000, { most: 3, unit: ' s' }));
  }
  const [{ back, moves }] = results.loss;
  checks.push(check('loss over: back after', back / 1000, { least: 20, most: 180, unit: ' s', digits: 1 }));
  checks.push(check('moves on the way back', moves, { least: 1, most: 1, digits: 0 }));
}
if (options.only !== 'loss') {
  results.spread = await measureSpread();
  const { one, two } = results.spread;
  checks.push(check('one TCP stream', one, { most: 10, unit: ' Mbit/s', digits: 1 }));
  checks.push(check('two TCP streams', two, { least: 12, unit: ' Mbit/s', digits: 1 }));
}
printTable(checkRows(checks));
await writeResults('best-path', results);
