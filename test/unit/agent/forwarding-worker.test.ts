import { beforeEach, describe, expect, it } from 'vitest';
import { writeEndpoint } from '../../../src/agent/endpoint.js';
import { type FromWorker, OUTER_DSCP_COPY } from '../../../src/agent/messages.js';
import { createBatch } from '../../../src/io/batch.js';
import { createMemoryIo } from '../../../src/io/plain/index.js';
import type { UdpSocket } from '../../../src/io/ports.js';
import { KEY_SLOTS, MAX_NEIGHBOURS } from '../../../src/agent/worker/sizes.js';
import { MAX_SESSIONS } from '../../../src/crypto/session.js';
import { DEFAULT_SERVICES } from '../../../src/intercept/services.js';
import { LANE_RELIABLE } from '../../../src/overlay/wire/lanes.js';
import { RECORD_FIRST_BYTE } from '../../../src/overlay/wire/record.js';
import { laneOf, WorkerPair } from '../../support/forward/worker-pair.js';
import { Random } from '../../support/sim/random.js';
import { buildPacket, TCP, UDP } from '../../support/native-packets.js';

const SECOND = 1_000_000;
let pair: WorkerPair;

beforeEach(() => {
  pair = new WorkerPair();
});

const packet = (from: number, to: number) =>
  buildPacket({ version: 4, protocol: UDP, payload: Uint8Array.of(1), from, to, checksum: 'whole' });
const typesOf = (messages: readonly FromWorker[]) => messages.map(({ type }) => type);

function ping(from: 'a' | 'b', to: 'a' | 'b'): boolean {
  const count = pair[to].tun.output.length;
  pair[from].tun.inject(from === 'a' ? packet(1, 2) : packet(2, 1));
  pair.time.advance(5000);
  return pair[to].tun.output.length > count;
}

describe('a flood of junk', () => {
  it("is counted whole, and honest packets pass, one of the socket's rests late at most", () => {
    pair.join();
    pair.time.advance(SECOND);
    const stranger = createMemoryIo({ network: pair.network, addresses: ['192.0.2.66'] });
    const udp = stranger.createUdp({ host: '::', port: 1, mark: 0, slots: 1 }) as UdpSocket;
    writeEndpoint(udp.endpoints, 0, { host: '192.0.2.2', port: 7100 });
    const junk = createBatch(1, 1);
    junk.bytes[0] = RECORD_FIRST_BYTE;
    junk.length[0] = 1;
    const short = () => pair.report('b').drops['short'] ?? 0;
    const before = short();
    for (let k = 0; k < 2000; k++) {
      udp.send(junk, Int32Array.of(0), 1);
      pair.time.advance(20);
    }
    expect(ping('a', 'b')).toBe(true);
    expect(short() - before).toBe(2000);
  });
});

