import { describe, expect, it } from 'vitest';
import { LinkPair, randomFrom, type Conditions, type End } from './link-pair.js';

const MS = 1000;
const S = 1000 * MS;
const SEEDS = [1, 2, 3, 4, 5];

function upPair(seed: number, conditions: Partial<Conditions> = {}): LinkPair {
  const pair = new LinkPair(seed);
  pair.set(conditions);
  expect(pair.run(20 * S, () => pair.bothUp)).toBe(true);
  return pair;
}

/** `count` messages of mixed sizes, each one knowing its place. */
function messages(count: number, seed: number): Uint8Array[] {
  const random = randomFrom(seed);
  return Array.from({ length: count }, (_, i) => {
    const size = [0, 5, 900, 1100, 1101, 5000, 65536][random() % 7];
    const bytes = new Uint8Array(size).fill(i + 1);
    return bytes;
  });
}

const same = (x: readonly Uint8Array[], y: readonly Uint8Array[]): boolean =>
  x.length === y.length && x.every((bytes, i) => Buffer.compare(bytes, y[i]) === 0);

const downs = (end: End): unknown[] => end.events('down').map((entry) => entry.event);

describe('a link comes up', () => {
  it('within two and a half round trips in clean conditions, on both ends, and measures the round trip', () => {
    const pair = new LinkPair(1);
    expect(pair.run(50 * MS, () => pair.bothUp)).toBe(true);
    pair.run(5 * S);
    for (const end of [pair.a, pair.b]) {
      expect(end.link.rtt).toBeCloseTo(20 * MS, -2);
      expect(end.link.baseRtt).toBe(20 * MS);
    }
  });

  it('within a second though a third of the packets are lost each way', () => {
    for (const seed of SEEDS) {
      const pair = new LinkPair(seed);
      pair.set({ loss: 0.33 });
      expect(pair.run(2 * S, () => pair.bothUp)).toBe(true);
    }
  });

  it('never while only one direction carries', () => {
    const pair = new LinkPair(1);
    pair.b.out.blackhole = true;
    pair.b.inbox = [];
    pair.a.inbox = [];
    pair.run(60 * S);
    expect([pair.a.link.isUp, pair.b.link.isUp]).toEqual([false, false]);
    expect([pair.a.log, pair.b.log]).toEqual([[], []]);
    pair.b.out.blackhole = false;
    expect(pair.run(1.1 * S, () => pair.bothUp)).toBe(true);
  });
});

describe('a link stays up', () => {
  it('for ten idle minutes, at one hello a second and end', () => {
    const pair = upPair(1);
    const sent = pair.a.recordsSent;
    pair.run(600 * S);
    expect([downs(pair.a), downs(pair.b)]).toEqual([[], []]);
    expect(pair.a.recordsSent - sent).toBeLessThanOrEqual(603);
    expect(pair.a.wakeups).toBeLessThan(1300);
  });

  it('in two minutes of data, with 5 % loss, jitter and duplicates', () => {
    for (const seed of SEEDS) {
      const pair = upPair(seed, { loss: 0.05, jitter: 30 * MS, duplicate: 0.05 });
      pair.runWithData(120 * S);
      expect([downs(pair.a), downs(pair.b)]).toEqual([[], []]);
    }
  });

  it('while data goes one way only, begins, and ends', () => {
    const pair = upPair(1, { jitter: 2 * MS });
    for (let round = 0; round < 5; round++) {
      pair.runWithData(3 * S, 20 * MS, [pair.a]);
      pair.run(13.3 * S);
      pair.runWithData(0.3 * S, 20 * MS, [pair.b]);
      pair.run(20.7 * S);
    }
    expect([downs(pair.a), downs(pair.b)]).toEqual([[], []]);
  });

  it('idle, with 10 % loss each way, for an hour', () => {
    const pair = upPair(7, { loss: 0.1 });
    pair.run(3600 * S);
    expect([downs(pair.a), downs(pair.b)]).toEqual([[], []]);
  });

  it('through starved spells shorter than the peer’s patience, though timers run before sockets', () => {
    for (const seed of SEEDS) {
      const pair = upPair(seed);
      for (let round = 0; round < 30; round++) {
        pair.runWithData(1 * S);
        pair.a.starvedUntil = pair.now + 300 * MS + (pair.random() % (150 * MS));
        pair.runWithData(0.5 * S);
      }
      expect([downs(pair.a), downs(pair.b)]).toEqual([[], []]);
    }
  });

  it('at an end that was starved for longer than its own limit, when the peer still speaks', () => {
    const pair = upPair(1);
    pair.runWithData(1 * S);
    // Both starve together, as on one overloaded machine: neither may take the other's sleep for death.
    pair.a.starvedUntil = pair.b.starvedUntil = pair.now + 700 * MS;
    pair.runWithData(5 * S);
    expect([downs(pair.a), downs(pair.b)]).toEqual([[], []]);
  });
});

