/**
 * Views of an inner IPv4 or IPv6 packet: one strict, allocation-free parse per packet (or per segmentation-offload read),
 * and the few changes the overlay's exit makes to it. Whatever can't be understood for certain is rejected, not guessed at.
 */

/** A whole packet, or one that needs no reassembly. */
export const FRAGMENT_NONE = 0;
/** The first fragment: it has the transport header. */
export const FRAGMENT_FIRST = 1;
/** A later fragment: it has none, and its ports are 0. */
export const FRAGMENT_LATER = 2;

export const PROTOCOL_ICMP = 1;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
export const PROTOCOL_ICMPV6 = 58;
export const PROTOCOL_NONE = 59;

/** What `parsePacket` answers; an index into PARSE_REJECTS. */
export const PARSE_OK = 0;
export const PARSE_SHORT = 1;
export const PARSE_VERSION = 2;
export const PARSE_HEADER_LENGTH = 3;
export const PARSE_TOTAL_LENGTH = 4;
export const PARSE_FRAGMENT = 5;
export const PARSE_EXTENSION = 6;
export const PARSE_TRANSPORT = 7;
export const PARSE_REJECTS = [
  'ok',
  'short',
  'version',
  'header-length',
  'total-length',
  'fragment',
  'extension-header',
  'transport-header',
] as const;

/**
 * What a parse found: a mutable object that the caller allocates once and reuses. Addresses are four u32 words in network
 * order, IPv4 as ::ffff:a.b.c.d. Lengths and offsets in bytes; offsets count from the start of the view, as `at` does.
 * After a reject its contents mean nothing.
 */
export class PacketInfo {
  /** 4 or 6. */
  version = 0;
  /** IP header with IPv4 options or IPv6 extension headers, up to the transport header (or fragment's data). */
  headerLength = 0;
  totalLength = 0;
  /** Transport protocol, behind any extension headers. */
  protocol = 0;
  /** TTL or hop limit. */
  ttl = 0;
  /** DSCP and ECN, 0…255. */
  trafficClass = 0;
  /** Low two bits of the traffic class. */
  ecn = 0;
  /** FRAGMENT_… */
  fragment = FRAGMENT_NONE;
  /** Of a fragment: where its data belongs, bytes; whether more follow; its datagram's identification. 0 and false for others. */
  fragmentOffset = 0;
  moreFragments = false;
  fragmentId = 0;
  /** IPv4's DF bit; always true for IPv6. */
  dontFragment = false;
  src0 = 0;
  src1 = 0;
  src2 = 0;
  src3 = 0;
  dst0 = 0;
  dst1 = 0;
  dst2 = 0;
  dst3 = 0;
  /** 0 for later fragments and for protocols without ports. */
  sourcePort = 0;
  destinationPort = 0;
  transportOffset = 0;
  transportLength = 0;
}

const IPV4_HEADER = 20;
const IPV6_HEADER = 40;
const IPV4_DF = 0x4000;
const IPV4_MF = 0x2000;
const IPV4_OFFSET_MASK = 0x1fff;
/** RFC 8200 §4.1 needs at most seven; a longer chain is nobody's honest packet. */
const MAX_EXTENSIONS = 8;

/** Parses the packet that fills `length` bytes at `at` exactly. Returns PARSE_OK, or a reason and leaves `out` undefined. */
export function parsePacket(view: DataView, at: number, length: number, out: PacketInfo): number {
  return parse(view, at, length, true, out);
}

/**
 * Likewise for the head of a packet, such as an ICMP error quotes it: as if it were all of it, whatever length it announces. With a
 * head too short for that the answer may be any reject.
 */
export function parseHead(view: DataView, at: number, length: number, out: PacketInfo): number {
  return parse(view, at, length, false, out);
}

/** `whole`: the announced length has to be `length`. */
function parse(view: DataView, at: number, length: number, whole: boolean, out: PacketInfo): number {
  if (length < IPV4_HEADER) return PARSE_SHORT;
  const version = view.getUint8(at) >>> 4;
  if (version === 4) return parseIpv4(view, at, length, whole, out);
  return version === 6 ? parseIpv6(view, at, length, whole, out) : PARSE_VERSION;
}

