/**
 * What it costs to decide about a packet: a flow that the cache knows, one that it doesn't, with a thousand rules, and what a hundred thousand
 * flows cost in memory. The calls are those of the way in (`src/overlay/forward/entry.ts`). Needs `npm run build`, no root. Prints a table and
 * writes `bench/results/classify.json`.
 *
 *   node bench/classify.mjs [--flows 100000] [--rules 1000]
 */
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { FlowCache, SERVICE_UNDECIDED } from '../dist/intercept/flow-cache.js';
import { PacketInfo, PARSE_OK, parsePacket } from '../dist/intercept/packet.js';
import { compileRules } from '../dist/intercept/rules.js';
import { LIMITS } from '../dist/agent/worker/sizes.js';
import { check, checkRows, writeResults } from './lib/results.mjs';
import { median, printTable } from './lib/table.mjs';

const { values: options } = parseArgs({
  options: { flows: { type: 'string', default: '100000' }, rules: { type: 'string', default: '1000' } },
});
const FLOWS = Number(options.flows);
const RULES = Number(options.rules);
const ROUNDS = 9;
const LENGTH = 40;

const prefix = (words, bits) => ({ version: 4, words: [0, 0, 0xffff, words >>> 0], bits: 96 + bits });

/** Rules of many kinds, most of which don't match; a packet meets them all before the last one takes it. */
function makeRules() {
  const kinds = [
    (i) => ({ to: [prefix(0x0a000000 + (i << 8), 24)], protocols: [6], ports: [{ first: i, last: i + 7 }] }),
    (i) => ({
      from: [prefix(0xac100000 + (i << 4), 28)],
      protocols: [17],
      sourcePorts: [{ first: i, last: 65_535 }],
    }),
    (i) => ({ to: [prefix(0x0b000000 + (i << 12), 20), prefix(0x0c000000 + i, 32)], dscp: i % 64 }),
    (i) => ({ to: [{ node: i + 10 }], users: [1000 + i], protocols: [6] }),
    (i) => ({ to: [{ group: `g${i % 20}` }], groups: [{ gid: 5000 + i, members: [2000 + i] }] }),
  ];
  const rules = Array.from({ length: RULES - 1 }, (_, i) => ({
    match: kinds[i % kinds.length](i),
    action: { do: i % 3 === 0 ? 'drop' : 'overlay', service: i % 3 },
  }));
  return [...rules, { match: {}, action: { do: 'overlay', service: 1 } }];
}

const groups = Object.fromEntries(
  Array.from({ length: 20 }, (_, g) => [`g${g}`, Array.from({ length: 50 }, (_, n) => 10_000 + 50 * g + n)]),
);

/** As many packets as flows, in an order that no cache of the CPU's could guess. */
function makePackets() {
  const bytes = new Uint8Array(FLOWS * LENGTH);
  const view = new DataView(bytes.buffer);
  for (let k = 0; k < FLOWS; k++) {
    const i = (k * 7919) % FLOWS;
    const at = k * LENGTH;
    view.setUint32(at, 0x45000000 | LENGTH);
    view.setUint16(at + 8, 0x4006);
    view.setUint32(at + 12, 0x0a4d0001);
    view.setUint32(at + 16, 0x0a4d0100 + (i & 0xff));
    view.setUint16(at + 20, 1024 + (i >>> 8) * 8);
    view.setUint16(at + 22, 443 + (i % 5));
  }
  return view;
}

const asked = {
  version: 4,
  protocol: 6,
  source: new Int32Array(4),
  destination: new Int32Array(4),
  sourceNode: 1,
  destinationNode: 2,
  sourcePort: 0,
  destinationPort: 0,
  dscp: 0,
  choosesByDscp: true,
  user: 77,
  group: 77,
  cgroups: 0,
};

function ask(info) {
  asked.source[2] = asked.destination[2] = 0xffff;
  asked.source[3] = info.src3;
  asked.destination[3] = info.dst3;
  asked.sourcePort = info.sourcePort;
  asked.destinationPort = info.destinationPort;
  return asked;
}

const info = new PacketInfo();

/** All packets once; ns each. */
function pass(view, flows, classify, now) {
  const began = process.hrtime.bigint();
  for (let k = 0; k < FLOWS; k++) {
    if (parsePacket(view, k * LENGTH, LENGTH, info) !== PARSE_OK) throw new Error('no packet');
    const flow = flows.find(now, info, 2);
    if (flows.service[flow] === SERVICE_UNDECIDED) flows.decide(flow, classify(ask(info)));
  }
  return Number(process.hrtime.bigint() - began) / FLOWS;
}

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc');

const memory = () => {
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
};

const view = makePackets();
const compiling = process.hrtime.bigint();
const classify = compileRules(makeRules(), undefined, groups);
const compiled = Number(process.hrtime.bigint() - compiling) / 1e6;
const before = memory();
const flows = new FlowCache({ capacity: Math.max(FLOWS, LIMITS.flows) });
const [misses, hits] = [[], []];
for (let round = 0; round < ROUNDS; round++) {
  flows.invalidate();
  misses.push(pass(view, flows, classify, round));
  hits.push(pass(view, flows, classify, round));
}
const grown = memory() - before;
if (flows.size !== FLOWS) throw new Error(`${flows.size} flows instead of ${FLOWS}`);

const checks = [
  check(`a packet of a known flow, ${FLOWS} flows`, median(hits) / 1000, { most: 1, unit: ' µs', digits: 3 }),
  check(`a packet whose flow has to be decided, ${RULES} rules`, median(misses) / 1000, {
    most: 10,
    unit: ' µs',
    digits: 3,
  }),
  check(`memory of ${FLOWS} flows`, grown / 2 ** 20, { most: 64, unit: ' MB', digits: 1 }),
];
printTable(checkRows(checks));
console.log(
  `\n${RULES} rules are compiled in ${compiled.toFixed(1)} ms. Each figure is the median of ${ROUNDS} passes; parsing is part of both.`,
);
await writeResults('classify', { flows: FLOWS, rules: RULES, checks, compiled });
if (checks.some(({ met }) => !met)) process.exitCode = 1;
