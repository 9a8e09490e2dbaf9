import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatSpan } from '../../../src/crypto/handshake/failure.js';
import { encodeDatagram } from '../../../src/crypto/handshake/datagram.js';
import { DAY, WALL, twoNodes, typeOf } from './pair.js';
import type { Established, TestNode } from './pair.js';

const SECOND = 1_000_000;
const HOUR = 3_600_000;

function agree(x: Established, y: Established): void {
  expect(x.send).toEqual(y.receive);
  expect(x.receive).toEqual(y.send);
  expect(x.handshakeHash).toEqual(y.handshakeHash);
  expect([x.cipher, x.features, x.version]).toEqual([y.cipher, y.features, y.version]);
}

function onePair(a: TestNode, b: TestNode): void {
  expect(a.sessions()).toHaveLength(1);
  expect(b.sessions()).toHaveLength(1);
  agree(a.sessions()[0]!, b.sessions()[0]!);
}

describe('a handshake', () => {
  it('gives both ends the same lanes, each other’s certificate and endpoint', () => {
    const { network, a, b, toB } = twoNodes({ lanes: 3, features: 5 }, { lanes: 4, features: 12 });
    network.connect(a, toB);
    network.run(SECOND);
    const [x, y] = [a.sessions()[0]!, b.sessions()[0]!];
    agree(x, y);
    expect([x.peer.name, x.initiator, x.endpoint]).toEqual(['b', true, b.address]);
    expect([y.peer.name, y.initiator, y.endpoint]).toEqual(['a', false, a.address]);
    expect([x.features, x.version, x.send.length]).toEqual([4, 1, 3]);
    expect(x.receive.map((lane) => lane.index)).toEqual([x.index, x.index + 1, x.index + 2]);
    const keys = [...x.send, ...x.receive].map((lane) => Buffer.from(lane.key).toString('hex'));
    expect(new Set(keys).size).toBe(6);
    expect(a.handshaker.nextTimeout()).toBeUndefined();
    expect(network.log.map(typeOf)).toEqual([1, 2, 3, 6]);
    expect(network.log[0]!.bytes).toHaveLength(1200);
  });

  it.each([
    ['aes-256-gcm', ['aes-256-gcm', 'chacha20-poly1305'], ['aes-256-gcm', 'chacha20-poly1305']],
    ['chacha20-poly1305', ['aes-256-gcm', 'chacha20-poly1305'], ['chacha20-poly1305']],
    ['chacha20-poly1305', ['chacha20-poly1305', 'aes-256-gcm'], ['aes-256-gcm', 'chacha20-poly1305']],
  ] as const)('agrees on %s where the ends offer %j and %j', (cipher, ours, theirs) => {
    const { network, a, b, toB } = twoNodes({ ciphers: ours }, { ciphers: theirs });
    network.connect(a, toB);
    network.run(SECOND);
    expect([a.sessions()[0]!.cipher, b.sessions()[0]!.cipher]).toEqual([cipher, cipher]);
  });

  it('establishes before it sends what lets the peer seal', () => {
    const { network, a, b, toB } = twoNodes();
    network.connect(a, toB);
    network.run(SECOND);
    expect(a.actions.map((x) => x.type)).toEqual(['send', 'established', 'send']);
    expect(b.actions.map((x) => x.type)).toEqual(['send', 'established', 'send']);
  });

  it('names the difference of the clocks', () => {
    const { network, a, b, toB } = twoNodes({}, { clockError: 90_000 });
    network.connect(a, toB);
    network.run(SECOND);
    expect(a.sessions()[0]!.clockOffset).toBeGreaterThan(89_000);
    expect(b.sessions()[0]!.clockOffset).toBeLessThan(-89_000);
  });

  it('takes any good certificate where no name is configured', () => {
    const { network, a, b } = twoNodes();
    network.connect(a, { name: undefined, endpoints: [b.address] });
    network.run(SECOND);
    onePair(a, b);
  });

  it('gives a new session when a peer is wanted again', () => {
    const { network, a, b, toB } = twoNodes();
    for (let i = 0; i < 2; i++) {
      network.connect(a, toB);
      network.run(SECOND);
    }
    expect(a.sessions()).toHaveLength(2);
    expect(a.sessions()[0]!.send[0]!.key).not.toEqual(a.sessions()[1]!.send[0]!.key);
    agree(a.sessions()[1]!, b.sessions()[1]!);
  });

  it('shows a renewed certificate from then on', () => {
    const { network, a, b, toB } = twoNodes();
    const renewed = new TextEncoder().encode('{}');
    a.handshaker.setIdentity({ certificate: renewed, sign: () => new Uint8Array(64) });
    network.connect(a, toB);
    network.run(SECOND);
    expect(b.reasons()).toEqual(['bad-certificate']);
    expect(() =>
      a.handshaker.setIdentity({ certificate: new Uint8Array(5000), sign: () => new Uint8Array(64) }),
    ).toThrow('5000 bytes');
  });
});

