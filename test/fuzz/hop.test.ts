import { describe, expect, it } from 'vitest';
import { FRAME_ACK, FRAME_REPAIR, FRAME_REPEAT, FRAME_REPORT } from '../../src/overlay/wire/frames.js';
import {
  LANE_BEST_EFFORT,
  LANE_CONTROL,
  LANE_REALTIME,
  LANE_RELIABLE,
} from '../../src/overlay/wire/lanes.js';
import { ackFrame, join, repeatFrame } from '../support/forward/bodies.js';
import { frame } from '../support/forward/frames.js';
import { FAR, ForwardRig, LOST, NEAR, type Peer, SELF, SIDE } from '../support/forward/rig.js';
import { buildPacket, TCP, UDP } from '../support/native-packets.js';
import { Random } from '../support/sim/random.js';
import { seedOf } from '../support/sim/simulator.js';

const SEED = seedOf(99);
const ROUNDS = 6000;
const LANES = [LANE_CONTROL, LANE_BEST_EFFORT, LANE_RELIABLE, LANE_REALTIME];

const packet = (from: number, to: number, payload: Uint8Array, protocol: 6 | 17 = TCP) =>
  buildPacket({ version: 4, protocol, payload, from, to, checksum: 'whole' });

/** Type, length (mostly the true one) and a value. */
function linkFrame(random: Random, type: number, value: Uint8Array): Uint8Array {
  const length = random.chance(0.95) ? value.length : random.integer(0x1_0000);
  return Uint8Array.of(type, length >> 8, length & 255, ...value);
}

/** A link frame of recovery, sensible or not. */
function anyLinkFrame(random: Random): Uint8Array {
  const number = random.chance(0.7) ? random.integer(60) : random.integer(1 << 21);
  switch (random.integer(6)) {
    case 0: {
      const from = random.chance(0.7) ? random.integer(40) : number;
      const numbers = Array.from({ length: 1 + random.integer(6) }, () => from + random.integer(12));
      return ackFrame(
        random.pick([2, 3, 2, 3, 1]),
        random.pick([7, 7, 0, random.integer(8)]),
        numbers,
        random.u32() & 0xffff,
      );
    }
    case 1:
      return repeatFrame(number);
    case 2:
      return linkFrame(
        random,
        FRAME_REPORT,
        Uint8Array.of(random.pick([2, 3, 9]), random.integer(8), ...random.bytes(16)),
      );
    case 3: {
      const head = [number >> 16, number >> 8, number, random.integer(40), 0, random.integer(3)].map(
        (each) => each & 255,
      );
      return linkFrame(random, FRAME_REPAIR, Uint8Array.of(...head, ...random.bytes(random.integer(200))));
    }
    case 4:
      return linkFrame(
        random,
        random.pick([FRAME_ACK, FRAME_REPEAT, FRAME_REPORT, FRAME_REPAIR, 9, 15]),
        random.bytes(random.integer(40)),
      );
    default:
      return random.bytes(random.integer(12));
  }
}

function anyRouted(random: Random, from: number): Uint8Array {
  const to = random.pick([SELF, SELF, SELF, SIDE, NEAR, FAR, LOST, 4711]);
  const fields = {
    from: random.pick([from, from, from, 4711]),
    to,
    service: random.integer(5),
    ecn: random.integer(4),
    ttl: random.pick([0, 1, 2, 64]),
    flags: random.pick([0, 0, 0, 0x08, 0x08, 0x80, 0x40, 0x10]),
    sequence: random.chance(0.8) ? random.integer(200) : random.u32(),
    distance: random.chance(0.7) ? random.integer(4) : random.integer(0x1_0000),
    flow: random.integer(random.chance(0.9) ? 4 : 100),
    epoch: random.chance(0.98) ? 7 : random.integer(0x1_0000),
  };
  const inner = random.chance(0.9)
    ? packet(from, to, random.bytes(random.integer(100)))
    : random.bytes(random.integer(60));
  const whole = frame(fields, inner);
  return random.chance(0.95) ? whole : whole.subarray(0, random.integer(whole.length));
}

