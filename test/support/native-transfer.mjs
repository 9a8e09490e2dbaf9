// A program that knows nothing of us. Server: takes one TCP connection and prints how many bytes came and their SHA-256.
// Client: sends BYTES pseudo-random bytes and prints the same.
//   node native-transfer.mjs server PORT | client ADDRESS PORT BYTES
import { createHash } from 'node:crypto';
import { connect, createServer } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

const [role, ...rest] = process.argv.slice(2);
const hash = createHash('sha256');
let bytes = 0;
const report = () => console.log(JSON.stringify({ bytes, sha256: hash.digest('hex') }));
const count = (chunk) => {
  hash.update(chunk);
  bytes += chunk.length;
};

/** Pieces of odd sizes, so that segments end anywhere. */
function* pieces(total) {
  let state = 1;
  for (let left = total; left > 0;) {
    const piece = new Uint8Array(Math.min(left, 1 + ((state * 977) % 90_000)));
    for (let i = 0; i < piece.length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      piece[i] = state >>> 24;
    }
    left -= piece.length;
    count(piece);
    yield piece;
  }
}

if (role === 'server') {
  const server = createServer((socket) => {
    socket.on('data', count);
    socket.on('end', () => {
      report();
      socket.end();
      server.close();
    });
  });
  server.listen(Number(rest[0]), '::', () => console.log('listening'));
} else {
  const [address, port, total] = rest;
  await pipeline(Readable.from(pieces(Number(total))), connect(Number(port), address));
  report();
}
