/**
 * How to let a packet that came by the device leave as it would have: the ways that docs/adr/0010 chose from, beside each other in one run. One program
 * sends what an agent would have in its hands, a 64 KiB segmentation-offload packet (bulk) or a small one, from one host to where the other drops it:
 *
 *   raw socket     the packet's own header, a mark; the host's routes, neighbours and filters see it. No offload: bulk is cut before
 *   packet socket  offload by vnet header, but around routes, neighbours and filters
 *   second device  offload by vnet header, then the host forwards it as if it were another's: TTL less one
 *   kernel itself  the set of nftables: the packet never comes to the agent. Here what one UDP socket sends with segmentation offload
 *
 *   node bench/resend.mjs [--quick]
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { chain, on } from './lib/net.mjs';
import { writeResults } from './lib/results.mjs';
import { median, printTable } from './lib/table.mjs';

const QUICK = process.argv.includes('--quick');
const ROUNDS = QUICK ? 1 : 5;
const SECONDS = QUICK ? 0.5 : 1.5;
const WAYS = ['raw socket', 'packet socket', 'second device', 'kernel itself'];
/** An address that the second host is to forward, but doesn't (TEST-NET-2, RFC 5737). */
const TARGET = '198.51.100.1';

const sender = await readFile(join(import.meta.dirname, 'lib', 'resend.py'), 'utf8');
const ground = await chain(2);
try {
  const [a, b] = ground.hosts;
  const { own, peer } = a.underlay.get(1);
  const [device, arrives] = ['to-b', 'to-a'];
  await on(a, 'ip', 'route', 'add', TARGET, 'via', peer);
  await on(a, 'ping', '-c', '1', peer);
  const [{ lladdr }] = JSON.parse(await on(a, 'ip', '-j', 'neighbour', 'show', peer));
  const received = async () =>
    JSON.parse(await on(b, 'ip', '-j', '-s', 'link', 'show', 'dev', arrives))[0].stats64.rx;
  const measured = Object.fromEntries(WAYS.map((way) => [way, []]));
  for (let round = 0; round < ROUNDS; round++)
    for (const way of round % 2 === 0 ? WAYS : WAYS.toReversed()) {
      const of = {};
      for (const what of ['bulk', 'small']) {
        const before = await received();
        await on(a, 'python3', '-c', sender, way, what, String(SECONDS), own, TARGET, device, lladdr);
        const after = await received();
        of[what] = {
          gbps: ((after.bytes - before.bytes) * 8) / SECONDS / 1e9,
          packets: (after.packets - before.packets) / SECONDS,
        };
      }
      measured[way].push(of);
    }
  const middle = (way, pick) => median(measured[way].map(pick));
  const rows = WAYS.map((way) => [middle(way, (r) => r.bulk.gbps), middle(way, (r) => r.small.packets)]);
  const [[raw, rawSmall]] = rows;
  printTable([
    ['way', 'bulk, Gbit/s', '÷ raw', 'small, packets/s', '÷ raw'],
    ...rows.map(([bulk, small], i) => [
      WAYS[i],
      bulk.toFixed(2),
      (bulk / raw).toFixed(1),
      Math.round(small),
      (small / rawSmall).toFixed(1),
    ]),
  ]);
  await writeResults('resend', { rounds: measured });
} finally {
  await ground.down();
}
