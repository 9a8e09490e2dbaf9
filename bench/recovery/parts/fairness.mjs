/** A link and an outside flow of the kernel's, cubic, share a bottleneck: each has its share, however many flows the link carries. */
import { iperf } from '../../lib/measure.mjs';
import { withPair } from '../../lib/mesh.mjs';
import { check } from '../../lib/results.mjs';

const LEAST = 35;
const MOST = 65;

const CASES = [25, 100].flatMap((queueMs) => [1, 10].map((flows) => ({ queueMs, flows })));

const SIDES = [
  { name: 'kernel cubic', agent: false },
  { name: 'causeway', agent: {} },
];

const received = async (from, to, address, seconds, flows = 1) => {
  const report = await iperf(from, to, address, ['-t', String(seconds), '-P', String(flows), '-C', 'cubic']);
  return report.end.sum_received.bits_per_second / 1e6;
};

/** The outside flow goes over the underlay's addresses; ours over the overlay's, which in the kernel's mesh are the same link. */
async function measureCase(context, { name, agent }, { queueMs, flows }) {
  return withPair(
    agent,
    { delay: '20ms', rate: '10mbit', queue: `${queueMs}ms` },
    async ({ hosts: { a, b } }) => {
      context.log(`${name}: queue ${queueMs} ms, ${flows} inner flow${flows > 1 ? 's' : ''}`);
      const seconds = context.seconds(60, 10);
      const [own, outside] = await Promise.all([
        received(a, b, b.address, seconds, flows),
        received(a, b, a.underlay.b.peer, seconds),
      ]);
      return { name, agent, queueMs, flows, own, outside, percent: (100 * own) / (own + outside) };
    },
  );
}

const caseName = ({ queueMs, flows }) => `queue ${queueMs} ms, ${flows} inner flow${flows > 1 ? 's' : ''}`;

export const fairness = {
  name: 'fairness',
  title: 'sharing 10 Mbit/s and 20 ms with an outside cubic flow',
  async run(context) {
    const cases = context.quick ? CASES.slice(2, 3) : CASES;
    const results = [];
    for (const each of cases) {
      results.push(...(await context.bySide(SIDES, (side) => measureCase(context, side, each))));
    }
    return {
      tables: [
        {
          rows: [
            ['', 'Mbit/s', 'outside flow, Mbit/s', 'share'],
            ...results.map((each) => [
              `${caseName(each)}: ${each.name}`,
              ...[each.own, each.outside].map((mbps) => mbps.toFixed(2)),
              `${each.percent.toFixed(0)} %`,
            ]),
          ],
        },
      ],
      checks: results
        .filter(({ agent }) => agent !== false)
        .map((each) =>
          check(`${caseName(each)}: share`, each.percent, {
            least: LEAST,
            most: MOST,
            unit: ' %',
            digits: 0,
          }),
        ),
      data: results,
    };
  },
};
