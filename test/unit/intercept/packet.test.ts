import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  applyEcn,
  flowHash,
  FRAGMENT_FIRST,
  FRAGMENT_LATER,
  FRAGMENT_NONE,
  PacketInfo,
  PARSE_REJECTS,
  parsePacket,
  setTtl,
} from '../../../src/intercept/packet.js';
import { bytesOf, ipv4, ipv6, naiveChecksum, placed, udp, V6_A, V6_B } from './packets.js';

const AT = 9;

function parse(packet: Uint8Array, length = packet.length): [string, PacketInfo] {
  const info = new PacketInfo();
  return [PARSE_REJECTS[parsePacket(placed(packet, AT), AT, length, info)], info];
}

function verdict(packet: Uint8Array, length = packet.length): string {
  return parse(packet, length)[0];
}

/** An IPv6 extension header of `size` bytes that names the next one. */
const extension = (next: number, size: number): number[] => [
  next,
  size / 8 - 1,
  1,
  ...Array<number>(size - 3).fill(0),
];
/** `count` destination options headers and UDP next. */
const extensions = (count: number): number[] =>
  Array.from({ length: count }, (_, i) => extension(i === count - 1 ? 17 : 60, 8)).flat();
const fragment = (next: number, offset: number, more: boolean): number[] => [
  ...[next, 0, offset >> 8, (offset & 0xf8) | (more ? 1 : 0)],
  ...[0, 0, 0, 1],
];

describe('parsePacket, IPv4', () => {
  it('finds every field behind options', () => {
    const [result, info] = parse(
      ipv4({ tos: 0xba, ttl: 7, options: [1, 1, 1, 0], fragment: 0x4000, payload: udp(5000, 53, [1]) }),
    );
    expect(result).toBe('ok');
    expect(info).toEqual(
      Object.assign(new PacketInfo(), {
        version: 4,
        headerLength: 24,
        totalLength: 33,
        protocol: 17,
        ttl: 7,
        trafficClass: 0xba,
        ecn: 2,
        fragment: FRAGMENT_NONE,
        dontFragment: true,
        src2: 0xffff,
        src3: 0x0a4d0001,
        dst2: 0xffff,
        dst3: 0x0a4d0002,
        sourcePort: 5000,
        destinationPort: 53,
        transportOffset: AT + 24,
        transportLength: 9,
      }),
    );
  });

  it('gives ports to a first fragment only', () => {
    const first = parse(ipv4({ fragment: 0x2000, payload: udp(1, 2) }))[1];
    expect([first.fragment, first.sourcePort, first.destinationPort]).toEqual([FRAGMENT_FIRST, 1, 2]);
    const later = parse(ipv4({ fragment: 3, payload: udp(1, 2) }))[1];
    expect([later.fragment, later.sourcePort, later.destinationPort]).toEqual([FRAGMENT_LATER, 0, 0]);
  });

  it('rejects lengths that disagree', () => {
    const packet = ipv4({ payload: udp(1, 2) });
    expect(verdict(packet, 19)).toBe('short');
    expect(verdict(packet, packet.length - 1)).toBe('total-length');
    expect(verdict(packet, packet.length + 1)).toBe('total-length');
    const change = (index: number, value: number): Uint8Array => packet.with(index, value);
    expect(verdict(change(0, 0x44))).toBe('header-length');
    expect(verdict(change(0, 0x48))).toBe('header-length');
    expect(verdict(change(0, 0x55))).toBe('version');
    expect(verdict(ipv4({ payload: [1, 2, 3] }))).toBe('transport-header');
  });

  it('rejects a fragment that would reach beyond 65535 bytes', () => {
    expect(verdict(ipv4({ fragment: 0x1fff, payload: Array<number>(16).fill(0) }))).toBe('fragment');
    expect(verdict(ipv4({ fragment: 0x1f00, payload: Array<number>(16).fill(0) }))).toBe('ok');
  });
});

