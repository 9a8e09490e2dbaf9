/** TCP segments that carry options, such as a SYN's segment size. */
import { naiveChecksum } from '../../unit/intercept/packets.js';
import { buildPacket, TCP } from '../native-packets.js';

export const SYN = 0x02;
export const ACK = 0x10;
export const MSS_1460 = [2, 4, 1460 >> 8, 1460 & 255];

/** A TCP packet between two nodes with these flags and options, its checksum whole. */
export function segment(
  version: 4 | 6,
  flags: number,
  options: readonly number[],
  { from, to } = { from: 1, to: 2 },
): Uint8Array {
  const head = version === 4 ? 20 : 40;
  const payload = Uint8Array.from(options);
  const bytes = buildPacket({ version, protocol: TCP, payload, from, to, checksum: 'whole' });
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  view.setUint8(head + 12, (5 + options.length / 4) << 4);
  view.setUint8(head + 13, flags);
  view.setUint16(head + 16, 0);
  view.setUint16(head + 16, transportChecksum(bytes, version));
  return bytes;
}

/** Over the pseudo-header and all behind the IP header; 0 where the field is already right. */
export function transportChecksum(bytes: Uint8Array, version: 4 | 6): number {
  const head = version === 4 ? 20 : 40;
  const behind = bytes.subarray(head);
  const addresses = version === 4 ? bytes.subarray(12, 20) : bytes.subarray(8, 40);
  return naiveChecksum(
    Uint8Array.of(...addresses, 0, TCP, behind.length >> 8, behind.length & 255, ...behind),
  );
}
