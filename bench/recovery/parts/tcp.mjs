/** The paper's experiment: an unmodified TCP program through the chain, with losses; the kernel end to end, and hop by hop. */
import { linkReports } from '../../lib/mesh.mjs';
import { check } from '../../lib/results.mjs';
import { intervalUs, lossText, MESSAGE_BYTES, setLoss, withChain, withLossCounted } from '../chain.mjs';
import { delaysOf, sendTimed, summary } from '../timed.mjs';

const percent = (share) => `${(100 * share).toFixed(2)} %`;

/** Bounds by loss, as the issue states them: average in ms, shares in %. */
const BOUNDS = {
  '0 %': { average: 56, late65: 0.1 },
  '1 %': { average: 56, late60: 0.3, late100: 0.1 },
  '2 %': { average: 56.5, late60: 0.5, late100: 0.2 },
  '5 %': { average: 58, late60: 1.5, late100: 0.6 },
  '1 % in bursts of 3': { late60: 2.5 },
};

const SIDES = [
  { name: 'kernel cubic', agent: false, congestion: 'cubic' },
  { name: 'kernel bbr', agent: false, congestion: 'bbr' },
  { name: 'causeway', agent: {}, congestion: 'cubic' },
];

function pointsOf({ quick }) {
  const losses = [{ percent: 0 }, { percent: 1 }, { percent: 2 }, { percent: 5 }, { percent: 1, burst: 3 }];
  if (quick) return losses.slice(0, 4).map((loss) => ({ kbps: 500, loss }));
  return [500, 1000].flatMap((kbps) => losses.map((loss) => ({ kbps, loss })));
}

const pointName = ({ kbps, loss }) => `${kbps} kbit/s, loss ${lossText(loss)}`;

/** One side at every point, on one mesh. */
const measureSide = (context, { name, agent, congestion }, points) =>
  withChain(agent, async (mesh) => {
    const { a, c, f } = mesh.hosts;
    const results = [];
    for (const point of points) {
      context.log(`${name}: ${pointName(point)}`);
      await setLoss(mesh, point.loss);
      const count = context.messages(point.kbps);
      const stream = { from: a, to: f, protocol: 'tcp', count, bytes: MESSAGE_BYTES, congestion };
      const { received, lost, result } = await withLossCounted(mesh, () =>
        sendTimed({ ...stream, intervalUs: intervalUs(point.kbps) }),
      );
      const links = await linkReports(c);
      results.push({
        count,
        summary: { ...summary(count, result), lostOnLink: lost / received },
        delays: delaysOf(result),
        links,
      });
    }
    return { name, agent, results };
  });

function checksOf(point, { averageMs, laterThan60, laterThan65, laterThan100 }) {
  const { average, late60, late65, late100 } = BOUNDS[lossText(point.loss)];
  const share = (what, value, most) =>
    check(`${pointName(point)}: ${what}`, 100 * value, { most, unit: ' %' });
  return [
    average !== undefined && check(`${pointName(point)}: average`, averageMs, { most: average, unit: ' ms' }),
    late60 !== undefined && share('later than 60 ms', laterThan60, late60),
    late65 !== undefined && share('later than 65 ms', laterThan65, late65),
    late100 !== undefined && share('later than 100 ms', laterThan100, late100),
  ].filter(Boolean);
}

export const tcp = {
  name: 'tcp',
  title: '1000-byte messages over TCP through five hops, loss on the middle one',
  async run(context) {
    const points = pointsOf(context).filter(context.isWanted);
    const sides = await context.bySide(SIDES, (side) => measureSide(context, side, points));
    const head = [
      '',
      ...['average', 'median', 'p99', 'max'].map((each) => `${each}, ms`),
      '> 60 ms',
      '> 100 ms',
      'lost on c–d',
    ];
    return {
      tables: [
        {
          rows: [
            head,
            ...points.flatMap((point, p) =>
              sides.map(({ name, results }) => [
                `${pointName(point)}: ${name}`,
                ...cells(results[p].summary),
              ]),
            ),
          ],
        },
      ],
      checks: points.flatMap((point, p) =>
        sides.flatMap(({ agent, results }) => (agent === false ? [] : checksOf(point, results[p].summary))),
      ),
      plots: points.map((point, p) => ({
        name: `tcp-${point.kbps}-${point.loss.percent}${point.loss.burst ? '-bursts' : ''}`,
        title: `TCP, five 10 ms hops, ${pointName(point)} on the middle one`,
        curves: sides.map(({ name, results }) => ({ name, ...results[p] })),
      })),
      data: points.map((point, p) => ({
        ...point,
        sides: Object.fromEntries(
          sides.map(({ name, results }) => [name, { ...results[p].summary, links: results[p].links }]),
        ),
      })),
    };
  },
};

const cells = ({ averageMs, medianMs, p99Ms, maxMs, laterThan60, laterThan100, lostOnLink }) => [
  ...[averageMs, medianMs, p99Ms, maxMs].map((ms) => ms.toFixed(1)),
  ...[laterThan60, laterThan100, lostOnLink].map(percent),
];
