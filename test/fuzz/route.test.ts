import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { sameBytes } from '../../src/overlay/route/bytes.js';
import type { DigestRow } from '../../src/overlay/route/messages.js';
import { decodeMessage, encodeDigest, encodeRequest } from '../../src/overlay/route/messages.js';
import type { LinkStateRecord } from '../../src/overlay/route/record.js';
import { decodeRecord, encodeRecord } from '../../src/overlay/route/record.js';
import { certificateMessage, drops, LoneRouter, recordMessage } from '../support/sim/lone-router.js';
import { Random } from '../support/sim/random.js';
import { seedOf } from '../support/sim/simulator.js';

const u32 = fc.integer({ min: 0, max: 0xffffffff });
const positive = fc.integer({ min: 1, max: 0xffffffff });

const link = fc
  .record({
    ...{ neighbour: positive, rtt: positive },
    loss: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 1_000_000 })),
    sixteenths: fc.integer({ min: 16, max: 0xffff }),
    hundredths: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 0xffff })),
  })
  .map(({ sixteenths, hundredths, ...rest }) => ({
    ...rest,
    burst: rest.loss === 0 ? 1 : sixteenths / 16,
    price: hundredths / 100,
  }));

const record: fc.Arbitrary<LinkStateRecord> = fc
  .record({
    origin: positive,
    epoch: u32,
    sequence: u32,
    lifetime: fc.integer({ min: 1, max: 65_535 }),
    certificate: fc.uint8Array({ minLength: 8, maxLength: 8 }),
    links: fc.uniqueArray(link, {
      selector: ({ neighbour }) => neighbour,
      maxLength: 40,
    }),
  })
  .map((value) => ({
    ...value,
    links: value.links
      .filter(({ neighbour }) => neighbour !== value.origin)
      .sort((a, b) => a.neighbour - b.neighbour),
  }));

/** One to three bytes changed, cut off or put in. */
function mutate(random: Random, bytes: Uint8Array): Uint8Array {
  const list = [...bytes];
  for (let i = 1 + random.integer(3); i > 0; i--) {
    const at = random.integer(list.length + 1);
    const kind = random.integer(4);
    if (kind === 0) list.splice(at, 1 + random.integer(8));
    else if (kind === 1) list.splice(at, 0, ...random.bytes(1 + random.integer(8)));
    else if (list.length > 0) list[at % list.length] = kind === 2 ? random.u32() & 255 : 255;
  }
  return Uint8Array.from(list);
}

describe('records', () => {
  it('come back as they were encoded', () => {
    fc.assert(
      fc.property(record, (value) => {
        expect(decodeRecord(encodeRecord(value))).toEqual({ ok: true, value });
      }),
    );
  });

  it('decode to a value or a reject, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(typeof decodeRecord(bytes).ok).toBe('boolean');
      }),
      { numRuns: 5000 },
    );
  });

  it('that decode keep their links ascending, however they were mutated', () => {
    const random = new Random(seedOf(77));
    let decodable = 0;
    fc.assert(
      fc.property(record, (value) => {
        const decoded = decodeRecord(mutate(random, encodeRecord(value)));
        if (!decoded.ok) return;
        decodable++;
        const ids = decoded.value.links.map(({ neighbour }) => neighbour);
        expect(ids).toEqual([...new Set(ids)].sort((a, b) => a - b));
        expect(ids).not.toContain(decoded.value.origin);
      }),
      { numRuns: 5000 },
    );
    expect(decodable).toBeGreaterThan(0);
  });
});

describe('control messages', () => {
  it('decode to a value or a reject, whatever the bytes', () => {
    const typed = fc.tuple(fc.integer({ min: 0, max: 6 }), fc.uint8Array({ maxLength: 300 }));
    fc.assert(
      fc.property(typed, ([type, rest]) => {
        expect(typeof decodeMessage(Uint8Array.of(type, ...rest)).ok).toBe('boolean');
      }),
      { numRuns: 5000 },
    );
  });

  it('of many rows come back in pieces that each fit the stream', () => {
    const row: fc.Arbitrary<DigestRow> = fc.record({
      origin: u32,
      epoch: u32,
      sequence: u32,
      certificate: u32,
    });
    fc.assert(
      fc.property(fc.array(row, { maxLength: 3000, size: 'max' }), (rows) => {
        const messages = encodeDigest(rows);
        for (const bytes of messages) expect(bytes.length).toBeLessThanOrEqual(65_535);
        const back = messages.flatMap((bytes) => {
          const decoded = decodeMessage(bytes);
          return decoded.ok && decoded.value.type === 'digest' ? decoded.value.rows : [];
        });
        expect(back).toEqual(rows);
      }),
      { numRuns: 30 },
    );
  });
});

describe('a router fed with mutated messages', () => {
  it('never throws, never believes them, counts them, and still takes the true one', () => {
    const random = new Random(seedOf(78));
    const node = new LoneRouter();
    node.up(2);
    node.hear(2, certificateMessage(2), certificateMessage(3), recordMessage(2, { 1: 10_000, 3: 9_000 }));
    const true3 = recordMessage(3, { 2: 9_000 }, { sequence: 5 });
    const sources = [
      true3,
      certificateMessage(4),
      recordMessage(1, {}, { epoch: 9, signer: 2 }),
      recordMessage(2, {}, { sequence: 9, signer: 3 }),
    ];
    sources.push(...encodeDigest(node.router.db.digest()), ...encodeRequest([{ origin: 2, what: 3 }]));
    let dropped = 0;
    for (let i = 0; i < 20_000; i++) {
      const source = random.pick(sources);
      const mutant = mutate(random, source);
      if (!sameBytes(mutant, source)) dropped += drops(node.hear(2, mutant)).length;
      // In time for the neighbour to be trusted again now and then.
      if (i % 100 === 0) node.pass(10_000_000);
    }
    expect(dropped).toBeGreaterThan(5_000);
    const counted = Object.values(node.router.counters.drops).reduce((sum, count) => sum + count, 0);
    expect(counted).toBe(dropped);
    expect(node.router.db.records.get(2)!.record.links).toHaveLength(2);
    expect(node.router.epoch).toBe(1);
    expect(node.router.db.certificates.has(4)).toBe(false);
    node.pass(60_000_000);
    node.hear(2, true3);
    node.pass(1_000_000);
    expect(node.router.db.records.get(3)!.record.sequence).toBe(5);
    expect(node.tables!.nextHop(node.tables!.indexOf(3), 0)).toBe(2);
  });
});
