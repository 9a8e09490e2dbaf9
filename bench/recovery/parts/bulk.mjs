/** One TCP stream at full speed through the chain, without loss and with it. */
import { iperf } from '../../lib/measure.mjs';
import { check } from '../../lib/results.mjs';
import { lossText, setLoss, withChain } from '../chain.mjs';

const LOSSES = [{ percent: 0 }, { percent: 1 }];

const SIDES = [
  { name: 'kernel cubic', agent: false, congestion: 'cubic' },
  { name: 'kernel bbr', agent: false, congestion: 'bbr' },
  { name: 'causeway', agent: {}, congestion: 'cubic' },
];

const measureSide = (context, { name, agent, congestion }) =>
  withChain(agent, async (mesh) => {
    const { a, f } = mesh.hosts;
    const mbps = [];
    for (const loss of LOSSES) {
      context.log(`${name}: loss ${lossText(loss)}`);
      await setLoss(mesh, loss);
      const report = await iperf(a, f, f.address, ['-t', String(context.seconds(40, 6)), '-C', congestion]);
      mbps.push(report.end.sum_received.bits_per_second / 1e6);
    }
    return { name, agent, mbps, kept: mbps[1] / mbps[0] };
  });

export const bulk = {
  name: 'bulk',
  title: 'one TCP stream at full speed through five hops of 10 Mbit/s, loss on the middle one',
  async run(context) {
    const results = await context.bySide(SIDES, (side) => measureSide(context, side));
    return {
      tables: [
        {
          rows: [
            ['', ...LOSSES.map((loss) => `loss ${lossText(loss)}, Mbit/s`), 'kept'],
            ...results.map(({ name, mbps, kept }) => [
              name,
              ...mbps.map((each) => each.toFixed(2)),
              `${(100 * kept).toFixed(0)} %`,
            ]),
          ],
        },
      ],
      checks: results
        .filter(({ agent }) => agent !== false)
        .map(({ kept }) =>
          check('kept at 1 % loss of what it gets without', 100 * kept, { least: 90, unit: ' %' }),
        ),
      data: results,
    };
  },
};
