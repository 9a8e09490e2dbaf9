/**
 * Packets built and checked the slow way, byte by byte, as oracles for the addon: nothing here shares an idea with native/.
 */
import type { PacketBatch } from '../../src/io/batch.js';
import { PACKET_PARTIAL } from '../../src/io/batch.js';

export const TCP = 6;
export const UDP = 17;
export const FIN = 1;
export const PSH = 8;
export const ACK = 16;
export const CWR = 128;

export interface PacketSpec {
  version: 4 | 6;
  protocol: 6 | 17;
  payload: Uint8Array;
  /** Last byte of the addresses. */
  from?: number;
  to?: number;
  sourcePort?: number;
  destinationPort?: number;
  /** TCP only. */
  sequence?: number;
  acknowledged?: number;
  flags?: number;
  /** Bytes of TCP options, a multiple of 4 up to 40. */
  options?: number;
  /** IPv4 only. */
  id?: number;
  dontFragment?: boolean;
  tos?: number;
  ttl?: number;
  /** IPv6 only: 8 bytes of destination options between IP and transport header. */
  extension?: boolean;
  /** partial: pseudo-header sum only; whole: a valid checksum; none: zero. */
  checksum: 'partial' | 'whole' | 'none';
}

/** RFC 1071, two bytes at a time. */
export function naiveSum(bytes: Uint8Array, start = 0): number {
  let sum = start;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  }
  return sum;
}

function pseudoHeader(ip: Uint8Array, protocol: number, length: number): Uint8Array {
  const addresses = ip[0]! >> 4 === 4 ? ip.subarray(12, 20) : ip.subarray(8, 40);
  return Uint8Array.of(...addresses, 0, protocol, length >> 8, length & 255);
}

/** Offset of the transport header. */
export function transportStart(spec: PacketSpec): number {
  return spec.version === 4 ? 20 : spec.extension === true ? 48 : 40;
}

export function headerLength(spec: PacketSpec): number {
  return transportStart(spec) + (spec.protocol === TCP ? 20 + (spec.options ?? 0) : 8);
}

function writeIpv4(packet: Uint8Array, view: DataView, spec: PacketSpec): void {
  view.setUint16(0, 0x4500 | (spec.tos ?? 0));
  view.setUint16(2, packet.length);
  view.setUint16(4, spec.id ?? 0);
  view.setUint16(6, spec.dontFragment === false ? 0 : 0x4000);
  view.setUint8(8, spec.ttl ?? 64);
  view.setUint8(9, spec.protocol);
  packet.set([10, 0, 0, spec.from ?? 1, 10, 0, 0, spec.to ?? 2], 12);
  view.setUint16(10, ~naiveSum(packet.subarray(0, 20)) & 0xffff);
}

function writeIpv6(packet: Uint8Array, view: DataView, spec: PacketSpec): void {
  view.setUint32(0, (0x60000000 | ((spec.tos ?? 0) << 20)) >>> 0);
  view.setUint16(4, packet.length - 40);
  view.setUint8(6, spec.extension === true ? 60 : spec.protocol);
  view.setUint8(7, spec.ttl ?? 64);
  packet.set([0xfd, 0x77], 8);
  packet.set([0xfd, 0x77], 24);
  packet[23] = spec.from ?? 1;
  packet[39] = spec.to ?? 2;
  if (spec.extension === true) packet.set([spec.protocol, 0, 1, 4, 0, 0, 0, 0], 40);
}

function writeTransport(packet: Uint8Array, view: DataView, spec: PacketSpec): void {
  const at = transportStart(spec);
  view.setUint16(at, spec.sourcePort ?? 1000);
  view.setUint16(at + 2, spec.destinationPort ?? 2000);
  if (spec.protocol === UDP) {
    view.setUint16(at + 4, packet.length - at);
    return;
  }
  const options = spec.options ?? 0;
  view.setUint32(at + 4, (spec.sequence ?? 1) >>> 0);
  view.setUint32(at + 8, spec.acknowledged ?? 7);
  view.setUint8(at + 12, ((20 + options) / 4) << 4);
  view.setUint8(at + 13, spec.flags ?? ACK);
  view.setUint16(at + 14, 501);
  for (let i = 0; i < options; i++) packet[at + 20 + i] = i === options - 1 ? 0 : 1;
}

export function buildPacket(spec: PacketSpec): Uint8Array {
  const header = headerLength(spec);
  const packet = new Uint8Array(header + spec.payload.length);
  const view = new DataView(packet.buffer);
  (spec.version === 4 ? writeIpv4 : writeIpv6)(packet, view, spec);
  writeTransport(packet, view, spec);
  packet.set(spec.payload, header);
  if (spec.checksum === 'none') return packet;
  const at = transportStart(spec);
  const field = at + (spec.protocol === TCP ? 16 : 6);
  const pseudo = naiveSum(pseudoHeader(packet, spec.protocol, packet.length - at));
  view.setUint16(field, pseudo);
  if (spec.checksum === 'partial') return packet;
  view.setUint16(field, 0);
  const whole = ~naiveSum(packet.subarray(at), pseudo) & 0xffff;
  view.setUint16(field, whole === 0 && spec.protocol === UDP ? 0xffff : whole);
  return packet;
}

/** What TSO or USO makes of `spec`, by building each segment from scratch. */
export function segmentsOf(spec: PacketSpec, size: number): Uint8Array[] {
  const count = Math.max(1, Math.ceil(spec.payload.length / size));
  return Array.from({ length: count }, (_, k) => {
    const last = k === count - 1;
    const flags = (spec.flags ?? ACK) & ~(last ? 0 : FIN | PSH) & ~(k === 0 ? 0 : CWR);
    return buildPacket({
      ...spec,
      flags,
      payload: spec.payload.subarray(k * size, (k + 1) * size),
      id: ((spec.id ?? 0) + k) & 0xffff,
      sequence: (spec.sequence ?? 1) + k * size,
    });
  });
}

/** Whether IP header checksum and transport checksum of a packet without extension headers are right. */
export function checksumsHold(packet: Uint8Array): boolean {
  const v4 = packet[0]! >> 4 === 4;
  const at = v4 ? (packet[0]! & 15) * 4 : 40;
  if (v4 && naiveSum(packet.subarray(0, at)) !== 0xffff) return false;
  const protocol = packet[v4 ? 9 : 6]!;
  return (
    naiveSum(packet.subarray(at), naiveSum(pseudoHeader(packet, protocol, packet.length - at))) === 0xffff
  );
}

/** Puts packets into a batch, one behind the other with `gap` bytes between; returns the order 0..n-1. */
export function fill(
  batch: PacketBatch,
  packets: readonly Uint8Array[],
  flags = PACKET_PARTIAL,
  gap = 0,
): Int32Array {
  let at = 0;
  packets.forEach((packet, i) => {
    batch.bytes.set(packet, at);
    batch.offset[i] = at;
    batch.length[i] = packet.length;
    batch.flags[i] = flags;
    batch.gsoType[i] = batch.gsoSize[i] = batch.headerLength[i] = batch.csumStart[i] = 0;
    at += packet.length + gap;
  });
  batch.count = packets.length;
  return Int32Array.from({ length: packets.length }, (_, i) => i);
}

/** The packet that row `i` describes, a copy, without `headroom` bytes in front. */
export function rowBytes(batch: PacketBatch, i: number, headroom = 0): Uint8Array {
  return batch.bytes.slice(batch.offset[i]! + headroom, batch.offset[i]! + batch.length[i]!);
}
