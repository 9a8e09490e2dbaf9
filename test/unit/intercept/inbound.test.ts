/** The filter between two caches: a is this host (10.77.0.1), b another node (10.77.0.2). Packets are real ones, parsed. */
import { describe, expect, test } from 'vitest';
import { FlowCache } from '../../../src/intercept/flow-cache.js';
import { InboundFilter, type InboundRule } from '../../../src/intercept/inbound.js';
import { FRAGMENT_FIRST, PacketInfo, PARSE_OK, parsePacket } from '../../../src/intercept/packet.js';
import { ipv4, ipv6, udp, V6_A, V6_B } from './packets.js';

const [SELF, OTHER] = [1, 2];
const A = [10, 77, 0, 1];
const B = [10, 77, 0, 2];
const MINUTE = 60_000_000;
const [ALLOWED, DROPPED, REJECTED] = [0, 1, 2];
const TCP = 6;
const [ICMP, ICMPV6] = [1, 58];

class Host {
  readonly sent = new FlowCache({ capacity: 64 });
  readonly filter = new InboundFilter(this.sent, SELF, 64);
  now = 0;

  constructor(rules?: InboundRule[], groups = {}) {
    this.filter.set(rules, groups);
  }

  /** What `Entry` does with a packet that this host sends. */
  send(packet: Uint8Array): void {
    const { view, info } = parsed(packet);
    const flow = this.sent.find(this.now, info, OTHER);
    this.sent.decide(flow, { do: 'overlay', service: 0, origin: 3, rule: -1 });
    if (this.filter.active) this.filter.noteSent(this.now, view, info, flow);
  }

  hears(packet: Uint8Array, later = false): number {
    const { view, info } = parsed(packet);
    return this.filter.judge(this.now, view, info, OTHER, later);
  }
}

function parsed(packet: Uint8Array): { view: DataView; info: PacketInfo } {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  const info = new PacketInfo();
  expect(parsePacket(view, 0, packet.length, info)).toBe(PARSE_OK);
  return { view, info };
}

const out = (from: number, to: number, protocol = TCP) =>
  ipv4({ source: A, destination: B, protocol, payload: udp(from, to) });
const into = (from: number, to: number, protocol = TCP, more = {}) =>
  ipv4({ source: B, destination: A, protocol, payload: udp(from, to), ...more });
const icmp = (type: number, payload: readonly number[] = [0, 0, 0, 0], way = { source: B, destination: A }) =>
  ipv4({ ...way, protocol: ICMP, payload: [type, 0, 0, 0, 0, 0, 0, 0, ...payload] });

const allow = (match: InboundRule['match']): InboundRule => ({ match, do: 'allow' });
const SSH = allow({ protocols: [TCP], ports: [{ first: 22, last: 22 }] });

describe('new flows', () => {
  test('enter where a rule lets them in, and only there; the first that matches counts', () => {
    const host = new Host([{ match: { from: [{ group: 'guests' }], protocols: [TCP] }, do: 'reject' }, SSH]);
    expect([host.hears(into(4000, 22)), host.hears(into(4000, 23)), host.hears(into(4000, 22, 17))]).toEqual([
      ALLOWED,
      DROPPED,
      DROPPED,
    ]);
    host.filter.set([{ match: { from: [{ group: 'guests' }] }, do: 'reject' }, SSH], { guests: [OTHER] });
    expect(host.hears(into(4000, 22))).toBe(REJECTED);
    host.filter.set([SSH], {});
    expect(host.hears(into(4000, 22))).toBe(ALLOWED);
  });

  test('all enter without rules, none with an empty list', () => {
    expect(new Host().filter.active).toBe(false);
    expect(new Host([]).hears(into(4000, 22))).toBe(DROPPED);
  });

  test('what a change of rules no longer allows ends, though this host has answered', () => {
    const host = new Host([SSH]);
    expect(host.hears(into(4000, 22))).toBe(ALLOWED);
    host.send(out(22, 4000));
    expect(host.hears(into(4000, 22))).toBe(ALLOWED);
    host.filter.set([], {});
    expect(host.hears(into(4000, 22))).toBe(DROPPED);
    host.send(out(22, 4000));
    expect(host.hears(into(4000, 22))).toBe(DROPPED);
  });
});

