/**
 * What a dropped datagram costs the data path itself, reason by reason: the forwarding worker's parts with the addon's ciphers, no kernel in
 * between, also for what only an authentic neighbour can send. `drops.mjs` measures strangers' datagrams against a whole agent. Needs
 * `npm run build`, no root. Prints a table and writes `bench/results/drops-core.json`.
 *
 *   node bench/drops-core.mjs [--batches 200]
 */
import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { createDataPath } from '../dist/agent/worker/data-path.js';
import { loadIo } from '../dist/agent/worker/io.js';
import { KEY_SLOTS, LIMITS, MAX_NEIGHBOURS } from '../dist/agent/worker/sizes.js';
import { ENDPOINT_WORDS, RECORD_HEADER, RECORD_TAG } from '../dist/io/batch.js';
import { METRICS } from '../dist/overlay/route/metric.js';
import { NOBODY, PrefixTable } from '../dist/overlay/route/prefix-table.js';
import { encodeTables, ForwardingTables } from '../dist/overlay/route/tables.js';
import { writeErrorBody } from '../dist/overlay/wire/error.js';
import { LANE_BEST_EFFORT, LANES } from '../dist/overlay/wire/lanes.js';
import { writeRecordHeader } from '../dist/overlay/wire/record.js';
import { FRAME_DATA, FRAME_ERROR, writeRoutedHeader } from '../dist/overlay/wire/routed.js';
import { judge, writeResults } from './lib/results.mjs';
import { median, printTable } from './lib/table.mjs';

const { values: options } = parseArgs({ options: { batches: { type: 'string', default: '200' } } });
const BATCHES = Number(options.batches);
const BOUND_MICROS = 2;
/** This node, its neighbour, and one that no path leads to. */
const [SELF, NEAR, LOST] = [1, 2, 3];
/** Others with sessions, so that looking up an index is what it is on a large node. */
const OTHERS = 250;
const FIRST_OTHER = 1000;
const CIPHER = 'aes-256-gcm';

const io = await loadIo(false).catch(() => {
  console.log('(without the addon: node:crypto)');
  return loadIo(true);
});
/** Stands still: what a budget had for strangers is spent in a case's first batch, which isn't measured. */
const now = io.now();

// --- one node, whose neighbour's keys the bench knows ---

const quiet = () => undefined;
const tun = { write: (_batch, _order, n) => n };
const udp = {
  endpoints: new Uint32Array(ENDPOINT_WORDS * (MAX_NEIGHBOURS + 1)),
  read: (given) => (batch = given).count,
  send: (_batch, _order, n) => n,
  keepWhole: () => false,
};
const path = createDataPath(
  { io, tun, udp, aead: io.createAead(KEY_SLOTS), post: quiet, random: () => randomBytes(4).readUInt32LE() },
  { self: SELF, epoch: 1, tun: { name: 'bench', mtu: 1380 } },
  LIMITS,
  {
    handshake: quiet,
    linkFrames: quiet,
    path: quiet,
    follows: () => false,
    confirmed: quiet,
    echoRefused: quiet,
    outerClass: () => 0,
  },
);

const receiverIndex = (peer, lane) => peer * LANES + lane;

/** A session with a node, which seals with `key` on all lanes. */
function installSession(peer, key) {
  // A worker erases the keys that it is given.
  const lanes = () =>
    Array.from({ length: LANES }, (_, lane) => ({
      index: receiverIndex(peer, lane),
      key: Uint8Array.from(key),
    }));
  path.neighbours.install(now, {
    ...{ peer, name: `n${peer}`, incarnation: '', initiator: false, cipher: CIPHER },
    ...{ index: receiverIndex(peer, 0), endpoint: { host: '192.0.2.1', port: peer } },
    ...{ receive: lanes(), send: lanes() },
  });
}

const key = randomBytes(32);
installSession(NEAR, key);
for (let i = 0; i < OTHERS; i++) installSession(FIRST_OTHER + i, randomBytes(32));
const near = path.neighbours.byId.get(NEAR);
near.up = true;

const address = (node) => ({ bytes: Uint8Array.of(10, 0, 0, node), length: 32 });
const way = (nextHop) => ({ nextHop, cost: 1, hops: 1, rtt: 1, loss: 0, price: 0, isLoopFree: false });
const nodes = [SELF, NEAR, LOST].map((nodeId) => ({
  certificate: { name: `n${nodeId}`, nodeId, addresses: [address(nodeId)], routes: [] },
  ways: METRICS.map(() => way(nodeId === LOST ? 0 : nodeId)),
}));
const owned = [SELF, NEAR, LOST].map((nodeId, owner) => ({ ...address(nodeId), owner }));
const overlay = { bytes: Uint8Array.of(10, 0, 0, 0), length: 16, owner: NOBODY };
path.routes.install(
  new ForwardingTables(encodeTables(nodes, 0, PrefixTable.build([overlay, ...owned])).buffers),
);

/** What the socket fills, once it has been asked to; all of it comes from the neighbour's endpoint. */
let batch = { count: 0 };
path.arrival.run(now);
batch.endpoints.set(udp.endpoints.subarray(near.slot * ENDPOINT_WORDS, (near.slot + 1) * ENDPOINT_WORDS));

// --- datagrams ---

