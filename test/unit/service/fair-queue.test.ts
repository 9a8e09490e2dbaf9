import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  FairQueue,
  QUEUE_DROP,
  QUEUE_MARK,
  QUEUE_PASS,
  type FairQueueOptions,
} from '../../../src/overlay/service/fair-queue.js';
import { NaiveFairQueue } from './naive-fair-queue.js';

const MS = 1000;
const QUANTUM = 1500;

const defaults: FairQueueOptions = {
  handles: 512,
  quantum: QUANTUM,
  target: 5 * MS,
  interval: 100 * MS,
  limitBytes: 1e6,
  limitPackets: 512,
};
const make = (options: Partial<FairQueueOptions> = {}): FairQueue =>
  new FairQueue({ ...defaults, ...options });

/** Everything that is queued, in the order in which it leaves at `now`. */
function drain(queue: FairQueue, now: number): number[] {
  const handles: number[] = [];
  while (!queue.isEmpty) handles.push(queue.dequeue(now));
  return handles;
}

describe('the order of a fair queue', () => {
  it('is first in, first out within a flow', () => {
    const queue = make();
    for (const handle of [7, 3, 5, 1]) queue.enqueue(0, handle, 1000, 42, false);
    expect([queue.packets, queue.bytes]).toEqual([4, 4000]);
    expect(drain(queue, 1)).toEqual([7, 3, 5, 1]);
    expect([queue.packets, queue.bytes, queue.dequeue(2), queue.peekBytes()]).toEqual([0, 0, -1, 0]);
  });

  it('serves flows in turn, a quantum of bytes each', () => {
    const queue = make();
    // Flow 1 has packets of a whole quantum, flow 2 of a third of it: 10.. and 20..
    for (let k = 0; k < 3; k++) queue.enqueue(0, 10 + k, QUANTUM, 1, false);
    for (let k = 0; k < 9; k++) queue.enqueue(0, 20 + k, QUANTUM / 3, 2, false);
    expect(drain(queue, 1)).toEqual([10, 20, 21, 22, 11, 23, 24, 25, 12, 26, 27, 28]);
  });

  /** Flows 1, 2 and 3 with ten packets each, 10.., 20.. and 30.., of which each has sent one. */
  function threeBulkFlows(): FairQueue {
    const queue = make();
    for (let k = 0; k < 10; k++)
      for (const flow of [1, 2, 3]) queue.enqueue(0, 10 * flow + k, QUANTUM, flow, false);
    expect([0, 1, 2].map(() => queue.dequeue(1))).toEqual([10, 20, 30]);
    return queue;
  }

  it('lets a flow that begins go before flows that have had a turn', () => {
    const queue = threeBulkFlows();
    queue.enqueue(2, 100, 80, 9, false);
    expect([0, 1, 2].map(() => queue.dequeue(3))).toEqual([100, 11, 21]);
  });

  it("doesn't take a flow for new again that comes back within a round", () => {
    const queue = threeBulkFlows();
    queue.enqueue(2, 100, 80, 9, false);
    expect([queue.dequeue(3), queue.dequeue(3)]).toEqual([100, 11]);
    queue.enqueue(4, 101, 80, 9, false);
    expect([0, 1, 2, 3].map(() => queue.dequeue(5))).toEqual([21, 31, 101, 12]);
  });

  it('serves a flow in turn that keeps just one packet queued', () => {
    const queue = make();
    for (let k = 0; k < 20; k++) queue.enqueue(0, k, QUANTUM, 1, false);
    queue.enqueue(0, 100, QUANTUM, 2, false);
    const order: number[] = [];
    for (let k = 0; k < 10; k++) {
      const handle = queue.dequeue(1);
      order.push(handle);
      if (handle >= 100) queue.enqueue(1, handle + 1, QUANTUM, 2, false);
    }
    expect(order).toEqual([0, 100, 1, 101, 2, 102, 3, 103, 4, 104]);
  });

  it('shares bytes evenly whatever the sizes of packets', () => {
    const size = fc.integer({ min: 100, max: QUANTUM });
    fc.assert(
      fc.property(fc.array(size, { minLength: 2, maxLength: 6 }), (sizes) => {
        const queue = make({ handles: 2048, limitPackets: 2048, limitBytes: 1e8 });
        const flowOf: number[] = [];
        for (const [flow, bytes] of sizes.entries())
          for (let held = 0; held < 12 * QUANTUM; held += bytes)
            queue.enqueue(0, flowOf.push(flow) - 1, bytes, flow, false);
        const sent = sizes.map(() => 0);
        for (let served = 0; served < 6 * QUANTUM * sizes.length;) {
          const flow = flowOf[queue.dequeue(1)];
          sent[flow] += sizes[flow];
          served += sizes[flow];
        }
        expect(Math.max(...sent) - Math.min(...sent)).toBeLessThanOrEqual(2 * QUANTUM);
      }),
    );
  });

  it('says of the next packet what it will be, and asking changes nothing', () => {
    const packet = fc.tuple(fc.integer({ min: 1, max: 3000 }), fc.nat(3));
    fc.assert(
      fc.property(fc.array(packet, { maxLength: 60 }), (packets) => {
        const [asked, other] = [make(), make()];
        for (const [handle, [bytes, flow]] of packets.entries())
          for (const queue of [asked, other]) queue.enqueue(0, handle, bytes, flow, false);
        while (!other.isEmpty) {
          const bytes = asked.peekBytes();
          expect(asked.peekBytes()).toBe(bytes);
          const handle = other.dequeue(1);
          expect([asked.dequeue(1), bytes]).toEqual([handle, packets[handle][0]]);
        }
        expect(asked.peekBytes()).toBe(0);
      }),
    );
  });
});

