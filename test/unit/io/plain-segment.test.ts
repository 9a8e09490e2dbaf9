import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PACKET_PARTIAL, createBatch, type PacketBatch } from '../../../src/io/batch.js';
import { completeChecksum, fold, locateTransport, sumWords } from '../../../src/io/plain/checksum.js';
import { createPlainIo } from '../../../src/io/plain/index.js';
import { segmentBatch } from '../../../src/io/plain/segment.js';
import { offloadOf, offloadPacket, packetInto, packetsOf, type OffloadPacket } from './batches.js';
import { buildPacket, checksumsAreRight, naiveSum } from './packets.js';

const HEADROOM = 40;
const TAILROOM = 16;

function cut(packet: OffloadPacket): PacketBatch {
  const from = createBatch(1 << 16, 1);
  packet.add(from);
  const into = createBatch(1 << 18, 256);
  expect(segmentBatch(from, Int32Array.of(0), 1, into, HEADROOM, TAILROOM)).toEqual({
    consumed: 1,
    refused: 0,
  });
  return into;
}

const segmentsOf = (into: PacketBatch): Uint8Array[] =>
  packetsOf(into).map((bytes) => bytes.subarray(HEADROOM));
const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

describe('cutting an offloaded packet', () => {
  it('gives segments whose payloads, joined, are the payload, none longer than asked', () => {
    fc.assert(
      fc.property(offloadPacket(), (packet) => {
        const payloads = segmentsOf(cut(packet)).map((bytes) => bytes.subarray(packet.built.header));
        expect(Buffer.concat(payloads).equals(packet.options.payload)).toBe(true);
        if (packet.gsoSize > 0) {
          expect(payloads.every((payload) => payload.length <= packet.gsoSize)).toBe(true);
          expect(payloads.slice(0, -1).every((payload) => payload.length === packet.gsoSize)).toBe(true);
        }
      }),
    );
  });

  it('gives each segment right checksums: partial behind a plain IP header, complete elsewhere', () => {
    fc.assert(
      fc.property(offloadPacket(), (packet) => {
        const into = cut(packet);
        const direct = packet.options.version === 4 || !packet.options.ipExtra;
        segmentsOf(into).forEach((bytes, i) => {
          expect((into.flags[i] & PACKET_PARTIAL) !== 0).toBe(direct);
          expect(checksumsAreRight(bytes, packet.built.transport, direct)).toBe(true);
        });
      }),
    );
  });

  it('gives segments that verify end to end once completed', () => {
    fc.assert(
      fc.property(offloadPacket(), (packet) => {
        const into = cut(packet);
        segmentsOf(into).forEach((bytes, i) => {
          if (into.flags[i] & PACKET_PARTIAL) expect(completeChecksum(bytes, 0, bytes.length)).toBe(true);
          expect(checksumsAreRight(bytes, packet.built.transport, false)).toBe(true);
        });
      }),
    );
  });

  it('lays segments out one behind another with the rooms asked for and nothing between', () => {
    const into = cut(
      offloadOf({ version: 4, protocol: 'tcp', payload: new Uint8Array(2500), partial: true }, 1000),
    );
    const size = HEADROOM + 40 + 1000;
    expect([...into.offset.subarray(0, 3)]).toEqual([0, size + TAILROOM, 2 * (size + TAILROOM)]);
    expect([...into.length.subarray(0, 3)]).toEqual([size, size, size - 500]);
    expect([...into.source.subarray(0, 3)]).toEqual([0, 0, 0]);
  });

  it('counts TCP sequence numbers and IPv4 identifications up, past their wraps', () => {
    const options = {
      version: 4,
      protocol: 'tcp',
      sequence: 0xfffffc00,
      identification: 0xffff,
      partial: true,
    } as const;
    const segments = segmentsOf(cut(offloadOf({ ...options, payload: new Uint8Array(2500) }, 1000)));
    expect(segments.map((bytes) => view(bytes).getUint32(24))).toEqual([0xfffffc00, 0xffffffe8, 0x3d0]);
    expect(segments.map((bytes) => view(bytes).getUint16(4))).toEqual([0xffff, 0, 1]);
    expect(segments.map((bytes) => view(bytes).getUint16(2))).toEqual([1040, 1040, 540]);
  });

  it('keeps FIN and PSH for the last segment, CWR for the first, and all other flags on each', () => {
    const options = { version: 6, protocol: 'tcp', flags: 0xff, partial: true } as const;
    const segments = segmentsOf(cut(offloadOf({ ...options, payload: new Uint8Array(2500) }, 1000)));
    expect(segments.map((bytes) => bytes[40 + 13])).toEqual([0xf6, 0x76, 0x7f]);
    expect(segments.map((bytes) => view(bytes).getUint16(4))).toEqual([1020, 1020, 520]);
  });

  it('gives each UDP segment its own length', () => {
    const options = { version: 6, protocol: 'udp', partial: true } as const;
    const segments = segmentsOf(cut(offloadOf({ ...options, payload: new Uint8Array(2500) }, 1000)));
    expect(segments.map((bytes) => view(bytes).getUint16(44))).toEqual([1008, 1008, 508]);
  });

  it('copies a packet without offload as it is', () => {
    const into = cut(
      offloadOf({ version: 6, protocol: 'tcp', payload: Uint8Array.of(1, 2, 3), partial: false }, 0),
    );
    const { bytes } = buildPacket({ version: 6, protocol: 'tcp', payload: Uint8Array.of(1, 2, 3) });
    expect(segmentsOf(into)).toEqual([bytes]);
    expect(into.flags[0]).toBe(0);
  });

  it('copies what is no IP packet, as long as it claims no offload', () => {
    const [from, into] = [createBatch(64, 1), createBatch(64, 1)];
    packetInto(from, Uint8Array.of(0xff, 1, 2));
    expect(segmentBatch(from, Int32Array.of(0), 1, into, 0, 0)).toEqual({ consumed: 1, refused: 0 });
    expect(packetsOf(into)).toEqual([Uint8Array.of(0xff, 1, 2)]);
  });
});

