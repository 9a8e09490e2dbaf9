/**
 * ICMP errors as a router sends them: RFC 792 and RFC 1812 for IPv4, RFC 4443 for IPv6.
 *
 * The caller asks `mayAnswer` first, then its rate limit, then `buildIcmpError`.
 */
import { hasManyDestinations, hasMartianSource } from './address.js';
import { addBytes, checksum, pseudoHeaderSum } from './checksum.js';
import { FRAGMENT_LATER, PROTOCOL_ICMP, PROTOCOL_ICMPV6, type PacketInfo } from './packet.js';

export type IcmpErrorKind =
  'net-unreachable' | 'host-unreachable' | 'port-unreachable' | 'prohibited' | 'too-big' | 'ttl-exceeded';

interface TypeAndCode {
  readonly v4: readonly [type: number, code: number];
  readonly v6: readonly [type: number, code: number];
}

const KINDS: { readonly [kind in IcmpErrorKind]: TypeAndCode } = {
  'net-unreachable': { v4: [3, 0], v6: [1, 0] },
  'host-unreachable': { v4: [3, 1], v6: [1, 3] },
  'port-unreachable': { v4: [3, 3], v6: [1, 4] },
  prohibited: { v4: [3, 13], v6: [1, 1] },
  'too-big': { v4: [3, 4], v6: [2, 0] },
  'ttl-exceeded': { v4: [11, 0], v6: [3, 0] },
};

/** RFC 1812 §4.3.2.3: quote as much as fits 576 bytes. RFC 4443 §2.4(c): as fits the least IPv6 MTU. */
const MAX_V4 = 576;
const MAX_V6 = 1280;
/** Room that `buildIcmpError` may need, bytes. */
export const ICMP_ERROR_MAX = MAX_V6;

const REDIRECT_V4 = 5;
const REDIRECT_V6 = 137;
const IPV4_HEADER = 20;
const IPV6_HEADER = 40;
const ICMP_HEADER = 8;
const HOP_LIMIT = 64;
/** RFC 1812 §4.3.2.5: precedence internetwork control. */
const TOS_CONTROL = 0xc0;

/**
 * Whether a router may answer the parsed packet with an ICMP error (RFC 1122 §3.2.2, RFC 1812 §4.3.2.7, RFC 4443 §2.4(e)): never an ICMP
 * error or redirect, a later fragment, a packet to many hosts (but "too big" over IPv6), or one whose source is no single host.
 */
export function mayAnswer(view: DataView, info: PacketInfo, kind: IcmpErrorKind): boolean {
  if (info.fragment === FRAGMENT_LATER || hasMartianSource(info)) return false;
  if (hasManyDestinations(info) && !(info.version === 6 && kind === 'too-big')) return false;
  if (info.protocol === PROTOCOL_ICMP && info.version === 4) return isIcmpQuery(view, info, isErrorV4);
  if (info.protocol === PROTOCOL_ICMPV6 && info.version === 6) return isIcmpQuery(view, info, isErrorV6);
  return true;
}

/** Whether an ICMP message of this type reports an error about a packet that it quotes; a redirect does not. */
export function isIcmpError(version: number, type: number): boolean {
  return version === 4 ? isErrorV4(type) && type !== REDIRECT_V4 : isErrorV6(type) && type !== REDIRECT_V6;
}

/** Whether it asks for, or is, an echo. */
export function isEchoRequest(version: number, type: number): boolean {
  return type === (version === 4 ? 8 : 128);
}

export function isEchoReply(version: number, type: number): boolean {
  return type === (version === 4 ? 0 : 129);
}

/** A message too short to tell its type counts as an error. */
function isIcmpQuery(view: DataView, info: PacketInfo, isError: (type: number) => boolean): boolean {
  return info.transportLength > 0 && !isError(view.getUint8(info.transportOffset));
}

/** Unreachable, source quench, redirect, time exceeded, parameter problem. */
function isErrorV4(type: number): boolean {
  return type === 3 || type === 4 || type === REDIRECT_V4 || type === 11 || type === 12;
}

/** All below 128 are errors; 137 is redirect. */
function isErrorV6(type: number): boolean {
  return type < 128 || type === REDIRECT_V6;
}

/**
 * Writes an ICMP error that answers the parsed packet at `at` into `into` at `intoAt` (ICMP_ERROR_MAX bytes of room, not
 * overlapping the packet), from the address in `source`: four u32 words, of the packet's own family. `mtu` in bytes, for 'too-big';
 * otherwise ignored. Returns the error packet's length.
 */
export function buildIcmpError(
  into: DataView,
  intoAt: number,
  kind: IcmpErrorKind,
  mtu: number,
  source: ArrayLike<number>,
  view: DataView,
  at: number,
  info: PacketInfo,
): number {
  const six = info.version === 6;
  const header = (six ? IPV6_HEADER : IPV4_HEADER) + ICMP_HEADER;
  const length = Math.min(header + info.totalLength, six ? MAX_V6 : MAX_V4);
  copy(view, at, into, intoAt + header, length - header);
  if (six) writeV6(into, intoAt, length, source, info);
  else writeV4(into, intoAt, length, source, info);
  writeIcmp(into, intoAt, length, kind, kind === 'too-big' ? mtu : 0, six);
  return length;
}

function copy(from: DataView, at: number, into: DataView, intoAt: number, length: number): void {
  const bytes = new Uint8Array(from.buffer, from.byteOffset + at, length);
  new Uint8Array(into.buffer, into.byteOffset + intoAt, length).set(bytes);
}

/** DF with identification 0: an atomic datagram (RFC 6864). */
function writeV4(
  into: DataView,
  at: number,
  length: number,
  source: ArrayLike<number>,
  info: PacketInfo,
): void {
  into.setUint16(at, 0x4500 | TOS_CONTROL);
  into.setUint16(at + 2, length);
  into.setUint32(at + 4, 0x4000);
  into.setUint32(at + 8, (HOP_LIMIT << 24) | (PROTOCOL_ICMP << 16));
  into.setUint32(at + 12, source[3]);
  into.setUint32(at + 16, info.src3);
  into.setUint16(at + 10, checksum(addBytes(into, at, IPV4_HEADER, 0)));
}

function writeV6(
  into: DataView,
  at: number,
  length: number,
  source: ArrayLike<number>,
  info: PacketInfo,
): void {
  into.setUint32(at, 0x60000000);
  into.setUint32(at + 4, ((length - IPV6_HEADER) << 16) | (PROTOCOL_ICMPV6 << 8) | HOP_LIMIT);
  for (let word = 0; word < 4; word++) into.setUint32(at + 8 + 4 * word, source[word]);
  into.setUint32(at + 24, info.src0);
  into.setUint32(at + 28, info.src1);
  into.setUint32(at + 32, info.src2);
  into.setUint32(at + 36, info.src3);
}

/** The ICMP header; IPv4 has the MTU in the low 16 bits of its second word (RFC 1191 §4), IPv6 in all 32. */
function writeIcmp(
  into: DataView,
  at: number,
  length: number,
  kind: IcmpErrorKind,
  mtu: number,
  six: boolean,
): void {
  const icmp = at + (six ? IPV6_HEADER : IPV4_HEADER);
  const [type, code] = six ? KINDS[kind].v6 : KINDS[kind].v4;
  into.setUint32(icmp, (type << 24) | (code << 16));
  into.setUint32(icmp + 4, mtu);
  const size = at + length - icmp;
  const pseudo = six ? pseudoHeaderSum(into, at, PROTOCOL_ICMPV6, size) : 0;
  into.setUint16(icmp + 2, checksum(addBytes(into, icmp, size, pseudo)));
}
