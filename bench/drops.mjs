/**
 * What it costs an agent to drop what it is sent by strangers: datagrams of every bad kind, by the hundred thousand, while a neighbour's
 * ping goes on. CPU time is the agent's own, system calls included. Needs root and `npm run build`. Prints a table and writes
 * `bench/results/drops.json`.
 *
 *   node bench/drops.mjs [--seconds 2]
 */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { causeway } from './contenders/causeway.mjs';
import { status } from './lib/agent.mjs';
import { ping } from './lib/measure.mjs';
import { chain, cpuSeconds, on, onGround } from './lib/net.mjs';
import { judge, writeResults } from './lib/results.mjs';
import { printTable } from './lib/table.mjs';

const PORT = 7100;
const BOUND_MICROS = 2;
const PCAP_TO_UDP_PAYLOAD = 24 + 16 + 14 + 20 + 8;
const PCAP_TO_CAPTURED_SIZE = 24 + 8;
const RECORD = 0x15;
const COUNTER_AT = 8;
const FLOOD = join(import.meta.dirname, 'lib', 'flood.mjs');

const { values: options } = parseArgs({ options: { seconds: { type: 'string', default: '2' } } });

/** A genuine sealed record from `from` to its neighbour, taken off the wire. */
async function genuineRecord(from, directory) {
  const file = join(directory, 'one.pcap');
  const filter = `src host ${[...from.underlay.values()][0].own} and udp dst port ${PORT} and udp[8] = ${RECORD}`;
  const device = `to-${from.index === 0 ? 'b' : 'a'}`;
  await on(from, 'tcpdump', '-i', device, '-Z', 'root', '-c', '1', '-w', file, filter);
  const pcap = await readFile(file);
  const size = pcap.readUInt32LE(PCAP_TO_CAPTURED_SIZE);
  return pcap.subarray(PCAP_TO_UDP_PAYLOAD, 24 + 16 + size);
}

/** Bad datagrams by kind. `genuine` passed a moment ago. */
function kinds(genuine) {
  const forged = Buffer.from(genuine);
  forged.writeBigUInt64BE(genuine.readBigUInt64BE(COUNTER_AT) + 100_000n, COUNTER_AT);
  const large = Buffer.concat([forged, randomBytes(1440 - forged.length)]);
  const stranger = Buffer.concat([Buffer.of(RECORD, 0, 0, 0), randomBytes(1436)]);
  return {
    'one byte': Buffer.of(RECORD),
    'another version': Buffer.concat([Buffer.of(0x25), randomBytes(63)]),
    'no such session': stranger,
    replayed: genuine,
    'forged, small': forged,
    'forged, full size': large,
    'call from another network': Buffer.concat([Buffer.of(0x11), randomBytes(1199)]),
    'unknown type': Buffer.concat([Buffer.of(0x1f), randomBytes(63)]),
  };
}

const total = ({ counters }) => Object.values(counters.drops).reduce((sum, count) => sum + count, 0);

function difference(before, after) {
  const changed = Object.entries(after.counters.drops).filter(
    ([reason, n]) => n > (before.counters.drops[reason] ?? 0),
  );
  return changed.sort((a, b) => b[1] - a[1]).map(([reason]) => reason);
}

/** One kind, sent by a program on b that is no agent. */
async function flood({ hosts, address, pids, sockets }, bytes) {
  const [victim, attacker] = hosts;
  const target = victim.underlay.get(attacker.index).own;
  const before = await status(sockets[0]);
  const cpuBefore = await cpuSeconds(pids[0]);
  const sending = on(
    attacker,
    process.execPath,
    FLOOD,
    target,
    String(PORT),
    options.seconds,
    bytes.toString('hex'),
  );
  const honest = await ping(victim, address, { count: Number(options.seconds) * 45, interval: 0.02 });
  const sent = Number(await sending);
  const cpu = (await cpuSeconds(pids[0])) - cpuBefore;
  const after = await status(sockets[0]);
  const dropped = total(after) - total(before);
  const lost = 1 - honest.received / honest.sent;
  return {
    sent,
    dropped,
    micros: (cpu / dropped) * 1e6,
    lost,
    ping: honest.median,
    reasons: difference(before, after),
  };
}

const results = await onGround(
  () => chain(2),
  causeway,
  async (made) => {
    const found = {};
    for (const [kind, bytes] of Object.entries(
      kinds(await genuineRecord(made.hosts[1], made.hosts[0].directory)),
    )) {
      found[kind] = await flood(made, bytes);
    }
    return found;
  },
);
printTable([
  ['CPU µs a datagram', 'measured', 'asked', '', 'sent', 'dropped', 'counted as', 'honest pings lost'],
  ...Object.entries(results).map(([kind, { sent, dropped, micros, lost, reasons }]) => [
    ...judge(kind, micros, BOUND_MICROS),
    sent,
    dropped,
    reasons[0] ?? '–',
    `${(lost * 100).toFixed(1)} %`,
  ]),
]);
await writeResults('drops', { results });