describe('losses', () => {
  it.each([1, 2, 3, 6])('a lost datagram of type %i is made up for', (type) => {
    const { network, a, b, toB } = twoNodes();
    network.filter = (flight, nth) => (typeOf(flight) === type && nth === 1 ? [] : [10_000]);
    network.connect(a, toB);
    network.run(2 * SECOND);
    onePair(a, b);
    expect([...a.reasons(), ...b.reasons()]).toEqual([]);
    expect(a.handshaker.nextTimeout()).toBeUndefined();
  });

  it('repeats every message byte for byte', () => {
    const { network, a, b, toB } = twoNodes();
    network.filter = (flight, nth) => (nth < 3 && typeOf(flight) !== 2 ? [] : [10_000, 20_000]);
    network.connect(a, toB);
    network.run(8 * SECOND);
    onePair(a, b);
    for (const type of [1, 2, 3, 6]) {
      const sent = network.log.filter((flight) => typeOf(flight) === type);
      expect(sent.length).toBeGreaterThan(1);
      for (const flight of sent) expect(flight.bytes).toEqual(sent[0]!.bytes);
    }
  });

  it('come to one session under any loss, duplication and order', () => {
    const fates = fc.array(fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 3 }), { maxLength: 12 });
    fc.assert(
      fc.property(fates, fc.boolean(), fc.boolean(), (fates, both, lower) => {
        const { network, a, b, toA, toB } = twoNodes({ staticSeed: lower ? 'one' : 'two' });
        let i = 0;
        network.filter = () => fates[i++]?.map((ms) => ms * 10_000) ?? [10_000];
        network.connect(a, toB);
        if (both) network.connect(b, toA);
        network.run(40 * SECOND);
        const last = [a.sessions().at(-1), b.sessions().at(-1)];
        agree(last[0]!, last[1]!);
        expect(new Set(a.sessions().map((s) => Buffer.from(s.handshakeHash).toString('hex'))).size).toBe(1);
        onePair(a, b);
        expect(a.handshaker.nextTimeout()).toBeUndefined();
        expect(b.handshaker.nextTimeout()).toBeUndefined();
        expect([...a.indexes]).toEqual(a.sessions().map((s) => s.index));
        expect([...b.indexes]).toEqual(b.sessions().map((s) => s.index));
      }),
      { numRuns: 60 },
    );
  });

  it('reports silence once after three seconds and goes on trying', () => {
    const { network, a, b, toB } = twoNodes();
    network.filter = () => [];
    network.connect(a, toB);
    network.run(2.9 * SECOND);
    expect(a.reasons()).toEqual([]);
    network.run(60 * SECOND);
    expect(a.reasons()).toEqual(['no-answer']);
    expect(a.of('failed')[0]!.text).toMatch(/^b at 10\.0\.0\.2:1: no answer; check/);
    network.filter = () => [10_000];
    network.run(6 * SECOND);
    onePair(a, b);
  });

  it('tries all endpoints at once', () => {
    const { network, a, b } = twoNodes();
    network.connect(a, { name: 'b', endpoints: ['10.9.9.9:1', '10.9.9.8:1', b.address] });
    network.run(SECOND);
    expect(network.log.slice(0, 3).map((flight) => flight.to)).toEqual([
      '10.9.9.9:1',
      '10.9.9.8:1',
      b.address,
    ]);
    expect(a.sessions()[0]!.endpoint).toBe(b.address);
    onePair(a, b);
  });

  it('reports silence after the response, and takes the session back', () => {
    const { network, a, toB } = twoNodes();
    network.filter = (flight) => (typeOf(flight) === 3 ? [] : [10_000]);
    network.connect(a, toB);
    network.run(9 * SECOND);
    expect(a.reasons()).toEqual(['no-answer']);
    expect(a.of('failed')[0]!.index).toBe(a.of('established')[0]!.index);
  });

  it('end with the first authentic record as with the verdict', () => {
    const { network, a, toB } = twoNodes();
    network.filter = (flight) => (typeOf(flight) === 6 ? [] : [10_000]);
    network.connect(a, toB);
    network.run(SECOND);
    a.handshaker.confirmed(network.now, a.sessions()[0]!.index);
    expect(a.handshaker.seeks(toB)).toBe(false);
    network.run(60 * SECOND);
    expect(a.reasons()).toEqual([]);
  });
});

