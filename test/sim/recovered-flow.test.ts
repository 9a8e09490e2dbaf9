/** Recovered flows between two whole workers over a network in memory: real packets, records and ciphers; the test plays both main threads. */
import { describe, expect, it } from 'vitest';
import { laneOf, type Side, WorkerPair } from '../support/forward/worker-pair.js';
import { LANE_RELIABLE } from '../../src/overlay/wire/lanes.js';
import { buildPacket, TCP } from '../support/native-packets.js';
import { Random } from '../support/sim/random.js';
import { seedOf } from '../support/sim/simulator.js';

const MS = 1000;
const SECOND = 1000 * MS;
const SEED = seedOf(41);
const SEEDS = [0, 1, 2].map((i) => SEED + i);

/** The `i`th packet of a flow from A to B. */
const packet = (i: number, length = 100) =>
  buildPacket({
    version: 4,
    protocol: TCP,
    payload: new Uint8Array(length),
    from: 1,
    to: 2,
    sequence: i,
    checksum: 'whole',
  });

function open(): WorkerPair {
  const pair = new WorkerPair();
  pair.join();
  pair.time.advance(SECOND);
  return pair;
}

/** Sends packets `from … to-1`, `burst` of them each `interval`, while `each` may do what it likes. */
function feed(pair: WorkerPair, from: number, to: number, interval: number, burst = 1, length = 100): void {
  for (let i = from; i < to;) {
    for (let k = 0; k < burst && i < to; k++) pair.a.tun.inject(packet(i++, length));
    pair.time.advance(interval);
    pair.sent.length = 0;
  }
}

function rest(pair: WorkerPair, micros: number): void {
  for (let passed = 0; passed < micros; passed += 100 * MS) pair.time.advance(100 * MS);
}

/** TCP sequences of what came out at B, in its order; takes them out. */
function arrived(pair: WorkerPair): number[] {
  const packets = pair.b.tun.output.splice(0).map(({ bytes }) => bytes);
  return packets.map((bytes) => new DataView(bytes.buffer, bytes.byteOffset).getUint32(24));
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
const recovery = (pair: WorkerPair, side: Side) => pair.report(side).links[0]!.recovery!;
const steps = (numbers: readonly number[]) =>
  numbers.filter((each, i) => i > 0 && each < numbers[i - 1]!).length;

describe(`between two workers (seed ${SEED})`, () => {
  it('a flow loses nothing and stays in order at 2 % loss, in bursts, with reordering', () => {
    for (const seed of SEEDS) {
      const random = new Random(seed);
      const pair = open();
      let inBurst = false;
      pair.delay = () => 5 * MS + random.integer(2 * MS);
      pair.passes = () => !(inBurst = random.chance(inBurst ? 0.5 : 0.01));
      feed(pair, 0, 3000, 2 * MS);
      pair.passes = () => true;
      rest(pair, 2 * SECOND);
      const all = arrived(pair);
      expect([...all].sort((x, y) => x - y)).toEqual(range(0, 3000));
      expect(steps(all)).toBeLessThan(3);
      expect(recovery(pair, 'a')).toMatchObject({ expired: 0, inFlightBytes: 0, queuePackets: 0 });
    }
  });

  it('a blackhole of 150 ms, too short for the link to go down, costs nothing but time', () => {
    for (const seed of SEEDS) {
      const pair = open();
      feed(pair, 0, 500, 2 * MS);
      const way = seed % 2 === 0 ? '192.0.2.1' : '192.0.2.2';
      pair.passes = ({ source }) => source.address !== way;
      feed(pair, 500, 575, 2 * MS);
      pair.passes = () => true;
      feed(pair, 575, 1500, 2 * MS);
      rest(pair, 2 * SECOND);
      expect(pair.take('a', 'down')).toEqual([]);
      expect(arrived(pair)).toEqual(range(0, 1500));
    }
  });

  it('a link that goes down and comes up in time carries on where it stopped', () => {
    const pair = open();
    feed(pair, 0, 300, 2 * MS);
    pair.passes = () => false;
    feed(pair, 300, 320, 2 * MS);
    rest(pair, 600 * MS);
    expect(pair.take('a', 'down')).toHaveLength(1);
    pair.passes = () => true;
    // Hellos find each other within some hundred milliseconds; what was sent is younger than its deadline then.
    rest(pair, 200 * MS);
    expect(pair.take('a', 'up')).toHaveLength(1);
    rest(pair, SECOND);
    feed(pair, 320, 400, 2 * MS);
    rest(pair, SECOND);
    expect(arrived(pair)).toEqual(range(0, 400));
  });

  it('a peer that began anew gets what is sent from then on, once and in order', () => {
    for (const way of ['a', 'b'] as const) {
      const pair = open();
      feed(pair, 0, 300, 2 * MS);
      rest(pair, SECOND);
      arrived(pair);
      // One process ends and another takes its place: the other end learns it from the static key of the next session.
      const side = way;
      pair.tell(side, { type: 'forget', peer: side === 'a' ? 2 : 1 });
      pair.join(2, { [side]: 'second' });
      rest(pair, SECOND);
      feed(pair, 1000, 1400, 2 * MS);
      rest(pair, 2 * SECOND);
      expect(arrived(pair)).toEqual(range(1000, 1400));
      expect(recovery(pair, 'a')).toMatchObject({ inFlightBytes: 0, queuePackets: 0 });
    }
  });

  it('a next link blackholed for a minute under full load holds a bounded number of frames, and traffic resumes', () => {
    const pair = open();
    // Hellos pass, so that the link stays up; nothing that carries data does.
    feed(pair, 0, 2000, MS, 10, 1200);
    rest(pair, SECOND);
    expect(arrived(pair).length).toBeGreaterThan(1000);
    pair.passes = (datagram) => laneOf(datagram) !== LANE_RELIABLE;
    let most = 0;
    let i = 2000;
    for (let tenth = 0; tenth < 600; tenth++, i += 100) {
      feed(pair, i, i + 100, 10 * MS, 10, 1200);
      const { queuePackets, queueBytes, inFlightBytes } = recovery(pair, 'a');
      most = Math.max(most, queuePackets);
      expect(queueBytes).toBeLessThanOrEqual(8 * 1024 * 1024);
      expect(inFlightBytes).toBeLessThan(4 * 1024 * 1024);
    }
    expect(most).toBeGreaterThan(500);
    expect(most).toBeLessThanOrEqual(6144);
    expect(arrived(pair)).toEqual([]);
    pair.passes = () => true;
    feed(pair, i, i + 4000, MS, 1, 1200);
    rest(pair, 3 * SECOND);
    const resumed = arrived(pair);
    expect(resumed.filter((each) => each >= i + 3000)).toEqual(range(i + 3000, i + 4000));
    expect(new Set(resumed).size).toBe(resumed.length);
    expect(recovery(pair, 'a')).toMatchObject({ inFlightBytes: 0, queuePackets: 0 });
  });
});
