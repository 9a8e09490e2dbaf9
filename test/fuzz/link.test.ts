import { describe, expect, it } from 'vitest';
import { Link, LINK_BODY_MAX } from '../../src/overlay/link/link.js';
import { encodeHello, encodeStream, encodeStreamAck } from '../../src/overlay/wire/frames.js';
import { randomFrom } from '../sim/link-pair.js';

const SEED = 31_337;
const ROUNDS = 150_000;

describe(`a link fed with nonsense by an authentic peer (seed ${SEED})`, () => {
  it('never throws, keeps its timer sane and its memory bounded', () => {
    const next = randomFrom(SEED);
    const small = (): number => (next() % 4 === 0 ? next() : next() % 40);
    const flag = (): boolean => next() % 2 === 0;
    const inbound = new DataView(new ArrayBuffer(LINK_BODY_MAX + 200));
    const outbound = new DataView(new ArrayBuffer(LINK_BODY_MAX));
    const seen = new Map<string, number>();
    const epoch = (): number => (next() % 16 === 0 ? next() : 1 + (next() % 3));
    let now = 1_000_000_000;
    let link = new Link(() => 1 + (next() % 3), now);
    let ours = now;

    const write = (at: number): number => {
      const bytes = new Uint8Array(next() % 30);
      switch (next() % 5) {
        case 0:
          return encodeHello(inbound, at, {
            type: 'hello',
            number: small(),
            clock: next(),
            echoClock: flag() ? ours >>> 0 : small(),
            echoAge: flag() ? 0 : small(),
            answer: flag(),
            busy: flag(),
          });
        case 1:
        case 2:
          return encodeStream(inbound, at, {
            type: 'stream',
            epoch: epoch(),
            number: small(),
            first: flag(),
            last: flag(),
            bytes,
          });
        case 3:
          return encodeStreamAck(inbound, at, {
            type: 'stream-ack',
            epoch: epoch(),
            expected: small(),
            bitmap: next(),
            instance: epoch(),
          });
        default:
          inbound.setUint32(at, next());
          return at + (next() % 5);
      }
    };

    for (let round = 0; round < ROUNDS; round++) {
      now += next() % 60_000;
      let end = 0;
      for (let i = next() % 4; i >= 0; i--) end = write(end);
      for (const event of link.receive(now, inbound, 0, end))
        seen.set(event.type, (seen.get(event.type) ?? 0) + 1);
      for (const event of link.timeout(now)) {
        seen.set(event.type, (seen.get(event.type) ?? 0) + 1);
        if (event.type === 'drain') link.drained(now);
      }
      if (flag()) link.noteData(now);
      if (link.send(new Uint8Array(next() % 3000)) === 'overflow')
        link = new Link(() => 1 + (next() % 3), now);
      let records = 0;
      while (link.transmit(now, outbound, 0, LINK_BODY_MAX) > 0)
        if (++records > 64) throw new Error('never stops sending');
      ours = now;
      if (Number.isNaN(link.nextTimeout())) throw new Error('timer is not a number');
      if (link.bufferedBytes < 0) throw new Error('buffer accounting went negative');
      if (link.state.name === 'closed') link = new Link(() => 1 + (next() % 3), now);
    }
    for (const type of [
      'up',
      'down',
      'measured',
      'message',
      'stream-restarted',
      'stream-broken',
      'stream-lost',
      'rejected',
    ]) {
      expect([type, seen.get(type) ?? 0]).not.toEqual([type, 0]);
    }
  });
});
