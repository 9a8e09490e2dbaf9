/**
 * Copies packets from one batch into another and cuts segmentation-offload packets on the way. Written for clarity: the native
 * implementation is tested against this one.
 *
 * 1. A packet's offload fields are judged: copy, cut or refuse.
 * 2. Room is checked for all of its segments; a packet is never half consumed.
 * 3. Each segment gets the headers, its slice of the payload, and its own lengths, numbers, flags and checksums.
 */
import { PACKET_PARTIAL, type PacketBatch } from '../batch.js';
import {
  IPV6_BYTES,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  checksumField,
  completeChecksum,
  fold,
  locateTransport,
  read16,
  refreshIpv4Header,
  write16,
} from './checksum.js';

/** virtio-net gso_type values (virtio 1.2 §5.1.6). */
export const GSO_NONE = 0;
export const GSO_TCPV4 = 1;
export const GSO_TCPV6 = 4;
export const GSO_UDP_L4 = 5;

const TCP_FIN_PSH = 0x09;
const TCP_CWR = 0x80;
const TCP_MIN_BYTES = 20;
const UDP_BYTES = 8;

export interface SegmentOutcome {
  /** How many of `order` were dealt with. */
  consumed: number;
  /** How many of those were refused: offload fields without sense, or too big for an empty `into`. */
  refused: number;
}

/** What is to happen to one packet. */
interface Cut {
  /** Segments it becomes; 1 for a copy. */
  count: number;
  /** Bytes of headers that every segment repeats. */
  header: number;
  /** Most payload bytes per segment. */
  size: number;
  /** Offset of the transport header. */
  transport: number;
  protocol: number;
  /** Set where the checksum must be completed, because the receiver of a partial one couldn't find it. */
  complete: boolean;
}

/** See `Io.segment`. Sets `into.count`. */
export function segmentBatch(
  from: PacketBatch,
  order: Int32Array,
  n: number,
  into: PacketBatch,
  headroom: number,
  tailroom: number,
): SegmentOutcome {
  let refused = 0;
  let used = 0;
  into.count = 0;
  for (let k = 0; k < n; k++) {
    const i = order[k];
    const cut = judge(from, i);
    const needed = cut && bytesOf(cut, from.length[i], headroom + tailroom);
    if (!cut || needed === undefined || !fits(cut, needed, into, 0, 0)) {
      refused++;
      continue;
    }
    if (!fits(cut, needed, into, into.count, used)) return { consumed: k, refused };
    for (let j = 0; j < cut.count; j++) {
      const row = into.count++;
      into.offset[row] = used;
      into.length[row] = headroom + writeSegment(from, i, cut, j, into, row, used + headroom);
      used += into.length[row] + tailroom;
    }
  }
  return { consumed: n, refused };
}

/** See `Io.scatter`. Sets `into.count`. */
export function scatterBatch(
  from: PacketBatch,
  order: Int32Array,
  n: number,
  into: PacketBatch,
  slots: Int32Array,
  slotCount: number,
  at: number,
): SegmentOutcome {
  const slotSize = Math.floor(into.bytes.length / into.capacity);
  let refused = 0;
  into.count = 0;
  if (slotCount === 0) return { consumed: 0, refused };
  for (let k = 0; k < n; k++) {
    const i = order[k];
    const cut = judge(from, i);
    if (!cut || at + (cut.count > 1 ? cut.header + cut.size : from.length[i]) > slotSize) {
      refused++;
      continue;
    }
    if (into.count + cut.count > slotCount) return { consumed: k, refused };
    for (let j = 0; j < cut.count; j++) {
      const slot = slots[into.count++];
      into.offset[slot] = slot * slotSize + at;
      into.length[slot] = writeSegment(from, i, cut, j, into, slot, slot * slotSize + at);
    }
  }
  return { consumed: n, refused };
}

function bytesOf(cut: Cut, length: number, room: number): number {
  return length + (cut.count - 1) * cut.header + cut.count * room;
}

function fits(cut: Cut, needed: number, into: PacketBatch, count: number, used: number): boolean {
  return count + cut.count <= into.capacity && used + needed <= into.bytes.length;
}

function judge(from: PacketBatch, i: number): Cut | undefined {
  const offset = from.offset[i];
  const length = from.length[i];
  if (offset < 0 || length < 0 || offset + length > from.bytes.length) return undefined;
  return from.gsoType[i] === GSO_NONE ? judgeWhole(from, i) : judgeOffload(from, i);
}

