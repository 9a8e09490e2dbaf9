import { describe, expect, it } from 'vitest';
import * as frames from '../../../src/overlay/wire/frames.js';

const AT = 7;
const view = (size = 1400): DataView => new DataView(new ArrayBuffer(size));
const hex = (v: DataView, from: number, to: number): string =>
  Buffer.from(v.buffer, from, to - from).toString('hex');
const hello: frames.Hello = {
  type: 'hello',
  number: 0xfffffffe,
  clock: 0x01020304,
  echoClock: 0xa1a2a3a4,
  echoAge: 0xb1b2b3b4,
  answer: true,
  busy: false,
};

/** All frames of a body, decoded; 'malformed' at the end where it was. */
function walk(v: DataView, at: number, length: number): unknown[] {
  const cursor = new frames.LinkFrames();
  cursor.reset(v, at, length);
  const found: unknown[] = [];
  while (cursor.next()) found.push(frames.decodeLinkFrame(cursor.type, v, cursor.at, cursor.length));
  return cursor.malformed ? [...found, 'malformed'] : found;
}

describe('link frames', () => {
  it('lie as docs/wire-format.md draws them', () => {
    const v = view();
    let end = frames.encodeHello(v, AT, hello);
    expect(hex(v, AT, end)).toBe('010011' + 'fffffffe01020304a1a2a3a4b1b2b3b4' + '01');
    end = frames.encodeStream(v, AT, {
      type: 'stream',
      epoch: 0xe1e2e3e4,
      number: 5,
      first: false,
      last: true,
      bytes: Uint8Array.of(1, 2, 3),
    });
    expect(hex(v, AT, end)).toBe('02000c' + 'e1e2e3e400000005' + '02' + '010203');
    end = frames.encodeStreamAck(v, AT, {
      type: 'stream-ack',
      epoch: 9,
      expected: 6,
      bitmap: 0x80000001,
      instance: 7,
    });
    expect(hex(v, AT, end)).toBe('030010' + '00000009' + '00000006' + '80000001' + '00000007');
    const counts = { sealed: 0xfffffff0, arrived: 0xffffffef, gaps: 1 };
    end = frames.encodeTally(v, AT, { type: 'tally', ...counts, loss: 1_000_000 });
    expect(hex(v, AT, end)).toBe('090010' + 'fffffff0' + 'ffffffef' + '00000001' + '000f4240');
    expect(end - AT).toBe(frames.TALLY_FRAME_SIZE);
    end = frames.encodeClose(v, AT, 'revoked');
    expect(hex(v, AT, end)).toBe('04000103');
    expect(end - AT).toBe(frames.CLOSE_FRAME_SIZE);
  });

  it('come out of one body in order, unknown ones to be skipped', () => {
    const v = view();
    const ack: frames.StreamAck = { type: 'stream-ack', epoch: 1, expected: 2, bitmap: 3, instance: 4 };
    let end = frames.encodeHello(v, AT, hello);
    v.setUint8(end, 0x0f);
    v.setUint16(end + 1, 4);
    end = frames.encodeStreamAck(v, end + 7, ack);
    end = frames.encodeClose(v, end, 'stopping');
    expect(walk(v, AT, end - AT)).toEqual([
      hello,
      { type: 'unknown' },
      ack,
      { type: 'close', reason: 'stopping' },
    ]);
    expect(walk(v, AT, 0)).toEqual([]);
  });

  it('before one that does not fit are kept, the rest is dropped', () => {
    const v = view();
    const first = frames.encodeClose(v, AT, 'replaced');
    const end = frames.encodeHello(v, first, hello);
    for (let cut = 1; cut < end - first; cut++) {
      expect(walk(v, AT, end - AT - cut)).toEqual([{ type: 'close', reason: 'replaced' }, 'malformed']);
    }
  });

  it('of type 0 or of no kind drop the rest of the record', () => {
    const v = view();
    for (const type of [0x00, 0x20, 0xff]) {
      v.setUint8(AT, type);
      expect(walk(v, AT, 3)).toEqual(['malformed']);
    }
  });

  it('end where a routed frame begins, however short it is', () => {
    const v = view();
    const routed = frames.encodeClose(v, AT, 'stopping');
    const cursor = new frames.LinkFrames();
    for (const type of [0x10, 0x1f]) {
      v.setUint8(routed, type);
      for (const from of [AT, routed]) {
        for (const more of [1, 2, 30]) {
          cursor.reset(v, from, routed + more - from);
          expect(cursor.routedAt).toBe(-1);
          while (cursor.next()) expect(cursor.type).toBe(frames.FRAME_CLOSE);
          expect([cursor.routedAt, cursor.malformed, cursor.next()]).toEqual([routed, false, false]);
        }
      }
    }
    cursor.reset(v, AT, routed - AT);
    while (cursor.next());
    expect(cursor.routedAt).toBe(-1);
  });

  it('may be extended where the format says so', () => {
    const v = view();
    frames.encodeHello(v, AT, hello);
    expect(frames.decodeHello(v, AT + 3, 30)).toEqual(hello);
    frames.encodeClose(v, AT, 'stopping');
    expect(frames.decodeClose(v, AT + 3, 5)).toEqual({ type: 'close', reason: 'stopping' });
  });

  it('are rejected when short, long or of unknown meaning', () => {
    const v = view();
    const short = { type: 'reject', reason: 'short' };
    expect(frames.decodeHello(v, AT, 16)).toEqual(short);
    expect(frames.decodeStream(v, AT, 8)).toEqual(short);
    expect(frames.decodeStreamAck(v, AT, 15)).toEqual(short);
    expect(frames.decodeClose(v, AT, 0)).toEqual(short);
    expect(frames.decodeTally(v, AT, 15)).toEqual(short);
    v.setUint32(AT + 12, 1_000_001);
    expect(frames.decodeTally(v, AT, 16)).toEqual({ type: 'reject', reason: 'unknown-value' });
    expect(frames.decodeStream(v, AT, 9 + 1101)).toEqual({ type: 'reject', reason: 'long' });
    expect(frames.decodeStream(v, AT, 9 + 1100)).toMatchObject({ type: 'stream' });
    for (const reason of [0, 5, 255]) {
      v.setUint8(AT, reason);
      expect(frames.decodeClose(v, AT, 1)).toEqual({ type: 'reject', reason: 'unknown-value' });
    }
  });

  it('read a stream frame out of a view that starts inside its buffer', () => {
    const buffer = new ArrayBuffer(64);
    const v = new DataView(buffer, 10);
    frames.encodeStream(v, 2, {
      type: 'stream',
      epoch: 1,
      number: 2,
      first: true,
      last: true,
      bytes: Uint8Array.of(42),
    });
    expect(new Uint8Array(buffer)[10 + 2 + 3 + 9]).toBe(42);
    expect(frames.decodeStream(v, 5, 10)).toMatchObject({ bytes: Uint8Array.of(42) });
  });
});