describe('a session', () => {
  it('brings a link up at both ends, says so, and carries packets', () => {
    pair.join();
    pair.time.advance(SECOND);
    for (const side of ['a', 'b'] as const) {
      const posted = pair.take(side);
      expect(
        typesOf(posted)
          .filter((type) => type !== 'measured')
          .sort(),
      ).toEqual(['confirmed', 'moved', 'up'].slice(side === 'a' ? 0 : 1));
      const { host } = pair.report(side).links[0].endpoint;
      expect(posted.find(({ type }) => type === 'moved')).toMatchObject({ endpoint: { host, port: 7100 } });
      expect(posted.find(({ type }) => type === 'up')).toMatchObject({ peer: side === 'a' ? 2 : 1 });
    }
    expect([ping('a', 'b'), ping('b', 'a')]).toEqual([true, true]);
    const [link] = pair.report('a').links;
    expect(link).toMatchObject({ peer: 2, name: 'b', state: 'up', cipher: 'aes-256-gcm' });
    expect(link.rttMicros).toBeGreaterThan(1990);
    expect(link.rttMicros).toBeLessThan(4000);
  });

  it('asks for a successor at 120 s, once in ten seconds, at the end that began it; ends at 180 s', () => {
    pair.join();
    pair.time.advance(119 * SECOND);
    expect(pair.take('a', 'rekey')).toEqual([]);
    pair.time.advance(10 * SECOND);
    expect(pair.take('a', 'rekey')).toEqual([
      { type: 'rekey', peer: 2, endpoint: { host: '192.0.2.2', port: 7100, local: '192.0.2.1' } },
    ]);
    expect(pair.take('b', 'rekey')).toEqual([]);
    pair.time.advance(10 * SECOND);
    expect([pair.take('a', 'rekey').length, pair.take('b', 'rekey').length]).toEqual([1, 1]);
    expect(ping('a', 'b')).toBe(true);
    pair.time.advance(42 * SECOND);
    expect(pair.take('a', 'released')).toEqual([{ type: 'released', index: 110 }]);
    expect(ping('a', 'b')).toBe(false);
    const { drops } = pair.report('a');
    expect(drops['no-path']).toBeGreaterThan(0);
  });

  it('is followed by its successor without a break, and released when its time is over', () => {
    pair.join();
    pair.time.advance(120 * SECOND);
    pair.join(2);
    for (let i = 0; i < 100; i++) {
      expect([ping('a', 'b'), ping('b', 'a')]).toEqual([true, true]);
      pair.time.advance(SECOND);
    }
    expect(pair.take('a', 'released')).toEqual([{ type: 'released', index: 110 }]);
    expect(pair.take('b', 'released', 'down')).toEqual([{ type: 'released', index: 120 }]);
    expect(pair.report('a').drops['no-session']).toBe(0);
  });

  it('that was superseded opens nothing more', () => {
    pair.join();
    pair.time.advance(SECOND);
    pair.tell('b', { type: 'revoke-session', index: 120 });
    expect(pair.take('b', 'released')).toEqual([{ type: 'released', index: 120 }]);
    expect(ping('a', 'b')).toBe(false);
    expect(pair.report('b').drops['no-session']).toBeGreaterThan(0);
    pair.tell('b', { type: 'revoke-session', index: 4711 });
  });

  it('more than a link may have makes the oldest go, and gives its index back', () => {
    for (let name = 1; name <= MAX_SESSIONS + 1; name++) pair.join(name);
    expect(pair.take('a', 'released')).toHaveLength(1);
    pair.time.advance(SECOND);
    expect(ping('a', 'b')).toBe(true);
  });

  it('has keys to spare with as many neighbours as there may be', () => {
    // Lanes × directions × sessions, and one session more while the oldest makes room.
    expect(KEY_SLOTS).toBeGreaterThanOrEqual(MAX_NEIGHBOURS * 2 * 2 * MAX_SESSIONS + 4);
  });
});

describe('a peer that began anew', () => {
  it('is told from its former self by its static key: the link goes down and comes up, its old sessions are gone', () => {
    pair.join();
    pair.time.advance(SECOND);
    pair.take('a');
    pair.tell('a', { type: 'session', grant: pair.grants(2, { b: 'second' }).a });
    expect(pair.take('a')).toEqual([
      { type: 'released', index: 110 },
      { type: 'down', peer: 2, reason: 'restarted' },
    ]);
    pair.tell('b', { type: 'session', grant: pair.grants(2).b });
    pair.time.advance(SECOND);
    expect(typesOf(pair.take('a', 'up'))).toEqual(['up']);
    expect(ping('a', 'b')).toBe(true);
  });
});

describe('a peer that never comes back', () => {
  it('is forgotten when its last session ends, so that its place is free', () => {
    pair.join();
    pair.time.advance(SECOND);
    pair.passes = () => false;
    pair.time.advance(178 * SECOND);
    expect(pair.report('a').links).toHaveLength(1);
    pair.time.advance(2 * SECOND);
    expect(pair.report('a').links).toEqual([]);
    pair.passes = () => true;
    pair.join(2);
    pair.time.advance(SECOND);
    expect([ping('a', 'b'), ping('b', 'a')]).toEqual([true, true]);
  });
});

describe('messages to a peer', () => {
  it('arrive whole and in order although datagrams are lost', () => {
    pair.join();
    pair.time.advance(SECOND);
    pair.take('b');
    const chance = new Random(1);
    pair.passes = () => !chance.chance(0.25);
    const messages = [10, 5000, 65_536].map((length) => new Uint8Array(length).fill(length & 255));
    for (const bytes of messages) pair.tell('a', { type: 'message', peer: 2, bytes });
    pair.time.advance(10 * SECOND);
    expect(pair.take('b', 'message').map(({ bytes }) => bytes)).toEqual(messages);
  });

  it('to nobody, or by a link that is down, go nowhere and harm nothing', () => {
    pair.tell('a', { type: 'message', peer: 9, bytes: Uint8Array.of(1) });
    pair.tell('a', { type: 'session', grant: pair.grants(1).a });
    pair.tell('a', { type: 'message', peer: 2, bytes: Uint8Array.of(1) });
    expect(pair.take('a')).toEqual([]);
  });
});

