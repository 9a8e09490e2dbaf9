import { ENDPOINT_INTERFACE, ENDPOINT_LOCAL, ENDPOINT_WORDS, type PacketBatch } from '../../io/batch.js';
import type { UdpSocket } from '../../io/ports.js';
import type { Neighbour } from './neighbour.js';

/** fe80::/10 as the first word of an address lies in little-endian memory. */
const isLinkLocal = (word: number) => (word & 0xc0ff) === 0x80fe;

/** Whether message `i` came from where the neighbour is, to the address that it is answered from. */
export function isWhereItWas(udp: UdpSocket, batch: PacketBatch, i: number, neighbour: Neighbour): boolean {
  const from = batch.source[i]! * ENDPOINT_WORDS;
  const to = neighbour.slot * ENDPOINT_WORDS;
  const heard = batch.endpoints;
  const known = udp.endpoints;
  let same = true;
  for (let word = 0; word < ENDPOINT_INTERFACE; word++) same &&= heard[from + word] === known[to + word];
  return same;
}

/**
 * A neighbour is where its newest authentic record came from, and is answered from the address that it was addressed to. The interface
 * is kept for link-local addresses only, so that the host's routes may change under the others.
 */
export function learnEndpoint(udp: UdpSocket, batch: PacketBatch, i: number, neighbour: Neighbour): void {
  const from = batch.source[i]! * ENDPOINT_WORDS;
  const to = neighbour.slot * ENDPOINT_WORDS;
  const heard = batch.endpoints;
  const known = udp.endpoints;
  for (let word = 0; word < ENDPOINT_INTERFACE; word++) known[to + word] = heard[from + word]!;
  known[to + ENDPOINT_INTERFACE] = isLinkLocal(heard[from]!) ? heard[from + ENDPOINT_INTERFACE]! : 0;
}

/** Lets the kernel choose the source again: ours may be gone from the host. */
export function forgetLocalAddress(udp: UdpSocket, slot: number): void {
  const at = slot * ENDPOINT_WORDS;
  udp.endpoints.fill(0, at + ENDPOINT_LOCAL, at + ENDPOINT_WORDS);
}
