import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PacketBatch } from '../../../src/io/batch.js';
import { COLUMNS, createBatch, PACKET_PARTIAL } from '../../../src/io/batch.js';
import { loadNative, nativeAvailable, nativeColumns } from '../../../src/io/native.js';
import { segmentBatch } from '../../../src/io/plain/segment.js';
import type { PacketSpec } from '../../support/native-packets.js';
import {
  ACK,
  buildPacket,
  checksumsHold,
  CWR,
  fill,
  FIN,
  headerLength,
  PSH,
  rowBytes,
  segmentsOf,
  TCP,
  transportStart,
  UDP,
} from '../../support/native-packets.js';
import { offloadPacket } from './batches.js';
import { describeBatch } from './conformance.js';

const bytes = (length: number, seed = 1) => Uint8Array.from({ length }, (_, i) => (i * 31 + seed * 7) & 255);

function gsoType(spec: PacketSpec): number {
  if (spec.protocol === UDP) return 5;
  return spec.version === 4 ? 1 : 4;
}

/** Row `i` as a TUN read would have described it. */
function describeOffload(batch: PacketBatch, i: number, spec: PacketSpec, size: number): void {
  batch.gsoType[i] = gsoType(spec);
  batch.gsoSize[i] = size;
  batch.headerLength[i] = headerLength(spec);
  batch.csumStart[i] = transportStart(spec);
}

const spec = (): fc.Arbitrary<PacketSpec> =>
  fc.record({
    version: fc.constantFrom(4 as const, 6 as const),
    protocol: fc.constantFrom(6 as const, 17 as const),
    payload: fc.integer({ min: 1, max: 9000 }).map((n) => bytes(n, n)),
    sequence: fc.oneof(fc.constant(0xfffffff0), fc.nat()),
    flags: fc.constantFrom(ACK, ACK | PSH, ACK | FIN | PSH, ACK | CWR),
    options: fc.constantFrom(0, 12, 40),
    id: fc.constantFrom(0, 5, 0xffff),
    dontFragment: fc.boolean(),
    tos: fc.nat(255),
    checksum: fc.constant('partial' as const),
  });

