import { expect, test } from 'vitest';

import { LinkHealth } from '../../../src/overlay/link/quality/link-health.js';

const SECOND = 1_000_000;
const GOOD = { isUp: true, isShort: false, loss: 0, rtt: 20_000, base: 20_000 };

test('a link is down until it is up, and the gravest of its troubles names its health', () => {
  const health = new LinkHealth(0);
  expect(health.state).toBe('down');
  for (const [signs, state] of [
    [GOOD, 'good'],
    [{ ...GOOD, loss: 0.03 }, 'lossy'],
    [{ ...GOOD, loss: 0.03, isShort: true }, 'mtu'],
    [{ ...GOOD, rtt: 31_000 }, 'slow'],
    [{ ...GOOD, isUp: false, isShort: true }, 'down'],
  ] as const) {
    health.update(SECOND, signs);
    expect(health.state).toBe(state);
  }
});

test('what hovers about a bound does not change it, and it is known since when it lasts', () => {
  const health = new LinkHealth(0);
  health.update(SECOND, GOOD);
  for (const [at, loss] of [
    [2, 0.021],
    [3, 0.019],
    [4, 0.012],
  ]) {
    health.update(at * SECOND, { ...GOOD, loss });
    expect([health.state, health.since]).toEqual(['lossy', 2 * SECOND]);
  }
  health.update(5 * SECOND, { ...GOOD, loss: 0.009 });
  health.update(6 * SECOND, { ...GOOD, loss: 0.019 });
  expect([health.state, health.since]).toEqual(['good', 5 * SECOND]);
  health.update(7 * SECOND, { ...GOOD, rtt: 30_500 });
  health.update(8 * SECOND, { ...GOOD, rtt: 28_000 });
  expect([health.state, health.since]).toEqual(['slow', 7 * SECOND]);
});
