/**
 * The Internet checksum (RFC 1071). Sums are plain numbers, not yet folded, so that parts can be added up in any order as
 * long as each part but the last has an even length.
 */
import { FRAGMENT_NONE, PROTOCOL_TCP, PROTOCOL_UDP, type PacketInfo } from './packet.js';

/** Adds `length` bytes at `at`, as big-endian 16-bit words with an odd last byte padded, to `sum`. */
export function addBytes(view: DataView, at: number, length: number, sum: number): number {
  const end = at + length;
  let total = sum;
  let i = at;
  for (; i + 4 <= end; i += 4) {
    const word = view.getUint32(i);
    total += (word >>> 16) + (word & 0xffff);
  }
  if (i + 2 <= end) {
    total += view.getUint16(i);
    i += 2;
  }
  return i < end ? total + (view.getUint8(i) << 8) : total;
}

/** Folds a sum to 16 bits with end-around carry, not complemented. */
export function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded % 0x10000) + Math.floor(folded / 0x10000);
  return folded;
}

/** The checksum field for a sum: folded and complemented. */
export function checksum(sum: number): number {
  return ~fold(sum) & 0xffff;
}

/** The sum of the pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1): the addresses of the IP packet at `at`, protocol and length. */
export function pseudoHeaderSum(
  view: DataView,
  at: number,
  protocol: number,
  transportLength: number,
): number {
  const six = view.getUint8(at) >>> 4 === 6;
  const addresses = six ? addBytes(view, at + 8, 32, 0) : addBytes(view, at + 12, 8, 0);
  return addresses + protocol + transportLength;
}

/** Where the transport checksum lies behind the start of the transport header. */
function checksumOffset(protocol: number): number {
  if (protocol === PROTOCOL_TCP) return 16;
  return protocol === PROTOCOL_UDP ? 6 : -1;
}

/**
 * Completes a partial checksum: the field holds the pseudo-header's sum, and the rest is added here. False where the
 * packet is neither whole TCP nor whole UDP, or too short for the field; nothing is written then.
 */
export function completeChecksum(view: DataView, info: PacketInfo): boolean {
  const field = checksumOffset(info.protocol);
  if (field < 0 || info.fragment !== FRAGMENT_NONE || info.transportLength < field + 2) return false;
  const sum = checksum(addBytes(view, info.transportOffset, info.transportLength, 0));
  // RFC 768: a UDP checksum that comes out as zero is sent as all ones.
  view.setUint16(info.transportOffset + field, sum === 0 && info.protocol === PROTOCOL_UDP ? 0xffff : sum);
  return true;
}
