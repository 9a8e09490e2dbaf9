import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Deadlines } from '../../../src/overlay/egress/deadlines.js';
import { FlowTable } from '../../../src/overlay/egress/flow-table.js';
import { Gaps, GAPS_PER_FLOW } from '../../../src/overlay/egress/gaps.js';
import { SOURCE_STRAGGLER, Sources } from '../../../src/overlay/egress/sources.js';

describe('deadlines', () => {
  it('give the earliest, however they are set, moved and removed', () => {
    const step = fc.tuple(
      fc.integer({ min: 0, max: 15 }),
      fc.option(fc.integer({ min: 0, max: 50 }), { nil: Infinity }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
        const deadlines = new Deadlines(16);
        const dates = new Map<number, number>();
        for (const [flow, date] of steps) {
          if (date === Infinity) {
            deadlines.remove(flow);
            dates.delete(flow);
          } else {
            deadlines.set(flow, date);
            dates.set(flow, date);
          }
          expect(deadlines.size).toBe(dates.size);
          expect(deadlines.earliest()).toBe(Math.min(...dates.values(), Infinity));
          expect(dates.get(deadlines.first()) ?? Infinity).toBe(deadlines.earliest());
          expect(deadlines.of(flow)).toBe(date);
          const all = Array.from({ length: deadlines.size }, (_, i) => deadlines.at(i));
          expect(all.sort()).toEqual([...dates.keys()].sort());
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('gaps', () => {
  const FLOW = 1;

  it('know what may still come, as a set of the numbers missing would', () => {
    const ranges = fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 2 * 8 });
    const start = fc.constantFrom(0, 2 ** 31 - 20, 2 ** 32 - 20);
    const asked = fc.array(fc.integer({ min: -5, max: 100 }), { maxLength: 60 });
    fc.assert(
      fc.property(start, ranges, asked, (start, ranges, asked) => {
        const gaps = new Gaps(3);
        const missing = new Set<number>();
        let at = 0;
        ranges.forEach((length, i) => {
          // Only so many ranges that none is forgotten when they are split: four of at most nine numbers.
          if (i % 4 === 0) {
            gaps.note(FLOW, (start + at) % 2 ** 32, (start + at + length - 1) % 2 ** 32);
            for (let k = 0; k < length; k++) missing.add(at + k);
          }
          at += length;
        });
        for (const number of asked) {
          const sequence = (start + number + 2 ** 32) % 2 ** 32;
          if (missing.size <= GAPS_PER_FLOW)
            expect(gaps.take(FLOW, sequence, 1)).toBe(missing.delete(number));
          expect(gaps.take(FLOW + 1, sequence, 1)).toBe(false);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('close between a late packet and its predecessor', () => {
    const gaps = new Gaps(2);
    gaps.note(FLOW, 100, 200);
    expect(gaps.take(FLOW, 150, 20)).toBe(true);
    for (const inBetween of [150, 131, 149]) expect(gaps.take(FLOW, inBetween, 1)).toBe(false);
    for (const open of [130, 151]) expect(gaps.take(FLOW, open, 1)).toBe(true);
  });

  it('forget the oldest where there are too many', () => {
    const gaps = new Gaps(2);
    for (let i = 0; i <= GAPS_PER_FLOW; i++) gaps.note(FLOW, 2 ** 32 - 20 + 10 * i, 2 ** 32 - 20 + 10 * i);
    expect(gaps.take(FLOW, 2 ** 32 - 20, 1)).toBe(false);
    for (let i = 1; i <= GAPS_PER_FLOW; i++)
      expect(gaps.take(FLOW, (2 ** 32 - 20 + 10 * i) % 2 ** 32, 1)).toBe(true);
    gaps.note(FLOW, 500, 500);
    gaps.clear(FLOW);
    expect(gaps.take(FLOW, 500, 1)).toBe(false);
  });

  it('reach no further back than a million', () => {
    const gaps = new Gaps(2);
    gaps.note(FLOW, 0, 2 ** 30);
    expect(gaps.take(FLOW, 2 ** 30 - 2 ** 20, 1)).toBe(false);
    expect(gaps.take(FLOW, 2 ** 30 - 2 ** 20 + 1, 1)).toBe(true);
  });
});

describe('sources', () => {
  it('keep their place and life while the epoch lasts', () => {
    const sources = new Sources(16);
    const place = sources.find(0xffff_0000, 3);
    const life = sources.life[place];
    expect(sources.isNew).toBe(true);
    expect(sources.find(0xffff_0000, 3)).toBe(place);
    expect(sources.isNew).toBe(false);
    expect(sources.life[place]).toBe(life);
    expect(sources.nodeAt(place)).toBe(0xffff_0000);
  });

  it('begin another life with any other epoch but the one before', () => {
    const sources = new Sources(16);
    const place = sources.find(1, 3);
    const lives = [sources.life[place]];
    for (const epoch of [2, 3, 0xffff, 2]) {
      const found = sources.find(1, epoch);
      if (found === place) lives.push(sources.life[place]);
      else expect([epoch, found]).toEqual([lives.length === 2 ? 3 : 2, SOURCE_STRAGGLER]);
    }
    expect(new Set(lives).size).toBe(3);
  });

  it('take the place of the one asked for longest ago, with none of its past', () => {
    const sources = new Sources(8);
    sources.find(2, 4);
    const places = [1, 2, 3, 4, 5, 6, 7, 8].map((source) => sources.find(source, 1));
    sources.find(1, 2);
    const life = sources.life[places[1]!];
    expect(sources.find(9, 1)).toBe(places[1]);
    expect(sources.isNew).toBe(true);
    expect(sources.life[places[1]!]).not.toBe(life);
    expect(sources.find(9, 4)).toBe(places[1]); // not the straggler that it would be of source 2
    expect(sources.isNew).toBe(true);
  });
});

describe('a table of flows', () => {
  it('finds by life and label what was put there', () => {
    const table = new FlowTable(16);
    const held = new Int32Array(table.capacity);
    const put = (life: number, label: number) => {
      const flow = table.placeFor(life, label, held);
      table.life[flow] = life;
      table.label[flow] = label;
      return flow;
    };
    const flows = [put(1, 0xffff_ffff), put(1, 5), put(2, 5)];
    expect(new Set(flows).size).toBe(3);
    expect([table.find(1, 0xffff_ffff), table.find(1, 5), table.find(2, 5)]).toEqual(flows);
    expect(table.find(2, 0xffff_ffff)).toBe(-1);
  });

  it('gives up the longest idle flow, one that holds packets last', () => {
    const table = new FlowTable(8);
    const held = new Int32Array(8);
    for (let flow = 0; flow < 8; flow++) {
      table.life[flow] = 1;
      table.lastAt[flow] = 10 - flow;
      held[flow] = flow >= 6 ? 1 : 0;
    }
    expect(table.placeFor(1, 99, held)).toBe(5);
    held.fill(1);
    expect(table.placeFor(1, 99, held)).toBe(7);
    table.life[2] = 0;
    expect(table.placeFor(1, 99, held)).toBe(2);
  });
});
