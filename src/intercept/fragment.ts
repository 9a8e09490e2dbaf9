/** Fragmentation of an IPv4 packet (RFC 791 §3.2), where the kernel doesn't do it: for packets sent header and all. */
import { PACKET_PARTIAL, type PacketBatch } from '../io/batch.js';
import { addBytes, checksum } from './checksum.js';

const DONT_FRAGMENT = 0x4000;
const MORE_FRAGMENTS = 0x2000;
const OFFSET_MASK = 0x1fff;
/** Offsets count in units of 8 bytes. */
const UNIT = 8;
/** In an option's type: it goes into every fragment (RFC 791 §3.1). */
const OPTION_COPIED = 0x80;
const OPTION_END = 0;
const OPTION_NOP = 1;

/**
 * Writes `packet`, whose checksums are whole, into `into` in fragments of at most `mtu` bytes. False, with nothing said of `into`, where that
 * may not be or can't: another version, DF set, or too many for `into`.
 */
export function fragmentIpv4(packet: Uint8Array, mtu: number, into: PacketBatch): boolean {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  if (packet.length < 20 || view.getUint8(0) >>> 4 !== 4) return false;
  const field = view.getUint16(6);
  const header = (view.getUint8(0) & 0x0f) * 4;
  if ((field & DONT_FRAGMENT) !== 0 || header < 20 || header >= packet.length) return false;
  const later = withoutUncopied(packet.subarray(0, header));
  let used = 0;
  into.count = 0;
  for (let at = header; at < packet.length;) {
    const head = at === header ? packet.subarray(0, header) : later;
    const room = Math.floor((mtu - header) / UNIT) * UNIT;
    const size = Math.min(room, packet.length - at);
    const row = into.count;
    if (room <= 0 || row === into.capacity || used + header + size > into.bytes.length) return false;
    into.bytes.set(head, used);
    into.bytes.set(packet.subarray(at, at + size), used + header);
    const more = at + size < packet.length || (field & MORE_FRAGMENTS) !== 0 ? MORE_FRAGMENTS : 0;
    const offset = (field & OFFSET_MASK) + (at - header) / UNIT;
    into.view.setUint16(used + 2, header + size);
    into.view.setUint16(used + 6, more | offset);
    into.view.setUint16(used + 10, 0);
    into.view.setUint16(used + 10, checksum(addBytes(into.view, used, header, 0)));
    into.offset[row] = used;
    into.length[row] = header + size;
    into.flags[row]! &= ~PACKET_PARTIAL;
    into.count++;
    used += header + size;
    at += size;
  }
  return true;
}

/** The header of fragments behind the first: options that aren't copied become padding, so that its length stays. */
function withoutUncopied(header: Uint8Array): Uint8Array {
  const kept = header.slice();
  for (let at = 20; at < kept.length;) {
    const type = kept[at]!;
    if (type === OPTION_END) break;
    const size = type === OPTION_NOP ? 1 : Math.max(2, kept[at + 1] ?? 2);
    if ((type & OPTION_COPIED) === 0) kept.fill(OPTION_NOP, at, Math.min(at + size, kept.length));
    at += size;
  }
  return kept;
}