describe('parsePacket, IPv6', () => {
  it('finds the transport behind extension headers', () => {
    const chain = [
      ...extension(60, 8),
      ...extension(43, 16),
      ...extension(51, 8),
      17,
      2,
      0,
      0,
      ...Array<number>(12).fill(0),
    ];
    const [result, info] = parse(
      ipv6({ next: 0, trafficClass: 0xb9, hopLimit: 3, payload: [...chain, ...udp(9, 10)] }),
    );
    expect(result).toBe('ok');
    expect(info).toMatchObject({
      version: 6,
      headerLength: 40 + 48,
      protocol: 17,
      ttl: 3,
      trafficClass: 0xb9,
      ecn: 1,
      src0: 0xfd770000,
      src3: 1,
      dst3: 2,
      sourcePort: 9,
      destinationPort: 10,
      transportOffset: AT + 88,
      transportLength: 8,
      fragment: FRAGMENT_NONE,
    });
  });

  it('gives ports to a first fragment only, and stops at a later one', () => {
    const first = parse(ipv6({ next: 44, payload: [...fragment(17, 0, true), ...udp(1, 2)] }))[1];
    expect([first.fragment, first.sourcePort]).toEqual([FRAGMENT_FIRST, 1]);
    const [result, later] = parse(ipv6({ next: 44, payload: [...fragment(60, 8, false), 255, 255] }));
    expect([result, later.fragment, later.protocol, later.sourcePort]).toEqual(['ok', FRAGMENT_LATER, 60, 0]);
    const atomic = parse(ipv6({ next: 44, payload: [...fragment(17, 0, false), ...udp(1, 2)] }))[1];
    expect([atomic.fragment, atomic.sourcePort]).toEqual([FRAGMENT_NONE, 1]);
  });

  it.each([
    ['hop-by-hop out of place', [...extension(0, 8), ...extension(17, 8), ...udp(1, 2)], 60],
    ['routing type 0', [17, 0, 0, 0, 0, 0, 0, 0, ...udp(1, 2)], 43],
    ['a mobility header', [...extension(17, 8), ...udp(1, 2)], 135],
    ['an experimental header', [...extension(17, 8), ...udp(1, 2)], 253],
    ['two fragment headers', [...fragment(44, 0, true), ...fragment(17, 0, true), ...udp(1, 2)], 44],
    ['a header that ends beyond the packet', [17, 9, 1, 0, 0, 0, 0, 0, ...udp(1, 2)], 60],
    ['half a header', [17, 0, 1, 0], 60],
    ['more headers than any honest packet has', [...extensions(9), ...udp(1, 2)], 60],
  ])('rejects %s', (_, payload, next) => {
    expect(verdict(ipv6({ next, payload }))).toBe('extension-header');
  });

  it('walks as many headers as an honest packet may have', () => {
    expect(verdict(ipv6({ next: 60, payload: [...extensions(8), ...udp(1, 2)] }))).toBe('ok');
  });

  it('rejects lengths that disagree, and jumbograms', () => {
    const packet = ipv6({ payload: udp(1, 2) });
    expect(verdict(packet, 39)).toBe('short');
    expect(verdict(packet, packet.length - 1)).toBe('total-length');
    expect(verdict(packet, packet.length + 1)).toBe('total-length');
    expect(verdict(packet.with(4, 0).with(5, 0))).toBe('total-length');
    expect(verdict(ipv6({ payload: [] }))).toBe('transport-header');
    expect(verdict(ipv6({ next: 59, payload: [] }))).toBe('ok');
    expect(
      verdict(ipv6({ next: 44, payload: [...fragment(17, 0xfff8, true), ...Array<number>(16).fill(0)] })),
    ).toBe('fragment');
  });
});