describe('both ends at once', () => {
  it.each([
    ['a', 'b'],
    ['b', 'a'],
  ])('the handshake of the lower static key wins (%s first)', (first) => {
    const { network, a, b, toA, toB } = twoNodes();
    if (first === 'a') network.connect(a, toB);
    network.connect(b, toA);
    if (first === 'b') network.connect(a, toB);
    network.run(20 * SECOND);
    onePair(a, b);
    const lower = Buffer.compare(a.staticKey.publicKey, b.staticKey.publicKey) < 0 ? a : b;
    for (const node of [a, b]) expect(node.sessions()[0]!.initiator).toBe(node === lower);
    expect([...a.reasons(), ...b.reasons()]).toEqual([]);
    expect([a.handshaker.seeks(toB), b.handshaker.seeks(toA)]).toEqual([false, false]);
  });

  it('a path that carries one end’s inits only still gives a session', () => {
    const { network, a, b, toA, toB } = twoNodes();
    const lower = Buffer.compare(a.staticKey.publicKey, b.staticKey.publicKey) < 0 ? a : b;
    network.filter = (flight) => (flight.from === lower.address && typeOf(flight) === 1 ? [] : [10_000]);
    network.connect(a, toB);
    network.connect(b, toA);
    network.run(5 * SECOND);
    onePair(a, b);
    expect(lower.sessions()[0]!.initiator).toBe(false);
  });

  it('a final that arrives after the winner is through changes nothing', () => {
    const { network, a, b, toA, toB } = twoNodes();
    const higher = Buffer.compare(a.staticKey.publicKey, b.staticKey.publicKey) > 0 ? a : b;
    network.filter = (flight) =>
      flight.from === higher.address && typeOf(flight) === 3 ? [500_000] : [10_000];
    network.connect(a, toB);
    network.connect(b, toA);
    network.run(5 * SECOND);
    onePair(a, b);
    expect(higher.sessions()[0]!.initiator).toBe(false);
  });

  it('an attempt without a name ends when its peer turns out to be connected already', () => {
    const { network, a, b, toA } = twoNodes();
    network.nodes.set('10.0.0.2:2', b);
    network.filter = (flight) => (flight.to === '10.0.0.2:2' ? [100_000] : [10_000]);
    const nameless = { name: undefined, endpoints: ['10.0.0.2:2'] };
    network.connect(a, nameless);
    network.connect(b, toA);
    network.run(5 * SECOND);
    onePair(a, b);
    expect(a.drops()).toEqual(['superseded']);
    expect(a.handshaker.seeks(nameless)).toBe(false);
  });

  it('the winner’s session stands before the loser’s goes', () => {
    const { network, a, b, toA, toB } = twoNodes();
    network.connect(a, toB);
    network.connect(b, toA);
    network.run(5 * SECOND);
    const loser = a.sessions()[0]!.initiator ? b : a;
    const types = loser.actions.map((x) => x.type).filter((t) => t === 'established' || t === 'superseded');
    expect(types.at(-1)).toBe('superseded');
    expect(types.filter((t) => t === 'established')).toHaveLength(2);
  });
});

