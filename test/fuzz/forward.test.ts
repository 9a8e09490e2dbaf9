import { describe, expect, it } from 'vitest';
import { FRAME_ECHO_REPLY, FRAME_ECHO_REQUEST } from '../../src/overlay/wire/routed.js';
import { errorFrame, frame } from '../support/forward/frames.js';
import { FAR, ForwardRig, LOST, NEAR, type Peer, SELF, SIDE } from '../support/forward/rig.js';
import {
  buildPacket,
  headerLength,
  type PacketSpec,
  transportStart,
  UDP,
} from '../support/native-packets.js';
import { Random } from '../support/sim/random.js';
import { seedOf } from '../support/sim/simulator.js';

const SEED = seedOf(4_242);
const PLENTY = 1e9;
const NODES = [SELF, NEAR, SIDE, FAR, LOST, 0, 4711];

const inner = (version: 4 | 6, from: number, to: number) =>
  buildPacket({ version, protocol: UDP, payload: Uint8Array.of(1, 2, 3, 4), from, to, checksum: 'whole' });

/** A few bytes flipped, written over, cut off or appended. */
function mutate(random: Random, bytes: Uint8Array): Uint8Array {
  let result = bytes.slice();
  for (let changes = 1 + random.integer(3); changes > 0; changes--) {
    switch (random.integer(4)) {
      case 0:
        if (result.length > 0) result[random.integer(result.length)] ^= 1 << random.integer(8);
        break;
      case 1:
        if (result.length > 0)
          result[random.integer(Math.min(result.length, 64))] = random.pick([0, 1, 255, 128]);
        break;
      case 2:
        result = result.slice(0, random.integer(result.length + 1));
        break;
      default:
        result = Uint8Array.of(...result, ...random.bytes(random.integer(20)));
    }
  }
  return result;
}

/** A routed frame that makes sense as far as its header goes. */
function anyFrame(random: Random): Uint8Array {
  const [from, to] = [random.pick(NODES), random.pick(NODES)];
  const flags = random.pick([0, 0, 0x80, 0x40, 0x20]);
  const fields = {
    from,
    to,
    flags,
    ttl: random.pick([0, 1, 2, 64, 255]),
    ecn: random.integer(4),
    sequence: random.integer(40),
  };
  switch (random.integer(4)) {
    case 0:
      return errorFrame(
        from,
        to,
        random.integer(6),
        random.pick(NODES),
        random.integer(40),
        random.pick([0, 1300]),
      );
    case 1: {
      const hops = random.pick([0, 1, 3, 63, 64, 65]);
      const body = new Uint8Array(18 + 4 * hops);
      body.set([random.pick([0, 1, hops]), hops], 16);
      return frame({ ...fields, type: random.pick([FRAME_ECHO_REQUEST, FRAME_ECHO_REPLY]) }, body);
    }
    default:
      return frame(fields, inner(random.pick([4, 6]), random.pick([1, 2, 3, 4]), random.pick([1, 2, 3, 4])));
  }
}

const sum = (numbers: Record<string, number>): number => Object.values(numbers).reduce((a, b) => a + b, 0);

/** That honest packets still pass in every direction. */
function expectUsable(rig: ForwardRig): void {
  // Both are heard at their own addresses again.
  for (const peer of [rig.near, rig.side]) peer.send([peer.seal(new Uint8Array(0))]);
  rig.settle();
  rig.takeTun();
  rig.near.datagrams.length = rig.side.datagrams.length = 0;
  rig.near.send([
    rig.near.seal(frame({ from: NEAR, to: SELF }, inner(4, NEAR, SELF))),
    rig.near.seal(frame({ from: FAR, to: SIDE }, inner(6, FAR, SIDE))),
  ]);
  rig.tun.inject(inner(6, SELF, FAR));
  rig.settle();
  expect(rig.takeTun()).toEqual([inner(4, NEAR, SELF)]);
  expect([rig.side.take().length, rig.near.take().length]).toEqual([1, 1]);
}