describe('flowHash', () => {
  const hash = (packet: Uint8Array): number => flowHash(parse(packet)[1]);

  it('tells flows apart by each part of the 5-tuple and nothing else', () => {
    const base = hash(ipv4({ payload: udp(1, 2) }));
    expect(hash(ipv4({ ttl: 9, tos: 4, options: [1, 1, 1, 0], payload: udp(1, 2, [7]) }))).toBe(base);
    const others = [
      hash(ipv4({ payload: udp(2, 1) })),
      hash(ipv4({ source: [10, 77, 0, 3], payload: udp(1, 2) })),
      hash(ipv4({ destination: [10, 77, 0, 3], payload: udp(1, 2) })),
      hash(ipv4({ source: [10, 77, 0, 2], destination: [10, 77, 0, 1], payload: udp(1, 2) })),
      hash(ipv4({ protocol: 6, payload: udp(1, 2) })),
      hash(ipv6({ payload: udp(1, 2) })),
      hash(ipv6({ source: V6_B, destination: V6_A, payload: udp(1, 2) })),
    ];
    expect(new Set([base, ...others]).size).toBe(8);
  });

  it('is one for all fragments of a packet', () => {
    expect(hash(ipv4({ fragment: 0x2000, payload: udp(1, 2) }))).toBe(
      hash(ipv4({ fragment: 4, payload: [0, 0] })),
    );
  });

  it('spreads neighbouring ports evenly over high and low bits', () => {
    const low = new Array<number>(16).fill(0);
    const high = new Array<number>(16).fill(0);
    for (let port = 1; port <= 4096; port++) {
      const value = hash(ipv4({ payload: udp(port, 80) }));
      low[value & 15]++;
      high[value >>> 28]++;
    }
    // 256 expected a cell, σ ≈ 15.5: six σ either way.
    for (const cell of [...low, ...high]) expect(Math.abs(cell - 256)).toBeLessThan(93);
  });
});

describe('changes at the exit', () => {
  const byte = fc.integer({ min: 0, max: 255 });
  const address = fc.array(byte, { minLength: 4, maxLength: 4 });

  it('setTtl writes what a packet built with that TTL would have, checksum and all', () => {
    fc.assert(
      fc.property(byte, byte, byte, address, (ttl, then, tos, source) => {
        const view = placed(ipv4({ ttl, tos, source }), AT);
        setTtl(view, AT, then);
        expect(naiveChecksum(bytesOf(view, AT, 20))).toBe(0);
        expect(bytesOf(view, AT, 20)[8]).toBe(then);
        const six = placed(ipv6({ hopLimit: ttl, trafficClass: tos }), AT);
        setTtl(six, AT, then);
        expect(bytesOf(six, AT, 40)).toEqual(ipv6({ hopLimit: then, trafficClass: tos }));
      }),
    );
  });

  // RFC 6040, figure 4. Columns: outer not capable, ECT(0), ECT(1), CE.
  const NOT = 0;
  const ECT1 = 1;
  const ECT0 = 2;
  const CE = 3;
  const OUTER = [NOT, ECT0, ECT1, CE];
  const FIGURE_4: readonly (readonly [inner: number, outcomes: readonly (number | 'drop')[]])[] = [
    [NOT, [NOT, NOT, NOT, 'drop']],
    [ECT0, [ECT0, ECT0, ECT1, CE]],
    [ECT1, [ECT1, ECT1, ECT1, CE]],
    [CE, [CE, CE, CE, CE]],
  ];

  it('applyEcn follows figure 4 of RFC 6040 in both families and keeps the DSCP', () => {
    for (const [inner, outcomes] of FIGURE_4) {
      for (const [column, outcome] of outcomes.entries()) {
        const class_ = 0xb8 | inner;
        const four = placed(ipv4({ tos: class_ }), AT);
        const six = placed(ipv6({ trafficClass: class_ }), AT);
        const kept = outcome !== 'drop';
        expect(applyEcn(four, AT, OUTER[column])).toBe(kept);
        expect(applyEcn(six, AT, OUTER[column])).toBe(kept);
        const after = 0xb8 | (kept ? outcome : inner);
        expect(bytesOf(four, AT, 20)[1]).toBe(after);
        expect(naiveChecksum(bytesOf(four, AT, 20))).toBe(0);
        expect(bytesOf(six, AT, 40)).toEqual(ipv6({ trafficClass: after }));
      }
    }
  });
});