describe('a failure is named on both ends', () => {
  const cases: [string, Parameters<typeof twoNodes>[0], Parameters<typeof twoNodes>[1], string, RegExp][] = [
    [
      'unknown-ca',
      {},
      { ca: 'other', trusts: ['other', 'root'] },
      'initiator',
      /not from a CA that we trust/,
    ],
    ['unknown-ca', { ca: 'other', trusts: ['root'] }, {}, 'responder', /not from a CA/],
    ['expired', {}, { notAfter: WALL - DAY / 2 }, 'initiator', /expired; sign a new one/],
    ['expired', { notAfter: WALL - DAY / 2 }, {}, 'responder', /expired/],
    ['not-yet-valid', {}, { notBefore: WALL + DAY / 2 }, 'initiator', /not valid yet/],
    ['not-yet-valid', { notBefore: WALL + DAY / 2 }, {}, 'responder', /not valid yet/],
    ['revoked', { revoked: ['b'] }, {}, 'initiator', /revoked/],
    ['revoked', {}, { revoked: ['a'] }, 'responder', /revoked/],
    ['bad-signature', {}, { forged: true }, 'initiator', /does not hold the key/],
    ['bad-signature', { forged: true }, {}, 'responder', /does not hold the key/],
    ['wrong-peer', {}, { name: 'c' }, 'initiator', /expected b, found c/],
    ['wrong-peer', { staticSeed: 'x' }, { staticSeed: 'x' }, 'initiator', /this node itself/],
    [
      'clock-off',
      { clockError: -3.2 * HOUR },
      { notBefore: WALL - HOUR },
      'initiator',
      /clock off by 3 h 12 min: ours is behind the peer's/,
    ],
    [
      'clock-off',
      { notAfter: WALL + HOUR },
      { clockError: 50 * HOUR },
      'responder',
      /clock off by 2 d 2 h: ours is ahead of the peer's/,
    ],
    ['no-common-cipher', { ciphers: ['aes-256-gcm'] }, {}, 'initiator', /no data cipher in common/],
  ];
  it.each(cases)('%s: %j refuses %j as the %s', (reason, optionsA, optionsB, refuser, words) => {
    const { network, a, b, toB } = twoNodes(optionsA, optionsB);
    network.connect(a, toB);
    network.run(SECOND);
    const [judge, judged] = refuser === 'initiator' ? [a, b] : [b, a];
    expect(judge.reasons()).toEqual([reason]);
    expect(judge.of('failed')[0]!.text).toMatch(words);
    expect(judged.reasons()).toEqual(['rejected-by-peer']);
    expect(judged.of('failed')[0]).toMatchObject({ peerReason: reason });
    expect(judged.of('failed')[0]!.text).toContain('rejected by peer');
    expect(a.sessions()).toEqual([]);
    expect(b.sessions()).toEqual([]);
    expect(a.of('failed')[0]!.initiator).toBe(true);
    expect(b.of('failed')[0]!.initiator).toBe(false);
  });

  it('tells the refused end which way its clock is off', () => {
    const { network, a, b, toB } = twoNodes({ clockError: -3.2 * HOUR }, { notBefore: WALL - HOUR });
    network.connect(a, toB);
    network.run(SECOND);
    expect(b.of('failed')[0]!.text).toMatch(/clock off by 3 h 12 min: yours is ahead of mine/);
  });

  it('repeats a lost refusal, both ways', () => {
    for (const [lost, optionsA, optionsB] of [
      [3, { revoked: ['b'] }, {}],
      [6, {}, { revoked: ['a'] }],
    ] as const) {
      const { network, a, b, toB } = twoNodes(optionsA, optionsB);
      const copies: Uint8Array[] = [];
      network.filter = (flight, nth) => {
        if (typeOf(flight) === 2) copies.push(flight.bytes);
        return typeOf(flight) === lost && nth === 1 ? [] : [10_000];
      };
      network.connect(a, toB);
      network.run(0.2 * SECOND);
      if (lost === 3) network.inject(b.address, a.address, copies[0]!);
      network.run(SECOND);
      expect([a.reasons().length, b.reasons().length]).toEqual([1, 1]);
    }
  });

  it('tries again after a refusal, ever more seldom', () => {
    const { network, a, toB } = twoNodes({ revoked: ['b'] });
    network.connect(a, toB);
    network.run(4 * SECOND);
    expect(a.reasons()).toHaveLength(1);
    network.run(26 * SECOND);
    expect(a.reasons()).toHaveLength(3);
    expect(a.indexes.size).toBeLessThanOrEqual(2);
  });

  it('stops when no longer wanted', () => {
    const { network, a, toB } = twoNodes();
    network.filter = () => [];
    network.connect(a, toB);
    a.handshaker.cancel(toB);
    expect(a.handshaker.nextTimeout()).toBeUndefined();
    expect(a.indexes.size).toBe(0);
  });

  it('gives a stranger no answer, and names the wrong network on the responder only', () => {
    const { network, a, b, toB } = twoNodes({ ca: 'foreign' });
    network.connect(a, toB);
    network.run(4 * SECOND);
    expect(b.of('send')).toEqual([]);
    expect(new Set(b.drops())).toEqual(new Set(['wrong-network']));
    expect(a.reasons()).toEqual(['no-answer']);
  });

  it('accepts the MAC of any trusted root', () => {
    const { network, a, b, toB } = twoNodes(
      { trusts: ['root', 'second'] },
      { ca: 'second', trusts: ['second', 'root'] },
    );
    network.connect(a, toB);
    network.run(SECOND);
    onePair(a, b);
  });

  it('does not pass control characters of a peer on to a terminal', () => {
    const { network, a, b, toB } = twoNodes({ ca: 'evil\u001b[2J\n', trusts: ['root'] }, { revoked: [] });
    network.connect(a, toB);
    network.run(SECOND);
    expect(b.reasons()).toEqual(['unknown-ca']);
    expect(a.of('failed')[0]!.detail).toBe('evil?[2J?');
  });
});

