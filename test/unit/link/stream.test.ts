import { beforeEach, describe, expect, it } from 'vitest';
import { StreamReceiver } from '../../../src/overlay/link/stream-receiver.js';
import { STREAM_MESSAGE_MAX, StreamSender } from '../../../src/overlay/link/stream-sender.js';
import {
  decodeLinkFrame,
  LinkFrames,
  type LinkFrame,
  type StreamAck,
  type StreamFrame,
} from '../../../src/overlay/wire/frames.js';
import type { Reject } from '../../../src/overlay/wire/reject.js';

const MS = 1000;
const BODY = 1168;
const EPOCH = 0xe0e0e0e0;

let sender: StreamSender;
beforeEach(() => {
  sender = new StreamSender(EPOCH);
  sender.seedRtt(20 * MS, 0);
});

function decodeAll(view: DataView, length: number): (LinkFrame | Reject)[] {
  const cursor = new LinkFrames();
  cursor.reset(view, 0, length);
  const found: (LinkFrame | Reject)[] = [];
  while (cursor.next()) found.push(decodeLinkFrame(cursor.type, view, cursor.at, cursor.length));
  return found;
}

/** All that a sender sends at `now`, a record at a time. */
function sent(now: number, from = sender): StreamFrame[] {
  const frames: StreamFrame[] = [];
  for (;;) {
    const view = new DataView(new ArrayBuffer(BODY));
    const length = from.transmit(now, view, 0, BODY);
    if (length === 0) return frames;
    frames.push(...(decodeAll(view, length) as StreamFrame[]));
  }
}

function acks(receiver: StreamReceiver): StreamAck[] {
  const view = new DataView(new ArrayBuffer(BODY));
  return decodeAll(view, receiver.transmit(view, 0, BODY)) as StreamAck[];
}

const numbers = (frames: readonly StreamFrame[]): number[] => frames.map((frame) => frame.number);
const ack = (expected: number, bitmap = 0, more: Partial<StreamAck> = {}): StreamAck => ({
  type: 'stream-ack',
  epoch: EPOCH,
  expected,
  bitmap: bitmap >>> 0,
  instance: 5,
  ...more,
});
const frame = (number: number, more: Partial<StreamFrame> = {}): StreamFrame => ({
  type: 'stream',
  epoch: EPOCH,
  number,
  first: true,
  last: true,
  bytes: Uint8Array.of(number & 255),
  ...more,
});

describe('a stream sender', () => {
  it('cuts messages into frames of 1100 bytes and marks first and last', () => {
    sender.send(new Uint8Array(2300));
    sender.send(new Uint8Array(0));
    expect(sent(0).map(({ number, first, last, bytes }) => [number, first, last, bytes.length])).toEqual([
      [0, true, false, 1100],
      [1, false, false, 1100],
      [2, false, true, 100],
      [3, true, true, 0],
    ]);
  });

  it('packs small frames into one record', () => {
    for (let i = 0; i < 8; i++) sender.send(new Uint8Array(100));
    const view = new DataView(new ArrayBuffer(BODY));
    expect(decodeAll(view, sender.transmit(0, view, 0, BODY))).toHaveLength(8);
  });

  it('begins with ten frames, opens with acknowledgements, and never has more than 32 numbers under way', () => {
    sender.send(new Uint8Array(65536));
    sender.send(new Uint8Array(65536));
    expect(numbers(sent(0))).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    sender.receiveAck(20 * MS, ack(10));
    expect(sent(20 * MS)).toHaveLength(20);
    sender.receiveAck(40 * MS, ack(30));
    expect(sent(40 * MS)).toHaveLength(32);
    // Frame 30 is missing: nothing beyond 61 may go, or the bitmap could not name it.
    sender.receiveAck(60 * MS, ack(30, 0x7fffffff));
    expect(numbers(sent(60 * MS))).toEqual([30]);
  });

  it('sends a frame again once, when one that was sent three later has arrived', () => {
    for (let i = 0; i < 6; i++) sender.send(new Uint8Array(1));
    sent(0);
    sender.receiveAck(20 * MS, ack(0, 0b11));
    expect(sent(20 * MS)).toEqual([]);
    sender.receiveAck(21 * MS, ack(0, 0b111));
    expect(numbers(sent(21 * MS))).toEqual([0]);
    sender.receiveAck(22 * MS, ack(0, 0b11111));
    expect(sent(22 * MS)).toEqual([]);
  });

  it('sends all that is under way again after a timeout, two at first, and backs off', () => {
    for (let i = 0; i < 5; i++) sender.send(new Uint8Array(1));
    sent(0);
    const due = sender.nextTimeout();
    expect(due).toBe(60 * MS);
    sender.timeout(due - 1);
    expect(sent(due - 1)).toEqual([]);
    sender.timeout(due);
    expect(numbers(sent(due))).toEqual([0, 1]);
    expect(sender.nextTimeout()).toBe(due + 2 * 60 * MS);
    sender.receiveAck(due + 20 * MS, ack(2));
    expect(numbers(sent(due + 20 * MS))).toEqual([2, 3, 4]);
    sender.receiveAck(due + 40 * MS, ack(5));
    expect(sender.nextTimeout()).toBe(Infinity);
    expect(sender.bufferedBytes).toBe(0);
  });

  it('says overflow when the peer does not keep up, and takes messages again when it does', () => {
    sender = new StreamSender(EPOCH, 3000);
    expect(sender.send(new Uint8Array(1000))).toBe('queued');
    expect(sender.send(new Uint8Array(1900))).toBe('queued');
    expect(sender.send(new Uint8Array(100))).toBe('overflow');
    sent(0);
    sender.receiveAck(1, ack(1));
    expect(sender.send(new Uint8Array(100))).toBe('queued');
    expect(sender.send(new Uint8Array(STREAM_MESSAGE_MAX + 1))).toBe('too-large');
  });

  it('bounds even empty messages', () => {
    sender = new StreamSender(EPOCH, 3000);
    let taken = 0;
    while (sender.send(new Uint8Array(0)) === 'queued') taken++;
    expect(taken).toBeLessThan(400);
  });

  it('ignores acknowledgements of another epoch or overtaken ones, and refuses those of the unsent', () => {
    for (let i = 0; i < 4; i++) sender.send(new Uint8Array(1));
    sent(0);
    expect(sender.receiveAck(1, ack(4, 0, { epoch: 1 }))).toBe('stale');
    expect(sender.receiveAck(1, ack(2))).toBe('taken');
    expect(sender.receiveAck(1, ack(1))).toBe('stale');
    expect(sender.receiveAck(1, ack(5))).toBe('invalid');
    expect(sender.bufferedBytes).toBeGreaterThan(0);
    expect(sender.receiveAck(1, ack(4))).toBe('taken');
    expect(sender.bufferedBytes).toBe(0);
  });

  it('learns from another instance that the receiver has forgotten, and begins anew under a new epoch', () => {
    sender.send(new Uint8Array(1));
    sent(0);
    sender.receiveAck(1, ack(1));
    sender.send(new Uint8Array(2));
    sent(2);
    expect(sender.receiveAck(3, ack(0, 1, { instance: 6 }))).toBe('forgotten');
    sender.reset(9);
    expect([sender.bufferedBytes, sender.nextTimeout()]).toEqual([0, Infinity]);
    sender.send(Uint8Array.of(7));
    expect(sent(4)).toEqual([frame(0, { epoch: 9, bytes: Uint8Array.of(7) })]);
    expect(sender.receiveAck(5, ack(1, 0, { epoch: 9, instance: 6 }))).toBe('taken');
  });
});

