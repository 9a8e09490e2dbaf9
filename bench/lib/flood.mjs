/** Sends one datagram over and over, as fast as it goes: `node flood.mjs ADDRESS PORT SECONDS HEX`. Prints how many. */
import { createSocket } from 'node:dgram';

const BURST = 64;

const [, , address, port, seconds, hex] = process.argv;
const bytes = Buffer.from(hex, 'hex');
const socket = createSocket('udp4');
const end = performance.now() + Number(seconds) * 1000;
const send = () =>
  new Promise((resolve) => {
    // A full socket buffer is no reason to stop.
    socket.send(bytes, () => resolve());
  });

socket.connect(Number(port), address, async () => {
  let sent = 0;
  while (performance.now() < end) {
    await Promise.all(Array.from({ length: BURST }, send));
    sent += BURST;
  }
  process.stdout.write(`${sent}\n`);
  socket.close();
});
