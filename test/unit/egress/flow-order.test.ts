import { describe, expect, it } from 'vitest';
import {
  ARRIVE_DUPLICATE,
  ARRIVE_HOLD,
  ARRIVE_PASS,
  FlowOrder,
} from '../../../src/overlay/egress/flow-order.js';
import { Exit, type Packet } from './exit.js';

/** The chain 1 ← 2 ← 3 …, every number the flow's. */
const chain = (sequence: number, rest: Partial<Packet> = {}): Packet => ({
  sequence,
  distance: sequence === 1 ? 0 : 1,
  ...rest,
});

/** An exit that has had the first of the chain, of flow 1. */
function begun(options = {}): Exit {
  const exit = new Exit(options);
  exit.arrive(chain(1));
  return exit;
}

describe('the order of a flow', () => {
  it('passes a chain that comes in order', () => {
    const exit = new Exit();
    for (let i = 1; i <= 5; i++) expect(exit.arrive(chain(i))).toBe(ARRIVE_PASS);
    expect(exit.delivered).toEqual([1, 2, 3, 4, 5]);
    expect(exit.order.nextTimeout()).toBe(Infinity);
  });

  it('holds what is ahead of a missing packet until that one comes', () => {
    const exit = begun();
    for (const i of [4, 3, 5]) expect(exit.arrive(chain(i))).toBe(ARRIVE_HOLD);
    expect(exit.delivered).toEqual([1]);
    expect(exit.arrive(chain(2))).toBe(ARRIVE_PASS);
    expect(exit.delivered).toEqual([1, 2, 3, 4, 5]);
    expect(exit.order.totals).toMatchObject({ delivered: 5, reordered: 3, skipped: 0 });
    expect(exit.order.nextTimeout()).toBe(Infinity);
  });

  it('gives a missing packet up when one behind it has waited its time, and delivers it late, once', () => {
    const exit = begun();
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

  it('lets a packet whose time is up take all before it along', () => {
    const exit = begun();
    exit.arrive(chain(3), 5000);
    exit.arrive(chain(7), 1000);
    exit.arrive(chain(8), 9000);
    exit.arrive(chain(5), 5000);
    exit.arrive(chain(10), 9000);
    exit.at(1000);
    expect(exit.delivered).toEqual([1, 3, 5, 7, 8]);
    expect(exit.order.totals).toMatchObject({ skipped: 3, reordered: 1 });
    expect(exit.order.nextTimeout()).toBe(9000);
  });

  it('drops what came before, delivered or held', () => {
    const exit = begun();
    exit.arrive(chain(3));
    for (const i of [1, 3]) expect(exit.arrive(chain(i))).toBe(ARRIVE_DUPLICATE);
    exit.arrive(chain(2));
    for (const i of [1, 2, 3]) expect(exit.arrive(chain(i))).toBe(ARRIVE_DUPLICATE);
    expect(exit.delivered).toEqual([1, 2, 3]);
  });

  it('waits for nothing where the distance is 0, but for what is already held before it', () => {
    const exit = begun();
    expect(exit.arrive({ sequence: 90_000, distance: 0 })).toBe(ARRIVE_PASS);
    expect(exit.arrive({ sequence: 90_010, distance: 5 })).toBe(ARRIVE_HOLD);
    expect(exit.arrive({ sequence: 190_000, distance: 0 })).toBe(ARRIVE_HOLD);
    expect(exit.arrive({ sequence: 90_005, distance: 5 })).toBe(ARRIVE_PASS);
    expect(exit.delivered).toEqual([1, 90_000, 90_005, 90_010, 190_000]);
  });

  it('goes on over the end of the numbers', () => {
    const exit = new Exit();
    exit.arrive({ sequence: 0xffff_fff0, distance: 0 });
    expect(exit.arrive({ sequence: 0x10, distance: 0x18 })).toBe(ARRIVE_HOLD);
    expect(exit.arrive({ sequence: 0xffff_fff8, distance: 8 })).toBe(ARRIVE_PASS);
    expect(exit.delivered).toEqual([0xffff_fff0, 0xffff_fff8, 0x10]);
    expect(exit.arrive({ sequence: 0xffff_fff8, distance: 8 })).toBe(ARRIVE_DUPLICATE);
  });

  it('keeps flows apart that share a source or a label', () => {
    const exit = begun();
    exit.arrive({ sequence: 2, distance: 0, flow: 2 });
    exit.arrive({ sequence: 2, distance: 0, source: 2 });
    expect(exit.arrive({ sequence: 5, distance: 2 })).toBe(ARRIVE_HOLD);
    expect(exit.arrive({ sequence: 6, distance: 4, flow: 2 })).toBe(ARRIVE_PASS);
    expect(exit.arrive({ sequence: 5, distance: 3, source: 2 })).toBe(ARRIVE_PASS);
  });

  it('tells what each flow went through', () => {
    const exit = begun();
    exit.arrive(chain(3));
    exit.now = 40;
    exit.arrive({ sequence: 0xffff_fff0, distance: 0, source: 0xffff_0001, flow: 0xf000_0000 });
    expect(exit.order.flows().sort((a, b) => a.source - b.source)).toEqual([
      {
        source: 1,
        flow: 1,
        delivered: 1,
        reordered: 0,
        late: 0,
        skipped: 0,
        duplicates: 0,
        held: 1,
        lastAt: 0,
      },
      {
        source: 0xffff_0001,
        flow: 0xf000_0000,
        delivered: 1,
        reordered: 0,
        late: 0,
        skipped: 0,
        duplicates: 0,
        held: 0,
        lastAt: 40,
      },
    ]);
    expect(exit.order.flows(1)).toHaveLength(1);
  });

  it('asks to be emptied at once of what is ready', () => {
    const order = new FlowOrder({ handles: 4, flows: 8, heldMax: 4, heldPerFlow: 4 });
    order.arrive(5, 1, 1, 1, 1, 0, 100);
    expect(order.arrive(5, 1, 1, 1, 3, 1, 100)).toBe(ARRIVE_HOLD);
    order.hold(2);
    expect(order.nextTimeout()).toBe(105);
    expect(order.arrive(9, 1, 1, 1, 2, 1, 100)).toBe(ARRIVE_PASS);
    expect([order.nextTimeout(), order.readyPackets]).toEqual([0, 1]);
    expect([order.ready(9), order.ready(9), order.nextTimeout()]).toEqual([2, -1, Infinity]);
    expect(order.totals.waited).toBe(4);
  });

  it('refuses to hold what it did not ask to hold', () => {
    const order = new FlowOrder({ handles: 4, flows: 8, heldMax: 4, heldPerFlow: 4 });
    expect(() => order.hold(0)).toThrow('without a packet');
  });
});

describe('a flow that is new to the exit', () => {
  it('passes the first packet at once where the source is new too, and what comes behind it', () => {
    const exit = new Exit();
    expect(exit.arrive({ sequence: 500, distance: 3 })).toBe(ARRIVE_PASS);
    expect(exit.arrive({ sequence: 497, distance: 1 })).toBe(ARRIVE_PASS);
    expect(exit.arrive({ sequence: 497, distance: 1 })).toBe(ARRIVE_DUPLICATE);
    expect(exit.arrive({ sequence: 504, distance: 2 })).toBe(ARRIVE_HOLD);
  });

  it('waits for a predecessor that is younger than all it may have forgotten', () => {
    const exit = begun();
    expect(exit.arrive({ sequence: 12, distance: 2, flow: 2 })).toBe(ARRIVE_HOLD);
    expect(exit.arrive({ sequence: 11, distance: 1, flow: 2 })).toBe(ARRIVE_HOLD);
    expect(exit.arrive({ sequence: 10, distance: 0, flow: 2 })).toBe(ARRIVE_PASS);
    expect(exit.delivered).toEqual([1, 10, 11, 12]);
  });

  it("doesn't wait for what a flow may have had before it was forgotten", () => {
    const exit = new Exit({ flows: 8 });
    for (let flow = 1; flow <= 9; flow++) {
      exit.now = flow;
      exit.arrive({ sequence: flow * 10, distance: 0, flow });
    }
    expect(exit.order.totals.evictedFlows).toBe(1);
    expect(exit.arrive({ sequence: 95, distance: 85, flow: 1 })).toBe(ARRIVE_PASS); // evicts flow 2
    expect(exit.arrive({ sequence: 96, distance: 80, flow: 77 })).toBe(ARRIVE_PASS); // predecessor 16 ≤ 20
    expect(exit.arrive({ sequence: 98, distance: 1, flow: 78 })).toBe(ARRIVE_HOLD); // predecessor 97, unseen
  });

  it('lets what an evicted flow holds become ready, and evicts such a flow last', () => {
    const exit = new Exit({ flows: 8 });
    for (let flow = 1; flow <= 8; flow++) exit.arrive({ sequence: flow, distance: 0, flow });
    for (let flow = 2; flow <= 8; flow++) exit.arrive({ sequence: flow + 100, distance: 5, flow });
    exit.now = 1;
    exit.arrive({ sequence: 300, distance: 0, flow: 9 }); // in place of flow 1
    expect(exit.held).toBe(7);
    exit.arrive({ sequence: 310, distance: 5, flow: 9 });
    exit.arrive({ sequence: 301, distance: 0, flow: 10 });
    expect(exit.held).toBe(7);
    expect(exit.order.heldPackets).toBe(7);
    expect(exit.delivered.at(-1)).toBe(102);
  });
});

describe('a flow in the place of another', () => {
  it('has none of its past', () => {
    const exit = new Exit({ flows: 8 });
    for (let flow = 1; flow <= 8; flow++) {
      exit.now = flow;
      exit.arrive({ sequence: 10, distance: 0, flow });
      exit.arrive({ sequence: 90, distance: 0, flow }); // passes over 11 .. 89
    }
    expect(exit.arrive({ sequence: 50, distance: 0, source: 2 })).toBe(ARRIVE_PASS);
    expect(exit.order.totals.evictedFlows).toBe(1);
    expect(exit.arrive({ sequence: 50, distance: 0, source: 2 })).toBe(ARRIVE_DUPLICATE);
    expect(exit.order.flows().find((flow) => flow.source === 2)).toMatchObject({
      delivered: 1,
      duplicates: 1,
    });
  });
});

describe("a source's life", () => {
  it('ends with another epoch: its flows are forgotten, what they held goes when its time is up', () => {
    const exit = begun();
    exit.arrive(chain(5));
    expect(exit.arrive({ sequence: 3, distance: 2, epoch: 2 })).toBe(ARRIVE_PASS);
    expect(exit.arrive({ sequence: 4, distance: 1, epoch: 2 })).toBe(ARRIVE_PASS);
    expect(exit.order.flows()).toHaveLength(1);
    exit.at(1000);
    expect(exit.delivered).toEqual([1, 3, 4, 5]);
  });

  it('is not called back by its last packets, which pass', () => {
    const exit = begun();
    exit.arrive({ sequence: 1, distance: 0, epoch: 2 });
    expect(exit.arrive(chain(9))).toBe(ARRIVE_PASS);
    expect(exit.arrive({ sequence: 3, distance: 1, epoch: 2 })).toBe(ARRIVE_HOLD);
  });

  it('may begin its numbers anew: a million back is not late', () => {
    const exit = new Exit();
    exit.arrive({ sequence: 3_000_000, distance: 0 });
    exit.arrive({ sequence: 3_000_009, distance: 3 });
    expect(exit.arrive({ sequence: 3_000_000 - 2 ** 20 + 1, distance: 5 })).toBe(ARRIVE_PASS);
    expect(exit.held).toBe(1);
    expect(exit.arrive({ sequence: 3_000_000 - 2 ** 20, distance: 5 })).toBe(ARRIVE_PASS);
    expect(exit.held).toBe(0);
    expect(exit.arrive({ sequence: 7, distance: 5 })).toBe(ARRIVE_PASS);
    expect(exit.arrive({ sequence: 8, distance: 1 })).toBe(ARRIVE_PASS);
    expect(exit.arrive({ sequence: 11, distance: 1 })).toBe(ARRIVE_HOLD);
  });
});

describe('a packet that was dropped on the way', () => {
  it('is not waited for, if it was next', () => {
    const exit = begun();
    exit.arrive(chain(3));
    exit.void(chain(2));
    expect(exit.delivered).toEqual([1, 3]);
    expect(exit.arrive(chain(4))).toBe(ARRIVE_PASS);
  });

  it('holds its place behind a missing one', () => {
    const exit = begun();
    exit.void(chain(3));
    exit.arrive(chain(4));
    expect(exit.delivered).toEqual([1]);
    exit.arrive(chain(2));
    expect(exit.delivered).toEqual([1, 2, 4]);
    expect(exit.order.totals).toMatchObject({ reordered: 1, skipped: 0 });
  });

  it('is delivered if a copy of it comes all the same, once', () => {
    const exit = begun();
    exit.void(chain(2));
    expect(exit.arrive(chain(3))).toBe(ARRIVE_PASS);
    expect(exit.arrive(chain(2))).toBe(ARRIVE_PASS);
    expect(exit.arrive(chain(2))).toBe(ARRIVE_DUPLICATE);
  });

  it('keeps its place itself if a copy comes while it holds one', () => {
    const exit = begun();
    for (const i of [3, 4, 5]) exit.void(chain(i));
    for (const i of [4, 3, 5, 6]) expect(exit.arrive(chain(i))).toBe(ARRIVE_HOLD);
    expect(exit.arrive(chain(4))).toBe(ARRIVE_DUPLICATE);
    expect(exit.order.heldPackets).toBe(4);
    exit.arrive(chain(2));
    expect(exit.delivered).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('is forgotten after a second, if nothing follows', () => {
    const exit = begun();
    exit.void(chain(5));
    expect(exit.order.heldPackets).toBe(1);
    exit.at(1_000_000);
    expect(exit.order.heldPackets).toBe(0);
    expect(exit.order.nextTimeout()).toBe(Infinity);
  });

  it('gives its place back, however many there are', () => {
    const exit = begun({ heldMax: 2 });
    for (let i = 2; i < 40; i += 4) {
      for (const ahead of [1, 2]) exit.void(chain(i + ahead));
      expect(exit.order.heldPackets).toBe(2);
      exit.arrive(chain(i));
      expect(exit.arrive(chain(i + 3))).toBe(ARRIVE_PASS);
    }
    expect(exit.order.totals.crowdedOut).toBe(0);
  });

  it('changes nothing if it came, is held or there is no room', () => {
    const exit = begun({ heldPerFlow: 2 });
    exit.arrive(chain(3));
    exit.void(chain(1));
    exit.void(chain(3));
    exit.void(chain(5));
    exit.void(chain(7));
    expect(exit.order.heldPackets).toBe(2);
    exit.arrive(chain(2));
    expect(exit.delivered).toEqual([1, 2, 3]);
  });
});

describe('room', () => {
  it('for one flow is made at the cost of its first missing packet', () => {
    const exit = begun({ heldPerFlow: 3 });
    for (const i of [3, 4, 6, 8]) exit.arrive(chain(i));
    expect(exit.delivered).toEqual([1, 3, 4]);
    expect(exit.arrive(chain(9))).toBe(ARRIVE_HOLD);
    expect(exit.delivered).toEqual([1, 3, 4]);
    expect(exit.arrive(chain(11))).toBe(ARRIVE_HOLD);
    expect(exit.delivered).toEqual([1, 3, 4, 6]);
    expect(exit.arrive(chain(2))).toBe(ARRIVE_PASS);
    exit.arrive(chain(7));
    expect(exit.delivered).toEqual([1, 3, 4, 6, 2, 7, 8, 9]);
  });

  it('is not made for a packet that comes before all that is held', () => {
    const exit = begun({ heldPerFlow: 2 });
    for (const i of [7, 8]) exit.arrive(chain(i));
    expect(exit.arrive(chain(4))).toBe(ARRIVE_PASS);
    expect(exit.delivered).toEqual([1, 4]);
    expect(exit.held).toBe(2);
  });

  it('is not taken by a packet whose turn it becomes', () => {
    const exit = begun({ heldPerFlow: 2 });
    for (const i of [3, 5]) exit.arrive(chain(i));
    expect(exit.arrive(chain(4))).toBe(ARRIVE_HOLD);
    expect(exit.delivered).toEqual([1, 3, 4, 5]);
    expect(exit.held).toBe(0);
  });

  it('is counted by what each source holds now', () => {
    const exit = new Exit({ heldMax: 6 });
    exit.arrive({ sequence: 1, distance: 0, source: 1 });
    exit.arrive({ sequence: 1, distance: 0, source: 2 });
    // Source 1 holds five for a while, then two; its flows of an epoch before don't count.
    for (const sequence of [3, 4, 5, 6, 7]) exit.arrive({ sequence, distance: 1, source: 1 });
    exit.arrive({ sequence: 2, distance: 1, source: 1 });
    for (const sequence of [20, 30]) exit.arrive({ sequence, distance: 5, source: 1 });
    for (const sequence of [20, 30, 40]) exit.arrive({ sequence, distance: 5, source: 2 });
    exit.arrive({ sequence: 40, distance: 5, source: 1 });
    expect(exit.order.heldPackets).toBe(6);
    exit.arrive({ sequence: 50, distance: 5, source: 2 });
    expect(exit.packets.at(-1)).toMatchObject({ source: 1, sequence: 20 }); // equal: the one that has waited longest
    exit.arrive({ sequence: 60, distance: 5, source: 2 });
    expect(exit.packets.at(-1)).toMatchObject({ source: 2, sequence: 20 });
  });

  it('is not asked of a source for what it held in the life before', () => {
    const exit = new Exit({ heldMax: 6 });
    for (const source of [1, 2]) exit.arrive({ sequence: 1, distance: 0, source });
    for (const sequence of [20, 30, 40]) exit.arrive({ sequence, distance: 5, source: 1 });
    exit.arrive({ sequence: 1, distance: 0, source: 1, epoch: 2 });
    exit.arrive({ sequence: 20, distance: 5, source: 1, epoch: 2 });
    for (const sequence of [20, 30]) exit.arrive({ sequence, distance: 5, source: 2 });
    exit.arrive({ sequence: 40, distance: 5, source: 2 });
    expect(exit.packets.at(-1)).toMatchObject({ source: 2, sequence: 20 });
  });

  it('for all flows is made by the source that holds most, and there by the flow that does', () => {
    const exit = new Exit({ heldMax: 8 });
    for (const flow of [1, 2, 3]) {
      exit.arrive({ sequence: 1, distance: 0, source: flow === 3 ? 2 : 1, flow });
    }
    for (const sequence of [10, 20, 30]) exit.arrive({ sequence, distance: 5, source: 2, flow: 3 });
    for (const sequence of [11, 21]) exit.arrive({ sequence, distance: 5, flow: 1 });
    for (const sequence of [12, 22, 32]) exit.arrive({ sequence, distance: 5, flow: 2 });
    exit.arrive({ sequence: 40, distance: 5, source: 2, flow: 3 });
    expect(exit.packets.at(-1)).toMatchObject({ flow: 2, sequence: 12 });
    expect(exit.order.totals.crowdedOut).toBe(1);
    expect(exit.order.heldPackets).toBe(8);
  });
});
