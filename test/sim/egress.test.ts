/**
 * The exit behind a path of hops that recover their losses themselves and send on what comes as it comes:
 *
 *   source ─► hop ─► hop ─► hop ─► exit        each hop: delay, jitter, loss; a lost packet comes a round trip of the hop later, or two …
 *
 * so that every packet arrives out of order, but for a few that a hop gives up or drops with a word (void). By the seed.
 */
import { describe, expect, it } from 'vitest';
import { Simulator } from '../support/sim/simulator.js';
import { Exit, type Packet } from '../unit/egress/exit.js';

interface Hop {
  readonly delay: number;
  readonly jitter: number;
  readonly loss: number;
  /** Probability of a second copy on the way, as when a path changes. */
  readonly duplication: number;
  /** Retransmissions before the hop gives up. */
  readonly tries: number;
  /** Probability that the hop drops the packet and says so. */
  readonly drop: number;
}

const HOP: Hop = { delay: 10_000, jitter: 500, loss: 0.05, duplication: 0.01, tries: 20, drop: 0 };
const WAIT = 150_000;
const FLOWS = 5;

interface Sent extends Packet {
  readonly flow: number;
  readonly index: number;
}

class Path {
  readonly exit = new Exit({ handles: 4096, flows: 64, heldMax: 4096, heldPerFlow: 4096 });
  readonly sent: Sent[] = [];
  /** Those of which a copy came. */
  readonly arrived = new Set<Packet>();
  /** Copies that a hop gave up, or dropped with a word. */
  lost = 0;
  voided = 0;
  hops: readonly Hop[];
  epoch = 1;
  private readonly last = new Map<number, Sent>();
  private sequence: number;

  constructor(
    private readonly sim: Simulator,
    hops: readonly Hop[],
    firstSequence = 2 ** 32 - 5000,
  ) {
    this.hops = hops;
    this.sequence = firstSequence;
    // So that the exit knows where the source is; what comes first of an unknown one is delivered as it comes.
    this.arrive({ flow: FLOWS, index: 0, sequence: firstSequence, distance: 0 }, false);
  }

  /** Sends a packet of one of the flows each `interval` µs. */
  run(count: number, interval: number): void {
    for (let i = 0; i < count; i++) {
      this.sim.after(i * interval, () => this.send(this.sim.random.integer(FLOWS)));
    }
    this.sim.runUntil(this.sim.now + count * interval + 20 * WAIT);
    this.exit.at(this.sim.now);
  }

  /** The source's process is another from now on. */
  restartSource(): void {
    this.epoch++;
    this.last.clear();
    this.sequence = 0;
  }

  private send(flow: number): void {
    const before = this.last.get(flow);
    const sequence = (this.sequence = (this.sequence + 1) % 2 ** 32);
    const distance = before === undefined ? 0 : (sequence - before.sequence) >>> 0;
    const packet = {
      flow,
      epoch: this.epoch,
      index: before === undefined ? 0 : before.index + 1,
      sequence,
      distance,
    };
    this.last.set(flow, packet);
    this.sent.push(packet);
    this.pass(packet, this.hops, 0, false);
  }

  private pass(packet: Sent, hops: readonly Hop[], i: number, isVoid: boolean): void {
    if (i === hops.length) {
      this.arrive(packet, isVoid);
      return;
    }
    const { random } = this.sim;
    const { delay, jitter, loss, duplication, tries, drop } = hops[i]!;
    const dropped = !isVoid && random.chance(drop);
    if (dropped) this.voided++;
    for (let copies = random.chance(duplication) ? 2 : 1; copies > 0; copies--) {
      let after = delay + random.integer(jitter + 1);
      let left = tries;
      while (random.chance(loss) && left-- > 0) after += 2 * delay + random.integer(jitter + 1);
      if (left < 0) this.lost++;
      else this.sim.after(after, () => this.pass(packet, hops, i + 1, isVoid || dropped));
    }
  }

  private arrive(packet: Sent, isVoid: boolean): void {
    this.exit.at(this.sim.now);
    if (isVoid) this.exit.void(packet);
    else {
      this.arrived.add(packet);
      this.exit.arrive(packet, WAIT);
    }
  }

