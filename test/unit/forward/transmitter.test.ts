import { describe, expect, it } from 'vitest';
import { FRAME_ACK, FRAME_REPEAT } from '../../../src/overlay/wire/frames.js';
import { LANE_CONTROL, LANE_REALTIME, LANE_RELIABLE } from '../../../src/overlay/wire/lanes.js';
import { ackFrame, join, readBody } from '../../support/forward/bodies.js';
import { frame, readFrame } from '../../support/forward/frames.js';
import { FAR, ForwardRig, NEAR, type Peer, type RigOptions, SELF, SIDE } from '../../support/forward/rig.js';
import { buildPacket, type PacketSpec, TCP } from '../../support/native-packets.js';

const RTT = 20_000;
const bytes = (length: number, fill = 1) => Uint8Array.from({ length }, (_, i) => (i * 7 + fill) & 255);

const packet = (to: number, more: Partial<PacketSpec> = {}, from = SELF) =>
  buildPacket({ version: 4, protocol: TCP, payload: bytes(100), from, to, checksum: 'whole', ...more });

const open = (more: RigOptions = {}) => new ForwardRig({ services: { tcp: 1, udp: 2 }, ...more });

/** Sends packets into the overlay, one by one. */
function send(rig: ForwardRig, ...packets: Uint8Array[]): void {
  for (const each of packets) rig.tun.inject(each);
  rig.settle();
}

/** The peer acknowledges numbers of a lane. */
function acknowledge(
  rig: ForwardRig,
  peer: Peer,
  numbers: number[],
  lane = LANE_RELIABLE,
  ceMarks = 0,
): void {
  const { outbound } = peer.neighbour.hop!;
  const { epoch } = lane === LANE_RELIABLE ? outbound.reliable : outbound.realtime;
  peer.send([peer.seal(ackFrame(lane, epoch, numbers, ceMarks), LANE_CONTROL)]);
  rig.settle();
}

/** Sends five packets, of which the first is lost; what they became, and the packets. */
function lose(rig: ForwardRig, how: (rig: ForwardRig) => void = () => {}) {
  const packets = [0, 1, 2, 3, 4].map((fill) => packet(NEAR, { payload: bytes(100, fill) }));
  for (const each of packets) {
    send(rig, each);
    rig.run(1000);
  }
  const sent = rig.near.take();
  rig.run(RTT);
  how(rig);
  const { number } = sent[0]!;
  acknowledge(
    rig,
    rig.near,
    [1, 2, 3, 4].map((i) => number + i),
  );
  return { packets, sent, again: rig.near.take() };
}

