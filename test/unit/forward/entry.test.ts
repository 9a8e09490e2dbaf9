import { describe, expect, it } from 'vitest';
import { PACKET_PARTIAL } from '../../../src/io/batch.js';
import { FLAG_PARTIAL, FRAME_DATA } from '../../../src/overlay/wire/routed.js';
import { readFrame } from '../../support/forward/frames.js';
import { overlayAddress, readIcmp } from '../../support/forward/icmp.js';
import { EPOCH, FAR, ForwardRig, LOST, NEAR, rigTables, SELF, SIDE } from '../../support/forward/rig.js';
import {
  buildPacket,
  headerLength,
  type PacketSpec,
  segmentsOf,
  TCP,
  transportStart,
  UDP,
} from '../../support/native-packets.js';
import { ipv4, ipv6, udp } from '../intercept/packets.js';

const ports = udp(1000, 2000);

const payload = (length: number, fill = 1) => Uint8Array.from({ length }, (_, i) => (i * 7 + fill) & 255);

const packet = (version: 4 | 6, to: number, more: Partial<PacketSpec> = {}) =>
  buildPacket({ version, protocol: UDP, payload: payload(40), from: SELF, to, checksum: 'whole', ...more });

const VERSIONS = [4, 6] as const;

describe.each(VERSIONS)('a packet from the TUN device, IPv%i', (version) => {
  it("goes to the next hop in a data frame that names source, destination, epoch and the packet's TTL", () => {
    const rig = new ForwardRig();
    const inner = packet(version, FAR, { ttl: 37 });
    rig.tun.inject(inner);
    rig.settle();
    const [record, ...more] = rig.near.take();
    expect(more).toEqual([]);
    expect(record.lane).toBe(1);
    const { flow, ...fields } = readFrame(record.body);
    const addressed = { from: SELF, to: FAR, epoch: EPOCH, sequence: 1, ttl: 37 };
    expect(fields).toEqual({ type: FRAME_DATA, flags: 0, service: 0, ecn: 0, ...addressed, payload: inner });
    expect(flow).not.toBe(0);
    expect(rig.drops()).toEqual({});
  });

  it('carries its ECN bits in the frame and in the outer header', () => {
    const rig = new ForwardRig();
    for (const ecn of [0, 1, 2, 3]) rig.tun.inject(packet(version, NEAR, { tos: 0x28 | ecn }));
    rig.settle();
    const sent = rig.near.take();
    expect(sent.map(({ trafficClass }) => trafficClass)).toEqual([0, 1, 2, 3]);
    expect(sent.map(({ body }) => readFrame(body).ecn)).toEqual([0, 1, 2, 3]);
  });

  it('is numbered by destination, wherever the next hop lies', () => {
    const rig = new ForwardRig();
    for (const to of [NEAR, FAR, NEAR, SIDE, FAR, NEAR]) rig.tun.inject(packet(version, to));
    rig.settle();
    const near = rig.near.take().map(({ body }) => readFrame(body));
    expect(near.map(({ to, sequence }) => [to, sequence])).toEqual([
      [NEAR, 1],
      [FAR, 1],
      [NEAR, 2],
      [FAR, 2],
      [NEAR, 3],
    ]);
    expect(rig.side.take().map(({ body }) => readFrame(body).sequence)).toEqual([1]);
  });

  it('keeps its number after new tables, and takes the new next hop', () => {
    const rig = new ForwardRig();
    rig.tun.inject(packet(version, FAR));
    rig.settle();
    rig.routes.install(rigTables({ [SELF]: SELF, [NEAR]: NEAR, [SIDE]: SIDE, [FAR]: SIDE }));
    rig.tun.inject(packet(version, FAR));
    rig.settle();
    expect(rig.near.take()).toHaveLength(1);
    expect(rig.side.take().map(({ body }) => readFrame(body).sequence)).toEqual([2]);
  });

  it('is refused with "host unreachable" where the overlay has no such node', () => {
    const rig = new ForwardRig();
    const inner = packet(version, 99);
    rig.tun.inject(inner);
    rig.settle();
    expect(rig.drops()).toEqual({ 'overlay-absent': 1 });
    const { type, code, from, to, quoted } = readIcmp(rig.takeTun()[0]);
    expect([type, code]).toEqual(version === 4 ? [3, 1] : [1, 3]);
    // The kernel believes no IPv4 packet from outside that bears an address of its own.
    const refuser = version === 4 ? 99 : SELF;
    expect([from, to]).toEqual([overlayAddress(version, refuser), overlayAddress(version, SELF)]);
    expect(quoted).toEqual(inner);
    expect(rig.near.take()).toEqual([]);
  });

  it('is dropped without a word where the next hop has just gone down: routing is about to find another', () => {
    const rig = new ForwardRig();
    rig.near.neighbour.up = false;
    rig.tun.inject(packet(version, FAR));
    rig.tun.inject(packet(version, SIDE));
    rig.settle();
    expect(rig.drops()).toEqual({ 'no-path': 1 });
    expect(rig.takeTun()).toEqual([]);
    expect(rig.near.take()).toEqual([]);
    expect(rig.side.take()).toHaveLength(1);
  });

  it.each([NEAR, 99])("is dropped without a word where its source is node %i's", (from) => {
    const rig = new ForwardRig();
    rig.tun.inject(packet(version, SIDE, { from }));
    rig.settle();
    expect(rig.drops()).toEqual({ 'foreign-source': 1 });
    expect(rig.takeTun()).toEqual([]);
    expect(rig.side.take()).toEqual([]);
  });

  it('follows the rules: the first that matches drops it or names its service', () => {
    const rig = new ForwardRig({
      rules: [
        { match: { ports: [{ first: 2000, last: 2000 }] }, action: { do: 'drop' } },
        { match: { dscp: 46 }, action: { do: 'overlay', service: 2 } },
      ],
    });
    rig.tun.inject(packet(version, NEAR));
    rig.tun.inject(packet(version, NEAR, { destinationPort: 2001, tos: 46 << 2 }));
    rig.tun.inject(packet(version, NEAR, { destinationPort: 2001 }));
    rig.settle();
    expect(rig.drops()).toEqual({ rule: 1 });
    expect(
      rig.near
        .take()
        .map(({ body }) => readFrame(body).service)
        .sort(),
    ).toEqual([0, 2]);
  });

  it('is counted as malformed where its header lies about its length', () => {
    const rig = new ForwardRig();
    const inner = packet(version, NEAR);
    inner[version === 4 ? 2 : 4] = 0xff;
    rig.tun.inject(inner);
    rig.tun.inject(inner.subarray(0, 7));
    rig.tun.inject(Uint8Array.of(0x90));
    rig.settle();
    expect(rig.drops()).toEqual({ 'inner-total-length': 1, 'inner-short': 2 });
    expect(rig.near.take()).toEqual([]);
  });

  it.each([TCP, UDP] as const)(
    'is cut into segments of one flow and consecutive numbers (protocol %i)',
    (protocol) => {
      const rig = new ForwardRig();
      const spec: PacketSpec = { ...OFFLOADED, version, protocol, to: FAR };
      rig.tun.inject(buildPacket(spec), offload(spec));
      rig.tun.inject(packet(version, FAR));
      rig.settle();
      const frames = rig.near.take().map(({ body }) => readFrame(body));
      const segments = segmentsOf(spec, 1000);
      expect(frames.slice(0, -1).map((each) => each.payload)).toEqual(segments);
      expect(frames.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5]);
      expect(frames.map(({ flags }) => flags)).toEqual([...segments.map(() => FLAG_PARTIAL), 0]);
      expect(new Set(frames.slice(0, -1).map(({ flow }) => flow)).size).toBe(1);
    },
  );
});