describe('the verdicts of a fair queue', () => {
  /** A flow with ten packets standing, served one a millisecond: verdicts other than "pass", by millisecond. */
  function verdicts(markable: boolean): { queue: FairQueue; signals: [number, number][] } {
    const queue = make();
    for (let k = 0; k < 10; k++) queue.enqueue(k * MS, k, QUANTUM, 1, markable);
    const signals: [number, number][] = [];
    for (let at = 10; at < 330; at++) {
      queue.enqueue(at * MS, at, QUANTUM, 1, markable);
      queue.dequeue(at * MS);
      if (queue.verdict !== QUEUE_PASS) signals.push([at, queue.verdict]);
    }
    return { queue, signals };
  }

  it('mark packets that can be marked when waiting stays above the target for an interval', () => {
    const { queue, signals } = verdicts(true);
    expect(signals).toEqual([
      [110, QUEUE_MARK],
      [210, QUEUE_MARK],
      [281, QUEUE_MARK],
    ]);
    expect([queue.marks, queue.drops, queue.overflows, queue.lastSojourn]).toEqual([3, 0, 0, 10 * MS]);
  });

  it('drop those that cannot', () => {
    const { queue, signals } = verdicts(false);
    expect(signals.map(([, verdict]) => verdict)).toEqual([QUEUE_DROP, QUEUE_DROP, QUEUE_DROP]);
    expect([queue.marks, queue.drops, queue.overflows]).toEqual([0, 3, 0]);
  });

  it('keep to the flow that waits too long', () => {
    const queue = make();
    for (let k = 0; k < 10; k++) queue.enqueue(0, k, QUANTUM, 1, false);
    for (let at = 10; at < 400; at++) {
      queue.enqueue(at * MS, at, QUANTUM, 1, false);
      queue.enqueue(at * MS, 500, 80, 2, false);
      const sent = [0, 1].map(() => [queue.dequeue(at * MS), queue.verdict]);
      expect(sent).toContainEqual([500, QUEUE_PASS]);
    }
    expect(queue.drops).toBe(5); // at 110, 210, 281, 339 and 389 ms
  });
});

describe('a fair queue without room', () => {
  it('drops the first packet of the flow that holds most, not the one that comes', () => {
    const queue = make({ limitPackets: 20 });
    for (let k = 0; k < 18; k++) expect(queue.enqueue(0, k, 1000, 1, false)).toBe(-1);
    for (const handle of [100, 101]) expect(queue.enqueue(0, handle, 1000, 2, false)).toBe(-1);
    expect([102, 103].map((handle) => queue.enqueue(0, handle, 1000, 3, false))).toEqual([0, 1]);
    expect([queue.packets, queue.drops, queue.overflows]).toEqual([20, 2, 2]);
    expect(drain(queue, 1).sort((a, b) => a - b)).toEqual([
      ...Array.from({ length: 16 }, (_, k) => k + 2),
      ...[100, 101, 102, 103],
    ]);
  });

  it('drops the packet that comes where it alone is too much', () => {
    const queue = make({ limitBytes: 1000 });
    expect(queue.enqueue(0, 4, 1001, 1, false)).toBe(4);
    expect([queue.isEmpty, queue.bytes, queue.dequeue(1)]).toEqual([true, 0, -1]);
  });

  it('sheds several small packets for a large one', () => {
    const queue = make({ limitBytes: 6400 });
    for (let k = 0; k < 100; k++) queue.enqueue(0, k, 64, 1, false);
    const dropped = [queue.enqueue(0, 200, 1500, 2, false)];
    for (let handle = queue.shed(); handle >= 0; handle = queue.shed()) dropped.push(handle);
    expect(dropped).toEqual(Array.from({ length: 24 }, (_, k) => k)); // 24 × 64 ≥ 1500
    expect(queue.bytes).toBe(76 * 64 + 1500);
  });
});