  /** Checks that what came was delivered, all of it and once. */
  expectOnce(): void {
    expect(this.exit.packets).toHaveLength(this.arrived.size);
    expect(new Set(this.exit.packets)).toEqual(this.arrived);
    expect(this.exit.held).toBe(0);
  }

  /** Packets that overtook one of their own flow and life. */
  overtaken(): number {
    const newest = new Map<string, number>();
    let overtaken = 0;
    for (const packet of this.exit.packets as Sent[]) {
      const key = `${packet.epoch}.${packet.flow}`;
      const before = newest.get(key) ?? -1;
      if (packet.index < before) overtaken++;
      newest.set(key, Math.max(before, packet.index));
    }
    return overtaken;
  }
}

describe.each([1, 2, 3])('behind hops that recover (seed %i)', (seed) => {
  const begin = (hops: readonly Hop[]) => {
    const sim = new Simulator(seed);
    return { sim, path: new Path(sim, hops) };
  };

  it('five flows over three lossy hops come in order, once, over the end of the numbers', () => {
    const { path } = begin([HOP, HOP, HOP]);
    path.run(10_000, 200);
    path.expectOnce();
    expect(path.arrived.size).toBe(10_001);
    expect(path.overtaken()).toBe(0);
    expect(path.exit.order.totals).toMatchObject({ skipped: 0, late: 0 });
    expect(path.exit.order.totals.reordered).toBeGreaterThan(2000);
    expect(path.exit.longest).toBeLessThanOrEqual(WAIT);
  });

  it('what a hop gives up is waited for, what it drops with a word is not', () => {
    const { path } = begin([HOP, { ...HOP, tries: 1, drop: 0.03 }]);
    path.run(10_000, 200);
    const { totals } = path.exit.order;
    expect(path.lost).toBeGreaterThan(5);
    expect(path.voided).toBeGreaterThan(200);
    path.expectOnce();
    // A copy behind the word that it was dropped is late too, and may have overtaken nothing.
    expect(path.overtaken()).toBeLessThanOrEqual(totals.late);
    expect(totals.skipped).toBeGreaterThan(0);
    expect(totals.skipped).toBeLessThanOrEqual(path.lost);
    expect(path.exit.longest).toBe(WAIT);
  });

  it('order stays when the path becomes shorter, and when it becomes longer', () => {
    const { sim, path } = begin([{ ...HOP, delay: 20_000 }]);
    sim.after(500_000, () => (path.hops = [HOP]));
    sim.after(1_000_000, () => (path.hops = [HOP, HOP, HOP]));
    path.run(10_000, 200);
    path.expectOnce();
    expect(path.arrived.size).toBe(10_001);
    expect(path.overtaken()).toBe(0);
  });

  it('a dead path that comes back holds nothing for longer than the wait, and order is there again', () => {
    const { sim, path } = begin([HOP]);
    sim.after(500_000, () => (path.hops = [{ ...HOP, loss: 1, duplication: 0, tries: 0 }]));
    sim.after(1_000_000, () => (path.hops = [HOP]));
    path.run(10_000, 200);
    path.expectOnce();
    expect(path.lost).toBeGreaterThan(2000);
    expect(path.overtaken()).toBe(path.exit.order.totals.late);
    expect(path.exit.order.totals.late).toBeLessThan(20);
  });

  it("a source's restart begins its flows anew while its last packets still come", () => {
    const { sim, path } = begin([HOP, HOP]);
    sim.after(1_000_000, () => path.restartSource());
    path.run(10_000, 200);
    const second = path.sent.filter((packet) => packet.epoch === 2);
    const come = (path.exit.packets as Sent[]).filter((packet) => packet.epoch === 2);
    expect(second.length).toBeGreaterThan(4000);
    expect(come).toHaveLength(second.length);
    expect(new Set(path.exit.packets)).toEqual(path.arrived);
  });
});

it('the same seed gives the same order of arrival', () => {
  const runs = [7, 7].map((seed) => {
    const path = new Path(new Simulator(seed), [HOP, HOP]);
    path.run(1000, 200);
    return path.exit.packets.map((packet) => packet.sequence);
  });
  expect(runs[0]).toEqual(runs[1]);
});
