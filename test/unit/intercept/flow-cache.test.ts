import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  FlowCache,
  SERVICE_DROPPED,
  SERVICE_UNDECIDED,
  type FlowMatch,
} from '../../../src/intercept/flow-cache.js';
import { FRAGMENT_FIRST, FRAGMENT_LATER, flowHash, PacketInfo } from '../../../src/intercept/packet.js';
import type { RulePrefix, Verdict } from '../../../src/intercept/rules.js';
import {
  ORIGIN_RULE,
  ORIGIN_SET,
  SERVICE_REALTIME,
  SERVICE_RELIABLE,
} from '../../../src/intercept/services.js';

const SECOND = 1_000_000;

/** 10.77.0.`source` to 10.77.0.`destination`, or the same of fd77::. */
function info(fields: Partial<PacketInfo> & { from?: number; to?: number }): PacketInfo {
  const { from = 1, to = 2, version = 4, ...rest } = fields;
  const words =
    version === 4
      ? { src2: 0xffff, src3: 0x0a4d_0000 + from, dst2: 0xffff, dst3: 0x0a4d_0000 + to }
      : { src0: 0xfd77_0000, src3: from, dst0: 0xfd77_0000, dst3: to };
  return Object.assign(new PacketInfo(), { version, protocol: 6, sourcePort: 4000, ...words, ...rest });
}

const host = (last: number): RulePrefix => ({
  version: 4,
  words: [0, 0, 0xffff, 0x0a4d_0000 + last],
  bits: 128,
});
const pass = (service: number): Verdict => ({ do: 'overlay', service, origin: ORIGIN_RULE, rule: 3 });
const drop: Verdict = { do: 'drop', service: 0, origin: ORIGIN_RULE, rule: 0 };

function decided(cache: FlowCache, packet: PacketInfo, service = 0, now = 0): number {
  const flow = cache.find(now, packet, 7);
  cache.decide(flow, pass(service));
  return flow;
}