describe(`the data path fed with nonsense (seed ${SEED})`, () => {
  it('takes any datagram: drops and counts it, passes it on as a handshake, or finds it authentic', () => {
    const random = new Random(SEED);
    const rig = new ForwardRig({ tokens: PLENTY });
    const record = (peer: Peer) => peer.seal(anyFrame(random), random.integer(2));
    let fed = 0;
    let authentic = 0;
    for (let round = 0; round < 1500; round++) {
      const batch: Uint8Array[] = [];
      for (let i = random.integer(20); i >= 0; i--) {
        const whole = record(random.pick([rig.near, rig.side]));
        if (random.chance(0.3)) batch.push(whole);
        else if (random.chance(0.7)) batch.push(mutate(random, whole));
        else batch.push(random.bytes(random.integer(80)));
        if (random.chance(0.1)) batch.push(batch[random.integer(batch.length)]);
      }
      const before = { records: rig.counters.receivedRecords, handshakes: rig.handshakes.length };
      const dropsBefore = OUTER.map((reason) => rig.counters.drops()[reason]);
      rig.near.send(batch, { trafficClass: random.integer(4) });
      rig.settle();
      const dropped = OUTER.reduce((n, reason, k) => n + rig.counters.drops()[reason] - dropsBefore[k], 0);
      const records = rig.counters.receivedRecords - before.records;
      expect(records + dropped + rig.handshakes.length - before.handshakes).toBe(batch.length);
      fed += batch.length;
      authentic += records;
    }
    expect(fed).toBeGreaterThan(10_000);
    expect(authentic).toBeGreaterThan(fed / 10);
    expectUsable(rig);
  });

  it('takes any body that a peer sealed: each has an effect that can be seen or counted', () => {
    const random = new Random(SEED + 1);
    const rig = new ForwardRig({ tokens: PLENTY });
    for (let i = 0; i < 40; i++)
      rig.tun.inject(inner(random.pick([4, 6]), SELF, random.pick([NEAR, FAR, SIDE])));
    rig.settle();
    const effects = () =>
      sum(rig.counters.drops()) +
      rig.tun.output.length +
      rig.near.datagrams.length +
      rig.side.datagrams.length +
      rig.linkFrames.length +
      rig.paths.length +
      rig.answers.length +
      rig.refusals.length;
    for (let round = 0; round < 12_000; round++) {
      const whole = anyFrame(random);
      const body = random.chance(0.2)
        ? random.bytes(random.integer(60))
        : random.chance(0.7)
          ? mutate(random, whole)
          : whole;
      const before = effects();
      const peer = random.pick([rig.near, rig.side]);
      peer.send([peer.seal(body, random.integer(2))], { trafficClass: random.integer(4) });
      rig.settle();
      if (body.length > 0 && effects() === before) {
        throw new Error(`round ${round}: no effect of ${Buffer.from(body).toString('hex')}`);
      }
    }
    expect(rig.counters.receivedRecords).toBe(12_000);
    expectUsable(rig);
  });

  it('takes any packet from the device, with any offload fields: sends it, drops and counts it, or refuses to cut it', () => {
    const random = new Random(SEED + 2);
    const rig = new ForwardRig({ tokens: PLENTY });
    let read = 0;
    for (let round = 0; round < 12_000; round++) {
      const spec: PacketSpec = {
        version: random.pick([4, 6]),
        protocol: random.pick([6, 17]),
        payload: random.bytes(random.pick([0, 1, 40, 3000])),
        from: random.pick([SELF, SELF, SELF, NEAR, 99]),
        to: random.pick([SELF, NEAR, SIDE, FAR, LOST, 99]),
        extension: random.chance(0.1),
        checksum: 'partial',
      };
      const packet = random.chance(0.5) ? mutate(random, buildPacket(spec)) : buildPacket(spec);
      const anyOffload = {
        flags: random.integer(2),
        gsoType: random.pick([0, 1, 4, 5, 3, 255]),
        gsoSize: random.pick([0, 1, 500, 1400, 65_535]),
        headerLength: random.pick([0, 20, 40, headerLength(spec), 65_535]),
        csumStart: random.pick([0, transportStart(spec), 65_535]),
      };
      const before = sum(rig.counters.drops()) + rig.counters.sentRecords + rig.io.segmentErrors;
      if (packet.length === 0) continue;
      const rightOffload = {
        flags: 1,
        gsoType: spec.protocol === UDP ? 5 : spec.version === 4 ? 1 : 4,
        gsoSize: 1400,
        headerLength: headerLength(spec),
        csumStart: transportStart(spec),
      };
      rig.tun.inject(packet, random.pick([{}, rightOffload, rightOffload, anyOffload]));
      rig.settle();
      read++;
      if (sum(rig.counters.drops()) + rig.counters.sentRecords + rig.io.segmentErrors === before) {
        throw new Error(`round ${round}: no trace of ${Buffer.from(packet).toString('hex')}`);
      }
      rig.near.datagrams.length = rig.side.datagrams.length = rig.tun.output.length = 0;
    }
    expect(rig.counters.tunReadPackets).toBe(read);
    expect(rig.counters.sentRecords).toBeGreaterThan(read / 10);
    expectUsable(rig);
  });
});

/** Of all reasons, those for which a datagram never becomes a record. */
const OUTER = [
  'short',
  'long',
  'version',
  'type',
  'no-session',
  'counter-range',
  'replayed',
  'forged',
  'handshake-flood',
];
