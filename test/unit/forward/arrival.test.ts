import { describe, expect, it } from 'vitest';
import { COUNTER_LIMIT } from '../../../src/crypto/session.js';
import { readEndpoint } from '../../../src/agent/endpoint.js';
import { ERROR_NO_ROUTE, ERROR_TTL_EXCEEDED, decodeError } from '../../../src/overlay/wire/error.js';
import {
  FLAG_PARTIAL,
  FLAG_SOURCE_ROUTED,
  FRAME_ECHO_REQUEST,
  FRAME_ERROR,
} from '../../../src/overlay/wire/routed.js';
import { errorFrame, frame, readFrame } from '../../support/forward/frames.js';
import { FAR, ForwardRig, LOST, NEAR, type Peer, SELF, SIDE } from '../../support/forward/rig.js';
import { buildPacket, type PacketSpec, UDP } from '../../support/native-packets.js';

const inner = (version: 4 | 6, from: number, to: number, more: Partial<PacketSpec> = {}) =>
  buildPacket({
    version,
    protocol: UDP,
    payload: Uint8Array.of(1, 2, 3),
    from,
    to,
    checksum: 'whole',
    ...more,
  });

/** A record from NEAR with a packet for this node in it. */
const good = (rig: ForwardRig): Uint8Array =>
  rig.near.seal(frame({ from: NEAR, to: SELF }, inner(4, NEAR, SELF)));

function arrive(rig: ForwardRig, ...datagrams: Uint8Array[]): void {
  rig.near.send(datagrams);
  rig.settle();
}

const altered = (bytes: Uint8Array, at: number, value: number): Uint8Array => {
  const copy = bytes.slice();
  copy[at] = value;
  return copy;
};

describe('a datagram that is no good', () => {
  const cases: [string, string, (rig: ForwardRig) => Uint8Array][] = [
    ['nothing at all', 'short', () => new Uint8Array(0)],
    ['a record without room for a tag', 'short', (rig) => good(rig).subarray(0, 31)],
    ['a handshake of a few bytes', 'short', () => Uint8Array.of(0x11, 0, 0, 0)],
    ['a handshake larger than any', 'long', () => new Uint8Array(4097).fill(0x12)],
    ['another version', 'version', (rig) => altered(good(rig), 0, 0x25)],
    ['an unknown type', 'type', (rig) => altered(good(rig), 0, 0x17)],
    ['type zero', 'type', (rig) => altered(good(rig), 0, 0x10)],
    ['an index of nobody', 'no-session', (rig) => altered(good(rig), 7, 99)],
    ['a counter at the limit', 'counter-range', (rig) => rig.near.seal(new Uint8Array(0), 1, COUNTER_LIMIT)],
    ['a counter beyond 2⁵³', 'counter-range', (rig) => altered(good(rig), 8, 0xff)],
    ['a changed tag', 'forged', (rig) => altered(good(rig), good(rig).length - 1, 1)],
    ['a changed body', 'forged', (rig) => altered(good(rig), 20, 0xaa)],
    ['a changed reserved byte', 'forged', (rig) => altered(good(rig), 1, 1)],
    ['a truncated record', 'forged', (rig) => good(rig).subarray(0, -1)],
    ['a record of another lane', 'forged', (rig) => altered(good(rig), 7, 200 & 255)],
  ];

  it.each(cases)('%s is counted as %s, and the honest one behind it passes', (_what, reason, make) => {
    const rig = new ForwardRig();
    arrive(rig, make(rig), good(rig));
    expect(rig.drops()).toEqual({ [reason]: 1 });
    expect(rig.takeTun()).toHaveLength(1);
    expect(rig.handshakes).toEqual([]);
  });

  it('a copy is counted as replayed, in the same batch and in a later one', () => {
    const rig = new ForwardRig();
    const record = good(rig);
    arrive(rig, record, record);
    arrive(rig, record);
    expect(rig.drops()).toEqual({ replayed: 2 });
    expect(rig.takeTun()).toHaveLength(1);
  });

  it('one that fell behind the window is counted as replayed; one inside it passes', () => {
    const rig = new ForwardRig();
    const old = rig.near.seal(new Uint8Array(0), 1, 0);
    arrive(rig, rig.near.seal(new Uint8Array(0), 1, 8192), old, rig.near.seal(new Uint8Array(0), 1, 1));
    expect(rig.drops()).toEqual({ replayed: 1 });
    expect(rig.counters.receivedRecords).toBe(2);
  });

  it('a forged counter does not move the window', () => {
    const rig = new ForwardRig();
    const forged = altered(rig.near.seal(new Uint8Array(4), 1, 100_000), 18, 0);
    forged[17] ^= 1;
    arrive(rig, forged, good(rig));
    expect(rig.drops()).toEqual({ forged: 1 });
    expect(rig.takeTun()).toHaveLength(1);
  });

  it('does not count as a sign of life', () => {
    const rig = new ForwardRig();
    const before = rig.near.neighbour.packetsReceived;
    rig.near.send([altered(good(rig), 20, 0xaa)], { from: '192.0.2.66' });
    rig.settle();
    expect(rig.near.neighbour.packetsReceived).toBe(before);
    expect(readEndpoint(rig.udp.endpoints, rig.near.neighbour.slot).host).toBe('192.0.2.2');
    expect(rig.confirmed).toEqual([]);
  });
});

