/** Fills batches for the tests of src/io, and takes packets out of them. */
import fc from 'fast-check';
import { PACKET_PARTIAL, type PacketBatch } from '../../../src/io/batch.js';
import { buildPacket, type BuiltPacket, type PacketOptions } from './packets.js';

/** Adds a packet behind the batch's last, with `before` and `after` bytes of room around it. Returns its index. */
export function packetInto(batch: PacketBatch, bytes: Uint8Array, before = 0, after = 0): number {
  const i = batch.count++;
  const used = i === 0 ? 0 : batch.offset[i - 1] + batch.length[i - 1] + after;
  batch.offset[i] = used + before;
  batch.length[i] = bytes.length;
  batch.bytes.set(bytes, used + before);
  return i;
}

/** Copies of all packets of a batch. */
export function packetsOf(batch: PacketBatch): Uint8Array[] {
  return Array.from({ length: batch.count }, (_, i) =>
    batch.bytes.slice(batch.offset[i], batch.offset[i] + batch.length[i]),
  );
}

export interface OffloadPacket {
  options: PacketOptions;
  built: BuiltPacket;
  /** 0 for a packet without segmentation offload. */
  gsoSize: number;
  gsoType: number;
  /** Adds the packet with its offload fields. */
  add(batch: PacketBatch): number;
}

/** Any packet as a TUN device with offloads hands it over. */
export function offloadPacket(
  fixed: { version?: 4 | 6; protocol?: 'tcp' | 'udp'; minPayload?: number } = {},
): fc.Arbitrary<OffloadPacket> {
  return fc
    .record({
      version: fixed.version ? fc.constant(fixed.version) : fc.constantFrom<4 | 6>(4, 6),
      protocol: fixed.protocol ? fc.constant(fixed.protocol) : fc.constantFrom<'tcp' | 'udp'>('tcp', 'udp'),
      payloadBytes: fc.integer({ min: fixed.minPayload ?? 0, max: 9000 }),
      fill: fc.nat(255),
      sequence: fc.oneof(fc.nat(0xffffffff), fc.integer({ min: 0xffffff00, max: 0xffffffff })),
      flags: fc.nat(255),
      identification: fc.nat(0xffff),
      tcpOptions: fc.constantFrom(0, 12, 40),
      ipExtra: fc.constantFrom(0, 0, 0, 8, 24),
      gsoSize: fixed.minPayload
        ? fc.integer({ min: 100, max: 1448 })
        : fc.oneof(fc.constant(0), fc.integer({ min: 100, max: 1448 })),
    })
    .map(({ payloadBytes, fill, gsoSize, ...rest }) => {
      const payload = Uint8Array.from({ length: payloadBytes }, (_, i) => (i * 7 + (i >> 8) + fill) & 0xff);
      return offloadOf({ ...rest, payload, partial: true }, payloadBytes > 0 ? gsoSize : 0);
    });
}

export function offloadOf(options: PacketOptions, gsoSize: number): OffloadPacket {
  const built = buildPacket(options);
  const gsoType = gsoSize === 0 ? 0 : options.protocol === 'udp' ? 5 : options.version === 4 ? 1 : 4;
  const add = (batch: PacketBatch): number => {
    const i = packetInto(batch, built.bytes, 3, 2);
    batch.flags[i] = options.partial ? PACKET_PARTIAL : 0;
    batch.gsoType[i] = gsoType;
    batch.gsoSize[i] = gsoSize;
    batch.headerLength[i] = gsoType ? built.header : 0;
    batch.csumStart[i] = options.partial ? built.transport : 0;
    return i;
  };
  return { options, built, gsoSize, gsoType, add };
}
