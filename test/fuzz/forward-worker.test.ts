import { describe, expect, it } from 'vitest';
import { createBatch, RECORD_HEADER, RECORD_TAG } from '../../src/io/batch.js';
import { createPlainAead } from '../../src/io/plain/aead.js';
import { encodeClose, encodeHello, encodeStream, encodeStreamAck } from '../../src/overlay/wire/frames.js';
import { writeRecordHeader } from '../../src/overlay/wire/record.js';
import { WorkerPair } from '../support/forward/worker-pair.js';
import { buildPacket, UDP } from '../support/native-packets.js';
import { Random } from '../support/sim/random.js';
import { seedOf } from '../support/sim/simulator.js';

const SEED = seedOf(77);
const ROUNDS = 8000;

/** Link frames as an authentic peer might make them, sensible one by one and senseless together. */
function anyLinkFrames(random: Random, view: DataView): number {
  const small = () => (random.chance(0.2) ? random.u32() : random.integer(40));
  const flag = () => random.chance(0.5);
  let at = 0;
  for (let frames = 1 + random.integer(3); frames > 0; frames--) {
    switch (random.integer(random.chance(0.02) ? 5 : 4)) {
      case 0: {
        const [number, clock, echoClock, echoAge] = [
          small(),
          random.u32(),
          flag() ? 0 : random.u32(),
          small(),
        ];
        at = encodeHello(view, at, {
          type: 'hello',
          number,
          clock,
          echoClock,
          echoAge,
          answer: flag(),
          busy: flag(),
        });
        break;
      }
      case 1: {
        const bytes = random.bytes(random.integer(30));
        const [epoch, number] = [1 + random.integer(2), small()];
        at = encodeStream(view, at, { type: 'stream', epoch, number, first: flag(), last: flag(), bytes });
        break;
      }
      case 2: {
        const [epoch, expected, bitmap, instance] = [small(), small(), random.u32(), small()];
        at = encodeStreamAck(view, at, { type: 'stream-ack', epoch, expected, bitmap, instance });
        break;
      }
      case 3:
        for (let i = random.integer(12); i > 0; i--) view.setUint8(at++, random.u32() & 0x0f);
        break;
      default:
        at = encodeClose(view, at, 'stopping');
    }
  }
  return at;
}

describe(`a whole worker (seed ${SEED})`, () => {
  it('takes any link frames and any handshakes without throwing, and a fresh session afterwards', () => {
    const random = new Random(SEED);
    const pair = new WorkerPair();
    const aead = createPlainAead(1);
    let [sessions, index, closed, handshakes] = [0, 0, 0, 0];
    /** What the main thread does with a peer that said goodbye, or that it meets for the first time. */
    const renew = (): void => {
      const { a, b } = pair.grants(++sessions);
      pair.tell('a', { type: 'forget', peer: 2 });
      aead.setKey(0, b.cipher, b.send[0].key);
      index = b.send[0].index;
      pair.tell('a', { type: 'session', grant: a });
    };
    renew();
    pair.time.advance(1_000_000);
    // The test speaks for B.
    const spoken = { address: '192.0.2.2', port: 7100 };
    pair.passes = ({ source }) => source === spoken;
    const destination = { address: '192.0.2.1', port: 7100 };
    const batch = createBatch(4096, 1);
    for (let counter = 1000; counter < 1000 + ROUNDS; counter++) {
      const body = new DataView(batch.bytes.buffer, RECORD_HEADER);
      const length = anyLinkFrames(random, body);
      for (let flips = random.integer(4) - 2; flips > 0; flips--)
        body.setUint8(random.integer(length || 1), random.u32() & 255);
      writeRecordHeader(batch.view, 0, index, counter);
      batch.offset[0] = batch.key[0] = 0;
      batch.length[0] = RECORD_HEADER + length;
      aead.seal(batch, Int32Array.of(0), 1);
      const bytes = batch.bytes.slice(0, RECORD_HEADER + length + RECORD_TAG);
      pair.network.send({ source: spoken, destination, trafficClass: 0, bytes });
      if (random.chance(0.1)) {
        const handshake = random.bytes(24 + random.integer(1200));
        handshake[0] = 0x10 | random.pick([1, 2, 3, 4, 6]);
        pair.network.send({ source: spoken, destination, trafficClass: 0, bytes: handshake });
      }
      if (random.chance(0.02))
        pair.tell('a', { type: 'message', peer: 2, bytes: random.bytes(random.integer(3000)) });
      pair.time.advance(random.integer(20_000));
      const posted = pair.take('a');
      handshakes += posted.filter(({ type }) => type === 'datagram').length;
      if (!posted.some(({ type }) => type === 'closed')) continue;
      closed++;
      renew();
    }
    const { counters, drops } = pair.report('a');
    expect(counters['receivedRecords']).toBeGreaterThan(ROUNDS / 2);
    expect(drops['frame-malformed']).toBeGreaterThan(100);
    expect(handshakes).toBeGreaterThan(ROUNDS / 20);
    expect(closed).toBeGreaterThan(3);

    pair.passes = () => true;
    for (const side of ['a', 'b'] as const) pair.tell(side, { type: 'forget', peer: side === 'a' ? 2 : 1 });
    pair.join(sessions + 1, { a: 'second', b: 'second' });
    pair.time.advance(2_000_000);
    const packet = buildPacket({
      version: 4,
      protocol: UDP,
      payload: random.bytes(9),
      from: 1,
      to: 2,
      checksum: 'whole',
    });
    pair.a.tun.inject(packet);
    pair.time.advance(10_000);
    expect(pair.b.tun.output.map(({ bytes }) => bytes)).toEqual([packet]);
  });
});
