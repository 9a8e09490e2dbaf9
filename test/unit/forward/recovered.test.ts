import { beforeEach, describe, expect, it } from 'vitest';
import { LIMITS } from '../../../src/agent/worker/sizes.js';
import type { LinkRecovery } from '../../../src/agent/messages.js';
import {
  LANE_BEST_EFFORT,
  LANE_CONTROL,
  LANE_REALTIME,
  LANE_RELIABLE,
} from '../../../src/overlay/wire/lanes.js';
import { readNumber } from '../../../src/overlay/wire/record.js';
import { isFrom, laneOf, type Side, WorkerPair } from '../../support/forward/worker-pair.js';
import { buildPacket, TCP, UDP } from '../../support/native-packets.js';
import { Random } from '../../support/sim/random.js';

const MS = 1000;
const SECOND = 1000 * MS;
const EF = 46 << 2;
let pair: WorkerPair;

beforeEach(() => {
  pair = new WorkerPair();
  pair.join();
  pair.time.advance(SECOND);
});

/** The `i`th packet of a flow. */
const packet = (
  i: number,
  from: Side = 'a',
  length = 100,
  more: { tos?: number; protocol?: 6 | 17; port?: number } = {},
) =>
  buildPacket({
    version: 4,
    protocol: more.protocol ?? TCP,
    payload: Uint8Array.from({ length }, (_, k) => (k === 0 ? i >> 8 : k === 1 ? i : k * 3) & 255),
    from: from === 'a' ? 1 : 2,
    to: from === 'a' ? 2 : 1,
    sequence: i,
    sourcePort: more.port ?? 1000,
    checksum: 'whole',
    tos: more.tos ?? 0,
  });

/** Sends packets, one each `interval` µs, and lets all of it arrive; gives back what came out at the other end. */
function transfer(packets: readonly Uint8Array[], interval = MS, from: Side = 'a'): Uint8Array[] {
  const to = from === 'a' ? 'b' : 'a';
  for (const each of packets) {
    pair[from].tun.inject(each);
    pair.time.advance(interval);
  }
  pair.time.advance(SECOND);
  return pair[to].tun.output.splice(0).map(({ bytes }) => bytes);
}

const many = (count: number, length = 100) => Array.from({ length: count }, (_, i) => packet(i, 'a', length));
const voice = (count: number) =>
  Array.from({ length: count }, (_, i) => packet(i, 'a', 100, { protocol: UDP, tos: EF }));

const recovery = (side: Side): LinkRecovery => pair.report(side).links[0]!.recovery!;
const duplicates = (side: Side): number => pair.report(side).counters['duplicates']!;
const numberOf = (bytes: Uint8Array): number => readNumber(new DataView(bytes.buffer, bytes.byteOffset), 0);

/** Swallows a sender's records of a lane: those whose place in the order of sending `which` says. */
function swallow(lane: number, which: (i: number) => boolean, from: Side = 'a'): void {
  let count = 0;
  pair.passes = (datagram) => !(isFrom(from, datagram) && laneOf(datagram) === lane && which(count++));
}

