// Everything in the addon that needs no root, with sense and without, for the sanitizers to watch. Prints "survived" at its end.
//   node test/support/native-stress.mjs ADDON [SEED]
import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';

const path = process.argv[2];
const addon = createRequire(import.meta.url)(path);
let state = Number(process.argv[3] ?? 1) >>> 0 || 1;

/** xorshift32. */
function random(below) {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % below;
}

const CAPACITY = 64;
const COLUMNS = addon.columns.length;
const order = Int32Array.from({ length: CAPACITY }, (_, i) => i);

/** An arena of its own allocation, so that a byte beyond it is a byte in red. */
const makeBatch = (size) => ({ bytes: new Uint8Array(size), table: new Int32Array(COLUMNS * CAPACITY) });
const column = (name) => addon.columns.indexOf(name) * CAPACITY;

/** IPv4 or IPv6, TCP or UDP, with a payload; mostly right. */
function packet(bytes, at, length) {
  const v6 = random(2) === 1;
  const start = v6 ? 40 : 20;
  const tcp = random(2) === 1;
  const view = new DataView(bytes.buffer, at, length);
  view.setUint8(0, v6 ? 0x60 : 0x45);
  view.setUint16(v6 ? 4 : 2, v6 ? length - 40 : length);
  view.setUint8(v6 ? 6 : 9, tcp ? 6 : 17);
  if (tcp) view.setUint16(start + 12, 0x5010);
  else view.setUint16(start + 4, length - start);
  if (random(8) === 0) view.setUint8(random(length), random(256));
  return start + (tcp ? 20 : 8);
}

function fillBatch(batch) {
  const { bytes, table } = batch;
  let at = 0;
  for (let i = 0; i < CAPACITY; i++) {
    const length = 80 + random(3000);
    if (at + length > bytes.length) at = 0;
    const header = packet(bytes, at, length);
    table[column('offset') + i] = at;
    table[column('length') + i] = length;
    table[column('flags') + i] = random(2);
    table[column('gsoType') + i] = [0, 0, 1, 4, 5][random(5)];
    table[column('gsoSize') + i] = 1 + random(1500);
    table[column('headerLength') + i] = header;
    table[column('csumStart') + i] = bytes[at] >> 4 === 4 ? 20 : 40;
    at += length;
  }
  // Some rows lie.
  for (let k = 0; k < 12; k++) {
    const value = [random(70000), -random(5000), 0x7fffffff, -0x80000000, random(200)][random(5)];
    table[random(COLUMNS) * CAPACITY + random(CAPACITY)] = value;
  }
}

function stressPackets(rounds) {
  const from = makeBatch(20011);
  const into = makeBatch(30011);
  for (let round = 0; round < rounds; round++) {
    fillBatch(from);
    addon.segment(from.bytes, from.table, order, CAPACITY, into.bytes, into.table, random(60), random(20));
    // A slot has 468 bytes, so some packets fit; slots come in any order, twice too, and sometimes in the source itself.
    const slots = Int32Array.from({ length: CAPACITY }, () => random(CAPACITY));
    const store = random(4) === 0 ? from : into;
    const at = random(8) === 0 ? 0x7fffffff - random(9) : random(500);
    addon.copy(from.bytes, from.table, order, random(CAPACITY + 1), store.bytes, store.table, slots, at);
    addon.scatter(
      from.bytes,
      from.table,
      order,
      CAPACITY,
      into.bytes,
      into.table,
      slots,
      random(CAPACITY + 1),
      at,
    );
    for (const batch of [into, from])
      addon.coalesce(batch.bytes, batch.table, order, CAPACITY, random(4) > 0, random(4) > 0, random(4) > 0);
  }
}

