// A worker thread that keeps the addon busy until it is terminated: a socket that talks to itself, timers, ciphers.
// workerData: {addon: path, tun?: name of a device to hold, idle?: true to do nothing but hold}
import { createRequire } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';

const addon = createRequire(import.meta.url)(workerData.addon);
const CAPACITY = 1024;
const bytes = new Uint8Array(8 * 65536);
const table = new Int32Array(12 * CAPACITY);
const order = Int32Array.from({ length: CAPACITY }, (_, i) => i);
const [OFFSET, LENGTH] = [0, 1];

const udp = addon.udpOpen('127.0.0.1', 0, 0, 1, 0, 0, true, true);
const endpoints = new Uint32Array(10);
new Uint8Array(endpoints.buffer).set([255, 255, 127, 0, 0, 1], 10);
endpoints[4] = udp.port;
const tun = workerData.tun === undefined ? undefined : addon.tunOpen(workerData.tun, true, true, true);
const aead = addon.aeadOpen(4, false);
addon.aeadSetKey(aead.handle, 0, 0, new Uint8Array(32));

let events = 0;
const timers = [];
const received = new Uint32Array(80);

function talk() {
  for (let i = 0; i < 32; i++) {
    table[OFFSET * CAPACITY + i] = i * 128;
    table[LENGTH * CAPACITY + i] = 100;
  }
  addon.aeadSeal(aead.handle, bytes, table, order, 32);
  addon.udpSend(udp.handle, bytes, table, order, 32, endpoints);
}

if (workerData.idle !== true) {
  addon.udpOnReadable(udp.handle, () => {
    addon.udpRead(udp.handle, bytes, table, received, 8);
    if (events++ % 64 === 0) parentPort.postMessage({ busy: events });
    talk();
  });
  for (let i = 0; i < 4; i++) {
    const timer = addon.timerOpen(() => addon.timerArm(timer, 50));
    timers.push(timer);
    addon.timerArm(timer, 50);
  }
  talk();
} else {
  addon.udpOnReadable(udp.handle, () => undefined);
}
if (tun !== undefined) addon.tunOnReadable(tun.handle, () => addon.tunRead(tun.handle, bytes, table));
parentPort.postMessage({ port: udp.port });
