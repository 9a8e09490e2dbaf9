import { expect, it } from 'vitest';
import { unchain } from '../../../src/overlay/forward/unchain.js';
import {
  FRAME_DATA,
  readDistance,
  SERVICE_RELIABLE,
  writeRoutedHeader,
} from '../../../src/overlay/wire/routed.js';

interface Frame {
  sequence: number;
  distance: number;
  source?: number;
  flow?: number;
}

/** The distance that `next` has once `dropped` is gone. */
function distanceAfter(dropped: Frame, next: Frame): number {
  const view = new DataView(new ArrayBuffer(64));
  for (const [at, { sequence, distance, source = 1, flow = 9 }] of [dropped, next].map(
    (f, i) => [32 * i, f] as const,
  ))
    // prettier-ignore
    writeRoutedHeader(view, at, FRAME_DATA, 0, SERVICE_RELIABLE, 0, 64, source, 2, 1, distance, sequence, flow);
  unchain(view, 0, 32);
  return readDistance(view, 32);
}

it.each<[string, Frame, Frame, number]>([
  ['names the one before', { sequence: 100, distance: 3 }, { sequence: 104, distance: 4 }, 7],
  ['across the wrap', { sequence: 0xffffffff, distance: 1 }, { sequence: 1, distance: 2 }, 3],
  ['waits for nothing where that did', { sequence: 100, distance: 0 }, { sequence: 104, distance: 4 }, 0],
  [
    'waits for nothing too far back',
    { sequence: 70_000, distance: 65_535 },
    { sequence: 70_001, distance: 1 },
    0,
  ],
  [
    'is left alone where it follows another',
    { sequence: 100, distance: 1 },
    { sequence: 104, distance: 2 },
    2,
  ],
  [
    'is left alone in another flow',
    { sequence: 100, distance: 1 },
    { sequence: 101, distance: 1, flow: 8 },
    1,
  ],
  [
    'is left alone of another source',
    { sequence: 100, distance: 1 },
    { sequence: 101, distance: 1, source: 3 },
    1,
  ],
])('the frame behind a dropped one %s', (_, dropped, next, expected) => {
  expect(distanceAfter(dropped, next)).toBe(expected);
});
