import { describe, expect, it } from 'vitest';
import { ParityEncoder } from '../../../src/overlay/link/fec/parity-encoder.js';
import {
  LANE_BEST_EFFORT,
  LANE_CONTROL,
  LANE_REALTIME,
  LANE_RELIABLE,
} from '../../../src/overlay/wire/lanes.js';
import { FLAG_VOID, ROUTED_HEADER_SIZE } from '../../../src/overlay/wire/routed.js';
import { ackFrame, distanceOf, join, readBody, repeatFrame } from '../../support/forward/bodies.js';
import { frame, readFrame } from '../../support/forward/frames.js';
import {
  FAR,
  ForwardRig,
  NEAR,
  type Peer,
  type RigOptions,
  rigTables,
  SELF,
  SIDE,
} from '../../support/forward/rig.js';
import { buildPacket, type PacketSpec, TCP, UDP } from '../../support/native-packets.js';

const RTT = 20_000;
const packet = (to: number, more: Partial<PacketSpec> = {}, from = SELF) =>
  buildPacket({
    version: 4,
    protocol: TCP,
    payload: new Uint8Array(100).fill(more.sequence ?? 1),
    from,
    to,
    checksum: 'whole',
    ...more,
  });
const open = (more: RigOptions = {}) => new ForwardRig({ services: { tcp: 1, udp: 2 }, ...more });

/** What a peer got on the two numbered lanes. */
const taken = (peer: Peer) => peer.take().filter(({ lane }) => lane >= LANE_RELIABLE);
const routedOf = (body: Uint8Array) => readBody(body).routed!;
const sequencesOf = (peer: Peer) => taken(peer).map(({ body }) => readFrame(routedOf(body)).sequence);

function inject(rig: ForwardRig, ...packets: Uint8Array[]): void {
  for (const each of packets) rig.tun.inject(each);
  rig.settle();
}

/** The peer acknowledges all that it got of a lane, or some numbers. */
function acknowledge(rig: ForwardRig, peer: Peer, numbers: number[], lane = LANE_RELIABLE): void {
  const { outbound } = peer.neighbour.hop!;
  const { epoch } = lane === LANE_RELIABLE ? outbound.reliable : outbound.realtime;
  peer.send([peer.seal(ackFrame(lane, epoch, numbers), LANE_CONTROL)]);
  rig.settle();
}