const OFFLOADED: PacketSpec = {
  version: 4,
  protocol: TCP,
  payload: payload(3500),
  from: SELF,
  to: NEAR,
  checksum: 'partial',
};

function offload(spec: PacketSpec) {
  const gsoType = spec.protocol === UDP ? 5 : spec.version === 4 ? 1 : 4;
  const lengths = { headerLength: headerLength(spec), csumStart: transportStart(spec) };
  return { flags: PACKET_PARTIAL, gsoType, gsoSize: 1000, ...lengths };
}

describe('a batch from the TUN device', () => {
  it('passes whole through an outgoing batch that holds less, in order', () => {
    const rig = new ForwardRig({ outCapacity: 4 });
    const spec = { ...OFFLOADED, to: NEAR };
    for (let i = 0; i < 3; i++) {
      rig.tun.inject(buildPacket(spec), offload(spec));
      rig.tun.inject(packet(4, NEAR));
    }
    rig.settle();
    const frames = rig.near.take().map(({ body }) => readFrame(body));
    expect(frames.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 15 }, (_, i) => i + 1));
    expect(rig.io.segmentErrors).toBe(0);
  });

  it('loses only the packet that no outgoing batch could hold', () => {
    const rig = new ForwardRig({ outCapacity: 3 });
    const spec = { ...OFFLOADED, to: NEAR };
    rig.tun.inject(packet(4, NEAR));
    rig.tun.inject(buildPacket(spec), offload(spec));
    rig.tun.inject(packet(4, NEAR, { destinationPort: 9 }));
    rig.settle();
    expect(rig.near.take()).toHaveLength(2);
    expect(rig.io.segmentErrors).toBe(1);
  });

  it('seals none of the packets to a neighbour without a session, each of the others once, and so does the next batch', () => {
    const rig = new ForwardRig();
    const sessions = rig.near.neighbour.sessions as unknown as { clear(): void };
    sessions.clear();
    for (let round = 0; round < 2; round++) {
      for (const to of [NEAR, SIDE, NEAR, SIDE, SIDE]) rig.tun.inject(packet(4, to));
      rig.settle();
    }
    const frames = rig.side.take().map(({ body }) => readFrame(body));
    expect(frames.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(rig.near.datagrams).toEqual([]);
    expect(rig.drops()).toEqual({ 'no-path': 4 });
  });

  it('sends nothing bare, even where a key was erased under it', () => {
    const rig = new ForwardRig();
    for (let slot = 0; slot < 64; slot++) rig.aead.clearKey(slot);
    rig.tun.inject(packet(4, NEAR));
    rig.settle();
    expect(rig.near.datagrams).toEqual([]);
  });

  it('makes a link busy once, at its first data', () => {
    const rig = new ForwardRig();
    // A link that is down has no hellos to hasten; bring NEAR's up by its own hand.
    const link = rig.near.neighbour.link as unknown as { noteData: (now: number) => boolean };
    let calls = 0;
    link.noteData = () => calls++ === 0;
    for (let i = 0; i < 3; i++) rig.tun.inject(packet(4, FAR));
    rig.settle();
    rig.tun.inject(packet(4, NEAR));
    rig.settle();
    expect(rig.busy).toEqual([NEAR]);
  });

  it('counts packets and bytes read, records and bytes sent, and both by neighbour', () => {
    const rig = new ForwardRig();
    const inner = packet(4, NEAR);
    for (let i = 0; i < 3; i++) rig.tun.inject(inner);
    rig.settle();
    const { tunReadPackets, tunReadBytes, sentRecords, sentBytes } = rig.counters;
    expect([tunReadPackets, tunReadBytes]).toEqual([3, 3 * inner.length]);
    expect([sentRecords, sentBytes]).toEqual([3, 3 * (inner.length + 56)]);
    expect(rig.near.neighbour.packetsSent).toBe(3);
  });
});