describe('a reliable flow between two workers', () => {
  it('arrives as it was sent, one numbered record a packet', () => {
    pair.sent.length = 0;
    const packets = many(50);
    expect(transfer(packets)).toEqual(packets);
    const records = pair.sent.filter((datagram) => laneOf(datagram) === LANE_RELIABLE);
    const first = numberOf(records[0]!.bytes);
    expect(records.map(({ bytes }) => numberOf(bytes))).toEqual(packets.map((_, i) => first + i));
    expect(recovery('a')).toMatchObject({
      retransmissions: 0,
      inFlightBytes: 0,
      queuePackets: 0,
      expired: 0,
    });
    expect(duplicates('b')).toBe(0);
  });

  it('loses nothing and keeps its order where records are lost', () => {
    const packets = many(50);
    swallow(LANE_RELIABLE, (i) => i === 10 || i === 11 || i === 30);
    expect(transfer(packets)).toEqual(packets);
    expect(recovery('a')).toMatchObject({ retransmissions: 3, spurious: 0, inFlightBytes: 0 });
    expect(recovery('b').in.before).toBeGreaterThan(0);
  });

  it('gets a lost packet back within a round trip of the next that shows the gap, its followers held meanwhile', () => {
    swallow(LANE_RELIABLE, (i) => i === 20);
    for (const each of many(20)) {
      pair.a.tun.inject(each);
      pair.time.advance(MS);
    }
    pair.time.advance(100 * MS);
    pair.b.tun.output.length = 0;
    for (let i = 20; i < 24; i++) pair.a.tun.inject(packet(i));
    pair.time.advance(1500);
    expect(pair.b.tun.output).toEqual([]);
    pair.time.advance(4 * MS);
    expect(pair.b.tun.output.map(({ bytes }) => bytes)).toEqual([20, 21, 22, 23].map((i) => packet(i)));
  });

  it('gets its last packet back by a probe', () => {
    swallow(LANE_RELIABLE, (i) => i === 9);
    const packets = many(10);
    expect(transfer(packets)).toEqual(packets);
  });

  it('is put in order where the network reorders, nothing sent twice once that is known', () => {
    const random = new Random(3);
    pair.delay = (datagram) => 10_000 + (laneOf(datagram) === LANE_RELIABLE ? random.integer(5000) : 0);
    const packets = many(600);
    expect(transfer(packets)).toEqual(packets);
    const { retransmissions } = recovery('a');
    expect(retransmissions).toBeLessThan(30);
    expect(recovery('a').spurious).toBeLessThanOrEqual(retransmissions);
    expect(duplicates('b')).toBe(recovery('a').spurious);
  });

  it('survives any mixture of loss and reordering, both ways at once', () => {
    for (const seed of [1, 2, 3]) {
      const random = new Random(seed);
      pair.passes = () => !random.chance(0.1);
      pair.delay = () => 1000 + random.integer(3000);
      const packets = Array.from({ length: 300 }, (_, i) => packet(i, 'a', 50 + random.integer(1200)));
      const back = Array.from({ length: 300 }, (_, i) => packet(i, 'b', 50 + random.integer(1200)));
      packets.forEach((each, i) => {
        pair.a.tun.inject(each);
        pair.b.tun.inject(back[i]!);
        pair.time.advance(2 * MS);
      });
      pair.passes = () => true;
      pair.time.advance(SECOND);
      for (const [to, sent] of [['b', packets] as const, ['a', back] as const]) {
        const arrived = pair[to].tun.output.splice(0).map(({ bytes }) => bytes.toString());
        const places = sent.map((bytes) => arrived.indexOf(bytes.toString()));
        expect([arrived.length, new Set(places).size, places.includes(-1)]).toEqual([300, 300, false]);
        // What is lost again and again is longer on its way than anybody waits for it.
        expect(places.filter((place, i) => i > 0 && place < places[i - 1]!).length).toBeLessThan(4);
      }
      pair.delay = () => 1000;
      pair.time.advance(3 * SECOND);
    }
    expect(recovery('a')).toMatchObject({ expired: 0, inFlightBytes: 0 });
  });

  it('goes on by another session in the middle of a loss', () => {
    const packets = many(60);
    const random = new Random(5);
    pair.passes = (datagram) => laneOf(datagram) !== LANE_RELIABLE || !random.chance(0.3);
    packets.forEach((each, i) => {
      if (i === 30) pair.join(2);
      pair.a.tun.inject(each);
      pair.time.advance(MS);
    });
    pair.passes = () => true;
    pair.time.advance(SECOND);
    expect(pair.b.tun.output.map(({ bytes }) => bytes)).toEqual(packets);
    expect(recovery('a').retransmissions).toBeGreaterThan(5);
  });
});

describe('acknowledgements between two workers', () => {
  it('go alone where nothing goes back, one for many records, and none when all is said', () => {
    transfer(many(20));
    pair.sent.length = 0;
    transfer(many(320), 100);
    const acks = pair.sent.filter((datagram) => isFrom('b', datagram) && datagram.bytes.length > 32);
    expect(acks.every((datagram) => laneOf(datagram) === LANE_CONTROL)).toBe(true);
    expect(acks.length).toBeGreaterThan(320 / 16 - 2);
    expect(acks.length).toBeLessThan(320 / 16 + 30);
  });

  it('ride on what goes back', () => {
    transfer(many(20));
    pair.sent.length = 0;
    for (let i = 0; i < 300; i++) {
      pair.a.tun.inject(packet(i));
      pair.time.advance(500);
      pair.b.tun.inject(packet(i, 'b', 30));
      pair.time.advance(500);
    }
    const alone = pair.sent.filter((datagram) => isFrom('b', datagram) && laneOf(datagram) === LANE_CONTROL);
    expect(alone.length).toBeLessThan(20);
    expect(recovery('a')).toMatchObject({ retransmissions: 0 });
  });

  it('that are lost cost needless repetitions, which the peer drops and counts', () => {
    transfer(many(20));
    pair.passes = (datagram) => !(isFrom('b', datagram) && laneOf(datagram) === LANE_CONTROL);
    for (const each of many(5)) pair.a.tun.inject(each);
    pair.time.advance(150 * MS);
    pair.passes = () => true;
    pair.time.advance(SECOND);
    expect(pair.b.tun.output.splice(0).map(({ bytes }) => bytes)).toEqual(many(5));
    expect(duplicates('b')).toBeGreaterThan(0);
    expect(duplicates('b')).toBeLessThan(20);
    expect(recovery('a').inFlightBytes).toBe(0);
  });
});