describe('a stream receiver', () => {
  let receiver: StreamReceiver;
  beforeEach(() => {
    receiver = new StreamReceiver(5);
  });
  const messages = (...frames: StreamFrame[]): unknown[] =>
    frames
      .flatMap((f) => receiver.receive(f))
      .map((event) => (event.type === 'message' ? [...event.bytes] : event.type));

  it('delivers in order what came out of order, and acknowledges what it has', () => {
    expect(messages(frame(2), frame(1), frame(31))).toEqual([]);
    expect(acks(receiver)).toEqual([ack(0, 1 | 2 | (1 << 30))]);
    expect(acks(receiver)).toEqual([]);
    expect(messages(frame(0))).toEqual([[0], [1], [2]]);
    expect(acks(receiver)).toEqual([ack(3, 1 << 27)]);
  });

  it('delivers once what came twice, and acknowledges it again', () => {
    expect(messages(frame(0), frame(0))).toEqual([[0]]);
    acks(receiver);
    expect(messages(frame(0))).toEqual([]);
    expect(acks(receiver)).toEqual([ack(1)]);
  });

  it('copies frames that it keeps, since their buffer is the record’s', () => {
    const bytes = Uint8Array.of(1);
    receiver.receive(frame(1, { bytes }));
    bytes[0] = 99;
    expect(messages(frame(0))).toEqual([[0], [1]]);
  });

  it('keeps nothing beyond its window', () => {
    receiver.receive(frame(1));
    expect(messages(frame(32))).toEqual([]);
    expect(acks(receiver)).toEqual([ack(0, 1)]);
  });

  it('begins anew with a new epoch, and late frames of the old one revive nothing', () => {
    const old = messages(frame(0), frame(1, { last: false }));
    expect(old).toEqual([[0]]);
    expect(messages(frame(0, { epoch: 2 }))).toEqual(['stream-restarted', [0]]);
    acks(receiver);
    expect(messages(frame(2, { first: false }), frame(0))).toEqual([]);
    expect(acks(receiver)).toEqual([]);
    expect(messages(frame(1, { epoch: 2 }))).toEqual([[1]]);
  });

  it('tells a sender in mid-stream that it knows nothing of it', () => {
    expect(messages(frame(5000))).toEqual([]);
    expect(acks(receiver)).toEqual([ack(0)]);
  });

  it.each([
    ['a message that begins within another', [frame(0, { last: false }), frame(1)]],
    ['a message without a beginning', [frame(0, { first: false })]],
    ['an empty part', [frame(0, { last: false }), frame(1, { first: false, bytes: new Uint8Array(0) })]],
  ])('reports %s as broken, once', (_, frames) => {
    expect(messages(...frames, frame(2), frame(3))).toEqual(['stream-broken']);
  });

  it('reports a message beyond 65536 bytes as broken, and takes one of exactly that', () => {
    const long = (count: number, tail: number): StreamFrame[] =>
      Array.from({ length: count }, (_, i) =>
        frame(i, {
          first: i === 0,
          last: i === count - 1,
          bytes: new Uint8Array(i === count - 1 ? tail : 1024),
        }),
      );
    expect(long(64, 1024).flatMap((f) => receiver.receive(f))).toEqual([
      { type: 'message', bytes: new Uint8Array(65536) },
    ]);
    receiver = new StreamReceiver(5);
    expect(long(65, 1).flatMap((f) => receiver.receive(f))).toEqual([
      { type: 'stream-broken', reason: 'message-too-long' },
    ]);
  });
});
