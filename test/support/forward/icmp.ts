/** ICMP errors taken apart the naive way. */
import { naiveSum } from '../native-packets.js';

/** Type, code, source and quotation of the ICMP or ICMPv6 error that `packet` is; throws where a checksum is wrong. */
export function readIcmp(packet: Uint8Array) {
  const six = packet[0] >> 4 === 6;
  const at = six ? 40 : 20;
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  if (packet[six ? 6 : 9] !== (six ? 58 : 1)) throw new Error('no ICMP');
  const pseudo = six ? naiveSum(Uint8Array.of(...packet.subarray(8, 40), 0, 58)) + packet.length - at : 0;
  if (naiveSum(packet.subarray(at), pseudo) !== 0xffff) throw new Error('ICMP checksum is wrong');
  if (!six && naiveSum(packet.subarray(0, 20)) !== 0xffff) throw new Error('IPv4 header checksum is wrong');
  return {
    type: packet[at],
    code: packet[at + 1],
    mtu: view.getUint16(at + 6),
    from: [...packet.subarray(six ? 8 : 12, six ? 24 : 16)],
    to: [...packet.subarray(six ? 24 : 16, six ? 40 : 20)],
    quoted: packet.slice(at + 8),
  };
}

/** An address of the overlay of `ForwardRig`, as bytes. */
export function overlayAddress(version: 4 | 6, node: number): number[] {
  return version === 4 ? [10, 0, 0, node] : [0xfd, 0x77, ...new Array<number>(13).fill(0), node];
}