describe('a link goes down', () => {
  it('between 450 and 560 ms after a busy one went silent', () => {
    const pair = upPair(1);
    pair.runWithData(2 * S);
    pair.set({ blackhole: true });
    const cut = pair.now;
    pair.runWithData(2 * S);
    for (const end of [pair.a, pair.b]) {
      expect(downs(end)).toEqual([{ type: 'down', reason: 'silence' }]);
      const took = end.events('down')[0].at - cut;
      expect(took).toBeGreaterThan(450 * MS);
      expect(took).toBeLessThan(560 * MS);
    }
  });

  it('within 600 ms of the first data on a link that died while idle', () => {
    const pair = upPair(1);
    pair.run(30 * S);
    pair.set({ blackhole: true });
    pair.run(0.7 * S);
    const began = pair.now;
    pair.runWithData(1 * S, 20 * MS, [pair.a]);
    expect(pair.a.events('down')[0].at - began).toBeLessThan(600 * MS);
  });

  it('between 2.4 and 3.6 s after an idle one went silent', () => {
    const pair = upPair(1);
    pair.run(30.3 * S);
    const cut = pair.now;
    pair.set({ blackhole: true });
    pair.run(10 * S);
    for (const end of [pair.a, pair.b]) {
      const took = end.events('down')[0].at - cut;
      expect(took).toBeGreaterThan(2.4 * S);
      expect(took).toBeLessThan(3.6 * S);
    }
  });

  it('at both ends when one direction dies, and comes back with it', () => {
    const pair = upPair(1);
    pair.runWithData(2 * S);
    pair.a.out.blackhole = true;
    const cut = pair.now;
    pair.runWithData(5 * S);
    expect(downs(pair.b)).toEqual([{ type: 'down', reason: 'silence' }]);
    expect(downs(pair.a)).toEqual([{ type: 'down', reason: 'unheard' }]);
    expect(pair.a.events('down')[0].at - cut).toBeLessThan(600 * MS);
    pair.a.out.blackhole = false;
    expect(pair.run(1.2 * S, () => pair.bothUp)).toBe(true);
  });

  it('after a suspended hour at most for as long as it takes to say hello again', () => {
    const pair = upPair(1);
    pair.runWithData(1 * S);
    pair.a.starvedUntil = pair.now + 3600 * S;
    pair.run(3599 * S);
    // A sleeping machine receives nothing.
    pair.a.inbox = [];
    pair.run(1 * S + 2 * S, () => pair.now > pair.a.starvedUntil && pair.bothUp);
    expect(pair.bothUp).toBe(true);
    expect(pair.now - pair.a.starvedUntil).toBeLessThan(1.2 * S);
  });

  it('at once when the peer says goodbye', () => {
    const pair = upPair(1);
    pair.a.link.close('stopping');
    pair.a.flush();
    pair.run(15 * MS);
    expect(pair.b.log.slice(-2).map((entry) => entry.event)).toEqual([
      { type: 'down', reason: 'closed' },
      { type: 'closed', reason: 'stopping' },
    ]);
    pair.run(60 * S);
    expect([pair.a.link.nextTimeout(), pair.b.link.nextTimeout()]).toEqual([Infinity, Infinity]);
  });

  it('no more than briefly when the peer’s process restarts under the same link object', () => {
    for (const age of [1 * S, 30 * S]) {
      const pair = upPair(1);
      pair.run(age);
      pair.b.restart();
      expect(pair.run(3 * S, () => pair.bothUp && downs(pair.a).length > 0)).toBe(true);
      expect(downs(pair.a)).toEqual([{ type: 'down', reason: 'unheard' }]);
      pair.run(60 * S);
      expect(pair.bothUp).toBe(true);
      expect(downs(pair.a)).toHaveLength(1);
      expect(downs(pair.b)).toHaveLength(0);
    }
  });
});

