/**
 * What each call of native/ costs, without agents or root: ciphers by engine, segmentation, coalescing, UDP over loopback, and the call
 * itself. Prints a table and writes `bench/results/native.json`. Needs `npm run build`.
 *
 *   node bench/native.mjs
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { createBatch } from '../dist/io/batch.js';
import { coalesce, loadNative } from '../dist/io/native.js';
import { printTable } from './lib/table.mjs';

const io = loadNative();
const order = Int32Array.from({ length: 4096 }, (_, i) => i);
const rows = [];
const record = (what, nanos, rate) => rows.push({ what, ns: Math.round(nanos), rate });

/** Nanoseconds of the quickest of many runs of `body`, each after `prepare`: the machine's noise only ever adds. */
function quickest(body, prepare = () => undefined, milliseconds = 250) {
  const end = process.hrtime.bigint() + BigInt(milliseconds) * 1_000_000n;
  let best = Infinity;
  do {
    prepare();
    const start = process.hrtime.bigint();
    body();
    best = Math.min(best, Number(process.hrtime.bigint() - start));
  } while (process.hrtime.bigint() < end);
  return best;
}

const gigabytes = (bytes, nanos) => `${(bytes / nanos).toFixed(2)} GB/s`;
const millions = (nanos) => `${(1000 / nanos).toFixed(2)} M/s`;

function ciphers(forced) {
  process.env.CAUSEWAY_AEAD = forced;
  const aead = io.createAead(1);
  const n = 48;
  for (const cipher of ['aes-256-gcm', 'chacha20-poly1305']) {
    aead.setKey(0, cipher, new Uint8Array(32).fill(7));
    for (const size of [64, 1420]) {
      const batch = createBatch(n * (size + 32), n);
      for (let i = 0; i < n; i++) batch.offset[i] = i * (size + 32);
      const plain = () => batch.length.fill(size + 16);
      const sealed = () => {
        plain();
        aead.seal(batch, order, n);
      };
      const seal = quickest(() => aead.seal(batch, order, n), plain) / n;
      const open = quickest(() => aead.open(batch, order, n), sealed) / n;
      const name = `${cipher}, ${size} bytes, ${aead.engine}`;
      record(`seal ${name}`, seal, gigabytes(size, seal));
      record(`open ${name}`, open, gigabytes(size, open));
    }
  }
}

/** A 64 KiB TCP packet as a TUN read gives it. */
function offloadPacket(size) {
  const payload = 48 * size;
  const batch = createBatch(65536 + 64, 1);
  const { view } = batch;
  view.setUint16(0, 0x4500);
  view.setUint16(2, 40 + payload);
  view.setUint16(6, 0x4000);
  view.setUint16(8, 0x4006);
  view.setUint16(32, 0x5010);
  batch.length[0] = 40 + payload;
  batch.flags[0] = batch.gsoType[0] = 1;
  batch.gsoSize[0] = size;
  batch.headerLength[0] = 40;
  batch.csumStart[0] = 20;
  return batch;
}

function packets() {
  const size = 1340;
  const from = offloadPacket(size);
  const into = createBatch(512 * 1024, 2048);
  const cut = quickest(() => io.segment(from, order, 1, into, 40, 16));
  record(
    `segment 64 KiB into ${into.count} packets, a packet`,
    cut / into.count,
    gigabytes(from.length[0], cut),
  );
  const store = createBatch(into.count * 2048, into.count);
  const copied = quickest(() => io.copy(into, order, into.count, store, order, 64));
  record(
    `copy ${into.count} packets into slots, a packet`,
    copied / into.count,
    gigabytes(from.length[0], copied),
  );
  // Headroom is stripped as the exit does, and the first packet's header restored, which coalescing rewrites.
  const lengths = into.length.slice(0, into.count).map((length) => length - 40);
  for (let i = 0; i < into.count; i++) into.offset[i] += 40;
  into.length.set(lengths);
  const first = into.bytes.slice(into.offset[0], into.offset[0] + 40);
  const joined = quickest(
    () => coalesce(into, order, into.count, { vnetHeader: true, tso: true, uso: true }),
    () => into.bytes.set(first, into.offset[0]),
  );
  record(
    `coalesce ${into.count} packets and copy them out, a packet`,
    joined / into.count,
    gigabytes(from.length[0], joined),
  );
}

function sockets(size, gso) {
  const options = {
    host: '::',
    port: 0,
    mark: 0,
    slots: 1,
    receiveBuffer: 8 << 20,
    sendBuffer: 8 << 20,
    offloads: { gso, gro: gso },
  };
  const [a, b] = [io.createUdp(options), io.createUdp(options)];
  const n = 48;
  const out = createBatch(n * size, n);
  const into = createBatch(32 * (65536 + 320), 4096, 32);
  for (let i = 0; i < n; i++) {
    out.offset[i] = i * size;
    out.length[i] = size;
  }
  new Uint8Array(a.endpoints.buffer).set([255, 255, 127, 0, 0, 1], 10);
  a.endpoints[4] = b.port;
  const drain = () => {
    while (b.read(into) > 0);
  };
  const fill = () => {
    drain();
    a.send(out, order, n);
  };
  const kind = gso ? 'with GSO and GRO' : 'without offloads';
  const send = quickest(() => a.send(out, order, n), drain) / n;
  const receive = quickest(() => b.read(into), fill) / Math.max(1, into.count);
  record(`UDP send, ${size} bytes, ${kind} (with the loopback's delivery)`, send, millions(send));
  record(`UDP receive, ${size} bytes, ${kind}`, receive, millions(receive));
  a.close();
  b.close();
}

function calls() {
  const batch = createBatch(64, 1);
  const aead = io.createAead(1);
  const times = 1000;
  const repeat = (call) => () => {
    for (let i = 0; i < times; i++) call();
  };
  record('an empty batch call', quickest(repeat(() => aead.seal(batch, order, 0))) / times, '');
  record('now()', quickest(repeat(() => io.now())) / times, '');
  const timer = io.createTimer(() => undefined);
  record('arm a timer', quickest(repeat(() => timer.arm(1e9))) / times, '');
  timer.close();
}

for (const forced of ['', 'openssl']) ciphers(forced);
packets();
for (const size of [120, 1436]) for (const gso of [true, false]) sockets(size, gso);
calls();

printTable([['call', 'time', 'rate'], ...rows.map(({ what, ns, rate }) => [what, `${ns} ns`, rate])]);
const results = fileURLToPath(new URL('results/', import.meta.url));
await mkdir(results, { recursive: true });
await writeFile(`${results}native.json`, `${JSON.stringify(rows, null, 2)}\n`);