describe('a lost record', () => {
  it('is sealed anew under its own counter and number; a repeat frame names the first, the rest is the same', () => {
    const rig = open();
    const { packets, sent, again } = lose(rig);
    expect(sent.map(({ lane, epoch, number }) => [lane, epoch, number])).toEqual(
      [0, 1, 2, 3, 4].map((number) => [LANE_RELIABLE, 7, number]),
    );
    expect(again).toHaveLength(1);
    const [record] = again;
    expect(record).toMatchObject({ lane: LANE_RELIABLE, epoch: 7, number: 5, counter: 5 });
    const { types, repeatOf, routed } = readBody(record!.body);
    expect([types, repeatOf]).toEqual([[FRAME_REPEAT], 0]);
    expect(routed).toEqual(sent[0]!.body);
    expect(readFrame(routed!).payload).toEqual(packets[0]);
    expect(rig.store.used).toBe(1);
    acknowledge(rig, rig.near, [5]);
    expect([rig.store.used, rig.drops()]).toEqual([0, {}]);
  });

  it('is sent again as often as it takes, from the same bytes', () => {
    const rig = open();
    const { sent, again } = lose(rig);
    const bodies = [again[0]!];
    for (let round = 0; round < 4; round++) {
      rig.run(300_000 / 2 ** round);
      bodies.push(...rig.near.take().filter(({ lane }) => lane === LANE_RELIABLE));
    }
    expect(bodies.length).toBeGreaterThan(2);
    for (const { body } of bodies)
      expect(readBody(body)).toMatchObject({ repeatOf: 0, routed: sent[0]!.body });
    const counters = [...sent, ...bodies].map(({ counter }) => counter);
    expect(new Set(counters).size).toBe(counters.length);
  });

  it('goes by the new session after a rekey', () => {
    const rig = open();
    const { sent, again } = lose(rig, () => rig.rekey(rig.near));
    expect(again).toHaveLength(1);
    expect(again[0]).toMatchObject({ session: 2, counter: 0, number: 5 });
    expect(readBody(again[0]!.body)).toMatchObject({ repeatOf: 0, routed: sent[0]!.body });
  });

  it("can't be read again once the key that sealed it is gone: it is never sent, and given up in time", () => {
    const rig = open();
    const { again } = lose(rig, () => {
      rig.rekey(rig.near);
      rig.forgetKeys(rig.near, 1);
    });
    expect(again).toEqual([]);
    expect(rig.store.used).toBe(1);
    rig.run(3_000_000);
    expect(rig.near.take().filter(({ lane }) => lane === LANE_RELIABLE)).toEqual([]);
    expect(rig.store.used).toBe(0);
    send(rig, packet(NEAR));
    expect(rig.near.take()).toHaveLength(1);
  });

  it('that was relayed is the frame as it went onward', () => {
    const rig = open();
    const inner = packet(SIDE, {}, NEAR);
    const body = frame({ from: NEAR, to: SIDE, ttl: 9, service: 1 }, inner);
    rig.near.send([0, 1, 2, 3, 4].map((number) => rig.near.sealNumbered(body, LANE_RELIABLE, number)));
    rig.run(RTT);
    const sent = rig.side.take().filter(({ lane }) => lane === LANE_RELIABLE);
    expect(sent.map(({ body: onward }) => readFrame(readBody(onward).routed!).ttl)).toEqual([8, 8, 8, 8, 8]);
    acknowledge(rig, rig.side, [1, 2, 3, 4]);
    const [again] = rig.side.take();
    const { repeatOf, routed } = readBody(again!.body);
    expect([repeatOf, readFrame(routed!).ttl, readFrame(routed!).payload]).toEqual([0, 8, inner]);
  });

  it('finds no session for a while: it waits, and goes when there is one', () => {
    const rig = open();
    const { again } = lose(rig, () => rig.endSession(rig.near));
    expect(again).toEqual([]);
    rig.rekey(rig.near);
    rig.run(400_000);
    const later = rig.near.take().filter(({ lane }) => lane === LANE_RELIABLE);
    expect(later.length).toBeGreaterThan(0);
    expect(readBody(later[0]!.body).repeatOf).toBe(0);
  });
});

describe('a frame whose slot came free before it was sent', () => {
  it("isn't sent, and what takes its slot is left as it is", () => {
    const rig = open();
    const now = () => rig.time.now();
    const voice = () => frame({ from: NEAR, to: SIDE, service: 2 }, packet(SIDE, {}, NEAR));
    // NEAR's realtime frames go to SIDE; the first is lost there.
    const numbered = (number: number) => rig.near.sealNumbered(voice(), LANE_REALTIME, number);
    for (let i = 0; i < 60; i++) {
      rig.near.send([numbered(i)]);
      rig.settle();
      rig.run(RTT);
      acknowledge(rig, rig.side, [i], LANE_REALTIME);
    }
    rig.near.send([60, 61, 62, 63].map(numbered));
    rig.run(RTT);
    rig.side.take();
    expect(rig.store.used).toBe(4);
    // One batch: that it was lost; that it had come after all; and a packet for this node that has to wait for its turn.
    const { outbound } = rig.side.neighbour.hop!;
    const { epoch } = outbound.realtime;
    const ack = (numbers: number[]) => rig.side.seal(ackFrame(LANE_REALTIME, epoch, numbers), LANE_CONTROL);
    const inner = packet(SELF, {}, SIDE);
    const data = (sequence: number, distance: number, number: number) =>
      rig.side.sealNumbered(
        frame({ from: SIDE, to: SELF, service: 1, sequence, distance, flow: 3 }, inner),
        LANE_RELIABLE,
        number,
      );
    rig.side.send([data(10, 0, 0), ack([61, 62, 63]), ack([60, 61, 62, 63]), data(12, 1, 2)]);
    rig.settle();
    expect(outbound.stats).toMatchObject({ lost: 1, spurious: 1 });
    expect(rig.takeTun()).toEqual([inner]);
    expect(rig.store.used).toBe(1);
    rig.side.send([data(11, 1, 3)]);
    rig.settle();
    expect(rig.takeTun()).toEqual([inner, inner]);
    expect([rig.store.used, rig.drops()]).toEqual([0, {}]);
    expect(now()).toBeGreaterThan(0);
  });
});