describe('finding', () => {
  test('a packet of the same flow finds what was decided for it', () => {
    const cache = new FlowCache({ capacity: 4 });
    const flow = cache.find(0, info({}), 7);
    expect(cache.service[flow]).toBe(SERVICE_UNDECIDED);
    expect(cache.lastSequence[flow]).toBe(-1);
    expect(cache.label[flow]).toBe(flowHash(info({})));
    cache.decide(flow, pass(SERVICE_RELIABLE));
    decided(cache, info({ from: 9 }));
    expect(cache.find(1, info({}), 7)).toBe(flow);
    expect(cache.service[flow]).toBe(SERVICE_RELIABLE);
  });

  test.each([
    ['protocol', info({ protocol: 17 })],
    ['source', info({ from: 3 })],
    ['destination', info({ to: 3 })],
    ['source port', info({ sourcePort: 4001 })],
    ['destination port', info({ destinationPort: 1 })],
    ['version', Object.assign(info({}), { version: 6 })],
    ['first word of the source', Object.assign(info({}), { src0: 1 })],
    ['second word of the destination', Object.assign(info({}), { dst1: 1 })],
  ])('another %s is another flow', (_, other) => {
    const cache = new FlowCache({ capacity: 4 });
    expect(cache.find(0, other, 7)).not.toBe(cache.find(0, info({}), 7));
  });

  test('a socket that changes its DSCP is decided for anew, as all are when rules change', () => {
    const cache = new FlowCache({ capacity: 4 });
    const flow = decided(cache, info({}));
    expect(cache.find(0, info({ trafficClass: 3 }), 7)).toBe(flow);
    expect(cache.service[flow]).toBe(0); // ECN is not the DSCP
    cache.find(0, info({ trafficClass: 46 << 2 }), 7);
    expect(cache.service[flow]).toBe(SERVICE_UNDECIDED);
    cache.decide(flow, pass(0));
    cache.invalidate();
    expect(cache.service[flow]).toBe(0);
    cache.find(0, info({ trafficClass: 46 << 2 }), 7);
    expect(cache.service[flow]).toBe(SERVICE_UNDECIDED);
  });

  test('all fragments between two hosts are one flow, as for the label, and each is decided for', () => {
    const cache = new FlowCache({ capacity: 4 });
    const first = info({ fragment: FRAGMENT_FIRST });
    const later = info({ fragment: FRAGMENT_LATER, sourcePort: 0 });
    const flow = decided(cache, first);
    expect(cache.find(0, later, 7)).toBe(flow);
    expect(cache.service[flow]).toBe(SERVICE_UNDECIDED);
    cache.decide(flow, pass(0));
    cache.find(0, later, 7);
    expect(cache.service[flow]).toBe(SERVICE_UNDECIDED);
    expect(cache.label[flow]).toBe(flowHash(first));
    expect(flowHash(later)).toBe(flowHash(first));
  });

  test('towards another node there is no packet before', () => {
    const cache = new FlowCache({ capacity: 4 });
    const flow = decided(cache, info({}));
    cache.lastSequence[flow] = 17;
    cache.find(0, info({}), 7);
    expect(cache.lastSequence[flow]).toBe(17);
    cache.find(0, info({}), 8);
    expect(cache.lastSequence[flow]).toBe(-1);
  });

  test('a crafted heap of flows with one bucket costs only those flows', () => {
    const cache = new FlowCache({ capacity: 64 });
    const bucket = 5;
    const colliding: PacketInfo[] = [];
    for (let from = 0; colliding.length < 40; from++) {
      const packet = info({ from });
      if ((flowHash(packet) & 127) === bucket) colliding.push(packet);
    }
    const innocent = decided(cache, info({ version: 6 }));
    colliding.forEach((packet, now) => cache.find(now, packet, 7));
    expect(cache.size).toBe(17);
    expect(cache.find(99, info({ version: 6 }), 7)).toBe(innocent);
    expect(cache.service[innocent]).toBe(0);
    const kept = colliding.slice(-16).map((packet) => cache.find(100, packet, 7));
    expect(new Set(kept).size).toBe(16);
    expect(cache.size).toBe(17);
  });

  test('finds the flows that a map with exact least-recent eviction would', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 12 }),
        fc.array(fc.tuple(fc.nat(15), fc.nat(2), fc.boolean()), { maxLength: 200 }),
        (capacity, packets) => {
          const cache = new FlowCache({ capacity });
          const oracle = new Map<string, number>(); // in order of use
          packets.forEach(([from, port, six], now) => {
            const packet = info({ from, destinationPort: port, version: six ? 6 : 4 });
            const key = `${from} ${port} ${six}`;
            const flow = cache.find(now, packet, 7);
            const known = oracle.get(key);
            if (known === undefined) {
              expect(cache.service[flow]).toBe(SERVICE_UNDECIDED);
              expect(cache.packets[flow]).toBe(0);
              cache.decide(flow, pass(0));
              if (oracle.size === capacity) {
                const [idlest, slot] = [...oracle][0];
                expect(flow).toBe(slot);
                oracle.delete(idlest);
              }
            } else {
              expect(flow).toBe(known);
              expect(cache.service[flow]).toBe(0);
              oracle.delete(key);
            }
            oracle.set(key, flow);
            cache.count(now, flow, 1, 1);
          });
          const all = cache.list(packets.length, { idle: Infinity, limit: 1000 });
          expect(
            all.map(
              ({ tuple }) => `${tuple.source[3] & 0xff} ${tuple.destinationPort} ${tuple.version === 6}`,
            ),
          ).toEqual([...oracle.keys()].reverse());
        },
      ),
    );
  });
});