describe('a link', () => {
  beforeEach(() => {
    pair.join();
    pair.time.advance(SECOND);
    pair.take('a');
    pair.take('b');
  });

  it('is down when the peer is silent for 3.5 s, half a second where it carries data', () => {
    pair.passes = () => false;
    pair.time.advance(3 * SECOND);
    expect(pair.take('a', 'down')).toEqual([]);
    pair.time.advance(2 * SECOND);
    expect(pair.take('a', 'down')).toEqual([{ type: 'down', peer: 2, reason: 'silence' }]);
    expect(pair.report('a').links[0].state).toBe('down');
    pair.passes = () => true;
    pair.time.advance(3 * SECOND);
    expect(pair.take('a', 'up')).toHaveLength(1);
    ping('a', 'b');
    pair.passes = () => false;
    pair.time.advance(SECOND);
    expect(pair.take('a', 'down')).toHaveLength(1);
  });

  it('is forgotten with a goodbye that the peer hears at once', () => {
    pair.tell('a', { type: 'forget', peer: 2 });
    pair.time.advance(2000);
    expect(pair.take('b', 'down', 'closed')).toEqual([
      { type: 'down', peer: 1, reason: 'closed' },
      { type: 'closed', peer: 1, reason: 'stopping' },
    ]);
    expect(pair.take('a')).toEqual([{ type: 'released', index: 110 }]);
    expect(pair.report('a').links).toEqual([]);
    pair.tell('a', { type: 'forget', peer: 2 });
    pair.tell('b', { type: 'forget', peer: 1 });
    pair.join(2);
    pair.time.advance(SECOND);
    expect(ping('a', 'b')).toBe(true);
  });

  it('ends with all others when the worker stops, which then takes nothing more', () => {
    pair.tell('a', { type: 'stop' });
    expect(typesOf(pair.take('a'))).toEqual(['released', 'stopped']);
    pair.time.advance(2000);
    expect(pair.take('b', 'closed')).toHaveLength(1);
    expect(pair.a.tun.closed).toBe(true);
    const sent = pair.sent.length;
    pair.a.tun.inject(packet(1, 2));
    pair.time.advance(1000);
    expect(pair.sent.slice(sent).filter(({ source }) => source.address === '192.0.2.1')).toEqual([]);
  });

  it('answers echoes, and says which one found no way', () => {
    pair.tell('a', { type: 'echo', id: 7, number: 1, destination: 2, ttl: 64 });
    pair.tell('a', { type: 'echo', id: 7, number: 2, destination: 99, ttl: 64 });
    pair.time.advance(5000);
    expect(pair.take('a', 'echo-reply', 'echo-error')).toEqual([
      { type: 'echo-error', id: 7, number: 2, from: 1, code: 1, rttMicros: 0 },
      {
        type: 'echo-reply',
        reply: { id: 7, number: 1, from: 2, rttMicros: 2000, forward: [2], back: [1], ttl: 64 },
      },
    ]);
  });

  it('follows a peer that moved, by its next record', () => {
    const [keepalive] = pair.sent
      .filter(({ source, bytes }) => source.address === '192.0.2.2' && bytes[0] === 0x15)
      .slice(-1);
    pair.passes = () => false;
    pair.time.advance(1_100_000);
    const [fresh] = pair.sent
      .filter(({ source, bytes }) => source.address === '192.0.2.2' && bytes[0] === 0x15)
      .slice(-1);
    expect(fresh.bytes).not.toEqual(keepalive.bytes);
    pair.passes = () => true;
    pair.network.send({ ...fresh, source: { address: '198.51.100.9', port: 4000 } });
    pair.time.advance(2000);
    expect(pair.report('a').links[0].endpoint).toEqual({
      host: '198.51.100.9',
      port: 4000,
      local: '192.0.2.1',
    });
  });
});

describe('datagrams of the main thread', () => {
  it('go where it says, and handshakes that arrive come to it with their endpoint', () => {
    const bytes = new Uint8Array(1200).fill(0x11);
    pair.tell('a', { type: 'datagram', bytes, endpoint: { host: '192.0.2.2', port: 7100 } });
    pair.time.advance(2000);
    expect(pair.take('b')).toEqual([
      { type: 'datagram', bytes, endpoint: { host: '192.0.2.1', port: 7100, local: '192.0.2.2' } },
    ]);
  });
});

describe('rules', () => {
  it('hold from the moment that they are told', () => {
    pair.join();
    pair.time.advance(SECOND);
    expect(ping('a', 'b')).toBe(true);
    pair.tell('a', {
      type: 'rules',
      rules: [{ match: {}, action: { do: 'drop' } }],
      defaults: DEFAULT_SERVICES,
      groups: {},
    });
    expect(ping('a', 'b')).toBe(false);
    expect(pair.report('a').drops['rule']).toBe(1);
    pair.tell('a', { type: 'rules', rules: [], defaults: DEFAULT_SERVICES, groups: {} });
    expect(ping('a', 'b')).toBe(true);
  });
});