describe('under load', () => {
  const limits = { perSecond: 1, burst: 1, pending: 4, pendingPerSource: 2 };

  it('a cookie comes first, and then the handshake completes', () => {
    const { network, a, b, toB } = twoNodes({}, { limits: { ...limits, burst: 0 } });
    network.connect(a, toB);
    network.run(SECOND);
    onePair(a, b);
    expect(network.log.map(typeOf)).toEqual([1, 4, 1, 2, 3, 6]);
    expect(network.log[2]!.bytes.subarray(0, 1184)).toEqual(network.log[0]!.bytes.subarray(0, 1184));
  });

  it('a cookie is good for one source only', () => {
    const { network, a, b, toB } = twoNodes({}, { limits: { ...limits, burst: 0 } });
    network.connect(a, toB);
    network.run(0.025 * SECOND);
    const withCookie = network.log.filter((f) => typeOf(f) === 1)[1]!.bytes;
    const { network: other, b: c } = twoNodes({}, { limits: { ...limits, burst: 0 } });
    other.inject('10.0.0.7:1', c.address, withCookie);
    other.run(SECOND);
    expect(c.drops()).toEqual(['load']);
    network.inject('10.0.0.7:1', b.address, withCookie);
    network.run(SECOND);
    expect(b.drops().filter((reason) => reason === 'load').length).toBeGreaterThanOrEqual(1);
  });

  it('half-open handshakes stay bounded whatever arrives, and an honest one still gets through', () => {
    const { network, a, b, toB } = twoNodes({}, { limits });
    for (let i = 0; i < 60; i++) {
      const stranger = network.add(`10.1.0.${i}:1`, { name: `s${i}` });
      network.filter = (flight) => (flight.to === b.address && typeOf(flight) === 1 ? [10_000] : []);
      network.connect(stranger, toB);
    }
    network.run(0.1 * SECOND);
    expect(b.handshaker.pending).toBeLessThanOrEqual(4);
    expect(b.indexes.size).toBeLessThanOrEqual(4);
    for (let i = 0; i < 60; i++) network.nodes.delete(`10.1.0.${i}:1`);
    network.filter = () => [10_000];
    network.connect(a, toB);
    network.run(SECOND);
    onePair(a, b);
  });

  it('a source with too many half-open must show itself', () => {
    const { network, b, toB } = twoNodes({}, { limits: { pendingPerSource: 2 } });
    network.filter = (flight) => (typeOf(flight) === 1 ? [10_000] : []);
    for (let i = 0; i < 5; i++) network.connect(network.add(`10.1.0.9:${i}`, { name: `s${i}` }), toB);
    network.run(0.1 * SECOND);
    expect(b.handshaker.pending).toBe(2);
    expect(network.log.filter((f) => typeOf(f) === 4)).toHaveLength(3);
  });

  it('a source that shows itself too often is dropped', () => {
    const { network, a, b, toB } = twoNodes(
      {},
      { limits: { burst: 0, perSecond: 0, perSourceBurst: 2, perSourceSecond: 0.001 } },
    );
    for (let i = 0; i < 3; i++) {
      network.connect(a, toB);
      network.run(SECOND);
    }
    expect(a.sessions()).toHaveLength(2);
    expect(b.drops()).toContain('source-limit');
  });

  it('a replayed init costs one response and bounded state', () => {
    const { network, a, b, toB } = twoNodes();
    network.connect(a, toB);
    network.run(SECOND);
    const init = network.log[0]!.bytes;
    network.run(20 * SECOND);
    for (let i = 0; i < 100; i++) network.inject('10.0.0.1:1', b.address, init);
    network.run(0.1 * SECOND);
    expect(b.handshaker.pending).toBe(1);
    expect(network.log.filter((f) => typeOf(f) === 2).length).toBeLessThanOrEqual(1 + 17);
    network.run(20 * SECOND);
    expect(b.handshaker.pending).toBe(0);
    expect(b.sessions()).toHaveLength(1);
    expect(b.indexes.size).toBe(1);
  });
});