describe('handshake datagrams', () => {
  it('of every type go to the shell as they came', () => {
    const rig = new ForwardRig();
    const datagrams = [1, 2, 3, 4, 6].map((type) => new Uint8Array(64 + type).fill(0x10 | type));
    arrive(rig, ...datagrams);
    expect(rig.handshakes).toEqual(datagrams);
  });

  it('are dropped beyond their budget while data still passes', () => {
    const rig = new ForwardRig({ tokens: 10 });
    arrive(rig, ...Array.from({ length: 30 }, () => new Uint8Array(64).fill(0x11)), good(rig));
    expect(rig.handshakes).toHaveLength(10);
    expect(rig.drops()).toEqual({ 'handshake-flood': 20 });
    expect(rig.takeTun()).toHaveLength(1);
  });

  it('of no known type do not touch the budget', () => {
    const rig = new ForwardRig({ tokens: 1 });
    arrive(
      rig,
      new Uint8Array(64).fill(0x17),
      new Uint8Array(5000).fill(0x11),
      new Uint8Array(64).fill(0x11),
    );
    expect(rig.handshakes).toHaveLength(1);
  });
});

describe('an authentic record', () => {
  it('without a body is a keepalive: a sign of life, nothing else', () => {
    const rig = new ForwardRig();
    arrive(rig, rig.near.seal(new Uint8Array(0), 0));
    expect(rig.drops()).toEqual({});
    expect(rig.near.neighbour.packetsReceived).toBe(1);
    expect(rig.counters.receivedRecords).toBe(1);
    expect(rig.counters.receivedBytes).toBe(32);
  });

  it('with link frames goes to its link whole', () => {
    const rig = new ForwardRig();
    const body = Uint8Array.of(0x0f, 0, 2, 8, 9);
    arrive(rig, rig.near.seal(body, 0));
    expect(rig.linkFrames).toEqual([{ from: NEAR, bytes: body }]);
  });

  it('confirms its session once, each neighbour its own', () => {
    const rig = new ForwardRig();
    arrive(rig, good(rig), good(rig));
    rig.side.send([rig.side.seal(new Uint8Array(0))]);
    rig.settle();
    arrive(rig, good(rig));
    expect(rig.confirmed).toEqual([
      { from: NEAR, session: NEAR },
      { from: SIDE, session: SIDE },
    ]);
  });

  it.each([
    ['shorter than its header', frame({ from: NEAR, to: SELF }).subarray(0, 23), 'frame-malformed'],
    ['of an unknown routed type', frame({ type: 0x1f, from: NEAR, to: SELF }), 'frame-unknown'],
    ['with an unknown flag', frame({ flags: 1, from: NEAR, to: SELF }), 'frame-malformed'],
    [
      'source-routed without a route',
      frame({ flags: FLAG_SOURCE_ROUTED, from: NEAR, to: SELF }),
      'frame-malformed',
    ],
    ['with a data frame that holds no packet', frame({ from: NEAR, to: SELF }), 'inner-short'],
    ['with an error of no known code', errorFrame(NEAR, SELF, 9, FAR, 1), 'frame-malformed'],
    ['with an error of 35 bytes', errorFrame(NEAR, SELF, 1, FAR, 1).subarray(0, 35), 'frame-malformed'],
    [
      'with an echo shorter than its list',
      frame({ type: FRAME_ECHO_REQUEST, from: NEAR, to: SELF }, new Uint8Array(18).fill(1)),
      'frame-malformed',
    ],
  ])('%s is counted as it deserves', (_what, body, reason) => {
    const rig = new ForwardRig();
    arrive(rig, rig.near.seal(body), good(rig));
    expect(rig.drops()).toEqual({ [reason]: 1 });
    expect(rig.takeTun()).toHaveLength(1);
  });
});