describe('recovered flows', () => {
  const tcp = (tos: number, from: number, to: number) =>
    buildPacket({ version: 4, protocol: TCP, payload: Uint8Array.of(1), from, to, tos, checksum: 'whole' });
  /** Traffic class of the record that a packet of some traffic class leaves in. */
  const outerOf = (tos: number): number => {
    pair.sent.length = 0;
    pair.a.tun.inject(tcp(tos, 1, 2));
    pair.time.advance(10);
    return pair.sent.find((datagram) => laneOf(datagram) === LANE_RELIABLE)!.trafficClass;
  };

  beforeEach(() => {
    pair.join();
    pair.time.advance(SECOND);
  });

  it('bear in the outer header the DSCP that the main thread says: none, a fixed one, the inner one', () => {
    expect(outerOf(0x28)).toBe(2);
    pair.tell('a', { type: 'outer-dscp', dscp: 46 });
    expect(outerOf(0x28)).toBe((46 << 2) | 2);
    pair.tell('a', { type: 'outer-dscp', dscp: OUTER_DSCP_COPY });
    expect(outerOf(0x28)).toBe(0x28 | 2);
    pair.tell('a', { type: 'outer-dscp', dscp: 0 });
    expect(outerOf(0x28)).toBe(2);
  });

  it('are reported by link, once there were any: what was sent again, what was lost each way, what waits', () => {
    expect(pair.report('a').links[0]!.recovery).toBeUndefined();
    let count = 0;
    pair.passes = (datagram) => laneOf(datagram) !== LANE_RELIABLE || ++count !== 5;
    for (let i = 0; i < 20; i++) {
      pair.a.tun.inject(tcp(0, 1, 2));
      pair.time.advance(1000);
    }
    // Losses are judged as more comes.
    pair.time.advance(SECOND);
    pair.a.tun.inject(tcp(0, 1, 2));
    pair.time.advance(SECOND);
    const [a, b] = [pair.report('a').links[0]!.recovery!, pair.report('b').links[0]!.recovery!];
    expect(a).toMatchObject({ retransmissions: 1, expired: 0, queuePackets: 0, inFlightBytes: 0 });
    expect(b.in.before).toBeCloseTo(1 / 22, 3);
    expect(a.windowBytes).toBeGreaterThan(1000);
    expect(a.bytesPerSecond).toBeGreaterThan(1000);
  });

  it('are listed with what recovery did for them, at both ends', () => {
    let count = 0;
    pair.passes = (datagram) => laneOf(datagram) !== LANE_RELIABLE || ++count !== 5;
    for (let i = 0; i < 20; i++) {
      pair.a.tun.inject(tcp(0, 1, 2));
      pair.time.advance(1000);
    }
    pair.time.advance(SECOND / 10);
    const filter = { outgoing: true, incoming: true, idleMicros: SECOND, limit: 10 };
    pair.tell('a', { type: 'flows', id: 1, filter });
    pair.tell('b', { type: 'flows', id: 2, filter });
    const [sent] = pair.take('a', 'flows');
    const [got] = pair.take('b', 'flows');
    expect([sent!.outgoing.length, sent!.incoming]).toEqual([1, []]);
    expect(sent!.outgoing[0]).toMatchObject({ service: 1, packets: 20, retransmissions: 1, copies: 0 });
    expect([got!.outgoing, got!.incoming.length]).toEqual([[], 1]);
    expect(got!.incoming[0]).toMatchObject({ node: 1, delivered: 20, skipped: 0, duplicates: 0, held: 0 });
    expect(got!.incoming[0]!.reordered).toBeGreaterThan(0);
    expect(got!.incoming[0]!.tuple).toEqual(sent!.outgoing[0]!.tuple);
  });

  it('are listed where they arrive if they are realtime too, with their addresses and without anything going back', () => {
    const voice = {
      version: 4,
      protocol: UDP,
      payload: Uint8Array.of(1),
      tos: 46 << 2,
      checksum: 'whole',
    } as const;
    for (let i = 0; i < 3; i++) pair.a.tun.inject(buildPacket({ ...voice, from: 1, to: 2 }));
    pair.time.advance(SECOND / 10);
    const filter = { outgoing: true, incoming: true, idleMicros: SECOND, limit: 10 };
    pair.tell('a', { type: 'flows', id: 1, filter });
    pair.tell('b', { type: 'flows', id: 2, filter });
    const [sent] = pair.take('a', 'flows');
    const { tuple, label } = sent!.outgoing[0]!;
    expect(pair.take('b', 'flows')[0]!.incoming).toMatchObject([
      { node: 1, label, tuple, service: 2, delivered: 3, duplicates: 0 },
    ]);
  });
});
