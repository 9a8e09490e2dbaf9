import { describe, expect, it } from 'vitest';
import { Reordering } from '../../../../src/overlay/link/recovery/reordering.js';

const loseRounds = (reordering: Reordering, rounds: number, from: number): number => {
  let now = from;
  for (let i = 0; i < rounds; i++) reordering.noteLoss((now += 1000), now);
  return now;
};

describe('the reordering window', () => {
  it('is an eighth of the round trip, from half a millisecond to two', () => {
    const reordering = new Reordering();
    expect([reordering.window, reordering.isSeen]).toEqual([2000, false]);
    for (const [rtt, window] of [
      [100, 500],
      [8000, 1000],
      [20_000, 2000],
      [500_000, 2000],
    ]) {
      reordering.noteRtt(rtt);
      expect([rtt, reordering.window]).toEqual([rtt, window]);
    }
  });

  it('grows to what a spurious loss shows, and a margin, but never beyond a round trip', () => {
    const reordering = new Reordering();
    reordering.noteRtt(20_000);
    reordering.noteSpurious(4000, 20_000);
    expect([reordering.window, reordering.isSeen]).toEqual([5000, true]);
    reordering.noteSpurious(1000, 20_000);
    expect(reordering.window).toBe(5000);
    reordering.noteSpurious(1_000_000, 20_000);
    expect(reordering.window).toBe(20_000);
    // More than that was not learned either.
    loseRounds(reordering, 16, 0);
    expect(reordering.window).toBe(10_000);
  });

  it('halves what it learned with each 16 rounds of loss that is real, down to the base', () => {
    const reordering = new Reordering();
    reordering.noteRtt(20_000);
    reordering.noteSpurious(6400, 20_000);
    expect(reordering.window).toBe(8000);
    let now = loseRounds(reordering, 15, 0);
    expect(reordering.window).toBe(8000);
    now = loseRounds(reordering, 1, now);
    expect(reordering.window).toBe(4000);
    now = loseRounds(reordering, 16 * 3, now);
    expect([reordering.window, reordering.isSeen]).toEqual([2000, true]);
    loseRounds(reordering, 16, now);
    expect([reordering.window, reordering.isSeen]).toEqual([2000, false]);
  });

  it('takes all losses of what was sent before the first was found for one round', () => {
    const reordering = new Reordering();
    reordering.noteSpurious(6400, 20_000);
    for (let i = 0; i < 1000; i++) reordering.noteLoss(5000, i);
    expect(reordering.window).toBe(8000);
  });
});