describe.each([4, 6] as const)('a relayed IPv%i packet', (version) => {
  const relay = (rig: ForwardRig, from: Peer, body: Uint8Array, trafficClass = 0): void => {
    from.send([from.seal(body)], { trafficClass });
    rig.settle();
  };

  it('goes on with one less of TTL and every other byte as it came, the flow label and partial flag too', () => {
    const rig = new ForwardRig();
    const packet = inner(version, SIDE, FAR, { checksum: 'partial' });
    const fields = {
      flags: FLAG_PARTIAL,
      service: 3,
      ecn: 1,
      from: SIDE,
      to: FAR,
      sequence: 77,
      flow: 0xabcdef12,
    };
    relay(rig, rig.side, frame({ ...fields, ttl: 9 }, packet));
    const [sent] = rig.near.take();
    expect(sent.body).toEqual(frame({ ...fields, ttl: 8 }, packet));
    expect(sent.lane).toBe(1);
    expect(sent.trafficClass).toBe(1);
    expect(rig.takeTun()).toEqual([]);
    expect([rig.counters.relayedPackets, rig.counters.relayedBytes]).toEqual([1, sent.body.length]);
  });

  it('goes back the way it came where the path leads there', () => {
    const rig = new ForwardRig();
    relay(rig, rig.near, frame({ from: SIDE, to: FAR }, inner(version, SIDE, FAR)));
    expect(rig.near.take()).toHaveLength(1);
  });

  it.each([
    [1, 3],
    [2, 3],
    [0, 0],
  ])('that met congestion outside carries it on: ECN %i becomes %i', (ecn, after) => {
    const rig = new ForwardRig();
    relay(rig, rig.side, frame({ from: SIDE, to: FAR, ecn }, inner(version, SIDE, FAR)), 3);
    const [sent] = rig.near.take();
    expect(readFrame(sent.body).ecn).toBe(after);
    expect(sent.trafficClass).toBe(after);
  });

  it.each([0, 1])('with TTL %i goes no further: its source hears "TTL exceeded"', (ttl) => {
    const rig = new ForwardRig();
    relay(rig, rig.side, frame({ from: SIDE, to: FAR, ttl, sequence: 5 }, inner(version, SIDE, FAR)));
    expect(rig.drops()).toEqual({ 'ttl-exceeded': 1 });
    expect(rig.near.take()).toEqual([]);
    const [answer] = rig.side.take();
    expect(answer.lane).toBe(0);
    const { type, from, to } = readFrame(answer.body);
    expect([type, from, to]).toEqual([FRAME_ERROR, SELF, SIDE]);
    expect(decodeError(new DataView(answer.body.buffer), 0, answer.body.length)).toEqual({
      type: 'error',
      code: ERROR_TTL_EXCEEDED,
      mtu: 0,
      destination: FAR,
      sequence: 5,
    });
  });

  it.each([
    ['a node without a path', LOST],
    ['a node that nobody knows', 4711],
  ])('to %s is refused: its source hears "no route"', (_what, to) => {
    const rig = new ForwardRig();
    relay(rig, rig.side, frame({ from: SIDE, to, sequence: 6 }, inner(version, SIDE, FAR)));
    expect(rig.drops()).toEqual({ 'no-route': 1 });
    const [{ body }] = rig.side.take();
    expect(decodeError(new DataView(body.buffer), 0, body.length)).toMatchObject({
      code: ERROR_NO_ROUTE,
      destination: to,
      sequence: 6,
    });
  });

  it('whose next hop is down is dropped, and nobody told: routing is about to find another', () => {
    const rig = new ForwardRig();
    rig.near.neighbour.up = false;
    relay(rig, rig.side, frame({ from: SIDE, to: FAR }, inner(version, SIDE, FAR)));
    expect(rig.drops()).toEqual({ 'no-path': 1 });
    expect(rig.near.take()).toEqual([]);
    expect(rig.side.take()).toEqual([]);
  });

  it('that finds the socket full is counted', () => {
    const rig = new ForwardRig();
    rig.udp.room = 2;
    const packets = Array.from({ length: 5 }, () =>
      frame({ from: SIDE, to: FAR }, inner(version, SIDE, FAR)),
    );
    rig.side.send(packets.map((body) => rig.side.seal(body)));
    rig.settle();
    expect(rig.near.take()).toHaveLength(2);
    expect(rig.drops()).toEqual({ 'queue-full': 3 });
  });
});

