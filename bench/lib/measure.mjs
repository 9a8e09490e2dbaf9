/** What is measured, the same for every contender: iperf3, ping, and the processes' own CPU time. */
import { cpuSeconds, on, sleep, start, until } from './net.mjs';

const GIB = 2 ** 30;

/** Starts an iperf3 server for one test; resolves when it listens. */
async function server(host, port) {
  const child = start(host, 'iperf3', ['-s', '-1', '-p', String(port)]);
  await until(async () => (await on(host, 'ss', '-Hltn', `sport = :${port}`)) !== '', 'iperf3 server');
  return child;
}

let nextPort = 5201;

/** One iperf3 test to its end: its report. */
export async function iperf(from, to, address, args) {
  const port = nextPort++;
  const child = await server(to, port);
  try {
    const report = JSON.parse(await on(from, 'iperf3', '-c', address, '-p', String(port), '-J', ...args));
    if (report.error) throw new Error(`iperf3: ${report.error}`);
    return report;
  } finally {
    child.kill();
  }
}

/** One or more TCP streams: {gbps, cpuPerGiB} as received; CPU of `pids`, all together, user and system. */
export async function tcp(from, to, address, pids, { streams = 1, seconds = 8 } = {}) {
  const before = await sumCpu(pids);
  const report = await iperf(from, to, address, ['-t', String(seconds), '-P', String(streams)]);
  const after = await sumCpu(pids);
  const { bytes, bits_per_second: bps } = report.end.sum_received;
  return {
    gbps: bps / 1e9,
    cpuPerGiB: pids.length ? (after - before) / (bytes / GIB) : 0,
    retransmits: report.end.sum_sent.retransmits,
  };
}

async function sumCpu(pids) {
  const each = await Promise.all(pids.map(cpuSeconds));
  return each.reduce((sum, seconds) => sum + seconds, 0);
}

/** 64-byte UDP payloads: packets a second counted at the receiving socket, for one offered rate (0: as fast as it goes). */
export async function udp(from, to, address, offered, seconds = 4) {
  const rate = offered === 0 ? '0' : String(Math.round(offered * 64 * 8));
  const report = await iperf(from, to, address, ['-u', '-l', '64', '-b', rate, '-t', String(seconds)]);
  const { packets, lost_packets: lost } = report.end.sum;
  return { sent: packets / seconds, delivered: (packets - lost) / seconds };
}

/** The most that is delivered at any offered rate, and what is delivered with the sender at full speed. */
export async function udpPeak(from, to, address) {
  const flood = await udp(from, to, address, 0);
  let peak = flood.delivered;
  const tried = [{ offered: 'max', ...flood }];
  for (const share of [0.5, 0.65, 0.8, 0.9, 1.1]) {
    const offered = Math.max(flood.delivered, flood.sent * 0.4) * share;
    const result = await udp(from, to, address, offered, 3);
    tried.push({ offered, ...result });
    peak = Math.max(peak, result.delivered);
  }
  return { peak, flood: flood.delivered, sent: flood.sent, tried };
}

function quantile(sorted, q) {
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
}

/** Round-trip times in ms: {median, p99}. */
export async function ping(from, address, { count = 200, interval = 0.02 } = {}) {
  const output = await on(
    from,
    'ping',
    '-c',
    String(count),
    '-i',
    String(interval),
    '-W',
    '2',
    address,
  ).catch((error) => {
    throw new Error(`ping ${address}: ${error.message}`);
  });
  const times = [...output.matchAll(/time=([\d.]+)/g)].map((match) => Number(match[1])).sort((a, b) => a - b);
  return { median: quantile(times, 0.5), p99: quantile(times, 0.99), received: times.length, sent: count };
}

/** Ping beside one TCP stream at full speed. */
export async function pingBesideTcp(from, to, address) {
  const stream = iperf(from, to, address, ['-t', '8']);
  await sleep(1000);
  const times = await ping(from, address, { count: 300, interval: 0.02 });
  await stream;
  return times;
}
