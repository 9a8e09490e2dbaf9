import { describe, expect, it } from 'vitest';
import { Refusals } from '../../../src/intercept/refusals.js';

const MINUTE = 60_000_000;

describe('refusals', () => {
  it('are logged at once, and then once a minute for each user and kind, with how many there were', () => {
    const refusals = new Refusals();
    expect(refusals.note(0, 33, 'overlay')).toEqual({ user: 33, what: 'overlay', count: 1 });
    for (let at = 1; at < 60; at++) expect(refusals.note(at * (MINUTE / 60), 33, 'overlay')).toBeUndefined();
    expect(refusals.note(1, 34, 'overlay')).toMatchObject({ user: 34, count: 1 });
    expect(refusals.note(2, 33, 'realtime')).toMatchObject({ what: 'realtime', count: 1 });
    expect(refusals.note(MINUTE, 33, 'overlay')).toMatchObject({ count: 61 });
    expect(refusals.note(MINUTE + 1, 33, 'overlay')).toBeUndefined();
    expect(refusals.list()).toContainEqual({ user: 33, what: 'overlay', count: 62 });
  });

  it('of more users than are told apart are counted together, and not logged', () => {
    const refusals = new Refusals();
    for (let user = 0; user < 1024; user++) expect(refusals.note(0, user, 'overlay')).toBeDefined();
    expect(refusals.note(0, 5000, 'overlay')).toBeUndefined();
    expect([refusals.others, refusals.list().length]).toEqual([1, 1024]);
  });
});
