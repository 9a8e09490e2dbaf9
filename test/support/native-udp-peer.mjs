// One end of a UDP link, alone in its process. Prints one JSON line.
//   node native-udp-peer.mjs ADDON receive PORT COUNT           ready when it prints "listening"; then the lengths, in order
//   node native-udp-peer.mjs ADDON send ADDRESS-AS-32-HEX-DIGITS PORT COUNT SIZE ROUNDS
//   node native-udp-peer.mjs ADDON patient …                    like send, with a small buffer: waits whenever it is full
import { createRequire } from 'node:module';

const [path, role, ...rest] = process.argv.slice(2);
const addon = createRequire(import.meta.url)(path);
const CAPACITY = 1024;
const table = new Int32Array(addon.columns.length * CAPACITY);
const column = (name) => table.subarray(addon.columns.indexOf(name) * CAPACITY);
const order = Int32Array.from({ length: CAPACITY }, (_, i) => i);

function receive(port, count) {
  const { handle } = addon.udpOpen('::', Number(port), 0, 1, 4 << 20, 0, true, true);
  const bytes = new Uint8Array(8 * 65536);
  const endpoints = new Uint32Array(80);
  const lengths = [];
  addon.udpOnReadable(handle, () => {
    const n = addon.udpRead(handle, bytes, table, endpoints, 8);
    for (let i = 0; i < n; i++) lengths.push(column('length')[i]);
    if (lengths.length < Number(count)) return;
    console.log(JSON.stringify(lengths));
    process.exit(0);
  });
  console.log('listening');
}

/** A socket, and a function that sends the datagrams order[from..count) of a batch to ADDRESS. */
function sender(sendBuffer, [address, port, count, size]) {
  const udp = addon.udpOpen('::', 0, 0, 1, 0, sendBuffer, true, true);
  const endpoints = new Uint32Array(10);
  new Uint8Array(endpoints.buffer).set(Buffer.from(address, 'hex'));
  endpoints[4] = Number(port);
  const bytes = new Uint8Array(Number(count) * Number(size));
  for (let i = 0; i < Number(count); i++) {
    column('offset')[i] = i * Number(size);
    column('length')[i] = Number(size);
  }
  const send = (from) =>
    addon.udpSend(udp.handle, bytes, table, order.subarray(from), Number(count) - from, endpoints);
  return { udp, send, errors: () => addon.udpErrors(udp.handle) };
}

function send(...words) {
  const { send, errors } = sender(4 << 20, words);
  let sent = 0;
  for (let i = 0; i < Number(words[4]); i++) sent += send(0);
  console.log(JSON.stringify({ sent, errors: errors() }));
  process.exit(0);
}

async function patient(...words) {
  const { udp, send, errors } = sender(30_000, words);
  const count = Number(words[2]);
  let sent = 0;
  let waits = 0;
  for (let i = 0; i < Number(words[4]); i++) {
    for (let at = 0; at < count;) {
      const dealt = send(at);
      at += dealt;
      sent += dealt;
      if (at === count) break;
      waits++;
      await new Promise((resolve) => addon.udpOnWritable(udp.handle, resolve));
    }
  }
  console.log(JSON.stringify({ sent, waits, errors: errors() }));
  process.exit(0);
}

await { receive, send, patient }[role](...rest);
