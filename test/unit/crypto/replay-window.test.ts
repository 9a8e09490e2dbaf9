import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { REPLAY_WINDOW, ReplayWindow } from '../../../src/crypto/replay-window.js';

/** What the window must do, said plainly. */
class Oracle {
  private readonly seen = new Set<number>();
  private newest = -1;
  accept(counter: number): boolean {
    if (counter <= this.newest - REPLAY_WINDOW || this.seen.has(counter)) return false;
    this.seen.add(counter);
    this.newest = Math.max(this.newest, counter);
    return true;
  }
}

describe('a replay window', () => {
  it('agrees with a set of all counters, wherever it moves', () => {
    const jump = fc.oneof(
      { weight: 6, arbitrary: fc.integer({ min: -40, max: 70 }) },
      { weight: 2, arbitrary: fc.integer({ min: -REPLAY_WINDOW - 40, max: -REPLAY_WINDOW + 40 }) },
      { weight: 2, arbitrary: fc.integer({ min: -20_000, max: 20_000 }) },
      { weight: 1, arbitrary: fc.constantFrom(16_384, 16_383, 16_352, 2 ** 32, 2 ** 31 - 5) },
    );
    const start = fc.constantFrom(0, 31, 2 ** 31 - 3, 2 ** 32 - 40, 2 ** 53 - 2 ** 34);
    fc.assert(
      fc.property(start, fc.array(jump, { maxLength: 150 }), (start, jumps) => {
        const [window, oracle] = [new ReplayWindow(), new Oracle()];
        let counter = start;
        for (const by of jumps) {
          const next = Math.max(0, counter + by);
          if (next <= Number.MAX_SAFE_INTEGER) counter = next;
          const expected = oracle.accept(counter);
          expect(window.check(counter)).toBe(expected);
          expect(window.accept(counter)).toBe(expected);
          expect(window.check(counter)).toBe(false);
        }
      }),
      { numRuns: 400 },
    );
  });

  it('takes each of the last 8192 counters once, in any order, and none older', () => {
    const window = new ReplayWindow();
    expect(window.accept(10_000)).toBe(true);
    expect(window.accept(10_000 - REPLAY_WINDOW)).toBe(false);
    for (let i = 10_001 - REPLAY_WINDOW; i < 10_000; i++) expect(window.accept(i)).toBe(true);
    for (let i = 0; i <= 10_000; i++) expect(window.accept(i)).toBe(false);
    expect(window.highest).toBe(10_000);
  });

  it.each([3, 8, 32, 96, 4096])('keeps nothing of counters long past, %i at a time in reverse', (group) => {
    const window = new ReplayWindow();
    for (let first = 0; first < 50_000; first += group) {
      for (let i = group - 1; i >= 0; i--) expect(window.accept(first + i)).toBe(true);
    }
  });

  it('asking changes nothing', () => {
    const window = new ReplayWindow();
    expect(window.check(5)).toBe(true);
    expect(window.check(5)).toBe(true);
    expect(window.highest).toBe(-1);
  });

  it.each([2 ** 53, 2 ** 21 * 2 ** 32 + 5, 2 ** 64, -1])('refuses %d, which is no counter', (counter) => {
    const window = new ReplayWindow();
    expect(window.accept(counter)).toBe(false);
    expect(window.accept(0)).toBe(true);
  });
});