describe('a fair queue', () => {
  it('does what the naive one of RFC 8290 does, for any packets and any times', () => {
    const command = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({
          put: fc.nat(5),
          bytes: fc.integer({ min: 40, max: 3000 }),
          ecn: fc.boolean(),
        }),
      },
      { weight: 4, arbitrary: fc.record({ wait: fc.integer({ min: 1, max: 20 * MS }) }) },
    );
    let [signals, overflows] = [0, 0];
    fc.assert(
      fc.property(fc.array(command, { minLength: 100, maxLength: 600 }), (commands) => {
        const limits = { limitPackets: 30, limitBytes: 40_000 };
        const queue = make(limits);
        const naive = new NaiveFairQueue(defaults.quantum, defaults.target, defaults.interval);
        const free = Array.from({ length: 512 }, (_, handle) => handle);
        let now = 0;
        const drop = (handle: number): void => {
          // The flow that lost a packet held nearly the most, and lost its first.
          expect(naive.backlogOfFirst(handle)).toBeGreaterThanOrEqual(0.8 * naive.largestBacklog());
          naive.remove(handle);
          free.push(handle);
          overflows++;
        };
        for (const step of commands) {
          if ('put' in step) {
            const handle = free.shift()!;
            naive.enqueue(now, handle, step.bytes, step.put, step.ecn);
            let dropped = queue.enqueue(now, handle, step.bytes, step.put, step.ecn);
            for (; dropped >= 0; dropped = queue.shed()) drop(dropped);
            expect(naive.packets <= limits.limitPackets && naive.bytes <= limits.limitBytes).toBe(true);
          } else {
            now += step.wait;
            const expected = naive.dequeue(now);
            const handle = queue.dequeue(now);
            expect(handle).toBe(expected?.handle ?? -1);
            if (expected === undefined) continue;
            expect([queue.verdict, queue.lastSojourn]).toEqual([expected.verdict, expected.sojourn]);
            if (queue.verdict !== QUEUE_PASS) signals++;
            free.push(handle);
          }
          expect([queue.packets, queue.bytes]).toEqual([naive.packets, naive.bytes]);
        }
      }),
      { numRuns: 150 },
    );
    expect(signals).toBeGreaterThan(100);
    expect(overflows).toBeGreaterThan(100);
  });

  it('loses and repeats nothing when flows share buckets, and keeps each in order', () => {
    const queue = make({ flows: 8, limitBytes: 1e8 });
    const flowOf = (handle: number): number => (handle * 7) % 40;
    for (let handle = 0; handle < 400; handle++) queue.enqueue(0, handle, 500, flowOf(handle), false);
    const handles = drain(queue, 1);
    expect([...handles].sort((a, b) => a - b)).toEqual(Array.from({ length: 400 }, (_, k) => k));
    for (let flow = 0; flow < 40; flow++) {
      const own = handles.filter((handle) => flowOf(handle) === flow);
      expect(own).toEqual([...own].sort((a, b) => a - b));
    }
  });

  it('gives each of a hundred flows a bucket of its own among 1024', () => {
    const queue = make({ limitBytes: 1e8 });
    for (let k = 0; k < 400; k++) queue.enqueue(0, k, QUANTUM, Math.imul(k >> 2, 0x61c88647), false);
    const firstRound = Array.from({ length: 100 }, () => queue.dequeue(1) >> 2);
    expect(new Set(firstRound).size).toBe(100);
  });

  it('puts flows together by its perturbation', () => {
    const orders = [0, 0x5bd1e995].map((perturbation) => {
      const queue = make({ flows: 16, perturbation });
      for (let k = 0; k < 80; k++) queue.enqueue(0, k, QUANTUM, k >> 2, false);
      return drain(queue, 1);
    });
    expect(orders[0]).not.toEqual(orders[1]);
  });

  it('is emptied by clear, and works on', () => {
    const queue = make();
    for (let k = 0; k < 50; k++) queue.enqueue(0, k, 1000, k % 7, false);
    queue.dequeue(1);
    const into = new Int32Array(512);
    expect(queue.clear(into)).toBe(49);
    expect([...into.subarray(0, 49)].sort((a, b) => a - b)).toEqual(
      Array.from({ length: 49 }, (_, k) => k + 1),
    );
    expect([queue.isEmpty, queue.packets, queue.bytes, queue.drops]).toEqual([true, 0, 0, 0]);
    for (let k = 0; k < 50; k++) queue.enqueue(0, k, 1000, k % 7, false);
    expect(drain(queue, 1)).toHaveLength(50);
  });

  it('refuses a handle that is queued already, and one of no bytes', () => {
    const queue = make();
    queue.enqueue(0, 3, 100, 1, false);
    expect(() => queue.enqueue(0, 3, 100, 2, false)).toThrow(RangeError);
    expect(() => queue.enqueue(0, 4, 0, 2, false)).toThrow(RangeError);
    queue.dequeue(0);
    expect(queue.enqueue(0, 3, 100, 2, false)).toBe(-1);
  });

  it.each([4, 12, 1000])('refuses %i buckets', (flows) => {
    expect(() => make({ flows })).toThrow(RangeError);
  });
});