describe('the stream', () => {
  const weather: [string, Partial<Conditions>][] = [
    ['clean', {}],
    ['1 % loss', { loss: 0.01 }],
    ['20 % loss', { loss: 0.2 }],
    ['duplicates', { duplicate: 0.5 }],
    ['reordering', { jitter: 40 * MS }],
    ['all of it', { loss: 0.15, duplicate: 0.2, jitter: 30 * MS }],
  ];

  it.each(weather)('delivers every message once and in order, both ways at once: %s', (_, conditions) => {
    for (const seed of SEEDS) {
      const pair = upPair(seed, conditions);
      const there = messages(40, seed);
      const back = messages(40, seed + 100);
      for (let i = 0; i < 40; i++) {
        expect([pair.a.send(there[i]), pair.b.send(back[i])]).toEqual(['queued', 'queued']);
      }
      // Data keeps hellos frequent, so that loss alone doesn't take the link down.
      for (let i = 0; i < 600 && pair.a.link.bufferedBytes + pair.b.link.bufferedBytes > 0; i++) {
        pair.runWithData(0.2 * S);
      }
      expect([downs(pair.a), downs(pair.b)]).toEqual([[], []]);
      expect(same(pair.b.messages, there)).toBe(true);
      expect(same(pair.a.messages, back)).toBe(true);
      expect([...pair.a.events('rejected'), ...pair.b.events('stream-broken')]).toEqual([]);
    }
  });

  it('carries a megabyte over a clean 20 ms round trip within a second', () => {
    const pair = upPair(1);
    const megabyte = Array.from({ length: 16 }, (_, i) => new Uint8Array(65536).fill(i));
    for (const message of megabyte) pair.a.send(message);
    expect(pair.run(1 * S, () => pair.b.messages.length === 16)).toBe(true);
    expect(same(pair.b.messages, megabyte)).toBe(true);
    // 60 frames each, a few records for hellos: nothing was sent twice.
    expect(pair.a.recordsSent).toBeLessThan(16 * 60 + 40);
  });

  it('goes on after an outage shorter than the link’s patience', () => {
    const pair = upPair(1);
    pair.runWithData(1 * S);
    const sent = messages(20, 9);
    for (const message of sent) pair.a.send(message);
    pair.runWithData(40 * MS);
    pair.set({ blackhole: true });
    pair.runWithData(350 * MS);
    pair.set({ blackhole: false });
    pair.runWithData(10 * S);
    expect([downs(pair.a), downs(pair.b)]).toEqual([[], []]);
    expect(same(pair.b.messages, sent)).toBe(true);
  });

  it('drops what was queued when the link goes down, and begins anew with it', () => {
    const pair = upPair(1);
    pair.runWithData(1 * S);
    pair.a.send(Uint8Array.of(1));
    pair.runWithData(1 * S);
    pair.set({ blackhole: true });
    pair.a.send(Uint8Array.of(2));
    pair.runWithData(2 * S);
    expect(pair.a.send(Uint8Array.of(3))).toBe('down');
    pair.set({ blackhole: false });
    pair.run(3 * S, () => pair.bothUp);
    expect(pair.a.send(Uint8Array.of(4))).toBe('queued');
    pair.run(1 * S);
    expect(pair.b.messages).toEqual([Uint8Array.of(1), Uint8Array.of(4)]);
    expect(pair.b.events('stream-restarted')).toHaveLength(1);
  });

  it('tells the sender when the peer has lost the stream, and carries new messages then', () => {
    const pair = upPair(1);
    for (const message of messages(30, 3)) pair.a.send(message);
    pair.run(5 * S);
    const received = pair.b.messages.length;
    expect(received).toBe(30);
    // The peer forgets; its hellos make this end go down and up, or its acknowledgement tells first. Either way routing learns.
    pair.b.restart();
    pair.run(3 * S, () => pair.bothUp && downs(pair.a).length > 0);
    expect(pair.a.send(Uint8Array.of(77))).toBe('queued');
    pair.run(2 * S);
    expect(pair.b.messages.slice(received)).toEqual([Uint8Array.of(77)]);
  });
});
