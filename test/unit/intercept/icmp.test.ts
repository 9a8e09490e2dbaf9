import { describe, expect, it } from 'vitest';
import {
  buildIcmpError,
  ICMP_ERROR_MAX,
  mayAnswer,
  type IcmpErrorKind,
} from '../../../src/intercept/icmp.js';
import { PacketInfo, PARSE_OK, parsePacket } from '../../../src/intercept/packet.js';
import { TokenBucket } from '../../../src/rate-limit/token-bucket.js';
import { bytesOf, ipv4, ipv6, naiveChecksum, placed, udp, V6_A } from './packets.js';

const AT = 4;
const ROUTER_4 = [0, 0, 0xffff, 0x0a4d00fe];
const ROUTER_6 = [0xfd770000, 0, 0, 0xfe];

function parsed(packet: Uint8Array): [DataView, PacketInfo] {
  const view = placed(packet, AT);
  const info = new PacketInfo();
  expect(parsePacket(view, AT, packet.length, info)).toBe(PARSE_OK);
  return [view, info];
}

function answer(packet: Uint8Array, kind: IcmpErrorKind, mtu = 0): Uint8Array {
  const [view, info] = parsed(packet);
  const into = new DataView(new Uint8Array(ICMP_ERROR_MAX + 20).fill(0xdd).buffer);
  const length = buildIcmpError(
    into,
    11,
    kind,
    mtu,
    info.version === 4 ? ROUTER_4 : ROUTER_6,
    view,
    AT,
    info,
  );
  expect([into.getUint8(10), into.getUint8(11 + length)]).toEqual([0xdd, 0xdd]);
  return bytesOf(into, 11, length);
}

const allowed = (packet: Uint8Array, kind: IcmpErrorKind = 'host-unreachable'): boolean =>
  mayAnswer(...parsed(packet), kind);

describe('ICMP errors', () => {
  const four = ipv4({ payload: udp(1000, 2000, [1, 2, 3]) });
  const six = ipv6({ payload: udp(1000, 2000, [1, 2, 3]) });

  it('over IPv4 go back to the source, quote the packet and have true checksums', () => {
    const error = answer(four, 'ttl-exceeded');
    expect(parsed(error)[1]).toMatchObject({
      protocol: 1,
      src3: 0x0a4d00fe,
      dst3: 0x0a4d0001,
      totalLength: 28 + four.length,
    });
    expect(naiveChecksum(error.slice(0, 20))).toBe(0);
    expect(naiveChecksum(error.slice(20))).toBe(0);
    expect([...error.slice(20, 22)]).toEqual([11, 0]);
    expect(error.slice(28)).toEqual(four);
  });

  it('over IPv6 go back to the source, quote the packet and have true checksums', () => {
    const error = answer(six, 'ttl-exceeded');
    expect(parsed(error)[1]).toMatchObject({ protocol: 58, src0: 0xfd770000, src3: 0xfe, dst3: 1 });
    const length = error.length - 40;
    const pseudo = [...error.slice(8, 40), 0, 0, length >> 8, length & 255, 0, 0, 0, 58];
    expect(naiveChecksum(Uint8Array.from([...pseudo, ...error.slice(40)]))).toBe(0);
    expect([...error.slice(40, 42)]).toEqual([3, 0]);
    expect(error.slice(48)).toEqual(six);
  });

  it.each([
    ['net-unreachable', [3, 0], [1, 0]],
    ['host-unreachable', [3, 1], [1, 3]],
    ['port-unreachable', [3, 3], [1, 4]],
    ['prohibited', [3, 13], [1, 1]],
    ['too-big', [3, 4], [2, 0]],
    ['ttl-exceeded', [11, 0], [3, 0]],
  ] as const)('of kind %s have the type and code of their RFC', (kind, v4, v6) => {
    expect([...answer(four, kind).slice(20, 22)]).toEqual(v4);
    expect([...answer(six, kind).slice(40, 42)]).toEqual(v6);
  });

  it('name the MTU where, and only where, a packet was too big', () => {
    expect([...answer(four, 'too-big', 1380).slice(24, 28)]).toEqual([0, 0, 5, 0x64]);
    expect([...answer(six, 'too-big', 1380).slice(44, 48)]).toEqual([0, 0, 5, 0x64]);
    expect([...answer(four, 'prohibited', 1380).slice(24, 28)]).toEqual([0, 0, 0, 0]);
  });

  it('quote a large packet up to 576 bytes over IPv4 and 1280 over IPv6', () => {
    const data = Array.from({ length: 2000 }, (_, i) => i & 255);
    const large4 = ipv4({ payload: udp(1, 2, data) });
    const large6 = ipv6({ payload: udp(1, 2, data) });
    expect(answer(large4, 'too-big', 1280).slice(28)).toEqual(large4.slice(0, 576 - 28));
    expect(answer(large6, 'too-big', 1280).slice(48)).toEqual(large6.slice(0, 1280 - 48));
  });
});

