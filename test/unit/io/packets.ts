/** Builds and takes apart TCP and UDP packets for the tests of src/io. Checksums come from a naive sum of its own. */

export interface PacketOptions {
  version: 4 | 6;
  protocol: 'tcp' | 'udp';
  payload: Uint8Array;
  /** TCP sequence number. */
  sequence?: number;
  /** TCP flags byte. */
  flags?: number;
  /** IPv4 identification. */
  identification?: number;
  /** Bytes of TCP options, a multiple of 4 up to 40. */
  tcpOptions?: number;
  /** Bytes of IPv4 options (multiple of 4, up to 40), or of an IPv6 destination options header (multiple of 8). */
  ipExtra?: number;
  /** Whether the transport checksum is left partial. */
  partial?: boolean;
}

export interface BuiltPacket {
  bytes: Uint8Array;
  /** Offset of the transport header. */
  transport: number;
  /** Bytes of all headers. */
  header: number;
}

const SOURCE = { 4: [10, 77, 0, 1], 6: [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1] };
const DESTINATION = { 4: [10, 77, 0, 2], 6: [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xca, 0xfe, 0, 2] };

/** One's complement sum of big-endian words, folded. */
export function naiveSum(bytes: Iterable<number>): number {
  const all = [...bytes];
  if (all.length % 2) all.push(0);
  let sum = 0;
  for (let i = 0; i < all.length; i += 2) {
    sum += all[i] * 256 + all[i + 1];
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

/** The pseudo-header of RFC 793 and RFC 8200 §8.1. */
export function pseudoHeader(packet: Uint8Array, transport: number, protocol: number): number[] {
  const version = packet[0] >> 4;
  const addresses = version === 4 ? packet.subarray(12, 20) : packet.subarray(8, 40);
  const length = packet.length - transport;
  return [
    ...addresses,
    0,
    protocol,
    (length >> 24) & 0xff,
    (length >> 16) & 0xff,
    (length >> 8) & 0xff,
    length & 0xff,
  ];
}

export function buildPacket(options: PacketOptions): BuiltPacket {
  const { version, payload } = options;
  const extra = options.ipExtra ?? 0;
  const transport = (version === 4 ? 20 : 40) + extra;
  const transportHeader = options.protocol === 'tcp' ? 20 + (options.tcpOptions ?? 0) : 8;
  const header = transport + transportHeader;
  const bytes = new Uint8Array(header + payload.length);
  const view = new DataView(bytes.buffer);
  const protocol = options.protocol === 'tcp' ? 6 : 17;
  if (version === 4) writeIpv4(view, bytes, protocol, extra, options.identification ?? 0);
  else writeIpv6(view, bytes, protocol, extra);
  view.setUint16(transport, 40000);
  view.setUint16(transport + 2, 5201);
  if (protocol === 6) {
    view.setUint32(transport + 4, options.sequence ?? 0);
    view.setUint8(transport + 12, (transportHeader / 4) << 4);
    view.setUint8(transport + 13, options.flags ?? 0x10);
    bytes.fill(1, transport + 20, header);
  } else {
    view.setUint16(transport + 4, bytes.length - transport);
  }
  bytes.set(payload, header);
  const field = transport + (protocol === 6 ? 16 : 6);
  view.setUint16(field, naiveSum(pseudoHeader(bytes, transport, protocol)));
  if (!options.partial) view.setUint16(field, ~naiveSum(bytes.subarray(transport)) & 0xffff || 0xffff);
  return { bytes, transport, header };
}

function writeIpv4(
  view: DataView,
  bytes: Uint8Array,
  protocol: number,
  extra: number,
  identification: number,
): void {
  bytes[0] = 0x45 + extra / 4;
  view.setUint16(2, bytes.length);
  view.setUint16(4, identification);
  view.setUint16(6, 0x4000);
  bytes[8] = 64;
  bytes[9] = protocol;
  bytes.set(SOURCE[4], 12);
  bytes.set(DESTINATION[4], 16);
  bytes.fill(1, 20, 20 + extra);
  view.setUint16(10, ~naiveSum(bytes.subarray(0, 20 + extra)) & 0xffff);
}

function writeIpv6(view: DataView, bytes: Uint8Array, protocol: number, extra: number): void {
  bytes[0] = 0x60;
  view.setUint16(4, bytes.length - 40);
  bytes[6] = extra ? 60 : protocol;
  bytes[7] = 64;
  bytes.set(SOURCE[6], 8);
  bytes.set(DESTINATION[6], 24);
  if (!extra) return;
  bytes[40] = protocol;
  bytes[41] = extra / 8 - 1;
  // One PadN option fills the header (RFC 8200 §4.2).
  bytes[42] = 1;
  bytes[43] = extra - 4;
}

/** Whether the transport checksum, complete or partial as said, and the IPv4 header's are right. */
export function checksumsAreRight(packet: Uint8Array, transport: number, partial: boolean): boolean {
  const protocol = packet[0] >> 4 === 4 ? packet[9] : transport === 40 ? packet[6] : packet[40];
  const pseudo = pseudoHeader(packet, transport, protocol);
  if (packet[0] >> 4 === 4 && naiveSum(packet.subarray(0, (packet[0] & 15) * 4)) !== 0xffff) return false;
  const field = transport + (protocol === 6 ? 16 : 6);
  if (partial) return ((packet[field] << 8) | packet[field + 1]) === naiveSum(pseudo);
  return naiveSum([...pseudo, ...packet.subarray(transport)]) === 0xffff;
}
