/**
 * What a dropped datagram costs the data path itself, reason by reason: `Arrival` alone with the addon's ciphers, no kernel in between, also
 * for what only an authentic neighbour can send. `drops.mjs` measures strangers' datagrams against a whole agent. Needs `npm run build`, no
 * root. Prints a table and writes `bench/results/drops-core.json`.
 *
 *   node bench/drops-core.mjs [--batches 200]
 */
import { parseArgs } from 'node:util';
import { TokenBucket } from '../dist/rate-limit/token-bucket.js';
import { ReplayWindow } from '../dist/crypto/replay-window.js';
import { SessionSet } from '../dist/crypto/session.js';
import { createBatch } from '../dist/io/batch.js';
import { loadNative } from '../dist/io/native.js';
import { createPlainIo } from '../dist/io/plain/index.js';
import { Arrival } from '../dist/overlay/forward/arrival.js';
import { ControlRecords } from '../dist/overlay/forward/control-records.js';
import { Counters } from '../dist/overlay/forward/counters.js';
import { Exit } from '../dist/overlay/forward/exit.js';
import { IcmpWriter } from '../dist/overlay/forward/icmp-writer.js';
import { LaneTable } from '../dist/overlay/forward/lanes.js';
import { RecentHeaders } from '../dist/overlay/forward/recent-headers.js';
import { Routes } from '../dist/overlay/forward/routes.js';
import { Sender } from '../dist/overlay/forward/sender.js';
import { SlowPath } from '../dist/overlay/forward/slow-path.js';
import { Link } from '../dist/overlay/link/link.js';
import { NOBODY, PrefixTable } from '../dist/overlay/route/prefix-table.js';
import { encodeTables, ForwardingTables } from '../dist/overlay/route/tables.js';
import { writeErrorBody } from '../dist/overlay/wire/error.js';
import { writeRecordHeader } from '../dist/overlay/wire/record.js';
import { FRAME_DATA, FRAME_ERROR, writeRoutedHeader } from '../dist/overlay/wire/routed.js';
import { judge, writeResults } from './lib/results.mjs';
import { median, printTable } from './lib/table.mjs';

const { values: options } = parseArgs({ options: { batches: { type: 'string', default: '200' } } });
const BATCH = 512;
const BOUND_MICROS = 2;
const ROOM = 2048;
const [SELF, NEAR, LOST] = [1, 2, 3];
const INDEX = 700;

const io = (() => {
  try {
    return loadNative();
  } catch {
    console.log('(without the addon: node:crypto)');
    return createPlainIo();
  }
})();

// --- one node, one neighbour, whose keys the bench knows ---

const quiet = () => undefined;
const tun = { write: (_batch, _order, n) => n };
const udp = {
  endpoints: new Uint32Array(100),
  read: () => BATCH,
  send: (_batch, _order, n) => n,
};
const aead = io.createAead(8);
const [RECEIVE, SEND] = [0, 1];
for (const slot of [RECEIVE, SEND]) aead.setKey(slot, 'aes-256-gcm', new Uint8Array(32).fill(7));
const counters = new Counters();
const sender = new Sender(udp, aead, counters, quiet);
const neighbours = new Map();
const routes = new Routes(neighbours);
const sessions = new SessionSet();
sessions.install(0, 1, false, [{ index: 9, key: SEND }]);
const near = {
  nodeId: NEAR,
  name: 'near',
  slot: 1,
  sessions,
  link: new Link(() => 7, 0),
  up: true,
  confirmedSession: 1,
};
Object.assign(near, { packetsSent: 0, bytesSent: 0, packetsReceived: 0, bytesReceived: 0 });
neighbours.set(NEAR, near);
const prefix = (node) => ({ bytes: Uint8Array.of(10, 0, 0, node), length: 32 });
const nodes = [SELF, NEAR, LOST].map((nodeId) => ({
  certificate: { name: `n${nodeId}`, nodeId, addresses: [prefix(nodeId)], routes: [] },
  nextHop: [0, SELF, NEAR, 0][nodeId],
  cost: 1,
  hops: 1,
}));
const owned = nodes.map(({ certificate }, owner) => ({ ...certificate.addresses[0], owner }));
const overlay = { bytes: Uint8Array.of(10, 0, 0, 0), length: 16, owner: NOBODY };
routes.install(new ForwardingTables(encodeTables(nodes, 0, PrefixTable.build([overlay, ...owned])).buffers));
const bucket = () => new TokenBucket(100, 50, 0);
const recent = new RecentHeaders();
const slow = new SlowPath({
  udp,
  routes,
  control: new ControlRecords(sender),
  icmp: new IcmpWriter(tun, bucket(), (version) => routes.address(SELF, version)),
  recent,
  counters,
  handshakes: bucket(),
  errors: bucket(),
  refusals: bucket(),
  self: SELF,
  epoch: 1,
  shell: { handshake: quiet, linkFrames: quiet, confirmed: quiet, echoAnswered: quiet, echoRefused: quiet },
});
const lanes = new LaneTable();
lanes.add(INDEX, { neighbour: near, session: 1, key: RECEIVE, window: new ReplayWindow() });
for (let i = 0; i < 1000; i++)
  lanes.add(10_000 + 2 * i, { neighbour: near, session: 1, key: 5, window: new ReplayWindow() });
const batch = createBatch(BATCH * ROOM, BATCH, 1);
const exit = new Exit(tun, routes, counters, SELF, BATCH);
const arrival = new Arrival({ udp, aead, lanes, routes, exit, sender, slow, counters, self: SELF, batch });