describe('refusing an offloaded packet', () => {
  const nonsense: Record<string, (batch: PacketBatch) => void> = {
    'an unknown type': (batch) => (batch.gsoType[0] = 3),
    'the type of the other IP version': (batch) => (batch.gsoType[0] = 4),
    'UDP offload on TCP': (batch) => (batch.gsoType[0] = 5),
    'no size': (batch) => (batch.gsoSize[0] = 0),
    'a negative size': (batch) => (batch.gsoSize[0] = -5),
    'headers that leave no payload': (batch) => (batch.length[0] = 40),
    'headers that end within the TCP header': (batch) => (batch.headerLength[0] -= 4),
    'a TCP header that says it is 4 bytes long': (batch) => (batch.bytes[batch.offset[0] + 32] = 0x10),
    'a checksum start elsewhere': (batch) => (batch.csumStart[0] = 24),
    'a complete checksum': (batch) => (batch.flags[0] = 0),
    'a fragment': (batch) => (batch.bytes[batch.offset[0] + 6] = 0x20),
    'a length beyond the arena': (batch) => (batch.length[0] = batch.bytes.length),
    'a negative offset': (batch) => (batch.offset[0] = -1),
    'fewer bytes than an IP header': (batch) => (batch.length[0] = 12),
  };

  it.each(Object.keys(nonsense))('with %s', (name) => {
    const from = createBatch(8192, 1);
    offloadOf({ version: 4, protocol: 'tcp', payload: new Uint8Array(3000), partial: true }, 1000).add(from);
    nonsense[name](from);
    const into = createBatch(1 << 16, 64);
    expect(segmentBatch(from, Int32Array.of(0), 1, into, 0, 0)).toEqual({ consumed: 1, refused: 1 });
    expect(into.count).toBe(0);
  });

  it('never throws, whatever the bytes and fields say', () => {
    const field = fc.oneof(fc.integer({ min: -2, max: 80 }), fc.integer());
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 120 }),
        fc.array(field, { minLength: 5, maxLength: 5 }),
        (bytes, fields) => {
          const [from, into] = [createBatch(256, 1), createBatch(1024, 16)];
          packetInto(from, bytes);
          const columns = ['flags', 'gsoType', 'gsoSize', 'headerLength', 'csumStart'] as const;
          columns.forEach((column, k) => (from[column][0] = fields[k]));
          expect(segmentBatch(from, Int32Array.of(0), 1, into, 4, 4).consumed).toBe(1);
        },
      ),
    );
  });

  it('refuses a packet that even an empty batch has no room for, so that no caller waits for ever', () => {
    const io = createPlainIo();
    const from = createBatch(8192, 1);
    offloadOf({ version: 4, protocol: 'tcp', payload: new Uint8Array(3000), partial: true }, 1000).add(from);
    expect(io.segment(from, Int32Array.of(0), 1, createBatch(1 << 16, 2), 0, 0)).toBe(1);
    expect(io.segmentErrors).toBe(1);
  });

  it('refuses a partial checksum of a protocol that has none of its own', () => {
    const [from, into] = [createBatch(256, 1), createBatch(256, 1)];
    const { bytes, transport } = buildPacket({
      version: 4,
      protocol: 'udp',
      payload: new Uint8Array(8),
      partial: true,
    });
    packetInto(from, bytes);
    from.bytes[9] = 1;
    from.flags[0] = PACKET_PARTIAL;
    from.csumStart[0] = transport;
    expect(segmentBatch(from, Int32Array.of(0), 1, into, 0, 0)).toEqual({ consumed: 1, refused: 1 });
  });
});

