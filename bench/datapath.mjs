/**
 * `make bench`: the data path, beside plain veth and beside the tunnels that Debian has, in one run on one machine. Every contender gets
 * fresh namespaces and the same measurements; a table is printed and `bench/results/datapath.json` written. Ratios count, not absolutes.
 *
 *   node bench/datapath.mjs [--rounds N] [--only NAME,NAME] [--quick]
 */
import { execFileSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { causeway } from './contenders/causeway.mjs';
import { nebula } from './contenders/nebula.mjs';
import { tinc } from './contenders/tinc.mjs';
import { veth } from './contenders/veth.mjs';
import { wireguardGo } from './contenders/wireguard-go.mjs';
import { ping, pingBesideTcp, tcp, udpPeak } from './lib/measure.mjs';
import { chain, residentMiB } from './lib/net.mjs';
import { median, printTable } from './lib/table.mjs';

const CONTENDERS = [veth, wireguardGo, nebula, tinc, causeway];

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '1' },
    only: { type: 'string' },
    quick: { type: 'boolean', default: false },
  },
});
const chosen = options.only
  ? CONTENDERS.filter(({ name }) => options.only.split(',').includes(name))
  : CONTENDERS;
const seconds = options.quick ? 3 : 8;

function isInstalled(program) {
  try {
    execFileSync('sh', ['-c', 'command -v "$0"', program], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Brings a contender up on a chain of hosts, runs `measure`, removes everything. */
async function onChain(contender, count, measure) {
  const ground = await chain(count);
  const stop = () => void ground.down().then(() => process.exit(130));
  process.once('SIGINT', stop);
  try {
    const made = await contender.up(ground);
    return await measure({ ...made, from: ground.hosts[0], to: ground.hosts.at(-1) });
  } finally {
    process.off('SIGINT', stop);
    await ground.down();
  }
}

async function measureContender(contender) {
  const direct = await onChain(contender, 2, async ({ from, to, address, pids, firstPingMs }) => {
    const idle = await ping(from, address);
    const one = await tcp(from, to, address, pids, { seconds });
    const four = await tcp(from, to, address, pids, { streams: 4, seconds });
    const busy = await pingBesideTcp(from, to, address);
    const udp = await udpPeak(from, to, address);
    const memory = await Promise.all(pids.map(residentMiB));
    return { firstPingMs, idle, one, four, busy, udp, residentMiB: Math.max(0, ...memory) };
  });
  const relayed = await onChain(contender, 3, async ({ from, to, address, pids }) => ({
    idle: await ping(from, address),
    one: await tcp(from, to, address, pids, { seconds }),
  }));
  return { direct, relayed };
}

/** What the table has, a number each. */
function figures({ direct, relayed }) {
  return {
    tcp1: direct.one.gbps,
    tcp4: direct.four.gbps,
    relay1: relayed.one.gbps,
    udpPeak: direct.udp.peak,
    udpFlood: direct.udp.flood,
    ping: direct.idle.median,
    pingRelay: relayed.idle.median,
    pingBusy: direct.busy.median,
    pingBusyP99: direct.busy.p99,
    cpuPerGiB: direct.one.cpuPerGiB,
    residentMiB: direct.residentMiB,
  };
}

const medians = (rounds) =>
  Object.fromEntries(Object.keys(rounds[0]).map((key) => [key, median(rounds.map((round) => round[key]))]));

const LINES = [
  ['one TCP stream, Gbit/s', 'tcp1', 2],
  ['four TCP streams, Gbit/s', 'tcp4', 2],
  ['one TCP stream through a relay, Gbit/s', 'relay1', 2],
  ['UDP 64 B, delivered/s, peak', 'udpPeak', 0],
  ['UDP 64 B, delivered/s, sender at full speed', 'udpFlood', 0],
  ['ping idle, median ms', 'ping', 3],
  ['ping through a relay, median ms', 'pingRelay', 3],
  ['ping beside one TCP stream, median ms', 'pingBusy', 2],
  ['ping beside one TCP stream, p99 ms', 'pingBusyP99', 2],
  ['CPU seconds a GiB, both agents', 'cpuPerGiB', 2],
  ['resident memory, MiB', 'residentMiB', 0],
];

/** What has to hold, with the measured value. Only where both sides were measured in this run. */
function verdicts(results) {
  const { causeway: own, 'wireguard-go': wg, 'plain veth': bare } = results;
  if (!own) return [];
  const tunnels = ['wireguard-go', 'nebula', 'tinc'].filter((name) => results[name]);
  const bestUdp = Math.max(...tunnels.map((name) => results[name].udpPeak));
  const checks = [
    wg && ['one stream ÷ wireguard-go', own.tcp1 / wg.tcp1, '≥', 9],
    bare && ['one stream ÷ veth', own.tcp1 / bare.tcp1, '≥', 0.25],
    wg && ['four streams ÷ wireguard-go', own.tcp4 / wg.tcp4, '≥', 8],
    wg && ['relayed stream ÷ wireguard-go', own.relay1 / wg.relay1, '≥', 8],
    tunnels.length > 0 && ['UDP peak ÷ best tunnel', own.udpPeak / bestUdp, '≥', 1.5],
    ['UDP at full speed ÷ peak', own.udpFlood / own.udpPeak, '≥', 0.7],
    ['ping idle, ms', own.ping, '≤', 0.25],
    ['ping, more a relay, ms', own.pingRelay - own.ping, '≤', 0.2],
    ['ping beside TCP, median ms', own.pingBusy, '≤', 1.5],
    ['ping beside TCP, p99 ms', own.pingBusyP99, '≤', 4],
    ['CPU seconds a GiB', own.cpuPerGiB, '≤', 3],
    ['resident memory, MiB', own.residentMiB, '≤', 120],
  ];
  return checks.filter(Boolean).map(([what, value, sign, bound]) => ({
    what,
    value,
    bound: `${sign} ${bound}`,
    met: sign === '≥' ? value >= bound : value <= bound,
  }));
}

const results = {};
const raw = {};
for (const contender of chosen) {
  if (!contender.needs.every(isInstalled)) {
    console.error(`${contender.name}: left out, ${contender.needs.join(' and ')} not installed`);
    continue;
  }
  raw[contender.name] = [];
  for (let round = 0; round < Number(options.rounds); round++) {
    console.error(`${contender.name}, round ${round + 1} …`);
    try {
      raw[contender.name].push(await measureContender(contender));
    } catch (error) {
      console.error(`${contender.name}: ${error.message}`);
    }
  }
  if (raw[contender.name].length > 0) results[contender.name] = medians(raw[contender.name].map(figures));
}

const names = Object.keys(results);
printTable([
  ['', ...names],
  ...LINES.map(([title, key, digits]) => [title, ...names.map((name) => results[name][key].toFixed(digits))]),
]);
const judged = verdicts(results);
if (judged.length > 0) {
  console.log();
  printTable([
    ['bound', 'measured', 'asked', ''],
    ...judged.map(({ what, value, bound, met }) => [what, value.toFixed(2), bound, met ? 'met' : 'MISSED']),
  ]);
}
const file = join(dirname(fileURLToPath(import.meta.url)), 'results', 'datapath.json');
await mkdir(dirname(file), { recursive: true });
await writeFile(
  file,
  `${JSON.stringify({ date: new Date().toISOString(), results, verdicts: judged, raw }, null, 1)}\n`,
);