describe('refusals', () => {
  it('never answer an error, so that two nodes cannot keep each other busy', () => {
    const rig = new ForwardRig();
    arrive(rig, rig.near.seal(errorFrame(NEAR, LOST, 1, FAR, 1)));
    expect(rig.drops()).toEqual({ 'no-route': 1 });
    expect(rig.near.take()).toEqual([]);
  });

  it('are bounded by their bucket', () => {
    const rig = new ForwardRig({ tokens: 3 });
    arrive(rig, ...Array.from({ length: 10 }, () => rig.near.seal(frame({ from: NEAR, to: LOST }))));
    expect(rig.drops()).toEqual({ 'no-route': 10 });
    expect(rig.near.take()).toHaveLength(3);
  });

  it('of a packet whose source cannot be reached end here', () => {
    const rig = new ForwardRig();
    arrive(rig, rig.near.seal(frame({ from: LOST, to: LOST })));
    expect(rig.drops()).toEqual({ 'no-route': 1 });
    expect([rig.near.take(), rig.side.take()]).toEqual([[], []]);
  });
});

describe('a mixed batch', () => {
  it('delivers, relays, refuses and drops each as if it were alone, each flow in its order', () => {
    const rig = new ForwardRig();
    const datagrams: Uint8Array[] = [];
    for (let k = 1; k <= 8; k++) {
      datagrams.push(
        rig.near.seal(frame({ from: NEAR, to: SELF, sequence: k }, inner(4, NEAR, SELF, { id: k }))),
        rig.near.seal(frame({ from: FAR, to: SIDE, sequence: k }, inner(6, FAR, SIDE))),
        altered(good(rig), 20, 0xaa),
        rig.near.seal(Uint8Array.of(0x0f, 0, 0), 0),
        rig.near.seal(frame({ from: NEAR, to: LOST, sequence: k }, inner(4, NEAR, LOST))),
      );
    }
    arrive(rig, ...datagrams);
    const ids = rig.takeTun().map((bytes) => bytes[5]);
    expect(ids).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(rig.side.take().map(({ body }) => readFrame(body).sequence)).toEqual(ids);
    expect(rig.linkFrames).toHaveLength(8);
    expect(rig.near.take()).toHaveLength(8);
    expect(rig.drops()).toEqual({ forged: 8, 'no-route': 8 });
  });
});

describe('where a neighbour is', () => {
  const heardAt = (rig: ForwardRig, peer: Peer) => readEndpoint(rig.udp.endpoints, peer.neighbour.slot);

  it('follows its last authentic record, and answers leave from the address it wrote to', () => {
    const rig = new ForwardRig();
    rig.near.send([good(rig)], { from: '192.0.2.22', port: 9, to: '192.0.2.101' });
    rig.settle();
    expect(heardAt(rig, rig.near)).toEqual({ host: '192.0.2.22', port: 9, local: '192.0.2.101' });
    const seen: string[] = [];
    rig.network.bind({ address: '192.0.2.22', port: 9 }, ({ source }) => seen.push(source.address));
    rig.tun.inject(inner(4, SELF, NEAR));
    rig.settle();
    expect(seen).toEqual(['192.0.2.101']);
  });

  it('does not follow a replay from elsewhere', () => {
    const rig = new ForwardRig();
    const record = good(rig);
    arrive(rig, record);
    rig.near.send([record], { from: '192.0.2.66' });
    rig.settle();
    expect(heardAt(rig, rig.near).host).toBe('192.0.2.2');
  });

  it('does not follow one that was overtaken, and then came from elsewhere', () => {
    const rig = new ForwardRig();
    const [late, newest] = [good(rig), good(rig)];
    rig.near.send([newest], { from: '192.0.2.22' });
    rig.settle();
    rig.near.send([late], { from: '192.0.2.66' });
    rig.settle();
    expect(heardAt(rig, rig.near).host).toBe('192.0.2.22');
    expect(rig.drops()).toEqual({});
  });

  it('may change its family', () => {
    const rig = new ForwardRig();
    rig.near.send([good(rig)], { from: '2001:db8::22', to: '2001:db8::1' });
    rig.settle();
    expect(heardAt(rig, rig.near)).toEqual({ host: '2001:db8::22', port: 7100, local: '2001:db8::1' });
  });

  it('keeps the interface of a link-local address, and of no other', () => {
    const rig = new ForwardRig();
    rig.near.send([good(rig)], { from: 'fe80::22', to: 'fe80::1' });
    rig.settle();
    expect(heardAt(rig, rig.near)).toEqual({ host: 'fe80::22', port: 7100, local: 'fe80::1', interface: 1 });
    rig.near.send([good(rig)], { from: '2001:db8::22', to: '2001:db8::1' });
    rig.settle();
    const at = rig.near.neighbour.slot * 10 + 9;
    expect(rig.udp.endpoints[at]).toBe(0);
  });
});
