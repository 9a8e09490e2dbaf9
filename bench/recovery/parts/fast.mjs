/** What the reliable service costs where there is nothing to recover: one clean link at full speed, by turns with best effort. */
import { tcp, udp, udpPeak } from '../../lib/measure.mjs';
import { withPair } from '../../lib/mesh.mjs';
import { check } from '../../lib/results.mjs';
import { median } from '../../lib/table.mjs';

const SERVICES = ['best-effort', 'reliable'];

const agentOf = (service) => ({
  intercept: { rules: [{ match: {}, do: 'overlay', service }] },
  log: { level: 'warn' },
});

const measureService = (context, service) =>
  withPair(agentOf(service), {}, async ({ hosts: { a, b }, pids }) => {
    const one = await tcp(a, b, b.address, pids, { seconds: context.seconds(8, 3) });
    return { gbps: one.gbps, cpuPerGiB: one.cpuPerGiB, ...(await smallest(context, a, b)) };
  });

/** 64-byte UDP payloads a second. A quick run has one rate only. */
async function smallest({ quick }, from, to) {
  if (quick) {
    const { delivered } = await udp(from, to, to.address, 0, 3);
    return { udpPeak: delivered, udpFlood: delivered };
  }
  const { peak, flood } = await udpPeak(from, to, to.address);
  return { udpPeak: peak, udpFlood: flood };
}

const medians = (rounds) =>
  Object.fromEntries(Object.keys(rounds[0]).map((key) => [key, median(rounds.map((round) => round[key]))]));

export const fast = {
  name: 'fast',
  needsAgents: true,
  title: 'the reliable service beside best effort, one clean and fast link',
  async run(context) {
    const rounds = SERVICES.map(() => []);
    for (let round = 0; round < (context.quick ? 1 : 3); round++) {
      for (const [i, service] of SERVICES.entries()) {
        context.log(`${service}, round ${round + 1}`);
        rounds[i].push(await measureService(context, service));
      }
    }
    const [plain, reliable] = rounds.map(medians);
    const lines = [
      ['one TCP stream, Gbit/s', 'gbps', 2],
      ['CPU seconds a GiB, both agents', 'cpuPerGiB', 2],
      ['UDP 64 B, delivered/s, peak', 'udpPeak', 0],
      ['UDP 64 B, delivered/s, sender at full speed', 'udpFlood', 0],
    ];
    return {
      tables: [
        {
          rows: [
            ['', ...SERVICES],
            ...lines.map(([what, key, digits]) => [
              what,
              plain[key].toFixed(digits),
              reliable[key].toFixed(digits),
            ]),
          ],
        },
      ],
      checks: [
        check('one TCP stream ÷ best effort', reliable.gbps / plain.gbps, { least: 0.7 }),
        check('CPU a byte ÷ best effort', reliable.cpuPerGiB / plain.cpuPerGiB, { most: 1.5 }),
        check('UDP 64 B peak ÷ best effort', reliable.udpPeak / plain.udpPeak, { least: 0.6 }),
      ],
      data: { rounds: Object.fromEntries(SERVICES.map((service, i) => [service, rounds[i]])) },
    };
  },
};