describe('what the overlay does not carry', () => {
  it.each([
    ['IPv4 multicast', ipv4({ source: [10, 0, 0, 1], destination: [224, 0, 0, 251], payload: ports })],
    ['IPv4 broadcast', ipv4({ source: [10, 0, 0, 1], destination: [255, 255, 255, 255], payload: ports })],
    [
      'IPv6 multicast',
      ipv6({
        source: overlayAddress(6, SELF),
        destination: [0xff, 2, ...new Array<number>(13).fill(0), 2],
        payload: ports,
      }),
    ],
  ])('%s is counted and never answered', (_what, inner) => {
    const rig = new ForwardRig();
    rig.tun.inject(inner);
    rig.settle();
    expect(rig.drops()).toEqual({ multicast: 1 });
    expect(rig.takeTun()).toEqual([]);
  });

  it('an address outside every prefix is absent, and its sender told', () => {
    const rig = new ForwardRig();
    rig.tun.inject(ipv4({ source: [10, 0, 0, 1], destination: [192, 0, 2, 77], payload: ports }));
    rig.settle();
    expect(rig.drops()).toEqual({ 'overlay-absent': 1 });
    expect(rig.takeTun()).toHaveLength(1);
  });

  it('a node that is known but has no path is unreachable', () => {
    const rig = new ForwardRig();
    rig.tun.inject(packet(4, LOST));
    rig.settle();
    expect(rig.drops()).toEqual({ 'no-path': 1 });
    expect(readIcmp(rig.takeTun()[0]).code).toBe(1);
  });

  it('a subnet behind a node goes to that node', () => {
    const rig = new ForwardRig();
    rig.tun.inject(ipv4({ source: [10, 0, 0, 1], destination: [10, 0, 20, 9], payload: ports }));
    rig.settle();
    expect(rig.near.take().map(({ body }) => readFrame(body).to)).toEqual([FAR]);
  });

  it('an ICMP error is never answered with another', () => {
    const rig = new ForwardRig();
    rig.tun.inject(packet(4, 99));
    rig.settle();
    const error = rig.takeTun()[0];
    error.set([10, 0, 0, 98], 16);
    const sum = new DataView(error.buffer);
    sum.setUint16(10, 0);
    rig.tun.inject(error);
    rig.settle();
    expect(rig.takeTun()).toEqual([]);
    expect(rig.drops()).toEqual({ 'overlay-absent': 2 });
  });

  it('earns no more ICMP errors than the bucket has tokens, and is counted all the same', () => {
    const rig = new ForwardRig({ tokens: 5 });
    for (let i = 0; i < 20; i++) rig.tun.inject(packet(4, 99));
    rig.settle();
    expect(rig.takeTun()).toHaveLength(5);
    expect(rig.drops()).toEqual({ 'overlay-absent': 20 });
  });
});