describe('the Internet checksum', () => {
  it('sums the example of RFC 1071 §3', () => {
    expect(fold(sumWords(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7), 0, 8))).toBe(0xddf2);
  });

  it('agrees with a naive sum on any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        expect(fold(sumWords(bytes, 0, bytes.length)) % 0xffff).toBe(naiveSum(bytes) % 0xffff);
      }),
    );
  });

  it('folds the largest sum that 64 KiB can have', () => {
    expect(fold(sumWords(new Uint8Array(65_536).fill(0xff), 0, 65_536))).toBe(0xffff);
  });

  it('completes a UDP checksum of zero as 0xffff', () => {
    const { bytes, transport } = buildPacket({
      version: 4,
      protocol: 'udp',
      payload: new Uint8Array(2),
      partial: true,
    });
    const rest = naiveSum(bytes.subarray(transport));
    view(bytes).setUint16(transport + 8, 0xffff - rest);
    expect(completeChecksum(bytes, 0, bytes.length)).toBe(true);
    expect(view(bytes).getUint16(transport + 6)).toBe(0xffff);
  });

  it('leaves fragments and other protocols alone', () => {
    const fragment = buildPacket({
      version: 4,
      protocol: 'udp',
      payload: new Uint8Array(8),
      partial: true,
    }).bytes;
    fragment[6] = 0x20;
    const before = fragment.slice();
    expect(completeChecksum(fragment, 0, fragment.length)).toBe(false);
    expect(fragment).toEqual(before);
  });

  it('finds no transport behind an IPv6 fragment header or a truncated extension header', () => {
    const { bytes } = buildPacket({ version: 6, protocol: 'udp', payload: new Uint8Array(8), ipExtra: 8 });
    expect(locateTransport(bytes, 0, bytes.length)).toEqual({ protocol: 17, start: 48, direct: false });
    expect(locateTransport(bytes, 0, 44)).toBeUndefined();
    bytes[6] = 44;
    expect(locateTransport(bytes, 0, bytes.length)).toBeUndefined();
  });
});
