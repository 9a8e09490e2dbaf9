/** TCP's maximum segment size (RFC 9293 §3.7.1): lowered in passing SYNs to what the path carries whole. */
import { FRAGMENT_NONE, type PacketInfo, PROTOCOL_TCP } from './packet.js';

const TCP_HEADER = 20;
const FLAGS_AT = 13;
const SYN = 0x02;
const CHECKSUM_AT = 16;
const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_MSS = 2;
const MSS_SIZE = 4;

/**
 * Lowers the option of the parsed packet, where it is a SYN that asks for more, so that its answers' segments fit packets of `room` bytes. `isPartial`: the checksum
 * isn't complete, and its field doesn't depend on the option yet. Whether anything was changed.
 */
export function clampMss(view: DataView, info: PacketInfo, room: number, isPartial: boolean): boolean {
  if (room === Infinity || !isSyn(view, info)) return false;
  const { transportOffset: tcp, transportLength, headerLength } = info;
  const at = findMss(view, tcp, Math.min(transportLength, 4 * (view.getUint8(tcp + 12) >>> 4)));
  const most = room - headerLength - TCP_HEADER;
  if (at === 0 || view.getUint16(at) <= most) return false;
  const before = view.getUint16(at);
  view.setUint16(at, most);
  if (!isPartial) replaceInChecksum(view, tcp + CHECKSUM_AT, before, most, (at - tcp) % 2 === 1);
  return true;
}

export function isSyn(view: DataView, info: PacketInfo): boolean {
  if (info.protocol !== PROTOCOL_TCP || info.fragment !== FRAGMENT_NONE) return false;
  return info.transportLength >= TCP_HEADER && (view.getUint8(info.transportOffset + FLAGS_AT) & SYN) !== 0;
}

/** Where the option's value stands; 0 where there is none, or options make no sense. */
function findMss(view: DataView, tcp: number, length: number): number {
  for (let at = TCP_HEADER; at < length;) {
    const kind = view.getUint8(tcp + at);
    if (kind === OPTION_END) return 0;
    if (kind === OPTION_NOP) {
      at++;
      continue;
    }
    const size = at + 1 < length ? view.getUint8(tcp + at + 1) : 0;
    if (size < 2 || at + size > length) return 0;
    if (kind === OPTION_MSS) return size === MSS_SIZE ? tcp + at + 2 : 0;
    at += size;
  }
  return 0;
}

/** Equation 3 of RFC 1624; a value that begins at an odd byte counts with its bytes swapped. */
function replaceInChecksum(view: DataView, at: number, before: number, after: number, isOdd: boolean): void {
  const word = (value: number): number => (isOdd ? ((value & 0xff) << 8) | (value >>> 8) : value);
  let sum = (~view.getUint16(at) & 0xffff) + (~word(before) & 0xffff) + word(after);
  sum = (sum & 0xffff) + (sum >>> 16);
  sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(at, ~sum & 0xffff);
}
