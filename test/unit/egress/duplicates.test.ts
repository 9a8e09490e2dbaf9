import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Duplicates } from '../../../src/overlay/egress/duplicates.js';

/** What the window must do, said plainly, on numbers that don't wrap. */
class Oracle {
  private seen = new Set<number>();
  private newest: number | undefined;

  constructor(private readonly window: number) {}

  sees(sequence: number): boolean {
    const behind = this.newest === undefined ? Infinity : this.newest - sequence;
    if (behind >= 2 ** 20) {
      this.seen = new Set();
      this.newest = sequence;
    } else if (behind >= this.window || this.seen.has(sequence)) return true;
    this.seen.add(sequence);
    this.newest = Math.max(this.newest!, sequence);
    return false;
  }
}

describe('duplicates', () => {
  it('are told as by a set of all numbers, wherever the window moves and over the end of the numbers', () => {
    const jump = fc.oneof(
      { weight: 6, arbitrary: fc.integer({ min: -40, max: 70 }) },
      { weight: 2, arbitrary: fc.integer({ min: -1100, max: -900 }) },
      { weight: 2, arbitrary: fc.integer({ min: -5000, max: 5000 }) },
      {
        weight: 1,
        arbitrary: fc.constantFrom(
          2047,
          2048,
          2049,
          2016,
          2 ** 20,
          -(2 ** 20),
          1 - 2 ** 20,
          2 ** 30,
          -(2 ** 30),
        ),
      },
    );
    const start = fc.constantFrom(0, 31, 2 ** 31 - 3, 2 ** 32 - 40).map((at) => at + 2 ** 32);
    fc.assert(
      fc.property(start, fc.array(jump, { maxLength: 200 }), (start, jumps) => {
        const duplicates = new Duplicates({ sources: 8, window: 1024 });
        const oracle = new Oracle(1024);
        let sequence = start;
        for (const by of jumps) {
          sequence = Math.max(0, sequence + by);
          expect(duplicates.seen(7, 1, sequence % 2 ** 32)).toBe(oracle.sees(sequence));
          expect(duplicates.seen(7, 1, sequence % 2 ** 32)).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });

  it.each([3, 8, 32, 96, 4096])('keeps nothing of numbers long past, %i at a time in reverse', (group) => {
    const duplicates = new Duplicates({ sources: 8, window: 8192 });
    let seen = 0;
    for (let first = 0; first < 50_000; first += group) {
      for (let i = group - 1; i >= 0; i--) seen += Number(duplicates.seen(1, 1, first + i));
    }
    expect(seen).toBe(0);
  });

  it('takes each of the last 65536 numbers once by default, and none older', () => {
    const duplicates = new Duplicates();
    expect(duplicates.seen(1, 1, 70_000)).toBe(false);
    expect(duplicates.seen(1, 1, 70_000 - 65_536)).toBe(true);
    let [again, never] = [0, 0];
    for (let i = 70_001 - 65_536; i < 70_000; i++) again += Number(duplicates.seen(1, 1, i));
    for (let i = 0; i <= 70_000; i++) never += Number(!duplicates.seen(1, 1, i));
    expect([again, never]).toEqual([0, 0]);
  });

  it('are told apart by source', () => {
    const duplicates = new Duplicates();
    for (const source of [0, 1, 0xffff_ffff]) expect(duplicates.seen(source, 1, 5)).toBe(false);
    for (const source of [1, 0xffff_ffff, 0]) expect(duplicates.seen(source, 1, 5)).toBe(true);
  });

  it('begin anew with a new epoch; what still comes from the one before it is dropped', () => {
    const duplicates = new Duplicates();
    expect(duplicates.seen(1, 9, 5)).toBe(false);
    expect(duplicates.seen(1, 4, 5)).toBe(false);
    expect(duplicates.seen(1, 9, 6)).toBe(true);
    expect(duplicates.seen(1, 4, 5)).toBe(true);
    expect(duplicates.seen(1, 4, 6)).toBe(false);
  });

  it('are forgotten for the source heard longest ago where there are too many', () => {
    const duplicates = new Duplicates({ sources: 8, window: 64 });
    for (let source = 1; source <= 8; source++) duplicates.seen(source, 1, 5);
    expect(duplicates.seen(1, 1, 5)).toBe(true);
    expect(duplicates.seen(9, 1, 5)).toBe(false); // in place of 2
    expect(duplicates.seen(1, 1, 5)).toBe(true);
    expect(duplicates.seen(2, 1, 5)).toBe(false); // in place of 3
    for (const source of [4, 5, 6, 7, 8, 9, 1, 2]) expect(duplicates.seen(source, 1, 5)).toBe(true);
  });

  it.each([0, 31, 1000])('refuse a window of %i', (window) => {
    expect(() => new Duplicates({ window })).toThrow(RangeError);
  });
});
