import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Schedule } from '../../../src/overlay/link/schedule.js';

/** Takes out all that is due. */
function takeAll(schedule: Schedule, now: number): [number, number][] {
  const taken: [number, number][] = [];
  for (let handle = schedule.takeDue(now); handle >= 0; handle = schedule.takeDue(now))
    taken.push([handle, schedule.tag]);
  return taken;
}

describe('a schedule', () => {
  it('gives what is due, earliest first, each with its tag', () => {
    const schedule = new Schedule();
    schedule.add(30, 1, 11);
    schedule.add(10, 2, 12);
    schedule.add(20, 3, 13);
    expect(schedule.nextTime()).toBe(10);
    expect(takeAll(schedule, 9)).toEqual([]);
    expect(takeAll(schedule, 20)).toEqual([
      [2, 12],
      [3, 13],
    ]);
    expect(schedule.nextTime()).toBe(30);
    expect(takeAll(schedule, 1000)).toEqual([[1, 11]]);
    expect(schedule.nextTime()).toBe(Infinity);
  });

  it('leaves out what is more than a thousand and twenty-four, and keeps the others', () => {
    const schedule = new Schedule();
    for (let i = 0; i < 1100; i++) schedule.add(i, i, i);
    expect(takeAll(schedule, 2000)).toEqual(Array.from({ length: 1024 }, (_, i) => [i, i]));
    schedule.add(1, 7, 7);
    expect(takeAll(schedule, 1)).toEqual([[7, 7]]);
  });

  it('does what a sorted list does', () => {
    const step = fc.oneof(fc.record({ at: fc.nat(50) }), fc.record({ now: fc.nat(60) }));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const schedule = new Schedule();
        let list: { at: number; handle: number }[] = [];
        steps.forEach((each, handle) => {
          if ('at' in each) {
            schedule.add(each.at, handle, handle + 1000);
            list.push({ at: each.at, handle });
          } else {
            const due = list.filter(({ at }) => at <= each.now);
            list = list.filter(({ at }) => at > each.now);
            const taken = takeAll(schedule, each.now);
            const at = (handle: number) => due.find((other) => other.handle === handle)!.at;
            expect(taken.every(([h, tag]) => tag === h + 1000)).toBe(true);
            expect(taken.map(([h]) => h).sort((a, b) => a - b)).toEqual(due.map((other) => other.handle));
            const times = taken.map(([h]) => at(h));
            expect(times).toEqual([...times].sort((a, b) => a - b));
          }
          expect(schedule.nextTime()).toBe(Math.min(Infinity, ...list.map(({ at }) => at)));
        });
      }),
    );
  });
});