describe('frames that a link is to recover', () => {
  it('lie in the store until they are acknowledged', () => {
    const rig = open();
    inject(rig, packet(NEAR), packet(FAR), packet(SIDE));
    expect(rig.store.used).toBe(3);
    const near = taken(rig.near);
    expect(near.map(({ body }) => readFrame(body)).map(({ to, service }) => [to, service])).toEqual([
      [NEAR, 1],
      [FAR, 1],
    ]);
    expect(taken(rig.side)).toHaveLength(1);
    acknowledge(
      rig,
      rig.near,
      near.map(({ number }) => number),
    );
    expect(rig.store.used).toBe(1);
    expect([...rig.touched].sort()).toEqual([NEAR, SIDE]);
  });

  it("name the distance to their flow's packet before, and none for the first", () => {
    const rig = open();
    const flow = (sourcePort: number) => packet(NEAR, { sourcePort });
    inject(rig, flow(1), flow(2), flow(1), flow(1), flow(2));
    const all = taken(rig.near).map(({ body }) => routedOf(body));
    const bySequence = all.map((routed) => [readFrame(routed).sequence, distanceOf(routed)]);
    expect(bySequence.sort(([a], [b]) => a! - b!)).toEqual([
      [1, 0],
      [2, 0],
      [3, 2],
      [4, 1],
      [5, 3],
    ]);
  });

  it('are dropped as "queue-full" where the store has no slot, and the rest goes on', () => {
    const rig = open({ limits: { stored: 8 } });
    inject(rig, ...Array.from({ length: 20 }, (_, i) => packet(NEAR, { sequence: i })));
    expect([rig.store.used, rig.drops()]).toEqual([8, { 'queue-full': 12 }]);
    const first = taken(rig.near);
    acknowledge(
      rig,
      rig.near,
      first.map(({ number }) => number),
    );
    rig.run(RTT);
    const all = [...first, ...taken(rig.near)];
    expect(new Set(all.map(({ body }) => readFrame(routedOf(body)).sequence)).size).toBe(8);
    acknowledge(
      rig,
      rig.near,
      all.map(({ number }) => number),
    );
    expect(rig.store.used).toBe(0);
    inject(rig, packet(NEAR));
    expect([rig.store.used, rig.drops()]).toEqual([1, { 'queue-full': 12 }]);
  });

  it('go best-effort where they are larger than a slot', () => {
    const rig = open({ limits: { frameMax: 600 } });
    const [large, small] = [packet(NEAR, { payload: new Uint8Array(1200) }), packet(NEAR)];
    inject(rig, large, small);
    const all = rig.near.take();
    expect(all.map(({ lane, body }) => [lane, readFrame(body).payload.length])).toEqual([
      [LANE_BEST_EFFORT, large.length],
      [LANE_RELIABLE, small.length],
    ]);
    expect([rig.store.used, rig.drops()]).toEqual([1, {}]);
  });

  it('become void where they have waited too long: the header goes on alone, its number is acknowledged like any', () => {
    const rig = open();
    const count = 240;
    inject(
      rig,
      ...Array.from({ length: count }, (_, i) =>
        packet(NEAR, { sequence: i, payload: new Uint8Array(1200) }),
      ),
    );
    const all = [];
    const numbers: number[] = [];
    for (let round = 0; round < 60; round++) {
      // Four to a round trip.
      const some = taken(rig.near).filter(({ body }) => readBody(body).repeatOf < 0);
      all.push(...some);
      numbers.push(...some.map(({ number }) => number));
      rig.run(RTT);
      acknowledge(rig, rig.near, numbers.slice(0, 4 * (round + 1)));
    }
    const voided = all.filter(({ body }) => readFrame(routedOf(body)).flags & FLAG_VOID);
    expect(voided.length).toBeGreaterThan(0);
    for (const { body } of voided) expect(routedOf(body).length).toBe(ROUTED_HEADER_SIZE);
    expect(rig.near.neighbour.hop!.outbound.stats.dropped).toBe(voided.length);
    rig.run(3_000_000);
    expect(rig.store.used).toBe(0);
  });
});

describe('a relay', () => {
  const relayed = (sequence: number, more: { service?: number; distance?: number; ecn?: number } = {}) =>
    frame(
      { from: NEAR, to: SIDE, service: 1, sequence, distance: 1, ...more },
      packet(SIDE, { sequence }, NEAR),
    );

  it('sends on what comes as it comes, without waiting for what is missing', () => {
    const rig = open();
    for (const number of [0, 3, 1, 5, 4]) {
      rig.near.send([rig.near.sealNumbered(relayed(100 + number), LANE_RELIABLE, number)]);
      rig.settle();
    }
    expect(sequencesOf(rig.side)).toEqual([100, 103, 101, 105, 104]);
    expect(rig.counters.relayedPackets).toBe(5);
  });

  it('keeps distance, service and payload, takes one off the TTL, numbers and recovers by itself', () => {
    const rig = open();
    rig.near.send([rig.near.sealNumbered(relayed(5, { distance: 3 }), LANE_RELIABLE, 77, 3)]);
    rig.settle();
    const [record] = taken(rig.side);
    expect(record).toMatchObject({ lane: LANE_RELIABLE, number: 0, epoch: 7 });
    expect(distanceOf(record!.body)).toBe(3);
    const { ttl, service, payload } = readFrame(record!.body);
    expect([ttl, service, payload]).toEqual([63, 1, packet(SIDE, { sequence: 5 }, NEAR)]);
  });

  it('drops what was here before, and counts it', () => {
    const rig = open();
    rig.near.send([
      rig.near.sealNumbered(relayed(1), LANE_RELIABLE, 0),
      rig.near.sealNumbered(join(repeatFrame(0), relayed(1)), LANE_RELIABLE, 1),
    ]);
    rig.settle();
    expect([sequencesOf(rig.side), rig.counters.duplicates, rig.store.used]).toEqual([[1], 1, 1]);
  });

  it('sends a void header on', () => {
    const rig = open();
    const body = relayed(4).slice(0, ROUTED_HEADER_SIZE);
    body[1] |= FLAG_VOID;
    rig.near.send([rig.near.sealNumbered(body, LANE_RELIABLE, 0)]);
    rig.settle();
    const [record] = taken(rig.side);
    expect(readFrame(record!.body)).toMatchObject({ flags: FLAG_VOID, sequence: 4, ttl: 63 });
    expect(record!.body.length).toBe(ROUTED_HEADER_SIZE);
  });

  it("doesn't put the mark of the hop before into the packet", () => {
    const rig = open();
    rig.near.send([rig.near.sealNumbered(relayed(4, { ecn: 2 }), LANE_RELIABLE, 0)], { trafficClass: 3 });
    rig.settle();
    expect(readFrame(taken(rig.side)[0]!.body).ecn).toBe(2);
  });
});

