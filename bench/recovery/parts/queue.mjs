/**
 * A link alone on a bottleneck: how long it makes others wait there, seen by pings beside it over the underlay, and how much of the rate it
 * uses; without loss, and with losses that no queue explains.
 */
import { iperf, ping } from '../../lib/measure.mjs';
import { carried, withPair } from '../../lib/mesh.mjs';
import { sleep } from '../../lib/net.mjs';
import { check } from '../../lib/results.mjs';

const MBIT = 10;
const LINK = { delay: '20ms', rate: `${MBIT}mbit`, queue: '100ms' };
const LOSSES = [0, 1, 5];
const SIDES = [
  { name: 'kernel cubic', agent: false },
  { name: 'causeway', agent: {} },
];
/** Start-up has overshot and drained by then. */
const SETTLED_MS = 3000;

async function measureLoss({ hosts: { a, b }, link }, percent, seconds) {
  const base = await ping(a, a.underlay.b.peer, { count: 50 });
  await link('a', 'b', '--loss', `${percent}%`);
  const stream = iperf(a, b, b.address, ['-t', String(seconds + SETTLED_MS / 1000 + 1), '-C', 'cubic']);
  stream.catch(() => undefined); // awaited below
  await sleep(SETTLED_MS);
  const during = await carried(b, b.underlay.a.interface, async () => {
    const began = performance.now();
    const times = await ping(a, a.underlay.b.peer, { count: seconds * 20, interval: 0.05 });
    return { times, tookMs: performance.now() - began };
  });
  const { times, tookMs } = during.result;
  const { end } = await stream;
  await link('a', 'b', '--loss', '0%');
  return {
    percent,
    queueMedianMs: times.median - base.median,
    queueP99Ms: times.p99 - base.median,
    used: during.rx.bytes / ((MBIT * 1e6 * tookMs) / 8e3),
    mbps: end.sum_received.bits_per_second / 1e6,
  };
}

async function measureSide(context, { name, agent }, losses) {
  return withPair(agent, LINK, async (mesh) => {
    const results = [];
    for (const percent of losses) {
      context.log(`${name}: loss ${percent} %`);
      results.push({ name, agent, ...(await measureLoss(mesh, percent, context.seconds(30, 5))) });
    }
    return results;
  });
}

export const queue = {
  name: 'queue',
  title: 'a link alone on 10 Mbit/s and 20 ms: the queue that it makes (pings over the underlay)',
  async run(context) {
    const losses = context.quick ? [0, 5] : LOSSES;
    const sides = await context.bySide(SIDES, (side) => measureSide(context, side, losses));
    const results = sides.flat();
    const own = results.filter(({ agent }) => agent !== false);
    return {
      tables: [
        {
          rows: [
            ['', 'queue, median ms', 'p99 ms', 'rate used', 'goodput, Mbit/s'],
            ...results.map((each) => [
              `${each.name}, loss ${each.percent} %`,
              each.queueMedianMs.toFixed(1),
              each.queueP99Ms.toFixed(1),
              `${(100 * each.used).toFixed(1)} %`,
              each.mbps.toFixed(2),
            ]),
          ],
        },
      ],
      checks: own.flatMap((each) => [
        check(`loss ${each.percent} %: queue, p99`, each.queueP99Ms, { most: 10, unit: ' ms' }),
        check(`loss ${each.percent} %: share of the rate used`, 100 * each.used, {
          least: 95,
          unit: ' %',
          digits: 1,
        }),
      ]),
      data: results,
    };
  },
};