function stressCiphers(rounds) {
  for (const openssl of [false, true]) {
    const { handle } = addon.aeadOpen(4, openssl);
    const batch = makeBatch(9001);
    for (let round = 0; round < rounds; round++) {
      addon.aeadSetKey(
        handle,
        random(4),
        random(2),
        Uint8Array.from({ length: 32 }, () => random(256)),
      );
      if (random(4) === 0) addon.aeadClearKey(handle, random(4));
      for (let i = 0; i < CAPACITY; i++) {
        batch.table[column('offset') + i] = random(16) === 0 ? -random(100) : random(9001);
        batch.table[column('length') + i] = random(16) === 0 ? random(100000) : random(1500);
        batch.table[column('key') + i] = random(6) - 1;
      }
      addon.aeadSeal(handle, batch.bytes, batch.table, order, CAPACITY);
      addon.aeadOpenRecords(handle, batch.bytes, batch.table, order, CAPACITY);
    }
    addon.aeadClose(handle);
  }
}

async function stressSockets(rounds) {
  const [a, b] = [0, 1].map(() => addon.udpOpen('::', 0, 0, 8, 1 << 20, 1 << 20, true, true));
  const endpoints = new Uint32Array(80);
  for (let slot = 0; slot < 8; slot++) {
    new Uint8Array(endpoints.buffer, slot * 40, 16).set(
      slot < 4 ? [255, 255, 127, 0, 0, 1] : [0, 0, 0, 0, 0, 1],
      10,
    );
    endpoints[slot * 10 + 4] = slot === 7 ? 0 : b.port;
    if (slot === 6) endpoints[slot * 10 + 5] = random(1 << 30);
  }
  const out = makeBatch(40009);
  const into = { bytes: new Uint8Array(4 * 65536), table: new Int32Array(COLUMNS * 512) };
  const received = new Uint32Array(40);
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < CAPACITY; i++) {
      out.table[column('offset') + i] = i * 600 + (random(20) === 0 ? 50000 : 0);
      out.table[column('length') + i] = random(20) === 0 ? random(40000) - 100 : 600;
      out.table[column('endpoint') + i] = random(12) === 0 ? random(12) - 2 : 0;
      out.table[column('trafficClass') + i] = random(4) === 0 ? random(1000) : 0;
    }
    addon.udpSend(a.handle, out.bytes, out.table, order, CAPACITY, endpoints);
    while (addon.udpRead(b.handle, into.bytes, into.table, received, 8) > 0);
  }
  addon.udpClose(a.handle);
  addon.udpClose(a.handle);
  addon.udpRead(a.handle, into.bytes, into.table, received, 8);
  // b is left to the garbage collector and to the end of the process
}

/** Handles of other kinds, arrays of other types and detached memory must throw. */
function stressArguments() {
  const { handle } = addon.aeadOpen(1, false);
  const detached = new Uint8Array(100);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });
  const values = [
    undefined,
    null,
    7,
    -1,
    {},
    handle,
    'x',
    new Uint8Array(3),
    new Int32Array(30),
    new Uint32Array(1),
    detached,
    order,
    NaN,
    1e300,
  ];
  for (const [name, call] of Object.entries(addon)) {
    if (typeof call !== 'function' || name === 'notify') continue;
    for (let round = 0; round < 300; round++) {
      try {
        call(...Array.from({ length: random(9) }, () => values[random(values.length)]));
      } catch {
        // every refusal is an exception, none is a crash
      }
    }
  }
}

async function stressTimers() {
  let fired = 0;
  for (let i = 0; i < 50; i++) {
    const timer = addon.timerOpen(() => {
      fired++;
      addon.timerClose(timer); // closing from its own callback
      addon.timerArm(timer, 1);
    });
    addon.timerArm(timer, random(2000));
    if (i % 5 === 0) addon.timerClose(timer);
  }
  while (fired < 40) await new Promise((resolve) => setTimeout(resolve, 5));
}

async function stressWorkers(rounds) {
  for (let round = 0; round < rounds; round++) {
    const worker = new Worker(new URL('native-worker.mjs', import.meta.url), { workerData: { addon: path } });
    await new Promise((resolve, reject) => {
      worker.on('message', ({ busy }) => busy !== undefined && resolve());
      worker.on('error', reject);
    });
    await worker.terminate();
  }
}

stressPackets(400);
stressCiphers(60);
await stressSockets(80);
stressArguments();
await stressTimers();
await stressWorkers(6);
console.log('survived');