function anyBody(random: Random, from: number): Uint8Array {
  const frames = Array.from({ length: random.integer(4) }, () => anyLinkFrame(random));
  return join(...frames, random.chance(0.8) ? anyRouted(random, from) : new Uint8Array(0));
}

function anyRecord(random: Random, peer: Peer): Uint8Array {
  const lane = random.pick([...LANES, LANE_RELIABLE, LANE_REALTIME]);
  const body = anyBody(random, peer.nodeId);
  if (lane < LANE_RELIABLE) return peer.seal(body, lane);
  const number = random.chance(0.8) ? peer.counters[lane]! & 0x1f_ffff : random.integer(1 << 21);
  return peer.sealNumbered(body, lane, number, random.chance(0.97) ? 3 : random.integer(8));
}

describe(`bodies with any link frames in front of routed ones (seed ${SEED})`, () => {
  it('make nothing throw and nothing leak, and honest flows pass in between and afterwards', () => {
    const random = new Random(SEED);
    const rig = new ForwardRig({ services: { tcp: 1, udp: 2 }, limits: { stored: 256 }, tokens: 1e9 });
    let most = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const peer = random.pick([rig.near, rig.side]);
      const records = Array.from({ length: 1 + random.integer(4) }, () => anyRecord(random, peer));
      peer.send(records, { trafficClass: random.pick([0, 2, 3]) });
      // This node has something under way, for acknowledgements to speak of.
      if (random.chance(0.3)) {
        const protocol = random.pick([TCP, UDP] as const);
        rig.tun.inject(
          packet(SELF, random.pick([NEAR, SIDE, FAR]), random.bytes(random.integer(1300)), protocol),
        );
      }
      rig.settle();
      if (random.chance(0.3)) rig.run(random.integer(random.chance(0.05) ? 1_500_000 : 20_000));
      if (random.chance(0.005)) {
        const { neighbour } = peer;
        neighbour.up = !neighbour.up;
        if (neighbour.up) rig.hops.resume(neighbour);
        else {
          rig.hops.suspend(rig.time.now(), neighbour);
          rig.hops.reroute(rig.time.now(), neighbour);
        }
        rig.pump();
      }
      most = Math.max(most, rig.store.used);
      // Nobody reads on: what was sent is thrown away.
      rig.near.datagrams.length = rig.side.datagrams.length = 0;
      rig.tun.output.length = 0;
    }
    expect(most).toBeLessThanOrEqual(256);
    expect(most).toBeGreaterThan(20);
    expect(rig.counters.duplicates).toBeGreaterThan(20);
    expect(rig.drops()['frame-malformed']).toBeGreaterThan(100);

    for (const { neighbour } of [rig.near, rig.side]) {
      neighbour.up = true;
      rig.hops.resume(neighbour);
    }
    rig.pump();
    rig.run(20_000_000);
    expect(rig.store.used).toBe(0);
    for (const { neighbour } of [rig.near, rig.side]) expect(neighbour.hop!.outbound.bytesInFlight).toBe(0);

    rig.near.datagrams.length = 0;
    rig.tun.inject(packet(SELF, NEAR, random.bytes(9)));
    rig.settle();
    expect(rig.near.take().filter(({ lane }) => lane === LANE_RELIABLE)).toHaveLength(1);
    const epoch = rig.near.neighbour.hop!.inbound.reliable.epoch;
    const honest = packet(NEAR, SELF, random.bytes(9));
    const body = frame({ from: NEAR, to: SELF, service: 1, flow: 4711, sequence: 1 }, honest);
    rig.near.send([rig.near.sealNumbered(body, LANE_RELIABLE, 1, (epoch + 1) & 7)]);
    rig.settle();
    expect(rig.takeTun()).toContainEqual(honest);
  });
});
