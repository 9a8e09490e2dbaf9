/**
 * What interception costs the traffic that isn't the overlay's: two hosts on a veth pair, an agent on the first, and its traffic to the second's own
 * address, which no overlay knows. Everything is measured beside the same host without an agent, in turns of one run; "no agent, again" says how
 * far the machine differs from itself.
 *
 *   node bench/intercept.mjs [--quick]
 */
import { writeFile } from 'node:fs/promises';
import { openSync } from 'node:fs';
import { join } from 'node:path';
import { tcp, udp } from './lib/measure.mjs';
import { chain, on, run, sleep, start, until } from './lib/net.mjs';
import { check, checkRows, writeResults } from './lib/results.mjs';
import { median, printTable } from './lib/table.mjs';

const BIN = join(import.meta.dirname, '..', 'bin', 'causeway');
const QUICK = process.argv.includes('--quick');
const ROUNDS = QUICK ? 1 : 5;
const SECONDS = QUICK ? 2 : 3;
/** ms after which an agent has started for good: V8 has compiled what packets pass. */
const SETTLES = 3000;
const CONNECTIONS = 500;

/** Share of the host without an agent that each must keep: throughput, and small packets a second. */
const BOUNDS = { split: [0.99, 0.99], full: [0.6, 0.5] };

const modes = {
  'no agent': null,
  'no agent, again': null,
  split: '{mode: split}',
  'split, participants': '{mode: split, participants: true}',
  full: '{mode: full}',
  // The other way to send directly: every packet through the agent and a raw socket.
  'full, each packet resent': '{mode: full}',
};

const SERVER = `require('node:net').createServer((s) => s.on('error', () => {}).end()).listen(Number(process.argv[1]))`;
const CLIENT = `
const { connect } = require('node:net');
const [address, port, count] = process.argv.slice(1);
const once = () => new Promise((done) => { const s = connect(Number(port), address, () => s.destroy()); s.on('close', done); s.on('error', done); });
(async () => {
  for (let i = 0; i < 50; i++) await once();
  const began = process.hrtime.bigint();
  for (let i = 0; i < Number(count); i++) await once();
  console.log(Number(process.hrtime.bigint() - began) / 1000 / Number(count));
})();
`;

const ground = await chain(2);
try {
  const [a, b] = ground.hosts;
  await makeIdentity();
  const measured = Object.fromEntries(Object.keys(modes).map((name) => [name, []]));
  for (let round = 0; round < ROUNDS; round++) {
    // Back and forth, so that a machine that slows down slows all of them.
    const names = Object.keys(modes);
    for (const name of round % 2 === 0 ? names : names.reverse())
      measured[name].push(await measure(name, a, b));
  }
  await report(measured);
} finally {
  await ground.down();
}

async function makeIdentity() {
  const [{ directory, underlay }] = ground.hosts;
  const file = (name) => join(directory, name);
  const ca = ['--ca', file('ca.crt')];
  await run(BIN, ['ca', 'init', '--overlay', '10.77.0.0/16,fd77::/48', ...ca, '--key', file('ca.key')]);
  const claims = ['--address', '10.77.0.1,fd77::1', '--real', underlay.get(1).own];
  const outputs = ['--out', file('a.crt'), '--key', file('a.key')];
  await run(BIN, ['ca', 'sign', '--name', 'a', ...claims, ...ca, '--ca-key', file('ca.key'), ...outputs]);
}

async function measure(name, a, b) {
  const address = a.underlay.get(1).peer;
  const agent = modes[name] === null ? undefined : await startAgent(a, modes[name]);
  try {
    if (name.endsWith('resent')) await on(a, 'nft', 'flush', 'chain', 'inet', 'causeway-cwba', 'resent');
    const pids = agent === undefined ? [] : [agent.pid];
    const { gbps } = await tcp(a, b, address, pids, { seconds: SECONDS });
    const { delivered } = await udp(a, b, address, 0, SECONDS);
    return { gbps, packets: delivered, connectMicros: await connect(a, b, address) };
  } finally {
    if (agent !== undefined) await stopAgent(agent);
  }
}

async function startAgent(host, intercept) {
  const { directory } = host;
  const config = join(directory, 'a.yaml');
  const socket = join(directory, 'a.sock');
  await writeFile(
    config,
    `node: a
pki: {ca: ca.crt, cert: a.crt, key: a.key}
tun: {name: cwba}
intercept: ${intercept}
control: {socket: ${socket}}
log: {level: warn}
`,
  );
  const log = openSync(join(directory, 'a.log'), 'a');
  const child = start(host, process.execPath, [BIN, 'up', '-c', config], { log });
  const ready = async () => JSON.parse(await run(BIN, ['status', '--json', '-s', socket])).ready;
  await until(ready, 'agent', 60_000, 250);
  await sleep(SETTLES);
  return child;
}

function stopAgent(child) {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill();
  return ended;
}

/** µs that a TCP connection takes, one after another: the price of each new flow. */
async function connect(a, b, address) {
  const port = 9000;
  const server = start(b, process.execPath, ['-e', SERVER, String(port)]);
  await until(async () => (await on(b, 'ss', '-Hltn', `sport = :${port}`)) !== '', 'server');
  const micros = await on(a, process.execPath, '-e', CLIENT, address, String(port), String(CONNECTIONS));
  server.kill();
  return Number(micros);
}

async function report(measured) {
  const base = measured['no agent'];
  const middle = (name, key) => median(measured[name].map((each) => each[key]));
  /** Of each round by itself: between rounds the machine changes more than any mode does. */
  const share = (name, key) => median(measured[name].map((each, round) => each[key] / base[round][key]));
  const percent = (value) => `${(100 * value).toFixed(1)} %`;
  printTable([
    ['traffic that is not the overlay’s', 'TCP Gbit/s', '', '64-byte UDP/s', '', 'connection µs'],
    ...Object.keys(modes).map((name) => [
      name,
      middle(name, 'gbps').toFixed(2),
      percent(share(name, 'gbps')),
      Math.round(middle(name, 'packets')),
      percent(share(name, 'packets')),
      middle(name, 'connectMicros').toFixed(0),
    ]),
  ]);
  const checks = Object.entries(BOUNDS).flatMap(([name, [throughput, packets]]) => [
    check(`${name}: throughput, share of the host without an agent`, share(name, 'gbps'), {
      least: throughput,
    }),
    check(`${name}: small packets, likewise`, share(name, 'packets'), { least: packets }),
  ]);
  console.log('');
  printTable(checkRows(checks));
  await writeResults('intercept', { rounds: measured, checks });
  if (checks.some(({ met }) => !met)) process.exitCode = 1;
}