function parseIpv4(view: DataView, at: number, length: number, whole: boolean, out: PacketInfo): number {
  const headerLength = (view.getUint8(at) & 0x0f) * 4;
  if (headerLength < IPV4_HEADER || headerLength > length) return PARSE_HEADER_LENGTH;
  if (whole && view.getUint16(at + 2) !== length) return PARSE_TOTAL_LENGTH;
  out.version = 4;
  out.totalLength = length;
  out.trafficClass = view.getUint8(at + 1);
  out.ecn = out.trafficClass & 3;
  out.ttl = view.getUint8(at + 8);
  out.protocol = view.getUint8(at + 9);
  out.src0 = out.src1 = out.dst0 = out.dst1 = 0;
  out.src2 = out.dst2 = 0xffff;
  out.src3 = view.getUint32(at + 12);
  out.dst3 = view.getUint32(at + 16);
  const fragment = view.getUint16(at + 6);
  out.dontFragment = (fragment & IPV4_DF) !== 0;
  const offset = (fragment & IPV4_OFFSET_MASK) * 8;
  if (offset + length - headerLength > 0xffff - IPV4_HEADER) return PARSE_FRAGMENT;
  noteFragment(out, offset, (fragment & IPV4_MF) !== 0, view.getUint16(at + 4));
  return parseTransport(view, at, headerLength, out);
}

function noteFragment(out: PacketInfo, offset: number, more: boolean, id: number): void {
  if (offset > 0) out.fragment = FRAGMENT_LATER;
  else out.fragment = more ? FRAGMENT_FIRST : FRAGMENT_NONE;
  const isFragment = out.fragment !== FRAGMENT_NONE;
  out.fragmentOffset = offset;
  out.moreFragments = more;
  out.fragmentId = isFragment ? id : 0;
}

function parseIpv6(view: DataView, at: number, length: number, whole: boolean, out: PacketInfo): number {
  if (length < IPV6_HEADER) return PARSE_SHORT;
  // A jumbogram (RFC 2675) announces 0 and fails here too.
  if (whole && view.getUint16(at + 4) + IPV6_HEADER !== length) return PARSE_TOTAL_LENGTH;
  out.version = 6;
  out.totalLength = length;
  out.trafficClass = (view.getUint16(at) >>> 4) & 0xff;
  out.ecn = out.trafficClass & 3;
  out.ttl = view.getUint8(at + 7);
  out.dontFragment = true;
  out.src0 = view.getUint32(at + 8);
  out.src1 = view.getUint32(at + 12);
  out.src2 = view.getUint32(at + 16);
  out.src3 = view.getUint32(at + 20);
  out.dst0 = view.getUint32(at + 24);
  out.dst1 = view.getUint32(at + 28);
  out.dst2 = view.getUint32(at + 32);
  out.dst3 = view.getUint32(at + 36);
  return walkExtensions(view, at, length, out);
}

/**
 * Walks the extension headers (RFC 8200 §4) to the transport header. Those that RFC 7045 lists and that aren't walked here are
 * refused, and so are a hop-by-hop header out of place, routing type 0 (RFC 5095) and a second fragment header.
 */
function walkExtensions(view: DataView, at: number, length: number, out: PacketInfo): number {
  let header = view.getUint8(at + 6);
  let offset = IPV6_HEADER;
  noteFragment(out, 0, false, 0);
  let fragmented = false;
  for (let count = 0; isExtension(header); count++) {
    if (count === MAX_EXTENSIONS || offset + 8 > length) return PARSE_EXTENSION;
    const size = extensionSize(view, at + offset, header, count);
    if (size === 0 || offset + size > length) return PARSE_EXTENSION;
    const next = view.getUint8(at + offset);
    if (header === 44) {
      if (fragmented) return PARSE_EXTENSION;
      fragmented = true;
      const word = view.getUint16(at + offset + 2);
      noteFragment(out, word & 0xfff8, (word & 1) !== 0, view.getUint32(at + offset + 4));
      if ((word & 0xfff8) + length - offset - size > 0xffff) return PARSE_FRAGMENT;
    }
    offset += size;
    header = next;
    if (out.fragment === FRAGMENT_LATER) break;
  }
  out.protocol = header;
  return parseTransport(view, at, offset, out);
}

/** RFC 7045 §3: every header number that is, or may be, an extension header, but ESP, behind which all is opaque. */
function isExtension(header: number): boolean {
  switch (header) {
    case 0: // hop-by-hop options
    case 43: // routing
    case 44: // fragment
    case 51: // authentication
    case 60: // destination options
    case 135: // mobility
    case 139: // HIP
    case 140: // shim6
    case 253: // experiments
    case 254:
      return true;
    default:
      return false;
  }
}