describe.skipIf(!nativeAvailable())('segmentation in native/', () => {
  it('shares the order of columns with batch.ts', () => {
    expect(nativeColumns()).toEqual([...COLUMNS]);
  });

  it('cuts a packet as a stack without offloads would have sent it', () => {
    const io = loadNative();
    const room = fc.tuple(fc.nat(64), fc.nat(32));
    fc.assert(
      fc.property(
        fc.array(fc.tuple(spec(), fc.integer({ min: 100, max: 1400 })), { minLength: 1, maxLength: 4 }),
        room,
        (items, [head, tail]) => {
          const from = createBatch(65536, 8);
          const into = createBatch(1 << 18, 1024);
          const order = fill(
            from,
            items.map(([s]) => buildPacket(s)),
          );
          items.forEach(([s, size], i) => describeOffload(from, i, s, size));
          expect(io.segment(from, order, order.length, into, head, tail)).toBe(order.length);
          const expected = items.flatMap(([s, size], i) =>
            segmentsOf(s, size).map((packet) => ({ packet, source: i })),
          );
          expect(into.count).toBe(expected.length);
          let at = 0;
          expected.forEach(({ packet, source }, k) => {
            expect(into.offset[k]).toBe(at);
            expect(into.source[k]).toBe(source);
            expect(into.flags[k]).toBe(PACKET_PARTIAL);
            expect(Buffer.compare(rowBytes(into, k, head), packet)).toBe(0);
            at += head + packet.length + tail;
          });
        },
      ),
      { numRuns: 150 },
    );
  });

  it('judges packets with partial checksums as the naive segmentation does, whatever their headers and columns say', () => {
    const io = loadNative();
    const columns = ['gsoType', 'gsoSize', 'headerLength', 'csumStart'] as const;
    const change = fc.oneof(
      fc.record({
        at: fc.nat(100),
        value: fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 6, 17, 43, 44, 51, 60, 135)),
      }),
      fc.record({ column: fc.constantFrom(...columns), value: fc.integer({ min: -1, max: 130 }) }),
    );
    const packet = fc.tuple(offloadPacket(), fc.array(change, { maxLength: 2 }));
    let refusals = 0;
    fc.assert(
      fc.property(
        fc.array(packet, { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: 24 }),
        (packets, capacity) => {
          const from = createBatch(1 << 17, 4);
          for (const [{ add }, changes] of packets) {
            const i = add(from);
            for (const each of changes) {
              if ('column' in each) from[each.column][i] = each.value;
              else from.bytes[from.offset[i]! + Math.min(each.at, from.length[i]! - 1)] = each.value;
            }
          }
          const order = Int32Array.from(packets.keys());
          const [expected, actual] = [createBatch(1 << 17, capacity), createBatch(1 << 17, capacity)];
          const { consumed, refused } = segmentBatch(from, order, order.length, expected, 7, 3);
          const before = io.segmentErrors;
          expect(io.segment(from, order, order.length, actual, 7, 3)).toBe(consumed);
          expect(io.segmentErrors - before).toBe(refused);
          expect(describeBatch(actual, 7)).toEqual(describeBatch(expected, 7));
          refusals += refused;
        },
      ),
      { numRuns: 400 },
    );
    expect(refusals).toBeGreaterThan(0);
  });

  it('completes the partial checksum of a packet without offload behind an IPv6 extension header', () => {
    const io = loadNative();
    for (const protocol of [TCP, UDP] as const) {
      const s = { version: 6, protocol, payload: bytes(77), extension: true } as const;
      const from = createBatch(4096, 1);
      const into = createBatch(4096, 1);
      fill(from, [buildPacket({ ...s, checksum: 'partial' })]);
      from.csumStart[0] = 48;
      expect(io.segment(from, Int32Array.of(0), 1, into, 5, 0)).toBe(1);
      expect(into.flags[0]).toBe(0);
      expect(rowBytes(into, 0, 5)).toEqual(buildPacket({ ...s, checksum: 'whole' }));
    }
  });

  it('completes checksums behind IPv6 extension headers, where no reader could find them', () => {
    const io = loadNative();
    for (const protocol of [TCP, UDP] as const) {
      const s: PacketSpec = {
        version: 6,
        protocol,
        payload: bytes(3001),
        extension: true,
        checksum: 'partial',
      };
      const from = createBatch(65536, 1);
      const into = createBatch(65536, 16);
      fill(from, [buildPacket(s)]);
      describeOffload(from, 0, s, 1000);
      expect(io.segment(from, Int32Array.of(0), 1, into, 0, 0)).toBe(1);
      const expected = segmentsOf({ ...s, checksum: 'whole' }, 1000);
      expect(into.count).toBe(4);
      expected.forEach((packet, k) => {
        expect(Buffer.compare(rowBytes(into, k), packet)).toBe(0);
        expect(into.flags[k]).toBe(0);
      });
    }
  });

  it('gives segments of a packet with a whole checksum whole ones, and leaves UDP without one alone', () => {
    const io = loadNative();
    for (const checksum of ['whole', 'none'] as const) {
      const s: PacketSpec = { version: 4, protocol: UDP, payload: bytes(2500), checksum };
      const from = createBatch(65536, 1);
      const into = createBatch(65536, 16);
      fill(from, [buildPacket(s)], 0);
      describeOffload(from, 0, s, 1000);
      io.segment(from, Int32Array.of(0), 1, into, 0, 0);
      expect(into.count).toBe(3);
      for (let k = 0; k < 3; k++) {
        expect(into.flags[k]).toBe(0);
        if (checksum === 'whole') expect(checksumsHold(rowBytes(into, k))).toBe(true);
        else expect(rowBytes(into, k).subarray(26, 28)).toEqual(Uint8Array.of(0, 0));
      }
    }
  });

  it('copies packets without offload, with room around them', () => {
    const io = loadNative();
    const packets = [
      bytes(60, 1),
      bytes(1380, 2),
      buildPacket({ version: 4, protocol: TCP, payload: bytes(9), checksum: 'whole' }),
    ];
    const from = createBatch(65536, 8);
    const into = createBatch(65536, 8);
    const order = fill(from, packets, 0, 5);
    expect(io.segment(from, order.reverse(), 3, into, 40, 16)).toBe(3);
    [2, 1, 0].forEach((source, k) => {
      expect(into.source[k]).toBe(source);
      expect(rowBytes(into, k, 40)).toEqual(packets[source]);
    });
    expect(into.offset[1]! - into.length[0]!).toBe(16);
  });

  it('stops at the first packet that does not fit, and goes on from there', () => {
    const io = loadNative();
    const s: PacketSpec = { version: 4, protocol: TCP, payload: bytes(4000), checksum: 'partial' };
    const from = createBatch(65536, 3);
    const order = fill(from, [buildPacket(s), buildPacket(s), buildPacket(s)]);
    for (let i = 0; i < 3; i++) describeOffload(from, i, s, 1000);
    const few = createBatch(65536, 9); // rows for two packets of four segments
    expect(io.segment(from, order, 3, few, 0, 0)).toBe(2);
    expect(few.count).toBe(8);
    expect(io.segment(from, order.subarray(2), 1, few, 0, 0)).toBe(1);
    const small = createBatch(4 * 1040 + 100, 64); // bytes for one
    expect(io.segment(from, order, 3, small, 0, 0)).toBe(1);
    expect(small.count).toBe(4);
  });

  it('refuses and counts a packet that no batch of this size can hold, rather than stall', () => {
    const io = loadNative();
    const from = createBatch(65536, 2);
    const order = fill(from, [bytes(5000), bytes(50)], 0);
    const into = createBatch(1000, 4);
    const before = io.segmentErrors;
    expect(io.segment(from, order, 2, into, 0, 0)).toBe(2);
    expect(io.segmentErrors - before).toBe(1);
    expect(into.count).toBe(1);
    expect(into.source[0]).toBe(1);
  });

  it('survives any table: every row is refused or comes out inside the arena', () => {
    const io = loadNative();
    const cell = fc.oneof(fc.integer(), fc.integer({ min: -4, max: 2000 }));
    fc.assert(
      fc.property(
        fc.array(fc.array(cell, { minLength: 12, maxLength: 12 }), { minLength: 4, maxLength: 4 }),
        (rows) => {
          const from = createBatch(2048, 4);
          from.bytes.set(
            buildPacket({ version: 4, protocol: TCP, payload: bytes(1500), checksum: 'partial' }),
          );
          rows.forEach((row, i) => row.forEach((value, c) => (from.table[c * 4 + i] = value)));
          const into = createBatch(8192, 32);
          const consumed = io.segment(from, Int32Array.of(0, 1, 2, 3), 4, into, 8, 8);
          expect(consumed).toBeGreaterThanOrEqual(0);
          for (let k = 0; k < into.count; k++) {
            expect(into.offset[k]! + into.length[k]!).toBeLessThanOrEqual(8192);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it.each([
    ['an index beyond the batch', Int32Array.of(4), 1, 0],
    ['a negative index', Int32Array.of(-1), 1, 0],
    ['more packets than the order has', Int32Array.of(0), 2, 0],
    ['a negative headroom', Int32Array.of(0), 1, -1],
  ])('throws ERANGE for %s', (_name, order, n, headroom) => {
    const io = loadNative();
    const from = createBatch(2048, 4);
    expect(() => io.segment(from, order, n, createBatch(2048, 4), headroom, 0)).toThrow(
      expect.objectContaining({ code: 'ERANGE' }),
    );
  });

  it('throws ERANGE rather than segment a batch into itself', () => {
    const batch = createBatch(2048, 4);
    expect(() => loadNative().segment(batch, Int32Array.of(0), 1, batch, 0, 0)).toThrow(
      expect.objectContaining({ code: 'ERANGE' }),
    );
  });
});