describe('parity from a neighbour', () => {
  const voice = (to: number, sequence: number) =>
    frame({ from: NEAR, to, service: 2, sequence }, packet(to, { protocol: UDP, id: sequence }, NEAR));

  /** What NEAR sends: frames, and a repair over the newest of them. */
  function sender(rig: ForwardRig) {
    const encoder = new ParityEncoder({ frameBytes: 1524 });
    return {
      frame: (body: Uint8Array, number: number, epoch = 3) => {
        encoder.add(number, new DataView(body.buffer), 0, body.length);
        return rig.near.sealNumbered(body, LANE_REALTIME, number, epoch);
      },
      repair: (frames: number, number: number, epoch = 3) => {
        const view = new DataView(new ArrayBuffer(2000));
        const end = encoder.write(view, 0, 2000, frames, 0);
        return rig.near.sealNumbered(new Uint8Array(view.buffer, 0, end), LANE_REALTIME, number, epoch);
      },
    };
  }

  /** A first repair, by which the node learns that it is to keep frames. */
  function begin(rig: ForwardRig, near: ReturnType<typeof sender>): void {
    rig.near.send([near.frame(voice(SELF, 0), 99), near.repair(1, 100)]);
    rig.settle();
    expect(rig.takeTun()).toHaveLength(1);
  }

  it.each([
    ['to this node', SELF],
    ['onward', SIDE],
  ])('gives a lost frame back, which goes %s, once', (_, to) => {
    const rig = open();
    const near = sender(rig);
    begin(rig, near);
    const [first, lost, last] = [1, 2, 3].map((i) => near.frame(voice(to, i), 100 + i));
    rig.near.send([first!, last!]);
    rig.settle();
    const out = () =>
      to === SELF ? rig.takeTun() : taken(rig.side).map(({ body }) => readFrame(body).payload);
    expect(out()).toHaveLength(2);
    rig.near.send([near.repair(3, 104)]);
    rig.settle();
    expect(rig.near.neighbour.hop!.inbound.realtime.repairedCount).toBe(1);
    expect(out()).toEqual([packet(to, { protocol: UDP, id: 2 }, NEAR)]);
    rig.near.send([lost!]);
    rig.settle();
    expect(out()).toEqual([]);
    expect(rig.counters.duplicates).toBe(1);
    expect(rig.store.used).toBe(to === SELF ? 0 : 3);
  });

  it('is not solved with frames of an epoch that is over', () => {
    const rig = open();
    const near = sender(rig);
    begin(rig, near);
    rig.near.send([near.frame(voice(SELF, 1), 101)]);
    rig.settle();
    near.frame(voice(SELF, 2), 102);
    // Number 102 of the epoch before, late.
    rig.near.send([rig.near.sealNumbered(voice(SELF, 900), LANE_REALTIME, 102, 2)]);
    rig.settle();
    expect(rig.takeTun()).toHaveLength(2);
    rig.near.send([near.repair(2, 103)]);
    rig.settle();
    expect(rig.takeTun()).toEqual([packet(SELF, { protocol: UDP, id: 2 }, NEAR)]);
  });
});

