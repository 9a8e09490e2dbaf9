/** Realtime UDP through the chain: what is lost or late, and what it costs on the lossy link. */
import { carried, linkReports } from '../../lib/mesh.mjs';
import { check } from '../../lib/results.mjs';
import { intervalUs, lossText, MESSAGE_BYTES, setLoss, withChain } from '../chain.mjs';
import { delaysOf, sendTimed, summary } from '../timed.mjs';

const KBPS = 500;
const BEST_EFFORT = 0;
const REALTIME = 46;

const LOSSES = [{ percent: 0 }, { percent: 5 }, { percent: 5, burst: 3 }];

const SIDES = [
  { name: 'kernel', agent: false, flows: [['kernel', BEST_EFFORT]] },
  {
    name: 'causeway',
    agent: {},
    flows: [
      ['best effort', BEST_EFFORT],
      ['realtime', REALTIME],
    ],
  },
];

/** One flow at one loss: its delays, and the bytes that the lossy link carried meanwhile, both ways. */
async function measureFlow(context, mesh, dscp) {
  const { a, c, f } = mesh.hosts;
  const count = context.messages(KBPS);
  const { tx, rx, result } = await carried(c, c.underlay.d.interface, () =>
    sendTimed({
      from: a,
      to: f,
      protocol: 'udp',
      count,
      intervalUs: intervalUs(KBPS),
      bytes: MESSAGE_BYTES,
      dscp,
    }),
  );
  return {
    count,
    delays: delaysOf(result),
    summary: {
      ...summary(count, result),
      linkBytes: tx.bytes + rx.bytes,
      payloadBytes: count * MESSAGE_BYTES,
    },
    links: await linkReports(c),
  };
}

const measureSide = (context, { agent, flows }, losses) =>
  withChain(agent, async (mesh) => {
    const results = [];
    for (const loss of losses) {
      await setLoss(mesh, loss);
      for (const [name, dscp] of flows) {
        context.log(`${name}: loss ${lossText(loss)}`);
        results.push({ name, loss: lossText(loss), ...(await measureFlow(context, mesh, dscp)) });
      }
    }
    return results;
  });

/** Traffic is counted against the same flow's without recovery, best effort over the same link, where that was measured. */
function checksOf(flows) {
  const at = (loss, name) => flows.find((flow) => flow.loss === loss && flow.name === name)?.summary;
  return LOSSES.flatMap((loss) => {
    const text = lossText(loss);
    const [own, plain] = [at(text, 'realtime'), at(text, 'best effort')];
    if (own === undefined) return [];
    const share = (what, value, most) => check(`loss ${text}: ${what}`, 100 * value, { most, unit: ' %' });
    const traffic = (most) =>
      check(`loss ${text}: traffic ÷ best effort's`, own.linkBytes / plain.linkBytes, { most });
    if (loss.percent === 0) return [traffic(1.1)];
    if (!loss.burst) return [share('lost or later than 70 ms', own.laterThan70, 0.5), traffic(2.1)];
    return [share('late', own.laterThan70 - own.lost, 2.5), share('lost', own.lost, 0.5), traffic(3)];
  });
}

export const realtime = {
  name: 'realtime',
  title: '1000-byte messages over UDP, service realtime, through five hops, loss on the middle one',
  async run(context) {
    const all = context.quick ? LOSSES.slice(1, 2) : LOSSES;
    const losses = all.filter((loss) => context.isWanted({ kbps: KBPS, loss }));
    const flows = (await context.bySide(SIDES, (side) => measureSide(context, side, losses))).flat();
    return {
      tables: [
        {
          rows: [
            ['', 'average, ms', 'p99, ms', 'max, ms', 'lost', '> 70 ms or lost', 'twice', 'link ÷ payload'],
            ...losses
              .map(lossText)
              .flatMap((loss) =>
                flows
                  .filter((flow) => flow.loss === loss)
                  .map(({ name, summary: own }) => [`loss ${loss}: ${name}`, ...cells(own)]),
              ),
          ],
        },
      ],
      checks: [
        ...checksOf(flows),
        ...flows
          .filter(({ name }) => name === 'realtime')
          .map(({ loss, summary: own }) =>
            check(`loss ${loss}: delivered twice`, own.duplicates, { most: 0, digits: 0 }),
          ),
      ],
      plots: losses.map((loss) => ({
        name: `realtime-${loss.percent}${loss.burst ? '-bursts' : ''}`,
        title: `UDP, five 10 ms hops, ${KBPS} kbit/s, loss ${lossText(loss)} on the middle one`,
        curves: flows.filter((flow) => flow.loss === lossText(loss)),
      })),
      data: flows.map(({ name, loss, summary: own, links }) => ({ name, loss, ...own, links })),
    };
  },
};

const cells = ({ averageMs, p99Ms, maxMs, lost, laterThan70, duplicates, linkBytes, payloadBytes }) => [
  ...[averageMs, p99Ms, maxMs].map((ms) => ms.toFixed(1)),
  ...[lost, laterThan70].map((share) => `${(100 * share).toFixed(2)} %`),
  duplicates,
  (linkBytes / payloadBytes).toFixed(2),
];
