/**
 * What the overlay adds to full-size packets on a clean link, beyond IP and UDP, by the interfaces' own counters: bytes on the link both ways
 * without Ethernet, IP and UDP headers, against the bytes of the inner packets that arrive. Control traffic is in it; at this rate it is little.
 */
import { iperf } from '../../lib/measure.mjs';
import { carried, withPair } from '../../lib/mesh.mjs';
import { check } from '../../lib/results.mjs';

const LINK = { delay: '5ms', rate: '100mbit' };
/** So that datagrams are IPv4. */
const AGENT = { listen: { host: '0.0.0.0' } };
const OUTER_HEADERS = 14 + 20 + 8;
/** An inner packet that fills the default MTU, and its UDP payload. */
const FULL_PACKET = 1380;
const FULL_UDP = FULL_PACKET - 20 - 8;

/** Share lost on a clean link beyond which the counters tell of the machine, not of the overlay. */
const MOST_LOST = 0.02;

const FLOWS = [
  { name: 'best effort', dscp: 0, most: 4.1 },
  { name: 'reliable, with acknowledgements', dscp: 11, most: 5.7 },
];

/** Inner bytes are those of packets that arrived. */
async function measureFlow({ a, b }, dscp, seconds) {
  const args = ['-u', '-b', '80M', '-l', FULL_UDP, '-t', seconds, '--dscp', dscp].map(String);
  const { tx, rx, result } = await carried(a, a.underlay.b.interface, () => iperf(a, b, b.address, args));
  const { packets, lost_packets: lost } = result.end.sum;
  if (lost > MOST_LOST * packets)
    throw new Error(`${((100 * lost) / packets).toFixed(0)} % were lost: this machine is too busy for it`);
  const innerBytes = (packets - lost) * FULL_PACKET;
  const linkBytes = tx.bytes + rx.bytes - (tx.packets + rx.packets) * OUTER_HEADERS;
  return {
    innerBytes,
    linkBytes,
    lost: lost / packets,
    back: rx.packets / tx.packets,
    percent: 100 * (linkBytes / innerBytes - 1),
  };
}

export const overhead = {
  name: 'overhead',
  needsAgents: true,
  title: 'overhead beyond IP and UDP, full-size packets on a clean link',
  run: (context) =>
    withPair(AGENT, LINK, async ({ hosts }) => {
      const results = [];
      for (const flow of FLOWS) {
        context.log(flow.name);
        results.push({ ...flow, ...(await measureFlow(hosts, flow.dscp, context.seconds(20, 3))) });
      }
      return {
        tables: [
          {
            rows: [
              ['', 'inner MB', 'on the link, MB', 'datagrams back ÷ forth', 'lost', 'overhead'],
              ...results.map(({ name, innerBytes, linkBytes, back, lost, percent }) => [
                name,
                ...[innerBytes, linkBytes].map((bytes) => (bytes / 1e6).toFixed(2)),
                back.toFixed(3),
                `${(100 * lost).toFixed(2)} %`,
                `${percent.toFixed(2)} %`,
              ]),
            ],
          },
        ],
        checks: results.map(({ name, percent, most }) => check(name, percent, { most, unit: ' %' })),
        data: results,
      };
    }),
};