describe('a full socket', () => {
  it('stops the reading of the device until all is sent, in order and once', () => {
    const rig = new ForwardRig({ outCapacity: 4 });
    rig.udp.room = 2;
    for (let i = 0; i < 10; i++) rig.tun.inject(packet(4, NEAR));
    rig.settle();
    for (let i = 0; i < 5; i++) rig.tun.inject(packet(4, NEAR));
    rig.settle();
    expect(rig.near.datagrams).toHaveLength(2);
    expect(rig.udp.isAwaited).toBe(true);
    for (const [room, sent] of [
      [1, 3],
      [3, 6],
      [100, 15],
    ]) {
      rig.udp.drain(room);
      rig.time.advance(0);
      expect(rig.near.datagrams).toHaveLength(sent);
    }
    rig.settle();
    const frames = rig.near.take().map(({ body }) => readFrame(body));
    expect(frames.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 15 }, (_, i) => i + 1));
    expect(rig.udp.isAwaited).toBe(false);
    expect(rig.counters.sentRecords).toBe(15);
    expect(rig.drops()).toEqual({});
  });

  it('drops what has no path any more when there is room again', () => {
    const rig = new ForwardRig({ outCapacity: 4 });
    rig.udp.room = 2;
    for (let i = 0; i < 8; i++) rig.tun.inject(packet(4, NEAR));
    rig.settle();
    rig.routes.install(rigTables({ [SELF]: SELF, [NEAR]: 0, [SIDE]: SIDE }));
    rig.udp.drain(100);
    rig.settle();
    expect(rig.near.datagrams).toHaveLength(4);
    expect(rig.drops()).toEqual({ 'no-path': 4 });
    rig.tun.inject(packet(4, SIDE));
    rig.settle();
    expect(rig.side.take()).toHaveLength(1);
  });
});

describe('a rejected flow', () => {
  it.each(VERSIONS)('is answered with an ICMP error that says so, and counted (IPv%i)', (version) => {
    const rig = new ForwardRig({ rules: [{ match: { to: [{ node: NEAR }] }, action: { do: 'reject' } }] });
    rig.tun.inject(packet(version, NEAR));
    rig.tun.inject(packet(version, FAR));
    rig.settle();
    expect(rig.drops()).toEqual({ rule: 1 });
    expect(rig.near.take().map(({ body }) => readFrame(body).to)).toEqual([FAR]);
    const { type, code } = readIcmp(rig.takeTun()[0]);
    expect([type, code]).toEqual(version === 4 ? [3, 13] : [1, 1]);
  });
});
