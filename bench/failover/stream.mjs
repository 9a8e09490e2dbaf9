/**
 * A TCP connection that carries a little all the time, and notices when it doesn't.
 *
 *   node stream.mjs serve [PORT]               prints `listening`, then for each connection, when it ends or at SIGTERM, a line of JSON:
 *                                              {bytes, inOrder, ended, gaps: [[at, ms], …]}, gaps of GAP_MS and more; `at`: ms since 1970
 *   node stream.mjs send ADDRESS [PORT] [N]    N connections (1) that send CHUNK bytes every INTERVAL_MS each, until SIGTERM; exits with 1 if one was lost
 */
import { connect, createServer } from 'node:net';

const CHUNK = 1000;
const INTERVAL_MS = 5;
const GAP_MS = 40;
const DEFAULT_PORT = 7300;

const [, , mode, ...rest] = process.argv;

/** What stands at each place of the stream. */
const byteAt = (place) => (place * 31 + (place >> 8)) & 255;

function chunkFrom(place) {
  const chunk = Buffer.allocUnsafe(CHUNK);
  for (let i = 0; i < CHUNK; i++) chunk[i] = byteAt(place + i);
  return chunk;
}

function serve(port) {
  const open = new Set();
  const server = createServer((socket) => {
    const state = { bytes: 0, inOrder: true, ended: 'open', gaps: [] };
    let last = Date.now();
    const close = (how) => {
      if (!open.delete(close)) return;
      note();
      state.ended = how;
      console.log(JSON.stringify(state));
    };
    const note = () => {
      const now = Date.now();
      if (now - last >= GAP_MS) state.gaps.push([last, now - last]);
      last = now;
    };
    open.add(close);
    socket.on('data', (data) => {
      note();
      for (let i = 0; i < data.length; i += 97) state.inOrder &&= data[i] === byteAt(state.bytes + i);
      state.bytes += data.length;
    });
    socket.on('end', () => close('end'));
    socket.on('error', (error) => close(error.code));
  });
  process.on('SIGTERM', () => {
    for (const close of open) close('open');
    process.exit();
  });
  server.listen(port, '::', () => console.log('listening'));
}

function send(address, port, count) {
  for (let k = 0; k < count; k++) {
    const socket = connect({ host: address, port, noDelay: true });
    let place = 0;
    // A connection that doesn't keep up is not fed without end.
    const timer = setInterval(() => {
      if (socket.writableLength > 1 << 20 || socket.connecting) return;
      socket.write(chunkFrom(place));
      place += CHUNK;
    }, INTERVAL_MS);
    socket.on('error', (error) => {
      clearInterval(timer);
      console.log(error.code);
      process.exitCode = 1;
    });
  }
  process.on('SIGTERM', () => process.exit());
}

if (mode === 'serve') serve(Number(rest[0] ?? DEFAULT_PORT));
else send(rest[0], Number(rest[1] ?? DEFAULT_PORT), Number(rest[2] ?? 1));