// --- datagrams ---

const order = Int32Array.from({ length: BATCH }, (_, i) => i);
let counter = 0;

/** Fills the batch with records whose bodies `write` makes, and seals them; it returns a body's length. */
function sealed(write) {
  for (let i = 0; i < BATCH; i++) {
    batch.offset[i] = i * ROOM;
    writeRecordHeader(batch.view, i * ROOM, INDEX, counter++);
    batch.length[i] = 16 + write(i * ROOM + 16, i);
    batch.key[i] = RECEIVE;
    batch.trafficClass[i] = batch.source[i] = 0;
  }
  batch.count = BATCH;
  aead.seal(batch, order, BATCH);
}

function each(change) {
  for (let i = 0; i < BATCH; i++) change(i * ROOM, i);
}

function packet(at, from, to, ecn = 0) {
  batch.bytes.set(
    [0x45, ecn, 0, 100, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, from, 10, 0, 0, to, 4, 0, 8, 0],
    at,
  );
  return 100;
}

const data = (
  at,
  to,
  { ttl = 64, type = FRAME_DATA, flags = 0, from = NEAR, inner = [NEAR, SELF], ecn = 0 } = {},
) => {
  writeRoutedHeader(batch.view, at, type, flags, 0, ecn, ttl, from, to, 0, 0, 1, 0);
  return 24 + packet(at + 24, ...inner);
};
const keepalive = () => 0;
const large = () => 1400;

const CASES = [
  ['short', 'a byte', () => (sealed(keepalive), batch.length.fill(1))],
  ['version', 'another version', () => (sealed(keepalive), each((at) => (batch.bytes[at] = 0x25)))],
  ['type', 'an unknown type', () => (sealed(keepalive), each((at) => (batch.bytes[at] = 0x19)))],
  [
    'long',
    'a handshake too long',
    () => (sealed(keepalive), each((at) => (batch.bytes[at] = 0x11)), batch.length.fill(5000)),
  ],
  [
    'handshake-flood',
    'a handshake over budget',
    () => (sealed(() => 1168), each((at) => (batch.bytes[at] = 0x11))),
  ],
  [
    'no-session',
    'random indexes',
    () => (sealed(keepalive), each((at, i) => batch.view.setUint32(at + 4, 99_991 * (i + 3)))),
  ],
  ['counter-range', 'a counter too high', () => (sealed(keepalive), each((at) => (batch.bytes[at + 8] = 1)))],
  ['replayed', 'a replay', () => (sealed(large), each((at) => batch.view.setUint32(at + 12, 0)))],
  ['forged', 'forged, 32 bytes', () => (sealed(keepalive), each((at) => (batch.bytes[at + 20] ^= 1)))],
  ['forged', 'forged, 1432 bytes', () => (sealed(large), each((at) => (batch.bytes[at + 20] ^= 1)))],
  ['frame-malformed', 'a bad flag', () => sealed((at) => data(at, SELF, { flags: 1 }))],
  ['frame-unknown', 'an unknown frame', () => sealed((at) => data(at, SELF, { type: 0x1f }))],
  ['inner-short', 'no packet inside', () => sealed((at) => data(at, SELF) - 3)],
  ['foreign-source', 'a foreign source', () => sealed((at) => data(at, SELF, { inner: [LOST, SELF] }))],
  [
    'foreign-destination',
    'a foreign destination',
    () => sealed((at) => data(at, SELF, { inner: [NEAR, LOST] })),
  ],
  ['ecn', 'congestion untold', () => sealed((at) => data(at, SELF, { ecn: 3 }))],
  ['ttl-exceeded', 'TTL at its end', () => sealed((at) => data(at, NEAR, { ttl: 1 }))],
  ['no-route', 'no route', () => sealed((at) => data(at, LOST))],
  [
    'error-flood',
    'an error over budget',
    () =>
      sealed((at, i) => {
        writeRoutedHeader(batch.view, at, FRAME_ERROR, 0, 0, 0, 64, NEAR, SELF, 0, 0, 1, 0);
        return writeErrorBody(batch.view, at, 2, 0, NEAR, 1_000_000 + i);
      }),
  ],
];

// --- measure ---

// A node in use remembers packets.
for (let i = 0; i < 4096; i++) {
  batch.length[0] = packet(0, SELF, NEAR);
  batch.offset[0] = 0;
  recent.remember(batch, 0, NEAR, i, 1);
}

// So does its window.
sealed(keepalive);
arrival.run(1);

const rows = [];
const results = {};
let now = 1;
for (const [reason, what, prepare] of CASES) {
  const nanos = [];
  const before = counters.drops()[reason];
  for (let round = 0; round < Number(options.batches); round++) {
    prepare();
    now += 10;
    const start = process.hrtime.bigint();
    arrival.run(now);
    nanos.push(Number(process.hrtime.bigint() - start) / BATCH);
  }
  const micros = median(nanos) / 1000;
  // The first of a bucket pass.
  if (counters.drops()[reason] - before < BATCH * (Number(options.batches) - 1)) {
    throw new Error(`${what}: not counted as ${reason}: ${JSON.stringify(counters.drops())}`);
  }
  results[what] = { reason, micros };
  rows.push([...judge(what, micros, BOUND_MICROS, 3), reason]);
}
printTable([['µs a datagram', 'measured', 'asked', '', 'counted as'], ...rows]);
await writeResults('drops-core', { engine: aead.engine, results });
