import { describe, expect, it } from 'vitest';
import { Cubic } from '../../../../src/overlay/link/congestion/cubic.js';

const PACKET = 1000;
const S = 1_000_000;
const RTT = 100_000;

/** Acknowledges a window each round trip until `end`, µs. */
function grow(cubic: Cubic, from: number, end: number, limited = true): void {
  for (let now = from + RTT; now <= end; now += RTT) cubic.onAck(now, cubic.window, RTT, limited);
}

describe('CUBIC', () => {
  it('reduces to seven tenths and is back at the plateau after K = cbrt(0.3 W / C) seconds', () => {
    const cubic = new Cubic(PACKET);
    cubic.enter(0, 1000 * PACKET);
    cubic.reduce(0, 0);
    expect(cubic.window).toBe(700 * PACKET);
    const plateau = Math.cbrt((0.3 * 1000) / 0.4);
    grow(cubic, 0, (plateau - 1) * S);
    expect(cubic.window).toBeGreaterThan(990 * PACKET);
    expect(cubic.window).toBeLessThan(1001 * PACKET);
    grow(cubic, (plateau - 1) * S, (plateau + 5) * S);
    expect(cubic.window / PACKET).toBeCloseTo(1000 + 0.4 * 5 ** 3, -1);
  });

  it('aims lower after a loss below its last plateau (fast convergence)', () => {
    const cubic = new Cubic(PACKET);
    cubic.enter(0, 1000 * PACKET);
    cubic.reduce(0, 0);
    cubic.reduce(RTT, 0);
    const plateau = (700 * 1.7) / 2;
    grow(cubic, RTT, Math.cbrt((plateau - 490) / 0.4) * S);
    expect(cubic.window / PACKET).toBeCloseTo(plateau, -1);
  });

  it('is never slower than Reno: small windows grow by 0.53 packets a round trip', () => {
    const cubic = new Cubic(PACKET);
    cubic.enter(0, 10 * PACKET);
    cubic.reduce(0, 0);
    const before = cubic.window;
    for (let i = 1; i <= 4; i++) cubic.onAck(i * 1000, cubic.window, 1000, true);
    expect((cubic.window - before) / PACKET).toBeGreaterThan(2);
    expect((cubic.window - before) / PACKET).toBeLessThan(2.5);
  });

  it("doesn't grow, nor age, while the window isn't what limits", () => {
    const idle = new Cubic(PACKET);
    const busy = new Cubic(PACKET);
    idle.enter(0, 100 * PACKET);
    busy.enter(0, 100 * PACKET);
    grow(idle, 0, 60 * S, false);
    expect(idle.window).toBe(100 * PACKET);
    grow(idle, 60 * S, 65 * S);
    grow(busy, 0, 5 * S);
    expect(idle.window).toBe(busy.window);
  });

  it('is never reduced below the least window', () => {
    const cubic = new Cubic(PACKET);
    cubic.enter(0, 4 * PACKET);
    for (let i = 0; i < 10; i++) cubic.reduce(i, 3 * PACKET);
    expect(cubic.window).toBe(3 * PACKET);
  });
});
