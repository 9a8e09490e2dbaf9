import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FRAGMENT_REFUSED, FragmentWatch } from '../../../src/intercept/fragments.js';
import { FRAGMENT_FIRST, FRAGMENT_LATER, PacketInfo } from '../../../src/intercept/packet.js';

const SECOND = 1_000_000;

interface Piece {
  first: number;
  length: number;
  more: boolean;
  id: number;
}

const info = ({ first, length, more, id }: Piece): PacketInfo =>
  Object.assign(new PacketInfo(), {
    version: 4,
    protocol: 17,
    fragment: first === 0 ? FRAGMENT_FIRST : FRAGMENT_LATER,
    fragmentOffset: first,
    moreFragments: more,
    fragmentId: id,
    transportLength: length,
  });
const piece = (first: number, length: number, more = true, id = 1): PacketInfo =>
  info({ first, length, more, id });

test('the fragments of a datagram share a slot, in any order, and others have another', () => {
  const watch = new FragmentWatch();
  const slot = watch.take(0, piece(0, 80));
  watch.admitted[slot] = 1;
  expect(watch.take(1, piece(160, 80))).toBe(slot);
  expect(watch.take(1, piece(0, 80, true, 2))).not.toBe(slot);
  expect(watch.take(2, piece(80, 80))).toBe(slot);
  expect([slot, watch.admitted[slot]]).toEqual([watch.take(3, piece(240, 8, false)), 1]);
});

test.each([
  ['one that begins within an earlier one', [piece(0, 80), piece(72, 80)]],
  ['one that ends within a later one', [piece(80, 80), piece(0, 88)]],
  ['one that comes twice', [piece(0, 80), piece(0, 80)]],
  ['one around another', [piece(80, 8), piece(0, 800)]],
  ['one behind the end', [piece(80, 80, false), piece(160, 8)]],
  ['an end before what came', [piece(80, 80), piece(0, 80, false)]],
  ['a second end', [piece(80, 80, false), piece(160, 80, false)]],
  ['an empty one', [piece(0, 0)]],
])('refuses %s, and what follows of its datagram', (_what, pieces) => {
  const watch = new FragmentWatch();
  const slots = pieces.map((each) => watch.take(0, each));
  expect(slots.at(-1)).toBe(FRAGMENT_REFUSED);
  expect(slots.slice(0, -1)).not.toContain(FRAGMENT_REFUSED);
  expect(watch.take(0, piece(8000, 8))).toBe(FRAGMENT_REFUSED);
  expect(watch.take(10 * SECOND, piece(0, 80))).not.toBe(FRAGMENT_REFUSED);
});

test('forgets a complete datagram, so that its identification may come again at once', () => {
  const watch = new FragmentWatch();
  for (let round = 0; round < 3; round++) {
    expect(watch.take(0, piece(80, 8, false))).not.toBe(FRAGMENT_REFUSED);
    const slot = watch.take(0, piece(0, 80));
    expect([slot === FRAGMENT_REFUSED, watch.admitted[slot]]).toEqual([false, 0]);
    watch.admitted[slot] = 1;
  }
});

test('refuses exactly what overlaps, as bytes painted one by one say', () => {
  const unit = fc.tuple(fc.nat(12), fc.integer({ min: 1, max: 5 }));
  fc.assert(
    fc.property(fc.array(unit, { maxLength: 12 }), (pieces) => {
      const watch = new FragmentWatch();
      const painted = new Set<number>();
      let isRefused = false;
      for (const [first, length] of pieces) {
        const units = Array.from({ length }, (_, i) => first + i);
        isRefused ||= units.some((each) => painted.has(each));
        for (const each of units) painted.add(each);
        const slot = watch.take(0, piece(8 * first, 8 * length));
        expect(slot === FRAGMENT_REFUSED).toBe(isRefused);
      }
    }),
    { numRuns: 2000 },
  );
});

test('keeps to its size under a flood of datagrams that never end', () => {
  const watch = new FragmentWatch(16);
  for (let id = 0; id < 10_000; id++) {
    const slot = watch.take(id, piece(0, 80, true, id));
    expect(slot).toBeGreaterThanOrEqual(0);
    expect(slot).toBeLessThan(16);
    expect(watch.admitted[slot]).toBe(0);
    watch.admitted[slot] = 1;
  }
});