describe('a datagram that does not belong', () => {
  it.each([
    ['short', new Uint8Array(3)],
    ['version', new Uint8Array(1200).fill(0x21)],
    ['type', encodeDatagram(5 as never, 0, new Uint8Array(100))],
    ['size', encodeDatagram(1, 0, new Uint8Array(100))],
    ['size', encodeDatagram(2, 0, new Uint8Array(5000))],
    ['wrong-network', encodeDatagram(1, 0, new Uint8Array(1192))],
    ['unknown-index', encodeDatagram(2, 7, new Uint8Array(100))],
    ['unknown-index', encodeDatagram(3, 7, new Uint8Array(100))],
    ['unknown-index', encodeDatagram(4, 7, new Uint8Array(56))],
    ['unknown-index', encodeDatagram(6, 7, new Uint8Array(56))],
  ])('is dropped as %s', (reason, bytes) => {
    const { network, a, b } = twoNodes();
    network.inject(a.address, b.address, bytes);
    network.run(SECOND);
    expect(b.actions).toEqual([{ type: 'drop', reason, from: a.address }]);
  });

  it('a forged response does not end the handshake', () => {
    const { network, a, b, toB } = twoNodes();
    network.filter = (flight) => {
      const forged = flight.bytes.slice();
      forged[60]! ^= 1;
      if (typeOf(flight) > 1) network.inject(flight.from, flight.to, forged);
      return [10_000];
    };
    network.connect(a, toB);
    network.run(SECOND);
    onePair(a, b);
    expect(a.drops()).toContain('decrypt');
    expect(b.drops()).toContain('decrypt');
  });
});

describe('a span of time', () => {
  it.each([
    [11_520_000, '3 h 12 min'],
    [-90_000, '1 min 30 s'],
    [45_000, '45 s'],
    [12, '12 ms'],
    [2 * 86_400_000, '2 d'],
  ])('%i ms reads %s', (ms, words) => {
    expect(formatSpan(ms)).toBe(words);
  });
});