describe('a neighbour that goes down', () => {
  /** Ten packets to FAR, by way of NEAR, some of them under way and some queued; then NEAR goes down. */
  function goDown(rig: ForwardRig): void {
    inject(rig, ...Array.from({ length: 10 }, (_, i) => packet(FAR, { sequence: i + 1 })));
    expect(rig.near.take().length).toBeGreaterThan(1);
    rig.near.neighbour.up = false;
    rig.hops.suspend(rig.time.now(), rig.near.neighbour);
  }
  const viaSide = { [SELF]: SELF, [NEAR]: NEAR, [SIDE]: SIDE, [FAR]: SIDE };

  it('leaves its frames to another way, as soon as there is one: sealed anew for it, in their order', () => {
    const rig = open();
    goDown(rig);
    rig.run(100_000);
    rig.routes.install(rigTables(viaSide));
    rig.hops.reroute(rig.time.now(), rig.near.neighbour);
    rig.pump();
    rig.settle();
    rig.run(RTT);
    const all = taken(rig.side).filter(({ body }) => readBody(body).repeatOf < 0);
    const frames = all.map(({ body }) => readFrame(routedOf(body)));
    expect(frames.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    for (const { sequence, payload } of frames) expect(payload).toEqual(packet(FAR, { sequence }));
    acknowledge(
      rig,
      rig.side,
      all.map(({ number }) => number),
    );
    expect([rig.store.used, rig.near.take(), rig.drops()]).toEqual([0, [], {}]);
  });

  it('keeps them while there is none, and sends them when it is up again', () => {
    const rig = open();
    goDown(rig);
    rig.hops.reroute(rig.time.now(), rig.near.neighbour);
    rig.run(500_000);
    expect([rig.store.used, rig.near.take()]).toEqual([10, []]);
    rig.near.neighbour.up = true;
    rig.hops.resume(rig.near.neighbour);
    rig.pump();
    rig.settle();
    rig.run(RTT);
    const all = taken(rig.near).filter(({ body }) => readBody(body).repeatOf < 0);
    expect(all.map(({ epoch }) => epoch)).toEqual(
      all.map(({ epoch }) => epoch).fill(rig.near.neighbour.hop!.outbound.reliable.epoch),
    );
    expect(all).toHaveLength(10);
  });

  it('drops them at their deadline', () => {
    const rig = open();
    goDown(rig);
    rig.run(1_100_000);
    expect(rig.store.used).toBe(0);
  });

  it('that is forgotten takes them along', () => {
    const rig = open();
    goDown(rig);
    rig.hops.drop(rig.time.now(), rig.near.neighbour);
    expect([rig.store.used, rig.near.neighbour.hop]).toEqual([0, undefined]);
    rig.hops.drop(rig.time.now(), rig.near.neighbour);
  });

  it('while up is dropped with all that is under way', () => {
    const rig = open();
    inject(rig, packet(NEAR), packet(NEAR, { protocol: UDP }));
    expect(rig.store.used).toBe(2);
    rig.hops.drop(rig.time.now(), rig.near.neighbour);
    expect(rig.store.used).toBe(0);
    inject(rig, packet(NEAR));
    expect(taken(rig.near).at(-1)).toMatchObject({ number: 0, lane: LANE_RELIABLE });
  });

  it('whose frames nobody can read any more loses those only', () => {
    const rig = open();
    goDown(rig);
    rig.forgetKeys(rig.near, 1);
    rig.routes.install(rigTables(viaSide));
    rig.hops.reroute(rig.time.now(), rig.near.neighbour);
    rig.pump();
    rig.settle();
    rig.run(RTT);
    const left = taken(rig.side).filter(({ body }) => readBody(body).repeatOf < 0);
    expect(left.length).toBeLessThan(10);
    expect(rig.store.used).toBe(left.length);
    for (const { body } of left) expect(readFrame(routedOf(body)).payload.length).toBe(140);
  });

  it('is met down: what it is to get waits until it is up', () => {
    const rig = open();
    rig.side.neighbour.up = false;
    rig.side.send([
      rig.side.sealNumbered(
        frame({ from: SIDE, to: SELF, service: 1 }, packet(SELF, {}, SIDE)),
        LANE_RELIABLE,
        0,
      ),
    ]);
    rig.settle();
    const { outbound } = rig.side.neighbour.hop!;
    expect([outbound.isSuspended, rig.takeTun().length]).toEqual([true, 1]);
    rig.side.neighbour.up = true;
    rig.hops.resume(rig.side.neighbour);
    inject(rig, packet(SIDE));
    expect(taken(rig.side)).toHaveLength(1);
  });
});