function judgeWhole(from: PacketBatch, i: number): Cut | undefined {
  const length = from.length[i];
  const whole: Cut = { count: 1, header: length, size: 0, transport: 0, protocol: 0, complete: false };
  if ((from.flags[i] & PACKET_PARTIAL) === 0) return whole;
  const transport = locateTransport(from.bytes, from.offset[i], length);
  const field = transport && checksumField(transport.protocol);
  if (!transport || field === undefined || transport.start !== from.csumStart[i]) return undefined;
  if (transport.start + field + 2 > length) return undefined;
  return { ...whole, complete: !transport.direct };
}

function judgeOffload(from: PacketBatch, i: number): Cut | undefined {
  const [offset, length, header, size] = [
    from.offset[i],
    from.length[i],
    from.headerLength[i],
    from.gsoSize[i],
  ];
  const transport = locateTransport(from.bytes, offset, length);
  if (!transport || size <= 0 || header >= length || (from.flags[i] & PACKET_PARTIAL) === 0) return undefined;
  if (
    transport.start !== from.csumStart[i] ||
    !typeMatches(from.gsoType[i], from.bytes[offset] >> 4, transport.protocol)
  )
    return undefined;
  if (header !== transport.start + transportBytes(from.bytes, offset + transport.start, transport.protocol))
    return undefined;
  const count = Math.ceil((length - header) / size);
  const { start, protocol, direct } = transport;
  return { count, header, size, transport: start, protocol, complete: !direct };
}

function typeMatches(gsoType: number, version: number, protocol: number): boolean {
  if (gsoType === GSO_TCPV4) return version === 4 && protocol === PROTOCOL_TCP;
  if (gsoType === GSO_TCPV6) return version === 6 && protocol === PROTOCOL_TCP;
  return gsoType === GSO_UDP_L4 && protocol === PROTOCOL_UDP;
}

/** Length of the transport header; NaN, which equals nothing, for a TCP header that says it is shorter than TCP's. */
function transportBytes(bytes: Uint8Array, at: number, protocol: number): number {
  if (protocol === PROTOCOL_UDP) return UDP_BYTES;
  const length = (bytes[at + 12] >> 4) * 4;
  return length < TCP_MIN_BYTES ? NaN : length;
}

/** Writes segment j of packet i at `at`, and what is known of it in row `row`. Returns its length. */
function writeSegment(
  from: PacketBatch,
  i: number,
  cut: Cut,
  j: number,
  into: PacketBatch,
  row: number,
  at: number,
): number {
  const start = from.offset[i];
  const payload = cut.header + j * cut.size;
  const end = j === cut.count - 1 ? from.length[i] : payload + cut.size;
  into.bytes.set(from.bytes.subarray(start, start + cut.header), at);
  into.bytes.set(from.bytes.subarray(start + payload, start + end), at + cut.header);
  const length = cut.header + end - payload;
  if (from.gsoType[i] !== GSO_NONE) fixHeaders(into.bytes, at, length, from.length[i], cut, j);
  if (cut.complete) completeChecksum(into.bytes, at, length);
  into.source[row] = i;
  into.flags[row] = cut.complete ? from.flags[i] & ~PACKET_PARTIAL : from.flags[i];
  return length;
}

function fixHeaders(bytes: Uint8Array, at: number, length: number, whole: number, cut: Cut, j: number): void {
  if (bytes[at] >> 4 === 4) {
    write16(bytes, at + 2, length);
    write16(bytes, at + 4, (read16(bytes, at + 4) + j) & 0xffff);
    refreshIpv4Header(bytes, at);
  } else {
    write16(bytes, at + 4, length - IPV6_BYTES);
  }
  const transport = at + cut.transport;
  if (cut.protocol === PROTOCOL_TCP) fixTcp(bytes, transport, cut, j);
  else write16(bytes, transport + 4, length - cut.transport);
  // The pseudo-header's sum differs only by the length in it; taking that difference keeps what a routing header made of it.
  const field = transport + (checksumField(cut.protocol) ?? 0);
  const longer = ~(whole - cut.transport) & 0xffff;
  write16(bytes, field, fold(read16(bytes, field) + longer + (length - cut.transport)));
}

/** FIN and PSH belong to the last segment, CWR to the first (RFC 3168 §6.1.2). */
function fixTcp(bytes: Uint8Array, at: number, cut: Cut, j: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  view.setUint32(at + 4, view.getUint32(at + 4) + j * cut.size);
  if (j !== cut.count - 1) bytes[at + 13] &= ~TCP_FIN_PSH;
  if (j !== 0) bytes[at + 13] &= ~TCP_CWR;
}
