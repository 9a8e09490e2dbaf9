/**
 *     self ──┬── near ──┐
 *            └── side ──┴── far
 */
import { describe, expect, it } from 'vitest';
import { PACKET_PARTIAL } from '../../../src/io/batch.js';
import { LANE_REALTIME } from '../../../src/overlay/wire/lanes.js';
import {
  FLAG_SOURCE_ROUTED,
  ROUTED_HEADER_SIZE,
  SERVICE_REDUNDANT,
} from '../../../src/overlay/wire/routed.js';
import { encodeSourceRoute } from '../../../src/overlay/wire/source-route.js';
import { frame, readFrame } from '../../support/forward/frames.js';
import { FAR, ForwardRig, NEAR, type Peer, SELF, SIDE } from '../../support/forward/rig.js';
import { buildPacket, type PacketSpec, segmentsOf, UDP } from '../../support/native-packets.js';

type Edge = [number, number];
const DIAMOND: Edge[] = [
  [SELF, NEAR],
  [NEAR, FAR],
  [SELF, SIDE],
  [SIDE, FAR],
];

const packet = (from: number, to: number, fill: number) =>
  buildPacket({
    version: 4,
    protocol: UDP,
    payload: new Uint8Array(40).fill(fill),
    from,
    to,
    checksum: 'whole',
  });

/** A rig whose UDP flows are redundant, with a route to `far`. */
function rigWith(edges: Edge[] | undefined): ForwardRig {
  const rig = new ForwardRig({ services: { udp: SERVICE_REDUNDANT } });
  const route = edges && encodeSourceRoute(SELF, FAR, edges);
  if (route) rig.sourceRoutes.install([{ nodeId: FAR, ...route }]);
  return rig;
}

/** What a neighbour got: service, flags, sequence, lane, and the inner packet. */
function taken(peer: Peer) {
  return peer.take().map(({ body, lane }) => {
    const { service, flags, sequence, payload, ttl } = readFrame(body);
    return { service, flags, sequence, lane, ttl, payload };
  });
}

const routed = (
  source: number,
  destination: number,
  edges: Edge[],
  sequence: number,
  inner: Uint8Array,
  ttl = 64,
) => {
  const { counts, list } = encodeSourceRoute(source, destination, edges)!;
  const fields = { flags: FLAG_SOURCE_ROUTED, service: SERVICE_REDUNDANT, ttl, sequence, distance: counts };
  return frame({ ...fields, from: source, to: destination }, new Uint8Array([...list, ...inner]));
};

