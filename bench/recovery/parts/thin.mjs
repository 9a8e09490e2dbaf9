/** A flow as thin as a terminal's, alone and beside a bulk flow on the same link: how much later its messages come. */
import { iperf } from '../../lib/measure.mjs';
import { withPair } from '../../lib/mesh.mjs';
import { sleep } from '../../lib/net.mjs';
import { check } from '../../lib/results.mjs';
import { delaysOf, quantile, sendTimed, summary } from '../timed.mjs';

const LINK = { delay: '10ms', rate: '10mbit', queue: '100ms' };
const INTERVAL_MS = 50;

const SIDES = [
  { name: 'kernel', agent: false },
  { name: 'causeway', agent: {} },
];

const typed = ({ a, b }, count) =>
  sendTimed({
    from: a,
    to: b,
    protocol: 'tcp',
    count,
    intervalUs: 1000 * INTERVAL_MS,
    bytes: 64,
    congestion: 'cubic',
  });

const measureSide = (context, { name, agent }) =>
  withPair(agent, LINK, async ({ hosts }) => {
    const seconds = context.seconds(50, 5);
    const count = (1000 * seconds) / INTERVAL_MS;
    context.log(`${name}: alone`);
    const alone = delaysOf(await typed(hosts, Math.max(100, count / 5)));
    context.log(`${name}: beside a bulk flow`);
    const { a, b } = hosts;
    const bulk = iperf(a, b, b.address, ['-t', String(seconds + 5), '-C', 'cubic']);
    bulk.catch(() => undefined); // awaited below
    await sleep(2000);
    const beside = await typed(hosts, count);
    const { end } = await bulk;
    return {
      name,
      agent,
      count,
      aloneMedianMs: quantile(alone, 0.5),
      beside: summary(count, beside),
      delays: delaysOf(beside),
      addedP99Ms: quantile(delaysOf(beside), 0.99) - quantile(alone, 0.5),
      bulkMbps: end.sum_received.bits_per_second / 1e6,
    };
  });

export const thin = {
  name: 'thin',
  title: '64-byte messages over TCP beside a bulk flow, one link of 10 Mbit/s and 10 ms',
  async run(context) {
    const results = await context.bySide(SIDES, (side) => measureSide(context, side));
    return {
      tables: [
        {
          rows: [
            ['', 'alone, median ms', 'beside bulk, median ms', 'p99 ms', 'p99 added, ms', 'bulk, Mbit/s'],
            ...results.map(({ name, aloneMedianMs, beside, addedP99Ms, bulkMbps }) => [
              name,
              ...[aloneMedianMs, beside.medianMs, beside.p99Ms, addedP99Ms, bulkMbps].map((each) =>
                each.toFixed(2),
              ),
            ]),
          ],
        },
      ],
      checks: results
        .filter(({ agent }) => agent !== false)
        .map(({ addedP99Ms }) =>
          check('p99 added beside the bulk flow', addedP99Ms, { most: 15, unit: ' ms' }),
        ),
      plots: [
        {
          name: 'thin',
          title: '64-byte messages beside a bulk flow, 10 Mbit/s and 10 ms',
          curves: results,
        },
      ],
      data: results.map((each) => ({ ...each, delays: undefined })),
    };
  },
};
