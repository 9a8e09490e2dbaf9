import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ARRIVE_DUPLICATE, ARRIVE_HOLD, ARRIVE_PASS } from '../../../src/overlay/egress/flow-order.js';
import { Exit, type Packet } from './exit.js';

const WAIT = 1000;

interface Sent extends Packet {
  readonly flow: number;
  /** Its place in its flow, from 0. */
  readonly index: number;
}

/** What a source sends that interleaves flows: `turns` says whose packet each is. Numbers begin behind `start`, over 2³² if need be. */
function interleave(turns: readonly number[], start: number, stride = 1): Sent[] {
  const last = new Map<number, { number: number; index: number }>();
  return turns.map((flow, i) => {
    const number = start + 1 + i * stride;
    const before = last.get(flow);
    const index = before === undefined ? 0 : before.index + 1;
    last.set(flow, { number, index });
    return {
      flow,
      index,
      sequence: number % 2 ** 32,
      distance: before === undefined ? 0 : number - before.number,
    };
  });
}

/** An exit that knows the source, and nothing of its flows. */
function exitAfter(start: number, options = {}): Exit {
  const exit = new Exit({ handles: 512, heldMax: 512, heldPerFlow: 512, ...options });
  exit.arrive({ sequence: start, distance: 0, flow: 999 });
  exit.packets.length = 0;
  return exit;
}

const indexes = (exit: Exit, flow: number): number[] =>
  exit.packets.filter((packet) => packet.flow === flow).map((packet) => (packet as Sent).index);

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
const starts = fc.constantFrom(0, 1, 2 ** 31 - 20, 2 ** 32 - 30, 12345);
const turns = (maxLength: number) => fc.array(fc.integer({ min: 0, max: 3 }), { maxLength });

describe('whatever the network does', () => {
  it('any order of arrival within the wait, with copies, is delivered in order and once', () => {
    const arrivals = fc
      .tuple(turns(80), starts, fc.integer({ min: 1, max: 300 }))
      .chain(([turns, start, stride]) => {
        const sent = interleave(turns, start, stride);
        const copies = fc.subarray(sent).map((extra) => [...sent, ...extra]);
        return fc.tuple(
          fc.constant(sent),
          fc.constant(start),
          copies.chain((all) => fc.shuffledSubarray(all, { minLength: all.length })),
        );
      });
    fc.assert(
      fc.property(arrivals, ([sent, start, arriving]) => {
        const exit = exitAfter(start);
        for (const packet of arriving) exit.arrive(packet, WAIT);
        for (let flow = 0; flow < 4; flow++) {
          expect(indexes(exit, flow)).toEqual(upTo(sent.filter((packet) => packet.flow === flow).length));
        }
        expect(exit.order.nextTimeout()).toBe(Infinity);
      }),
      { numRuns: 300 },
    );
  });

  it('any losses and delays: each packet that comes is delivered once, in time, and before its elders only when these came too late', () => {
    const fate = fc.record({
      lost: fc.boolean(),
      delay: fc.integer({ min: 0, max: 2 * WAIT }),
      copy: fc.option(fc.integer({ min: 0, max: 4 * WAIT }), { nil: undefined, freq: 8 }),
    });
    const fates = fc.array(fate, { minLength: 60, maxLength: 60 });
    const turnsOf30 = fc
      .array(fc.boolean(), { maxLength: 30 })
      .map((side) => side.map((left, i) => (left ? 2 * (i % 2) : 1)));
    fc.assert(
      fc.property(turnsOf30, starts, fates, (turns, start, fates) => {
        const exit = exitAfter(start);
        const sent = interleave(turns, start, 3);
        const arrivals = sent
          .flatMap((packet, i) => {
            const { lost, delay, copy } = fates[i]!;
            const times = lost ? [] : [delay];
            return [...times, ...(copy === undefined ? [] : [copy])].map((after) => ({
              at: i * 50 + after,
              packet,
            }));
          })
          .sort((a, b) => a.at - b.at);
        for (const { at, packet } of arrivals) {
          exit.at(at);
          exit.arrive(packet, WAIT);
        }
        exit.at(1_000_000);
        expect(exit.held).toBe(0);
        const arrived = new Set(arrivals.map(({ packet }) => packet));
        expect(new Set(exit.packets)).toEqual(arrived);
        expect(exit.packets).toHaveLength(arrived.size);
        let overtaken = 0;
        for (let flow = 0; flow < 4; flow++) {
          let newest = -1;
          for (const index of indexes(exit, flow)) {
            if (index < newest) overtaken++;
            newest = Math.max(newest, index);
          }
        }
        expect(exit.order.totals.late).toBe(overtaken);
        expect(exit.longest).toBeLessThanOrEqual(WAIT);
      }),
      { numRuns: 500 },
    );
  });
});

