/**
 * What the overlay adds to full-size packets on a clean link, beyond IP and UDP, by the interfaces' own counters: bytes on the link both ways
 * without Ethernet, IP and UDP headers, against the bytes of the inner packets. Control traffic is in it; at this rate it is little.
 */
import { iperf } from '../../lib/measure.mjs';
import { carried, withPair } from '../../lib/mesh.mjs';
import { check } from '../../lib/results.mjs';

const TUN = 'cw0';
const LINK = { delay: '5ms', rate: '100mbit' };
/** So that datagrams are IPv4. */
const AGENT = { listen: { host: '0.0.0.0' } };
const OUTER_HEADERS = 14 + 20 + 8;
/** Payload of an inner UDP packet that fills the default MTU of 1380. UDP, because nothing merges its packets before they are counted. */
const FULL_UDP = 1380 - 20 - 8;

const FLOWS = [
  { name: 'best effort', dscp: 0, most: 4.1 },
  { name: 'reliable, with acknowledgements', dscp: 11, most: 5.7 },
];

async function measureFlow({ a, b }, dscp, seconds) {
  const args = ['-u', '-b', '60M', '-l', FULL_UDP, '-t', seconds, '--dscp', dscp].map(String);
  const inner = await carried(a, TUN, () =>
    carried(a, a.underlay.b.interface, () => iperf(a, b, b.address, args)),
  );
  const { tx, rx } = inner.result;
  const innerBytes = inner.tx.bytes + inner.rx.bytes;
  const linkBytes = tx.bytes + rx.bytes - (tx.packets + rx.packets) * OUTER_HEADERS;
  return {
    innerBytes,
    linkBytes,
    back: rx.packets / tx.packets,
    percent: 100 * (linkBytes / innerBytes - 1),
  };
}

export const overhead = {
  name: 'overhead',
  title: 'overhead beyond IP and UDP, full-size packets on a clean link',
  run: (context) =>
    withPair(AGENT, LINK, async ({ hosts }) => {
      const results = [];
      for (const flow of FLOWS) {
        context.log(flow.name);
        results.push({ ...flow, ...(await measureFlow(hosts, flow.dscp, context.seconds(20, 3))) });
      }
      return {
        table: [
          ['', 'inner MB', 'on the link, MB', 'datagrams back ÷ forth', 'overhead'],
          ...results.map(({ name, innerBytes, linkBytes, back, percent }) => [
            name,
            ...[innerBytes, linkBytes].map((bytes) => (bytes / 1e6).toFixed(2)),
            back.toFixed(3),
            `${percent.toFixed(2)} %`,
          ]),
        ],
        checks: results.map(({ name, percent, most }) => check(name, percent, { most, unit: ' %' })),
        data: results,
      };
    }),
};