describe('an ICMP error', () => {
  const echo = [8, 0, 0, 0, 0, 1, 0, 1];

  it('may answer ordinary packets, echo requests among them', () => {
    expect(allowed(ipv4({ payload: udp(1, 2) }))).toBe(true);
    expect(allowed(ipv4({ protocol: 1, payload: echo }))).toBe(true);
    expect(allowed(ipv4({ fragment: 0x2000, payload: udp(1, 2) }))).toBe(true);
    expect(allowed(ipv6({ next: 58, payload: [128, 0, 0, 0] }))).toBe(true);
    // ICMP of the other family is just an unknown protocol.
    expect(allowed(ipv6({ next: 1, payload: [3] }))).toBe(true);
  });

  it.each([3, 4, 5, 11, 12])('never answers ICMP type %i', (type) => {
    expect(allowed(ipv4({ protocol: 1, payload: [type, ...echo.slice(1)] }))).toBe(false);
  });

  it.each([1, 2, 3, 4, 100, 127, 137])('never answers ICMPv6 type %i', (type) => {
    expect(allowed(ipv6({ next: 58, payload: [type, 0, 0, 0] }))).toBe(false);
  });

  it('never answers what may be one: a later fragment, or a type that is cut off', () => {
    expect(allowed(ipv4({ fragment: 1, payload: udp(1, 2) }))).toBe(false);
    expect(allowed(ipv4({ protocol: 1, payload: [] }))).toBe(false);
    expect(allowed(ipv6({ next: 58, payload: [] }))).toBe(false);
  });

  it.each([
    [224, 0, 0, 251],
    [239, 255, 255, 255],
    [255, 255, 255, 255],
  ])('never answers a packet to %i.%i.%i.%i', (...destination) => {
    expect(allowed(ipv4({ destination, payload: udp(1, 2) }))).toBe(false);
  });

  it.each([
    [0, 0, 0, 0],
    [127, 0, 0, 1],
    [224, 0, 0, 1],
    [240, 0, 0, 1],
    [255, 255, 255, 255],
  ])('never answers a packet from %i.%i.%i.%i', (...source) => {
    expect(allowed(ipv4({ source, payload: udp(1, 2) }))).toBe(false);
  });

  it('answers IPv6 multicast only to say that it was too big', () => {
    const multicast = ipv6({ destination: V6_A.with(0, 0xff), payload: udp(1, 2) });
    expect(allowed(multicast)).toBe(false);
    expect(allowed(multicast, 'too-big')).toBe(true);
    expect(allowed(ipv6({ source: V6_A.with(0, 0xff), payload: udp(1, 2) }), 'too-big')).toBe(false);
    expect(allowed(ipv6({ source: Array<number>(16).fill(0), payload: udp(1, 2) }))).toBe(false);
    expect(allowed(ipv6({ source: [...Array<number>(15).fill(0), 1], payload: udp(1, 2) }))).toBe(false);
  });
});

describe('the token bucket', () => {
  it('grants its burst at once, then its rate', () => {
    const bucket = new TokenBucket(3, 100_000, 5_000_000);
    const grants = (now: number, tries: number): number =>
      Array.from({ length: tries }, () => bucket.take(now)).filter(Boolean).length;
    expect(grants(5_000_000, 10)).toBe(3);
    expect(grants(5_099_000, 10)).toBe(0);
    expect(grants(5_100_001, 10)).toBe(1);
    expect(grants(6_000_001, 100)).toBe(3);
    let total = 0;
    for (let now = 7_000_000; now < 17_000_000; now += 1000) total += grants(now, 1);
    expect(total).toBeGreaterThanOrEqual(100);
    expect(total).toBeLessThanOrEqual(103);
  });

  it('earns nothing from a clock that steps back', () => {
    const bucket = new TokenBucket(1, 1_000_000, 10_000_000);
    expect(bucket.take(10_000_000)).toBe(true);
    expect(bucket.take(1)).toBe(false);
    expect(bucket.take(10_500_000)).toBe(false);
    expect(bucket.take(11_000_000)).toBe(true);
  });
});