/** The rules for one flow, said plainly: packets are places in the chain 0 ← 1 ← 2 …, 0 has come. */
class Oracle {
  readonly delivered: number[] = [0];
  front = 0;
  private held: { index: number; due: number; isVoid: boolean }[] = [];
  private readonly seen = new Set([0]);

  constructor(private readonly room: number) {}

  arrive(now: number, index: number, isVoid: boolean): number {
    if (index <= this.front) return isVoid ? ARRIVE_PASS : this.late(index);
    if (index === this.front + 1) return this.go(index, isVoid);
    const same = this.held.find((other) => other.index === index);
    if (same !== undefined && (isVoid || !same.isVoid)) return ARRIVE_DUPLICATE;
    this.held = this.held.filter((other) => other !== same);
    if (this.held.length >= this.room) {
      if (isVoid) return ARRIVE_PASS;
      if (this.held[0]!.index > index) return this.go(index, false);
      this.release(this.held[0]!.index);
    }
    this.held.push({ index, due: now + (isVoid ? 1_000_000 : WAIT), isVoid });
    this.held.sort((a, b) => a.index - b.index);
    this.release(this.front);
    return ARRIVE_HOLD;
  }

  timeout(now: number): void {
    const due = this.held.filter((packet) => packet.due <= now);
    if (due.length > 0) this.release(due.at(-1)!.index);
  }

  private late(index: number): number {
    if (this.seen.has(index)) return ARRIVE_DUPLICATE;
    this.deliver(index, false);
    return ARRIVE_PASS;
  }

  private go(index: number, isVoid: boolean): number {
    this.deliver(index, isVoid);
    this.release(index);
    return ARRIVE_PASS;
  }

  /** All up to `index` goes, and what follows without a gap. */
  private release(index: number): void {
    while (this.held.length > 0 && (this.held[0]!.index <= index || this.held[0]!.index === this.front + 1)) {
      const next = this.held.shift()!;
      this.deliver(next.index, next.isVoid);
    }
  }

  private deliver(index: number, isVoid: boolean): void {
    this.front = Math.max(this.front, index);
    if (isVoid) return;
    this.seen.add(index);
    this.delivered.push(index);
  }
}

