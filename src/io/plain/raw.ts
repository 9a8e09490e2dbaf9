/** Raw sockets without the addon: a perl sends what it is given, and nothing is heard of what became of it. */
import type { PacketBatch } from '../batch.js';
import { RAW_SENT, type RawSender } from '../ports.js';
import { openRaw } from './perl.js';
import { finishChecksum } from './tun.js';

export function createPlainRaw(mark: number): RawSender {
  const perl = openRaw(mark);
  return {
    send(batch: PacketBatch, order: Int32Array, n: number): number {
      for (let k = 0; k < n; k++) {
        const i = order[k];
        finishChecksum(batch, i);
        // The batch is another's before the perl has read.
        const packet = batch.bytes.slice(batch.offset[i], batch.offset[i] + batch.length[i]);
        perl.send(packet, packet[0] >>> 4 === 6 ? 6 : 4);
        batch.status[i] = RAW_SENT;
      }
      return n;
    },
    close: () => perl.close(),
  };
}