describe('acknowledgements', () => {
  const inner = packet(SELF, {}, NEAR);
  const data = (rig: ForwardRig, number: number) =>
    rig.near.sealNumbered(
      frame({ from: NEAR, to: SELF, service: 1, sequence: number + 1 }, inner),
      LANE_RELIABLE,
      number,
    );

  it('ride in front of small data, and then need no record of their own', () => {
    const rig = open();
    rig.near.send([data(rig, 0), data(rig, 1), data(rig, 3)]);
    rig.settle();
    send(rig, packet(NEAR, { payload: bytes(50) }));
    const [record, ...more] = rig.near.take();
    expect(more).toEqual([]);
    const { types, acks, routed } = readBody(record!.body);
    expect(types[0]).toBe(FRAME_ACK);
    expect(acks).toEqual([
      expect.objectContaining({
        lane: LANE_RELIABLE,
        largest: 3,
        ranges: [
          [3, 3],
          [0, 1],
        ],
      }),
    ]);
    expect(readFrame(routed!).payload.length).toBe(50 + 40);
    rig.run(RTT);
    expect(rig.near.take().filter(({ lane }) => lane === LANE_CONTROL)).toEqual([]);
  });

  it("don't ride on large data, which might outgrow its path, but go alone when they are due", () => {
    const rig = open();
    rig.near.send([data(rig, 0)]);
    rig.settle();
    send(rig, packet(NEAR, { payload: bytes(1200) }));
    expect(readBody(rig.near.take()[0]!.body).types).toEqual([]);
    rig.run(5000);
    const [record] = rig.near.take();
    expect([record!.lane, readBody(record!.body).types]).toEqual([LANE_CONTROL, [FRAME_ACK]]);
  });

  it('ride beside a repeat, in front of the frame, and never overwrite the slot before', () => {
    const rig = open();
    const { sent, again } = lose(rig, () => {
      // Arrivals with many gaps: more ranges than there is room for.
      rig.near.send(Array.from({ length: 60 }, (_, i) => data(rig, 2 * i)));
      rig.settle();
    });
    const { types, repeatOf, acks, routed } = readBody(again[0]!.body);
    expect(types).toEqual([FRAME_ACK, FRAME_REPEAT]);
    expect(repeatOf).toBe(0);
    expect(acks[0]!.ranges.length).toBeGreaterThan(10);
    expect(routed).toEqual(sent[0]!.body);
  });
});

describe('the outer header', () => {
  it('says that records of lanes 2 and 3 understand ECN marks, whatever the inner packet does', () => {
    const rig = open();
    for (const ecn of [0, 1, 2, 3]) send(rig, packet(NEAR, { tos: ecn }));
    expect(rig.near.take().map(({ trafficClass }) => trafficClass)).toEqual([2, 2, 2, 2]);
  });

  it("bears the inner packet's DSCP where that is wanted, at the first hop and at the next", () => {
    const rig = open({ outerClass: (inPlace) => inPlace });
    send(rig, packet(FAR, { tos: 0xb8 }));
    expect(rig.near.take()[0]!.trafficClass).toBe(0xb8 | 2);
    const body = frame({ from: NEAR, to: SIDE, service: 1 }, packet(SIDE, {}, NEAR));
    rig.near.send([rig.near.sealNumbered(body, LANE_RELIABLE, 0)], { trafficClass: 0x28 | 2 });
    rig.settle();
    expect(rig.side.take()[0]!.trafficClass).toBe(0x28 | 2);
  });

  it('bears a fixed one, or none', () => {
    const fixed = open({ outerClass: () => 46 << 2 });
    send(fixed, packet(NEAR, { tos: 0x28 }));
    expect(fixed.near.take()[0]!.trafficClass).toBe((46 << 2) | 2);
    const none = open();
    send(none, packet(NEAR, { tos: 0x28 }));
    expect(none.near.take()[0]!.trafficClass).toBe(2);
  });

  it("bears the relay's choice again on a retransmission", () => {
    const rig = open({ outerClass: (inPlace) => inPlace });
    for (let i = 0; i < 5; i++) {
      send(rig, packet(NEAR, { tos: i === 0 ? 0x28 : 0 }));
      rig.run(1000);
    }
    rig.near.take();
    rig.run(RTT);
    acknowledge(rig, rig.near, [1, 2, 3, 4]);
    expect(rig.near.take()[0]!.trafficClass).toBe(0x28 | 2);
  });
});

it('link frames of the test are what it thinks', () => {
  expect(readBody(join(ackFrame(2, 1, [3, 4, 9]))).acks).toEqual([
    {
      lane: 2,
      epoch: 1,
      largest: 9,
      ceMarks: 0,
      ranges: [
        [9, 9],
        [3, 4],
      ],
    },
  ]);
});