describe('one flow', () => {
  it('is treated as the plain rules say, with losses, copies, dropped packets, time and too little room', () => {
    const step = fc.record({
      // Relative to the front, so that runs, gaps and late packets all occur.
      by: fc.integer({ min: -6, max: 7 }),
      voidOdds: fc.integer({ min: 0, max: 5 }),
      later: fc.oneof(
        { weight: 3, arbitrary: fc.constant(0) },
        { weight: 1, arbitrary: fc.integer({ min: 1, max: 700 }) },
      ),
    });
    const room = fc.constantFrom(1, 2, 5, 64);
    fc.assert(
      fc.property(starts, room, fc.array(step, { maxLength: 60 }), (start, heldPerFlow, steps) => {
        const exit = new Exit({ heldPerFlow });
        const oracle = new Oracle(heldPerFlow);
        exit.arrive({ sequence: start, distance: 0 });
        let now = 0;
        for (const { by, voidOdds, later } of steps) {
          for (const end = now + later; now < end;) {
            now = Math.min(end, exit.order.nextTimeout());
            exit.at(now);
            oracle.timeout(now);
          }
          const index = Math.max(1, oracle.front + by);
          const packet = { sequence: (start + 7 * index) % 2 ** 32, distance: 7 };
          const expected = oracle.arrive(now, index, voidOdds === 0);
          if (voidOdds === 0) exit.void(packet);
          else expect(exit.arrive(packet, WAIT)).toBe(expected);
          expect(exit.delivered).toEqual(oracle.delivered.map((index) => (start + 7 * index) % 2 ** 32));
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe('whatever a member sends', () => {
  const absurd = fc.record({
    source: fc.constantFrom(1, 2, 3, 0xffff_ffff, 7, 8, 9, 10, 11, 12, 13, 14),
    epoch: fc.constantFrom(1, 2, 0, 0xffff),
    flow: fc.oneof(fc.constantFrom(1, 2, 0xffff_ffff), fc.integer({ min: 0, max: 0xffff_ffff })),
    sequence: fc.oneof(
      fc.integer({ min: 0, max: 40 }),
      fc.constantFrom(2 ** 31, 2 ** 31 + 1, 2 ** 31 - 1, 2 ** 32 - 1, 2 ** 20, 2 ** 20 + 1, 2 ** 20 - 1),
      fc.integer({ min: 0, max: 0xffff_ffff }),
    ),
    distance: fc.oneof(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 0xffff })),
  });
  const step = fc.record({
    packet: absurd,
    what: fc.integer({ min: 0, max: 6 }),
    wait: fc.integer({ min: 0, max: 5000 }),
    later: fc.integer({ min: 0, max: 300 }),
  });

  it('memory stays bounded, every handle comes back once and nothing is held for longer than it may wait', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const exit = new Exit({ handles: 20, heldMax: 20, heldPerFlow: 6, flows: 8, sources: 8 });
        for (const { packet, what, wait, later } of steps) {
          exit.at(exit.now + later);
          if (what === 0) exit.void(packet);
          else exit.arrive(packet, wait); // throws where a handle is wanted beyond heldMax, or comes back twice
          expect(exit.order.heldPackets).toBeLessThanOrEqual(20);
          expect(exit.order.heldPackets).toBeGreaterThanOrEqual(exit.held);
          for (const flow of exit.order.flows()) expect(flow.held).toBeLessThanOrEqual(6);
        }
        exit.at(exit.now + 1_000_000);
        expect(exit.held).toBe(0);
        expect(exit.order.heldPackets).toBe(0);
        expect(exit.order.nextTimeout()).toBe(Infinity);
      }),
      { numRuns: 500 },
    );
  });

  it("another source's flow keeps its order, even where there is no room left", () => {
    const arrivals = fc.shuffledSubarray(interleave(Array(12).fill(5), 1000), { minLength: 12 });
    fc.assert(
      fc.property(arrivals, fc.array(absurd, { minLength: 12, maxLength: 12 }), (arrivals, frames) => {
        const exit = new Exit({ handles: 40, heldMax: 40, heldPerFlow: 30, flows: 1024, sources: 64 });
        exit.arrive({ source: 5, sequence: 1000, distance: 0, flow: 4 });
        exit.arrive({ source: 6, sequence: 1, distance: 0, flow: 4 });
        for (let flow = 100; flow < 150; flow++)
          exit.arrive({ source: 6, sequence: 2 * flow, distance: 1, flow });
        arrivals.forEach((packet, i) => {
          exit.arrive({ ...packet, source: 5 });
          exit.arrive({ ...frames[i]!, source: 6, epoch: 1 });
        });
        const mine = exit.packets.filter((packet) => packet.source === 5 && packet.flow === 5);
        expect(mine.map((packet) => packet.sequence)).toEqual(upTo(12).map((i) => 1001 + i));
      }),
      { numRuns: 300 },
    );
  });
});
