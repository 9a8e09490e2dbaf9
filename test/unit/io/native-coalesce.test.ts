import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createBatch, PACKET_PARTIAL } from '../../../src/io/batch.js';
import { coalesce, loadNative, nativeAvailable } from '../../../src/io/native.js';
import type { PacketSpec } from '../../support/native-packets.js';
import {
  ACK,
  buildPacket,
  checksumsHold,
  CWR,
  fill,
  FIN,
  PSH,
  rowBytes,
  TCP,
  UDP,
} from '../../support/native-packets.js';

const ALL = { vnetHeader: true, tso: true, uso: true };
const bytes = (length: number, seed = 1) => Uint8Array.from({ length }, (_, i) => (i * 31 + seed * 7) & 255);
const tcp = (over: Partial<PacketSpec> = {}): PacketSpec => ({
  version: 4,
  protocol: TCP,
  payload: bytes(1000),
  checksum: 'partial',
  ...over,
});
const udp = (over: Partial<PacketSpec> = {}): PacketSpec => tcp({ protocol: UDP, ...over });

interface Written {
  needsChecksum: boolean;
  gsoType: number;
  headerLength: number;
  gsoSize: number;
  csumStart: number;
  csumOffset: number;
  packet: Uint8Array;
}

/** What the device would have been given. */
function write(packets: Uint8Array[], features = ALL, flags = PACKET_PARTIAL): Written[] {
  const batch = createBatch(1 << 20, 1024);
  const order = fill(batch, packets, flags, 56);
  return coalesce(batch, order, order.length, features).map((bytes) => {
    const header = new DataView(bytes.buffer, 0, 10); // virtio_net_hdr in the machine's byte order
    return {
      needsChecksum: header.getUint8(0) === 1,
      gsoType: header.getUint8(1),
      headerLength: header.getUint16(2, true),
      gsoSize: header.getUint16(4, true),
      csumStart: header.getUint16(6, true),
      csumOffset: header.getUint16(8, true),
      packet: bytes.slice(10),
    };
  });
}

/** Successive segments of one flow. */
function stream(over: Partial<PacketSpec>, sizes: number[], flags: number[] = []): Uint8Array[] {
  let sequence = 1000;
  return sizes.map((size, i) => {
    const packet = buildPacket(
      tcp({ payload: bytes(size, i), sequence, id: 40 + i, ...over, flags: flags[i] ?? ACK }),
    );
    sequence += size;
    return packet;
  });
}