describe('answers', () => {
  test('to flows of this host pass, those from elsewhere do not', () => {
    const host = new Host([]);
    host.send(out(4000, 80));
    expect(host.hears(into(80, 4000))).toBe(ALLOWED);
    expect([host.hears(into(81, 4000)), host.hears(into(80, 4001)), host.hears(into(80, 4000, 17))]).toEqual([
      DROPPED,
      DROPPED,
      DROPPED,
    ]);
  });

  test('pass for hours of TCP, for minutes of others', () => {
    const host = new Host([]);
    host.send(out(4000, 80));
    host.send(out(4000, 80, 17));
    host.now = 6 * MINUTE;
    expect([host.hears(into(80, 4000)), host.hears(into(80, 4000, 17))]).toEqual([ALLOWED, DROPPED]);
    host.now = 200 * MINUTE;
    expect(host.hears(into(80, 4000))).toBe(DROPPED);
  });

  test('to what ran before there were rules pass', () => {
    const host = new Host();
    host.send(out(22, 4000));
    host.filter.set([], {});
    expect(host.hears(into(4000, 22))).toBe(ALLOWED);
  });

  test('echo replies pass after a request of this host, requests of others do not', () => {
    const host = new Host([]);
    expect([host.hears(icmp(8)), host.hears(icmp(0))]).toEqual([DROPPED, DROPPED]);
    host.send(icmp(8, [], { source: A, destination: B }));
    expect([host.hears(icmp(8)), host.hears(icmp(0)), host.hears(icmp(13))]).toEqual([
      DROPPED,
      ALLOWED,
      DROPPED,
    ]);
  });

  test('whole ones pass to what this host sent in fragments', () => {
    const host = new Host([]);
    host.send(
      ipv4({
        source: A,
        destination: B,
        protocol: 17,
        fragment: 0x2000,
        payload: udp(4000, 53, Array<number>(8).fill(0)),
      }),
    );
    expect([host.hears(into(53, 4000, 17)), host.hears(into(53, 4001, 17))]).toEqual([ALLOWED, DROPPED]);
  });
});

describe('ICMP errors', () => {
  const error = (type: number, quoted: Uint8Array) => icmp(type, [...quoted]);

  test.each([3, 4, 11, 12])(
    'of type %i pass about what this host sent, even as an answer to others',
    (type) => {
      const host = new Host([SSH]);
      host.send(out(4000, 80));
      host.hears(into(5000, 22));
      host.send(out(22, 5000));
      expect(host.hears(error(type, out(4000, 80).subarray(0, 28)))).toBe(ALLOWED);
      expect(host.hears(error(type, out(22, 5000)))).toBe(ALLOWED);
      expect(host.hears(error(type, out(4001, 80)))).toBe(DROPPED);
      expect(host.hears(error(type, into(4000, 80)))).toBe(DROPPED);
      expect(host.hears(error(type, out(4000, 80).subarray(0, 22)))).toBe(DROPPED);
    },
  );

  test('a redirect is none', () => {
    const host = new Host([]);
    host.send(out(4000, 80));
    expect(host.hears(error(5, out(4000, 80)))).toBe(DROPPED);
  });

  test('of IPv6 pass, behind extension headers too', () => {
    const host = new Host([]);
    const sent = ipv6({
      source: V6_A,
      destination: V6_B,
      next: 60,
      payload: [17, 0, 1, 4, 0, 0, 0, 0, ...udp(4000, 53)],
    });
    host.send(sent);
    const about = (quoted: Uint8Array) =>
      ipv6({ source: V6_B, destination: V6_A, next: ICMPV6, payload: [1, 4, 0, 0, 0, 0, 0, 0, ...quoted] });
    expect(host.hears(about(sent))).toBe(ALLOWED);
    const other = Uint8Array.from(sent);
    other[51] ^= 1;
    expect(host.hears(about(other))).toBe(DROPPED);
  });
});

describe('fragments', () => {
  test('are judged by the first, whose way the others go', () => {
    const host = new Host([allow({ protocols: [17], ports: [{ first: 53, last: 53 }] })]);
    const first = (port: number) =>
      into(4000, port, 17, { fragment: 0x2000, payload: udp(4000, port, Array<number>(8).fill(0)) });
    expect(parsed(first(53)).info.fragment).toBe(FRAGMENT_FIRST);
    expect([host.hears(first(53)), host.hears(first(54))]).toEqual([ALLOWED, DROPPED]);
    const rest = into(1, 2, 17, { fragment: 2 });
    expect([host.hears(rest, true), host.hears(rest, false)]).toEqual([ALLOWED, DROPPED]);
  });
});
