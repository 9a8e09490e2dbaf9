import { describe, expect, it } from 'vitest';
import { ARRIVE_DUPLICATE, ARRIVE_HOLD, ARRIVE_PASS } from '../../../src/overlay/egress/flow-order.js';
import { Exit, type Packet } from './exit.js';

/** The chain 1 ← 2 ← 3 …, every number the flow's. */
const chain = (sequence: number): Packet => ({ sequence, distance: sequence === 1 ? 0 : 1 });

describe('order of a flow', () => {
  it('passes a chain that comes in order', () => {
    const exit = new Exit();
    for (let i = 1; i <= 5; i++) expect(exit.arrive(chain(i))).toBe(ARRIVE_PASS);
    expect(exit.delivered).toEqual([1, 2, 3, 4, 5]);
    expect(exit.order.nextTimeout()).toBe(Infinity);
  });

  it('holds what is ahead of a missing packet until that one comes', () => {
    const exit = new Exit();
    exit.arrive(chain(1));
    for (const i of [4, 3, 5]) expect(exit.arrive(chain(i))).toBe(ARRIVE_HOLD);
    expect(exit.delivered).toEqual([1]);
    expect(exit.arrive(chain(2))).toBe(ARRIVE_PASS);
    expect(exit.delivered).toEqual([1, 2, 3, 4, 5]);
    expect(exit.order.totals).toMatchObject({ delivered: 5, reordered: 3, skipped: 0 });
    expect(exit.order.nextTimeout()).toBe(Infinity);
  });

  it('gives a missing packet up when one behind it has waited its time, and delivers it late', () => {
    const exit = new Exit();
    exit.arrive(chain(1));
    exit.arrive(chain(3), 1000);
    exit.now = 600;
    exit.arrive(chain(5), 1000);
    expect(exit.order.nextTimeout()).toBe(1000);
    exit.at(999);
    expect(exit.delivered).toEqual([1]);
    exit.at(1000);
    expect(exit.delivered).toEqual([1, 3]);
    expect(exit.order.nextTimeout()).toBe(1600);
    expect(exit.arrive(chain(2))).toBe(ARRIVE_PASS);
    expect(exit.arrive(chain(2))).toBe(ARRIVE_DUPLICATE);
    expect(exit.arrive(chain(4))).toBe(ARRIVE_PASS);
    expect(exit.delivered).toEqual([1, 3, 2, 4, 5]);
    expect(exit.order.totals).toMatchObject({
      delivered: 5,
      reordered: 1,
      late: 1,
      skipped: 1,
      duplicates: 1,
    });
  });

  it('drops what came before, delivered or held', () => {
    const exit = new Exit();
    exit.arrive(chain(1));
    exit.arrive(chain(3));
    for (const i of [1, 3]) expect(exit.arrive(chain(i))).toBe(ARRIVE_DUPLICATE);
    exit.arrive(chain(2));
    for (const i of [1, 2, 3]) expect(exit.arrive(chain(i))).toBe(ARRIVE_DUPLICATE);
    expect(exit.delivered).toEqual([1, 2, 3]);
  });
});