describe('a redundant packet from the device', () => {
  it('goes as realtime as long as no second way is known, and asks for one', () => {
    const rig = rigWith(undefined);
    const inner = packet(SELF, FAR, 1);
    rig.tun.inject(inner);
    rig.tun.inject(packet(SELF, FAR, 2));
    rig.settle();
    const [first] = taken(rig.near);
    expect(first).toMatchObject({
      service: SERVICE_REDUNDANT,
      flags: 0,
      lane: LANE_REALTIME,
      payload: inner,
    });
    expect(rig.wanted).toEqual([FAR]);
    rig.run(31_000_000);
    rig.tun.inject(packet(SELF, FAR, 3));
    rig.settle();
    expect(rig.wanted).toEqual([FAR, FAR]);
  });

  it('goes to the first neighbour of each way, the same frame with its links', () => {
    const rig = rigWith(DIAMOND);
    const { list } = encodeSourceRoute(SELF, FAR, DIAMOND)!;
    const inner = packet(SELF, FAR, 1);
    rig.tun.inject(inner);
    rig.tun.inject(packet(SELF, FAR, 2));
    rig.settle();
    const near = taken(rig.near);
    expect(near.map(({ sequence }) => sequence)).toEqual([1, 2]);
    expect(near[0]).toMatchObject({
      service: SERVICE_REDUNDANT,
      flags: FLAG_SOURCE_ROUTED,
      lane: LANE_REALTIME,
      payload: new Uint8Array([...list, ...inner]),
    });
    expect(taken(rig.side)).toEqual(near);
    const [flow] = rig.flows.list(rig.time.now(), { idle: 1e9, limit: 1 });
    expect(flow).toMatchObject({ packets: 2, bytes: 2 * inner.length, copies: 2 });
    expect(rig.store.used).toBe(4);
  });

  it('goes where there is still a link, counted where there is none', () => {
    const rig = rigWith(DIAMOND);
    rig.near.neighbour.up = false;
    rig.tun.inject(packet(SELF, FAR, 1));
    rig.settle();
    expect(taken(rig.near)).toEqual([]);
    expect(taken(rig.side)).toHaveLength(1);
    expect(rig.drops()).toEqual({ 'route-down': 1 });
  });

  it('is refused where no link is left', () => {
    const rig = rigWith(DIAMOND);
    for (const { neighbour } of [rig.near, rig.side]) neighbour.up = false;
    rig.tun.inject(packet(SELF, FAR, 1));
    rig.settle();
    expect(rig.drops()).toEqual({ 'no-path': 1 });
    expect(rig.store.used).toBe(0);
  });

  it('of a segmentation-offload read goes in segments, all of them every way', () => {
    const rig = rigWith(DIAMOND);
    const spec: PacketSpec = {
      version: 4,
      protocol: UDP,
      payload: Uint8Array.from({ length: 2500 }, (_, i) => i),
      from: SELF,
      to: FAR,
      checksum: 'partial',
    };
    const offload = { flags: PACKET_PARTIAL, gsoType: 5, gsoSize: 1000, headerLength: 28, csumStart: 20 };
    rig.tun.inject(buildPacket(spec), offload);
    rig.settle();
    const near = taken(rig.near);
    const { list } = encodeSourceRoute(SELF, FAR, DIAMOND)!;
    expect(near.map(({ payload }) => payload.slice(list.length))).toEqual(segmentsOf(spec, 1000));
    expect(taken(rig.side)).toEqual(near);
    expect(rig.flows.list(rig.time.now(), { idle: 1e9, limit: 1 })[0]).toMatchObject({
      packets: 3,
      copies: 3,
    });
  });
});