/** Bytes of the extension header at `at`, the `index`th of its packet; 0 where it is refused. */
function extensionSize(view: DataView, at: number, header: number, index: number): number {
  const units = view.getUint8(at + 1);
  switch (header) {
    case 0:
      return index === 0 ? 8 * (units + 1) : 0;
    case 43:
      return view.getUint8(at + 2) === 0 ? 0 : 8 * (units + 1);
    case 44:
      return 8;
    case 51:
      return 4 * (units + 2);
    case 60:
      return 8 * (units + 1);
    default:
      return 0;
  }
}

function parseTransport(view: DataView, at: number, headerLength: number, out: PacketInfo): number {
  out.headerLength = headerLength;
  out.transportOffset = at + headerLength;
  out.transportLength = out.totalLength - headerLength;
  out.sourcePort = out.destinationPort = 0;
  if (out.fragment === FRAGMENT_LATER || !hasPorts(out.protocol)) return PARSE_OK;
  if (out.transportLength < 4) return PARSE_TRANSPORT;
  out.sourcePort = view.getUint16(out.transportOffset);
  out.destinationPort = view.getUint16(out.transportOffset + 2);
  return PARSE_OK;
}

/** TCP, UDP, DCCP, SCTP and UDP-Lite begin with two ports. */
export function hasPorts(protocol: number): boolean {
  return protocol === 6 || protocol === 17 || protocol === 33 || protocol === 132 || protocol === 136;
}

/**
 * A u32 from addresses, protocol and ports, well mixed in all its bits. All fragments of a packet hash alike (ports are left
 * out of the first one too), so that they stay on one path. Not secret: never use it where a peer could profit from collisions.
 */
export function flowHash(info: PacketInfo): number {
  const ports = info.fragment === FRAGMENT_NONE ? (info.sourcePort << 16) | info.destinationPort : 0;
  let hash = Math.imul(info.protocol + 1, 0x9e3779b1);
  if (info.version === 6) {
    hash = mix(mix(mix(hash, info.src0), info.src1), info.src2);
    hash = mix(mix(mix(hash, info.dst0), info.dst1), info.dst2);
  }
  return finish(mix(mix(mix(hash, info.src3), info.dst3), ports));
}

/** One round of MurmurHash3 (32 bits). */
function mix(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51);
  k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
  const h = hash ^ k;
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
}

/** MurmurHash3's finaliser: every input bit flips every output bit about half the time. */
function finish(hash: number): number {
  let h = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Overwrites TTL or hop limit of the parsed packet at `at`, keeping IPv4's header checksum true. */
export function setTtl(view: DataView, at: number, ttl: number): void {
  if (view.getUint8(at) >>> 4 === 6) {
    view.setUint8(at + 7, ttl);
    return;
  }
  replaceIpv4Word(view, at, 8, (ttl << 8) | view.getUint8(at + 9));
}

/** What RFC 6040 §4.2, figure 4, makes of [inner ECN][outer ECN] at the exit; DROP where congestion can't be told on. */
const DROP = -1;
const EGRESS_ECN: readonly (readonly number[])[] = [
  [0, 0, 0, DROP],
  [1, 1, 1, 3],
  [2, 1, 2, 3],
  [3, 3, 3, 3],
];

/**
 * Applies the ECN that the overlay carried (0 not capable, 1 ECT(1), 2 ECT(0), 3 CE) to the parsed packet at `at`.
 * Returns false where RFC 6040 §4.2 says to drop it: congestion was met, and the inner transport can't be told.
 */
export function applyEcn(view: DataView, at: number, outer: number): boolean {
  const six = view.getUint8(at) >>> 4 === 6;
  const byte = view.getUint8(at + 1);
  const inner = six ? (byte >>> 4) & 3 : byte & 3;
  const ecn = EGRESS_ECN[inner][outer & 3];
  if (ecn === DROP) return false;
  if (ecn === inner) return true;
  if (six) view.setUint8(at + 1, (byte & 0xcf) | (ecn << 4));
  else replaceIpv4Word(view, at, 0, (view.getUint8(at) << 8) | (byte & 0xfc) | ecn);
  return true;
}

/** Replaces a 16-bit word of the IPv4 header and updates the checksum by equation 3 of RFC 1624. */
function replaceIpv4Word(view: DataView, at: number, offset: number, word: number): void {
  const before = view.getUint16(at + offset);
  view.setUint16(at + offset, word);
  let sum = (~view.getUint16(at + 10) & 0xffff) + (~before & 0xffff) + word;
  sum = (sum & 0xffff) + (sum >>> 16);
  sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(at + 10, ~sum & 0xffff);
}