describe.skipIf(!nativeAvailable())('coalescing in native/', () => {
  it('undoes segmentation: what was cut from one packet is written as that packet', () => {
    const io = loadNative();
    const spec = fc.record({
      version: fc.constantFrom(4 as const, 6 as const),
      protocol: fc.constantFrom(6 as const, 17 as const),
      payload: fc.integer({ min: 2, max: 40000 }).map((n) => bytes(n, n)),
      sequence: fc.oneof(fc.constant(0xfffff000), fc.nat()),
      flags: fc.constantFrom(ACK, ACK | PSH, ACK | FIN | PSH),
      options: fc.constantFrom(0, 12),
      id: fc.constantFrom(7, 0xfffe),
      dontFragment: fc.boolean(),
      checksum: fc.constant('partial' as const),
    });
    fc.assert(
      fc.property(spec, fc.integer({ min: 500, max: 1400 }), (s, size) => {
        fc.pre(s.payload.length > size);
        const whole = buildPacket(s);
        const from = createBatch(65536, 1);
        const into = createBatch(1 << 18, 256);
        fill(from, [whole]);
        from.gsoType[0] = s.protocol === UDP ? 5 : s.version === 4 ? 1 : 4;
        from.gsoSize[0] = size;
        from.csumStart[0] = s.version === 4 ? 20 : 40;
        from.headerLength[0] = whole.length - s.payload.length;
        io.segment(from, Int32Array.of(0), 1, into, 40, 16);
        const written = write(Array.from({ length: into.count }, (_, i) => rowBytes(into, i, 40)));
        expect(written).toHaveLength(1);
        expect(Buffer.compare(written[0]!.packet, whole)).toBe(0);
        expect(written[0]).toMatchObject({
          needsChecksum: true,
          gsoSize: size,
          gsoType: from.gsoType[0],
          csumStart: from.csumStart[0],
        });
        expect(written[0]!.headerLength).toBe(from.headerLength[0]);
      }),
      { numRuns: 100 },
    );
  });

  it('never loses, alters or reorders a byte of a flow, whatever is mixed', () => {
    const kind = fc.record({
      flow: fc.nat(11),
      size: fc.constantFrom(0, 300, 300, 300, 120),
      flags: fc.constantFrom(ACK, ACK, ACK, ACK | PSH, ACK | CWR, ACK | FIN),
      skip: fc.boolean(),
      partial: fc.constantFrom(true, true, true, false),
    });
    fc.assert(
      fc.property(fc.array(kind, { maxLength: 60 }), (kinds) => {
        const next = new Map<number, number>();
        const sent = new Map<number, { sequence: number; bytes: string }[]>();
        const batch = createBatch(1 << 18, 64);
        const packets = kinds.map(({ flow, size, flags, skip, partial }, i) => {
          const sequence = (next.get(flow) ?? 1) + (skip ? 50 : 0);
          const payload = bytes(size, i);
          next.set(flow, sequence + size);
          sent.set(flow, [
            ...(sent.get(flow) ?? []),
            { sequence, bytes: Buffer.from(payload).toString('hex') },
          ]);
          return buildPacket(
            tcp({
              version: flow % 2 ? 4 : 6,
              sourcePort: flow,
              payload,
              sequence,
              flags,
              checksum: partial ? 'partial' : 'whole',
            }),
          );
        });
        const order = fill(batch, packets);
        kinds.forEach(({ partial }, i) => (batch.flags[i] = partial ? PACKET_PARTIAL : 0));
        const seen = new Map<number, { sequence: number; bytes: string }[]>();
        for (const buffer of coalesce(batch, order, order.length, ALL)) {
          const packet = buffer.subarray(10);
          const view = new DataView(packet.buffer, packet.byteOffset);
          const at = packet[0]! >> 4 === 4 ? 20 : 40;
          const flow = view.getUint16(at);
          const entry = {
            sequence: view.getUint32(at + 4),
            bytes: Buffer.from(packet.subarray(at + 20)).toString('hex'),
          };
          seen.set(flow, [...(seen.get(flow) ?? []), entry]);
        }
        for (const [flow, list] of sent) expect(joined(seen.get(flow) ?? [])).toEqual(joined(list));
      }),
      { numRuns: 200 },
    );
  });

  it('lets interleaved flows coalesce side by side', () => {
    const flows = [1, 2, 3].map((port) => stream({ sourcePort: port }, [1000, 1000, 1000]));
    const mixed = [0, 1, 2].flatMap((i) => flows.map((flow) => flow[i]!));
    expect(write(mixed).map((w) => w.packet.length)).toEqual([3040, 3040, 3040]);
  });

  it('ends a run with a shorter segment, with PSH and with FIN, which the whole packet then carries', () => {
    expect(write(stream({}, [1000, 1000, 400, 1000])).map((w) => w.packet.length)).toEqual([2440, 1040]);
    const pushed = write(stream({}, [1000, 1000, 1000], [ACK, ACK | PSH, ACK]));
    expect(pushed.map((w) => w.packet[33])).toEqual([ACK | PSH, ACK]);
    const ended = write(stream({}, [1000, 1000], [ACK, ACK | FIN | PSH]));
    expect(ended.map((w) => [w.packet.length, w.packet[33]])).toEqual([[2040, ACK | FIN | PSH]]);
  });

  const base = (i: number): PacketSpec => tcp({ sequence: 1 + i * 1000, id: i });
  it.each<[string, Partial<PacketSpec>]>([
    ['a gap in the sequence', { sequence: 1002 }],
    ['another TTL', { ttl: 63 }],
    ['another traffic class', { tos: 2 }],
    ['another don’t-fragment bit', { dontFragment: false }],
    ['another acknowledgement', { acknowledged: 8 }],
    ['other options', { options: 12 }],
    ['a larger payload', { payload: bytes(1001) }],
    ['ECE', { flags: ACK | 64 }],
    ['CWR', { flags: ACK | CWR }],
    ['SYN', { flags: ACK | 2 }],
    ['another port', { sourcePort: 9 }],
    ['another address', { to: 9 }],
  ])('keeps packets apart over %s', (_name, over) => {
    const two = [buildPacket(base(0)), buildPacket({ ...base(1), ...over })];
    expect(write([buildPacket(base(0)), buildPacket(base(1))])).toHaveLength(1);
    const written = write(two);
    expect(written.map((w) => w.gsoType)).toEqual([0, 0]);
    expect(written.map((w) => w.packet)).toEqual(two);
  });

  it('demands successive IPv4 ids only of packets that may be fragmented', () => {
    const packets = (dontFragment: boolean) =>
      [5, 9].map((id, i) => buildPacket({ ...base(i), id, dontFragment }));
    expect(write(packets(true))).toHaveLength(1);
    expect(write(packets(false))).toHaveLength(2);
  });

  it('makes equal UDP datagrams one, where the device can, with the length of all', () => {
    const packets = [64, 64, 64, 10, 64].map((size, i) =>
      buildPacket(udp({ payload: bytes(size, i), id: i })),
    );
    const written = write(packets);
    expect(written.map((w) => w.packet.length)).toEqual([28 + 202, 28 + 64]);
    expect(written[0]).toMatchObject({ gsoType: 5, gsoSize: 64, csumOffset: 6 });
    expect(new DataView(written[0]!.packet.buffer).getUint16(24)).toBe(210);
    expect(write(packets, { ...ALL, uso: false })).toHaveLength(5);
  });

  it('never exceeds 64 KiB in one packet', () => {
    const written = write(
      stream(
        {},
        Array.from({ length: 100 }, () => 1340),
      ),
    );
    expect(written.map((w) => w.packet.length)).toEqual([40 + 48 * 1340, 40 + 48 * 1340, 40 + 4 * 1340]);
    expect(
      write(
        stream(
          {},
          Array.from({ length: 300 }, () => 100),
        ),
      )[0]!.packet.length,
    ).toBe(40 + 128 * 100);
  });

  it('writes a packet with a whole checksum as it is, behind its flow’s earlier ones', () => {
    const [first, second, third] = [0, 1, 2].map((i) => ({
      ...base(i),
      checksum: i === 2 ? ('whole' as const) : ('partial' as const),
    }));
    const batch = createBatch(65536, 4);
    const order = fill(
      batch,
      [first, second, third].map((s) => buildPacket(s!)),
    );
    batch.flags[2] = 0;
    const written = coalesce(batch, order, 3, ALL);
    expect(written.map((w) => [w[0], w.length])).toEqual([
      [1, 10 + 2040],
      [0, 10 + 1040],
    ]);
    expect(written[1]!.subarray(10)).toEqual(buildPacket(third!));
  });

  it('completes partial checksums where the device has no vnet header', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(4 as const, 6 as const),
        fc.constantFrom(6 as const, 17 as const),
        fc.integer({ min: 0, max: 1400 }),
        (version, protocol, size) => {
          const [written] = write([buildPacket(tcp({ version, protocol, payload: bytes(size, size) }))], {
            vnetHeader: false,
            tso: false,
            uso: false,
          });
          expect(written!.needsChecksum).toBe(false);
          expect(checksumsHold(written!.packet)).toBe(true);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('completes a partial checksum that the device could not find: behind an extension header, or in a header of odd length', () => {
    const hidden = udp({ version: 6, extension: true });
    const odd = buildPacket(udp());
    odd[24] = 0x07; // the length in the UDP header
    const written = write([buildPacket(hidden), odd]);
    expect(written.map(({ needsChecksum, gsoType }) => [needsChecksum, gsoType])).toEqual([
      [false, 0],
      [false, 0],
    ]);
    expect(written[0]!.packet).toEqual(buildPacket({ ...hidden, checksum: 'whole' }));
    expect(checksumsHold(written[1]!.packet)).toBe(true);
  });

  it('drops a packet that claims a partial checksum where there is none', () => {
    const icmp = buildPacket(tcp());
    icmp[9] = 1;
    expect(write([icmp])).toHaveLength(0);
    expect(write([icmp], ALL, 0)).toHaveLength(1);
  });

  it('survives any bytes and any table', () => {
    const garbage = fc.tuple(
      fc.uint8Array({ minLength: 64, maxLength: 256 }),
      fc.array(fc.tuple(fc.integer({ min: -300, max: 300 }), fc.integer({ min: -5, max: 300 })), {
        minLength: 8,
        maxLength: 8,
      }),
    );
    fc.assert(
      fc.property(garbage, fc.constantFrom(0x45, 0x60, 0x4f), ([arena, rows], first) => {
        const batch = createBatch(arena.length, 8);
        batch.bytes.set(arena);
        batch.bytes[0] = batch.bytes[32] = first;
        rows.forEach(([offset, length], i) => {
          batch.offset[i] = offset;
          batch.length[i] = length;
          batch.flags[i] = i & 1;
        });
        for (const buffer of coalesce(batch, Int32Array.of(0, 1, 2, 3, 4, 5, 6, 7), 8, ALL)) {
          expect(buffer.length).toBeGreaterThan(10);
          expect(buffer.length).toBeLessThanOrEqual(10 + 65535);
        }
      }),
      { numRuns: 500 },
    );
  });
});

/** Adjacent entries that continue one another become one; empty ones stay. */
function joined(list: { sequence: number; bytes: string }[]): { sequence: number; bytes: string }[] {
  const out: { sequence: number; bytes: string }[] = [];
  for (const entry of list) {
    const last = out.at(-1);
    const continues =
      last !== undefined &&
      last.bytes !== '' &&
      entry.bytes !== '' &&
      last.sequence + last.bytes.length / 2 === entry.sequence;
    if (continues) last.bytes += entry.bytes;
    else out.push({ ...entry });
  }
  return out;
}