describe('a relay of source-routed frames', () => {
  //  near ──► self ──► side ──► far, and from near to far
  const through: Edge[] = [
    [NEAR, SELF],
    [SELF, SIDE],
    [SIDE, FAR],
    [NEAR, FAR],
  ];

  it('sends the first copy on along its links, and ends later ones', () => {
    const rig = new ForwardRig();
    const inner = packet(NEAR, FAR, 1);
    const body = routed(NEAR, FAR, through, 1, inner);
    rig.near.send([rig.near.sealNumbered(body, LANE_REALTIME, 0)]);
    rig.settle();
    rig.side.send([rig.side.sealNumbered(body, LANE_REALTIME, 0)]);
    rig.settle();
    const { list } = encodeSourceRoute(NEAR, FAR, through)!;
    expect(taken(rig.side)).toEqual([
      {
        service: SERVICE_REDUNDANT,
        flags: FLAG_SOURCE_ROUTED,
        sequence: 1,
        lane: LANE_REALTIME,
        ttl: 63,
        payload: new Uint8Array([...list, ...inner]),
      },
    ]);
    expect(rig.counters.duplicates).toBe(1);
    expect(rig.counters.relayedPackets).toBe(1);
    expect(taken(rig.near)).toEqual([]);
  });

  it('sends to several neighbours where several links leave it', () => {
    const rig = new ForwardRig();
    const fork: Edge[] = [
      [FAR, SELF],
      [SELF, SIDE],
      [SELF, NEAR],
      [NEAR, SIDE],
    ];
    const body = routed(FAR, SIDE, fork, 1, packet(FAR, SIDE, 1));
    rig.near.send([rig.near.sealNumbered(body, LANE_REALTIME, 0)]);
    rig.settle();
    // An acknowledgement rides in front of near's.
    const [near, side] = [rig.near, rig.side].map((peer) => peer.take()[0]!.body.slice(-body.length));
    expect(side).toEqual(near);
    expect(readFrame(side!)).toMatchObject({ from: FAR, to: SIDE, ttl: 63 });
    expect(rig.counters.relayedPackets).toBe(2);
  });

  it.each([
    [
      'of a list that this node is not on',
      routed(NEAR, FAR, [[NEAR, FAR]], 1, packet(NEAR, FAR, 1)),
      'route-unlisted',
    ],
    ['whose TTL is used up', routed(NEAR, FAR, through, 1, packet(NEAR, FAR, 1), 1), 'ttl-exceeded'],
    [
      'that this node is said to have sent',
      routed(SELF, FAR, DIAMOND, 1, packet(SELF, FAR, 1)),
      'foreign-source',
    ],
    [
      'over a link that there is not',
      routed(
        NEAR,
        SIDE,
        [
          [NEAR, SELF],
          [SELF, FAR],
          [FAR, SIDE],
        ],
        1,
        packet(NEAR, SIDE, 1),
      ),
      'route-down',
    ],
  ])('drops one %s', (_what, body, reason) => {
    const rig = new ForwardRig();
    rig.near.send([rig.near.sealNumbered(body, LANE_REALTIME, 0)]);
    rig.settle();
    expect(rig.drops()).toEqual({ [reason]: 1 });
    expect([...rig.near.take(), ...rig.side.take()]).toEqual([]);
    expect(rig.store.used).toBe(0);
  });

  it('keeps nothing longer than its neighbour needs', () => {
    const rig = new ForwardRig();
    for (let n = 0; n < 20; n++) {
      const body = routed(NEAR, FAR, through, n, packet(NEAR, FAR, n));
      rig.near.send([rig.near.sealNumbered(body, LANE_REALTIME, n)]);
      rig.settle();
    }
    expect(rig.side.take()).toHaveLength(20);
    rig.run(5_000_000);
    expect(rig.store.used).toBe(0);
  });
});

describe('the exit of source-routed frames', () => {
  const home: Edge[] = [
    [FAR, NEAR],
    [NEAR, SELF],
    [FAR, SIDE],
    [SIDE, SELF],
  ];

  it('delivers the first copy at once, whichever way it came', () => {
    const rig = new ForwardRig();
    const inner = [packet(FAR, SELF, 1), packet(FAR, SELF, 2)];
    const [one, two] = inner.map((each, i) => routed(FAR, SELF, home, i + 1, each));
    rig.side.send([rig.side.sealNumbered(two!, LANE_REALTIME, 0)]);
    rig.settle();
    rig.near.send([one!, two!].map((body, i) => rig.near.sealNumbered(body, LANE_REALTIME, i)));
    rig.settle();
    rig.side.send([rig.side.sealNumbered(one!, LANE_REALTIME, 1)]);
    rig.settle();
    expect(rig.takeTun().map((bytes) => bytes.at(-1))).toEqual([2, 1]);
    expect(rig.counters.duplicates).toBe(2);
    expect(rig.drops()).toEqual({});
  });

  it('takes no packet from within the list of links', () => {
    const rig = new ForwardRig();
    const body = routed(FAR, SELF, home, 1, packet(FAR, SELF, 1));
    const cut = body.subarray(0, ROUTED_HEADER_SIZE + 12);
    rig.near.send([rig.near.sealNumbered(cut, LANE_REALTIME, 0)]);
    rig.settle();
    expect(rig.drops()).toEqual({ 'inner-short': 1 });
  });

  it('takes one without a list as realtime', () => {
    const rig = new ForwardRig();
    const fields = { service: SERVICE_REDUNDANT, from: NEAR, to: SELF, sequence: 5 };
    const body = frame(fields, packet(NEAR, SELF, 9));
    rig.near.send([0, 1].map((n) => rig.near.sealNumbered(body, LANE_REALTIME, n)));
    rig.settle();
    expect(rig.takeTun()).toHaveLength(1);
    expect(rig.counters.duplicates).toBe(1);
  });
});