describe('deciding', () => {
  test('what a rule drops is dropped, whatever was set by hand', () => {
    const cache = new FlowCache({ capacity: 4 });
    const flow = cache.find(0, info({}), 7);
    cache.decide(flow, drop);
    expect(cache.service[flow]).toBe(SERVICE_DROPPED);
    expect(cache.set({}, SERVICE_REALTIME)).toBe(1);
    cache.find(0, info({}), 7);
    expect(cache.service[flow]).toBe(SERVICE_UNDECIDED);
    cache.decide(flow, drop);
    expect(cache.service[flow]).toBe(SERVICE_DROPPED);
  });

  test('a service set by hand is in force at once, outlives changes of rules, and ends when cleared', () => {
    const cache = new FlowCache({ capacity: 4 });
    const flow = decided(cache, info({}));
    cache.set({}, SERVICE_REALTIME);
    expect(cache.service[flow]).toBe(SERVICE_REALTIME);
    expect(cache.list(0, { idle: 1, limit: 1 })[0]).toMatchObject({ origin: ORIGIN_SET, rule: 3 });
    cache.invalidate();
    cache.find(0, info({}), 7);
    cache.decide(flow, pass(0));
    expect(cache.service[flow]).toBe(SERVICE_REALTIME);
    cache.set({}, null);
    cache.find(0, info({}), 7);
    cache.decide(flow, pass(0));
    expect(cache.service[flow]).toBe(0);
  });

  test('a slot that another flow takes over is not set any more', () => {
    const cache = new FlowCache({ capacity: 1 });
    decided(cache, info({}));
    cache.set({}, SERVICE_REALTIME);
    const flow = decided(cache, info({ from: 5 }));
    expect(cache.service[flow]).toBe(0);
  });

  test.each<[string, FlowMatch, number]>([
    ['everything', {}, 4],
    ['a protocol', { protocols: [17] }, 1],
    ['a source', { source: host(1) }, 2],
    ['a destination', { destination: host(2) }, 2],
    ['a prefix', { destination: { ...host(0), bits: 120 } }, 3],
    ['a source port', { sourcePort: 4000 }, 3],
    ['a destination port', { destinationPort: 22 }, 1],
    [
      'all of it',
      { protocols: [1, 6], source: host(1), sourcePort: 4000, destination: host(2), destinationPort: 22 },
      1,
    ],
    ['nothing that runs', { source: host(77) }, 0],
  ])('set by %s finds its flows', (_, match, count) => {
    const cache = new FlowCache({ capacity: 8 });
    decided(cache, info({ destinationPort: 22 }));
    decided(cache, info({ protocol: 17 }));
    decided(cache, info({ from: 3, to: 4, sourcePort: 1 }));
    decided(cache, info({ version: 6 }));
    expect(cache.set(match, SERVICE_REALTIME)).toBe(count);
    const set = cache.list(0, { idle: 1, limit: 9 }).filter(({ service }) => service === SERVICE_REALTIME);
    expect(set).toHaveLength(count);
  });
});

describe('listing', () => {
  test('shows what a flow is and did', () => {
    const cache = new FlowCache({ capacity: 4 });
    const flow = decided(cache, info({ destinationPort: 22 }), SERVICE_RELIABLE, SECOND);
    cache.count(SECOND, flow, 3, 4000);
    cache.retransmissions[flow]++;
    cache.copies[flow] += 2;
    expect(cache.list(1.5 * SECOND, { idle: SECOND, limit: 9 })).toEqual([
      {
        tuple: {
          version: 4,
          protocol: 6,
          source: [0, 0, 0xffff, 0x0a4d_0001],
          destination: [0, 0, 0xffff, 0x0a4d_0002],
          sourcePort: 4000,
          destinationPort: 22,
        },
        label: flowHash(info({ destinationPort: 22 })),
        node: 7,
        service: SERVICE_RELIABLE,
        origin: ORIGIN_RULE,
        rule: 3,
        packets: 3,
        bytes: 4000,
        bytesPerSecond: 4000,
        ageMicros: 0.5 * SECOND,
        idleMicros: 0.5 * SECOND,
        retransmissions: 1,
        copies: 2,
        detour: 0,
      },
    ]);
  });

  test('the rate is that of the last second, and falls when the flow falls silent', () => {
    const cache = new FlowCache({ capacity: 4 });
    const rate = (now: number) => cache.list(now, { idle: Infinity, limit: 1 })[0].bytesPerSecond;
    const flow = decided(cache, info({}));
    for (let now = 0; now <= 3 * SECOND; now += SECOND / 100) cache.count(now, flow, 1, 1000);
    expect(rate(3 * SECOND)).toBe(100_000);
    expect(rate(3.5 * SECOND)).toBe(100_000);
    expect(rate(13 * SECOND)).toBe(100);
    cache.count(13 * SECOND, flow, 1, 1000);
    expect(rate(13 * SECOND)).toBeLessThan(200);
  });

  test('is bounded by number, silence and destination', () => {
    const cache = new FlowCache({ capacity: 9 });
    for (let from = 1; from <= 5; from++) decided(cache, info({ from, to: 10 + from }), 0, from * SECOND);
    const sources = (options: Parameters<FlowCache['list']>[1]) =>
      cache.list(6 * SECOND, options).map(({ tuple }) => tuple.source[3] & 0xff);
    expect(sources({ idle: 3 * SECOND, limit: 9 })).toEqual([5, 4, 3]);
    expect(sources({ idle: Infinity, limit: 2 })).toEqual([5, 4]);
    expect(sources({ idle: Infinity, limit: 9, to: host(12) })).toEqual([2]);
  });
});
