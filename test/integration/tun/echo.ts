/** Answers pings read from a TUN device, as a whole overlay behind it would. */
import { createBatch } from '../../../src/io/batch.js';
import { read16, write16 } from '../../../src/io/plain/checksum.js';
import type { TunDevice } from '../../../src/io/ports.js';

/** Answers every echo request, IPv4 and IPv6. Packets that are none are dropped. */
export function answerPings(tun: TunDevice): void {
  const batch = createBatch(1 << 17, 64);
  tun.onReadable(() => {
    const n = tun.read(batch);
    const requests = Array.from({ length: n }, (_, i) => i).filter((i) =>
      turnIntoReply(batch.bytes, batch.offset[i]),
    );
    tun.write(batch, Int32Array.from(requests), requests.length);
  });
}

/** An echo request becomes its reply: addresses swapped, type changed, checksum adjusted (RFC 1624). False if it is none. */
function turnIntoReply(bytes: Uint8Array, at: number): boolean {
  const four = bytes[at] >> 4 === 4;
  const [addresses, size, icmp] = four ? [at + 12, 4, at + 20] : [at + 8, 16, at + 40];
  const [request, reply] = four ? [8, 0] : [128, 129];
  if (bytes[four ? at + 9 : at + 6] !== (four ? 1 : 58) || bytes[icmp] !== request) return false;
  const source = bytes.slice(addresses, addresses + size);
  bytes.copyWithin(addresses, addresses + size, addresses + 2 * size);
  bytes.set(source, addresses + size);
  bytes[icmp] = reply;
  const sum = read16(bytes, icmp + 2) + (request << 8) + (~(reply << 8) & 0xffff);
  write16(bytes, icmp + 2, (sum & 0xffff) + (sum >> 16));
  return true;
}