describe('a realtime flow between two workers', () => {
  it('has a lane of its own, and a lost packet comes late but once', () => {
    swallow(LANE_REALTIME, (i) => i === 10);
    const arrived = transfer(voice(40));
    expect(arrived.length).toBe(40);
    expect(new Set(arrived.map((bytes) => bytes.toString())).size).toBe(40);
    expect(arrived.slice(0, 10)).toEqual(voice(40).slice(0, 10));
    expect(recovery('a')).toMatchObject({ retransmissions: 1 });
  });

  it('waits for nothing: what follows a loss comes at once', () => {
    swallow(LANE_REALTIME, (i) => i === 10);
    for (const each of voice(12)) {
      pair.a.tun.inject(each);
      pair.time.advance(1100);
    }
    expect(pair.b.tun.output.at(-1)!.bytes).toEqual(voice(12)[11]);
  });

  it('gives a packet up that was lost twice', () => {
    transfer(voice(20));
    // Behind a repeat frame a record is longer.
    const usual = pair.sent.findLast((datagram) => laneOf(datagram) === LANE_REALTIME)!.bytes.length;
    let count = 0;
    pair.passes = (datagram) =>
      laneOf(datagram) !== LANE_REALTIME || (count++ > 0 && datagram.bytes.length === usual);
    expect(transfer(voice(30))).toHaveLength(29);
    expect(recovery('a')).toMatchObject({ retransmissions: 1, expired: 1 });
  });

  it('gets parity where the link is lossy, and nearly nothing stays lost', () => {
    const random = new Random(9);
    pair.delay = () => 20_000;
    pair.passes = (datagram) => laneOf(datagram) !== LANE_REALTIME || !random.chance(0.05);
    const count = 1000;
    const arrived = transfer(
      Array.from({ length: count }, (_, i) => packet(i, 'a', 900, { protocol: UDP, tos: EF })),
      16 * MS,
    );
    const { parity, retransmissions, repaired } = { ...recovery('a'), repaired: recovery('b').repaired };
    expect(new Set(arrived.map((bytes) => bytes.toString())).size).toBe(arrived.length);
    expect(arrived.length).toBeGreaterThan(count * 0.995);
    expect(parity).toBeGreaterThan(count / 2);
    expect(parity + retransmissions).toBeLessThan(count * 1.15);
    expect(repaired).toBeGreaterThan(count * 0.02);
  });
});

describe('flows beside each other', () => {
  it('of one pair of ports, whose DSCP changes, take the lane of each packet and wait for none of another', () => {
    pair.sent.length = 0;
    const tos = [0, EF, 0, 11 << 2, EF, 0].flatMap((each) => [each, each]);
    const packets = tos.map((each, i) => packet(i, 'a', 60, { protocol: UDP, tos: each }));
    swallow(LANE_REALTIME, (i) => i === 0);
    for (const each of packets) {
      pair.a.tun.inject(each);
      pair.time.advance(2 * MS);
    }
    const lanes = pair.sent.filter((each) => isFrom('a', each) && laneOf(each) > 0).map(laneOf);
    const lane: Record<number, number> = { 0: LANE_BEST_EFFORT, [EF]: LANE_REALTIME, 44: LANE_RELIABLE };
    expect(lanes.filter((each) => each !== LANE_REALTIME)).toEqual(
      tos.map((each) => lane[each]!).filter((each) => each !== LANE_REALTIME),
    );
    pair.time.advance(SECOND);
    const arrived = pair.b.tun.output.map(({ bytes }) => bytes.toString());
    expect([...arrived].sort()).toEqual(packets.map((each) => each.toString()).sort());
  });

  it('leave realtime its place in the store, however much of it reliable ones fill', () => {
    pair = new WorkerPair({ ...LIMITS, stored: 256 });
    pair.join();
    pair.time.advance(SECOND);
    transfer(many(5));
    pair.b.tun.output.length = 0;
    pair.passes = (datagram) => laneOf(datagram) !== LANE_RELIABLE;
    for (const each of many(400)) pair.a.tun.inject(each);
    pair.time.advance(10 * MS);
    expect(pair.report('a').drops['queue-full']).toBeGreaterThan(100);
    for (const each of voice(10)) pair.a.tun.inject(each);
    pair.time.advance(10 * MS);
    expect(pair.b.tun.output.splice(0).map(({ bytes }) => bytes)).toEqual([...voice(10)]);
  });

  it('are held up by their own losses only', () => {
    const other = (i: number) => packet(i, 'a', 100, { port: 2222 });
    transfer([...many(5), other(0)]);
    swallow(LANE_RELIABLE, (i) => i === 0);
    for (const each of [packet(5), packet(6), other(1)]) {
      pair.a.tun.inject(each);
      pair.time.advance(10);
    }
    pair.time.advance(1200);
    expect(pair.b.tun.output.map(({ bytes }) => bytes)).toEqual([other(1)]);
  });
});