const sealer = io.createAead(1);
sealer.setKey(0, CIPHER, key);
const order = Int32Array.from({ length: batch.capacity }, (_, i) => i);
let counter = 0;

/** Fills the batch with records of the neighbour's: bodies of at most `size` bytes that `write` makes, sealed and then spoilt. */
function fill({ size = 0, write = () => size, spoil = quiet }) {
  const room = RECORD_HEADER + size + RECORD_TAG;
  batch.count = Math.min(batch.capacity, Math.floor(batch.bytes.length / room));
  for (let i = 0; i < batch.count; i++) {
    const at = (batch.offset[i] = i * room);
    writeRecordHeader(batch.view, at, receiverIndex(NEAR, LANE_BEST_EFFORT), counter++);
    batch.length[i] = RECORD_HEADER + write(at + RECORD_HEADER);
    batch.key[i] = batch.trafficClass[i] = batch.source[i] = 0;
  }
  sealer.seal(batch, order, batch.count);
  for (let i = 0; i < batch.count; i++) spoil(batch.offset[i], i);
}

/** Overwrites a byte of the datagram. */
const byte = (place, value) => (at) => (batch.bytes[at + place] = value);
const flip = (place) => (at) => (batch.bytes[at + place] ^= 1);
const word = (place, value) => (at, i) => batch.view.setUint32(at + place, value(i));

const DATA_SIZE = 124;

/** A data frame with a UDP packet of 100 bytes. */
function data({ to = SELF, type = FRAME_DATA, flags = 0, ecn = 0, ttl = 64, inner = [NEAR, SELF], cut = 0 }) {
  const [from, into] = inner;
  const packet = [0x45, 0, 0, 100, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, from, 10, 0, 0, into, 4, 0, 8, 0];
  const write = (at) => {
    writeRoutedHeader(batch.view, at, type, flags, 0, ecn, ttl, NEAR, to, 0, 0, 1, 0);
    batch.bytes.set(packet, at + 24);
    return DATA_SIZE - cut;
  };
  return { size: DATA_SIZE, write };
}

const error = {
  size: DATA_SIZE,
  write: (at) => {
    writeRoutedHeader(batch.view, at, FRAME_ERROR, 0, 0, 0, 64, NEAR, SELF, 0, 0, 1, 0);
    return writeErrorBody(batch.view, at, 2, 0, NEAR, counter);
  },
};

/** Bodies of full records. */
const FULL = 1400;
const CASES = [
  ['short', 'a byte', { spoil: (_at, i) => (batch.length[i] = 1) }],
  ['version', 'another version', { spoil: byte(0, 0x25) }],
  ['type', 'an unknown type', { spoil: byte(0, 0x19) }],
  ['long', 'a handshake too long', { size: 5000, spoil: byte(0, 0x11) }],
  ['handshake-flood', 'a handshake over budget', { size: 1168, spoil: byte(0, 0x11) }],
  ['no-session', 'random indexes', { spoil: word(4, (i) => 99_991 * (i + 3)) }],
  ['counter-range', 'a counter too high', { spoil: byte(8, 1) }],
  ['replayed', 'a replay', { size: FULL, spoil: word(12, () => 0) }],
  ['forged', 'forged, 32 bytes', { spoil: flip(20) }],
  ['forged', 'forged, 1432 bytes', { size: FULL, spoil: flip(20) }],
  ['frame-malformed', 'a bad flag', data({ flags: 1 })],
  ['frame-unknown', 'an unknown frame', data({ type: 0x1f })],
  ['inner-short', 'no packet inside', data({ cut: 100 })],
  ['inner-total-length', 'a packet cut short', data({ cut: 3 })],
  ['foreign-source', 'a foreign source', data({ inner: [LOST, SELF] })],
  ['foreign-destination', 'a foreign destination', data({ inner: [NEAR, LOST] })],
  ['ecn', 'congestion untold', data({ ecn: 3 })],
  ['ttl-exceeded', 'TTL at its end', data({ to: NEAR, ttl: 1 })],
  ['no-route', 'no route', data({ to: LOST })],
  ['error-flood', 'an error over budget', error],
];

// --- measure ---

const drops = () => path.counters.drops();

/** Nanoseconds that one batch takes, per datagram. */
function run() {
  const start = process.hrtime.bigint();
  path.arrival.run(now);
  return Number(process.hrtime.bigint() - start) / batch.count;
}

/** Median µs a datagram. Throws where one isn't dropped, or for another reason. */
function measure([reason, what, kind]) {
  fill(kind);
  run();
  const before = drops()[reason];
  const nanos = Array.from({ length: BATCHES }, () => (fill(kind), run()));
  if (drops()[reason] - before !== BATCHES * batch.count)
    throw new Error(`${what}: not counted as ${reason}: ${JSON.stringify(drops())}`);
  return median(nanos) / 1000;
}

// There is something to replay.
fill({});
run();

const measured = CASES.map((row) => ({ reason: row[0], what: row[1], micros: measure(row) }));
printTable([
  ['µs a datagram', 'measured', 'asked', '', 'counted as'],
  ...measured.map(({ reason, what, micros }) => [...judge(what, micros, BOUND_MICROS, 3), reason]),
]);
const results = Object.fromEntries(measured.map(({ what, ...rest }) => [what, rest]));
await writeResults('drops-core', { engine: sealer.engine, results });
