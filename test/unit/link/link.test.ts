import { describe, expect, it } from 'vitest';
import { Link, LINK_BODY_MAX, type LinkEvent } from '../../../src/overlay/link/link.js';
import { encodeClose, encodeStream, encodeStreamAck } from '../../../src/overlay/wire/frames.js';

const START = 5_000_000_000;
const AT = 40;

function counter(): () => number {
  let next = 0;
  return () => ++next * 1000;
}

/** Carries everything each way at once until both rest; what happened at `a` and `b`. */
function settle(now: number, a: Link, b: Link): LinkEvent[][] {
  const events: LinkEvent[][] = [[], []];
  const view = new DataView(new ArrayBuffer(AT + LINK_BODY_MAX));
  for (let moved = true; moved;) {
    moved = false;
    for (const [from, to, log] of [
      [a, b, events[1]],
      [b, a, events[0]],
    ] as const) {
      const length = from.transmit(now, view, AT, AT + LINK_BODY_MAX);
      if (length > 0) log.push(...to.receive(now + 1, view, AT, length));
      moved ||= length > 0;
    }
  }
  return events;
}

function upPair(): [Link, Link] {
  const a = new Link(counter(), START);
  const b = new Link(counter(), START);
  settle(START, a, b);
  for (let now = START; !(a.isUp && b.isUp); now += 5000) {
    a.timeout(now);
    b.timeout(now);
    settle(now, a, b);
  }
  return [a, b];
}

describe('a link', () => {
  it('takes messages only while it is up', () => {
    expect(new Link(counter(), START).send(Uint8Array.of(1))).toBe('down');
    const [a, b] = upPair();
    expect(a.send(Uint8Array.of(1))).toBe('queued');
    expect(settle(START + 100_000, a, b)[1]).toContainEqual({ type: 'message', bytes: Uint8Array.of(1) });
  });

  it('leaves a message that comes before it is up unacknowledged, since nobody there could use it', () => {
    const link = new Link(counter(), START);
    const view = new DataView(new ArrayBuffer(AT + LINK_BODY_MAX));
    link.transmit(START, view, AT, AT + LINK_BODY_MAX);
    const end = encodeStream(view, 0, {
      type: 'stream',
      epoch: 1,
      number: 0,
      first: true,
      last: true,
      bytes: Uint8Array.of(1),
    });
    expect(link.receive(START + 1, view, 0, end)).toEqual([]);
    expect(link.transmit(START + 1, view, AT, AT + LINK_BODY_MAX)).toBe(0);
  });

  it('comes up at the other end before the first message that it sends as soon as it is up', () => {
    const [a, b] = [new Link(counter(), START), new Link(counter(), START)];
    const view = new DataView(new ArrayBuffer(AT + LINK_BODY_MAX));
    const say = (from: Link, now: number, to: Link): LinkEvent[] =>
      to.receive(now + 1, view, AT, from.transmit(now, view, AT, AT + LINK_BODY_MAX));
    say(a, START, b);
    expect(say(b, START + 10, a).map(({ type }) => type)).toContain('up');
    a.send(Uint8Array.of(1));
    expect(say(a, START + 20, b).map(({ type }) => type)).toEqual(['measured', 'up', 'message']);
  });

  it('fills a record with no more than it may hold, at the offset given', () => {
    const [a] = upPair();
    a.send(new Uint8Array(5000).fill(1));
    const view = new DataView(new Uint8Array(3000).fill(0xee).buffer);
    const length = a.transmit(START + 100_000, view, AT, AT + LINK_BODY_MAX);
    expect(length).toBeGreaterThan(1100);
    expect(length).toBeLessThanOrEqual(LINK_BODY_MAX);
    expect([view.getUint8(AT - 1), view.getUint8(AT + length)]).toEqual([0xee, 0xee]);
    expect(a.transmit(START + 100_000, view, AT, AT + 10)).toBe(0);
  });

  it('has no use for a routed frame behind its own', () => {
    const [a] = upPair();
    const view = new DataView(new ArrayBuffer(64));
    view.setUint8(0, 0x0e);
    view.setUint8(3, 0x10);
    expect(a.receive(START, view, 0, 3)).toEqual([]);
    expect(a.receive(START, view, 0, 30)).toEqual([{ type: 'rejected', reason: 'malformed-rest' }]);
  });

  it('reports what it could not read, and goes on with the rest of the link', () => {
    const [a] = upPair();
    const view = new DataView(new ArrayBuffer(64));
    view.setUint8(0, 1);
    view.setUint16(1, 2);
    view.setUint8(5, 0x0e);
    view.setUint16(6, 0);
    view.setUint8(8, 0xff);
    expect(a.receive(START, view, 0, 20)).toEqual([
      { type: 'rejected', reason: 'short' },
      { type: 'rejected', reason: 'malformed-rest' },
    ]);
    const end = encodeStreamAck(view, 0, {
      type: 'stream-ack',
      epoch: 1000,
      expected: 9,
      bitmap: 0,
      instance: 1,
    });
    expect(a.receive(START, view, 0, end)).toEqual([{ type: 'rejected', reason: 'stream-ack' }]);
    expect(a.isUp).toBe(true);
  });

  it('learns that the peer has forgotten its stream, and says so', () => {
    const [a, b] = upPair();
    a.send(Uint8Array.of(1));
    settle(START + 100_000, a, b);
    const view = new DataView(new ArrayBuffer(64));
    const end = encodeStreamAck(view, 0, {
      type: 'stream-ack',
      epoch: 1000,
      expected: 0,
      bitmap: 0,
      instance: 1,
    });
    expect(a.receive(START + 100_000, view, 0, end)).toEqual([{ type: 'stream-lost' }]);
    a.send(Uint8Array.of(2));
    expect(settle(START + 200_000, a, b)[1]).toEqual([
      { type: 'stream-restarted' },
      { type: 'message', bytes: Uint8Array.of(2) },
    ]);
  });

  it('hears nothing after goodbye, and says it once', () => {
    const [a, b] = upPair();
    const view = new DataView(new ArrayBuffer(64));
    const end = encodeClose(view, 0, 'revoked');
    expect(a.receive(START + 1, view, 0, end)).toEqual([
      { type: 'down', reason: 'closed' },
      { type: 'closed', reason: 'revoked' },
    ]);
    const stream = encodeStream(view, 0, {
      type: 'stream',
      epoch: 1,
      number: 0,
      first: true,
      last: true,
      bytes: Uint8Array.of(1),
    });
    expect(a.receive(START + 2, view, 0, stream)).toEqual([]);
    expect([a.transmit(START + 2, view, 0, 64), a.send(Uint8Array.of(1))]).toEqual([0, 'down']);
    b.close('stopping');
    expect([b.transmit(START, view, 0, 64), b.transmit(START, view, 0, 64)]).toEqual([4, 0]);
  });
});
