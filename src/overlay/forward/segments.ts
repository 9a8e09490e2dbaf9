/** What a packet of a read is cut into, before it is. */
import type { PacketBatch } from '../../io/batch.js';

/** Segments of packet `i`. */
export function segmentCount(read: PacketBatch, i: number): number {
  return isWhole(read, i) ? 1 : Math.ceil((read.length[i]! - read.headerLength[i]!) / read.gsoSize[i]!);
}

/** Bytes of the largest of them, its headers included. */
export function segmentSize(read: PacketBatch, i: number): number {
  return isWhole(read, i) ? read.length[i]! : read.headerLength[i]! + read.gsoSize[i]!;
}

function isWhole(read: PacketBatch, i: number): boolean {
  return read.gsoType[i] === 0 || read.length[i]! <= read.headerLength[i]! + read.gsoSize[i]!;
}
