/**
 * Flows through one queue onto a link of 10 Mbit/s, 1.2 ms a packet:
 *
 *   bulk: + 1 a round trip, × 0.7 at a signal ─┐
 *   bulk: …                                   ─┼─► FairQueue ─► link ─► half a round trip there, half back ─► acknowledged
 *   thin: 120 bytes every 10 … 30 ms          ─┘
 */
import { describe, expect, it } from 'vitest';
import { FairQueue, QUEUE_DROP, QUEUE_MARK } from '../../src/overlay/service/fair-queue.js';
import { EventQueue } from '../support/sim/event-queue.js';
import { Random } from '../support/sim/random.js';

const MS = 1000;
const S = 1000 * MS;
const PACKET = 1500;
const THIN_PACKET = 120;

interface Bulk {
  roundTrip: number;
  /** Whether its packets can be marked; else they are dropped. */
  ecn: boolean;
  from?: number;
}

interface Measured {
  /** Share of the link's time in use. */
  busy: number;
  /** Bytes of each bulk flow. */
  bytes: number[];
  /** µs in the queue, sorted. */
  bulkWaits: number[];
  thinWaits: number[];
  queue: FairQueue;
}

const quantile = (sorted: number[], share: number): number => sorted[Math.floor(share * (sorted.length - 1))];

/** Runs for `until` and measures from `since` on; `rate` in bytes per µs. */
function run(
  bulks: Bulk[],
  options: { rate?: number; target?: number; since?: number; until?: number } = {},
): Measured {
  const { rate = 1.25, target, since = 5 * S, until = 30 * S } = options;
  const queue = new FairQueue({
    handles: 4096,
    quantum: 1514,
    target: 5 * MS,
    interval: 100 * MS,
    limitBytes: 4e6,
    limitPackets: 4096,
  });
  if (target !== undefined) queue.setTarget(target);
  const events = new EventQueue();
  const random = new Random(7);
  const free = Array.from({ length: 4096 }, (_, handle) => handle);
  const owner = new Int32Array(4096);
  const windows = bulks.map(() => 10);
  const underWay = bulks.map(() => 0);
  const reducedAt = bulks.map(() => 0);
  const measured: Measured = { busy: 0, bytes: bulks.map(() => 0), bulkWaits: [], thinWaits: [], queue };
  const thin = bulks.length;
  let [now, idle] = [0, true];

  const put = (flow: number, bytes: number, ecn: boolean): void => {
    const handle = free.pop()!;
    owner[handle] = flow;
    const dropped = queue.enqueue(now, handle, bytes, flow, ecn);
    if (dropped >= 0) throw new Error('the queue overflowed');
    if (idle) serve();
  };
  const fill = (flow: number): void => {
    while (underWay[flow] < Math.floor(windows[flow])) {
      underWay[flow]++;
      put(flow, PACKET, bulks[flow].ecn);
    }
  };
  const acknowledge = (flow: number, congested: boolean): void => {
    underWay[flow]--;
    if (!congested) windows[flow] += 1 / windows[flow];
    else if (now - reducedAt[flow] > bulks[flow].roundTrip) {
      windows[flow] = Math.max(2, 0.7 * windows[flow]);
      reducedAt[flow] = now;
    }
    fill(flow);
  };
  const serve = (): void => {
    const bytes = queue.peekBytes();
    const handle = queue.dequeue(now);
    idle = handle < 0;
    if (idle) return;
    free.push(handle);
    const flow = owner[handle];
    const verdict = queue.verdict;
    const time = verdict === QUEUE_DROP ? 0 : bytes / rate;
    if (now >= since) {
      (flow === thin ? measured.thinWaits : measured.bulkWaits).push(queue.lastSojourn);
      measured.busy += time / (until - since);
      if (flow !== thin && verdict !== QUEUE_DROP) measured.bytes[flow] += bytes;
    }
    if (flow !== thin) {
      const congested = verdict === QUEUE_DROP || verdict === QUEUE_MARK;
      events.push(now + time + bulks[flow].roundTrip, () => acknowledge(flow, congested));
    }
    events.push(now + time, serve);
  };
  const tick = (): void => {
    put(thin, THIN_PACKET, false);
    events.push(now + 10 * MS + random.integer(20 * MS), tick);
  };
  events.push(0, tick);
  for (const [flow, { from = 0 }] of bulks.entries()) events.push(from, () => fill(flow));
  while (events.nextTime < until) {
    const event = events.pop()!;
    now = event.time;
    event.run();
  }
  measured.bulkWaits.sort((a, b) => a - b);
  measured.thinWaits.sort((a, b) => a - b);
  return measured;
}

describe('flows through a fair queue at 10 Mbit/s', () => {
  it('a bulk flow keeps the link busy and the queue short, by marks alone where it understands them', () => {
    for (const ecn of [true, false]) {
      const { busy, bulkWaits, queue } = run([{ roundTrip: 40 * MS, ecn }]);
      expect(busy).toBeGreaterThan(0.95);
      expect(quantile(bulkWaits, 0.5)).toBeLessThan(15 * MS);
      expect(ecn ? queue.marks : queue.drops).toBeGreaterThan(10);
      expect(ecn ? queue.drops : queue.marks).toBe(0);
    }
  });

  it('a thin flow waits for the packet that is being sent, and for another where the bulk flow too has just begun', () => {
    const { thinWaits, queue } = run([{ roundTrip: 40 * MS, ecn: true }], { since: 0 });
    expect(thinWaits.length).toBeGreaterThan(1000);
    expect(quantile(thinWaits, 0.9)).toBeLessThanOrEqual(1.2 * MS);
    expect(thinWaits.at(-1)).toBeLessThanOrEqual(2.4 * MS);
    expect(queue.overflows).toBe(0);
  });

  it('ten bulk flows bury no thin one', () => {
    const { busy, thinWaits } = run(
      Array.from({ length: 10 }, (_, k) => ({ roundTrip: (20 + 5 * k) * MS, ecn: k % 2 === 0 })),
    );
    expect(busy).toBeGreaterThan(0.98);
    expect(quantile(thinWaits, 0.99)).toBeLessThanOrEqual(2.6 * MS);
  });

  it('flows of unlike round trips, and of unlike manners, get alike', () => {
    const { bytes } = run([
      { roundTrip: 10 * MS, ecn: true },
      { roundTrip: 80 * MS, ecn: true },
      { roundTrip: 40 * MS, ecn: false },
    ]);
    const sum = bytes.reduce((a, b) => a + b);
    for (const share of bytes) expect(share / sum).toBeGreaterThan(0.25);
  });

  it('a flow that begins late gets its share within seconds', () => {
    const { bytes } = run(
      [
        { roundTrip: 40 * MS, ecn: true },
        { roundTrip: 40 * MS, ecn: true, from: 10 * S },
      ],
      { since: 13 * S, until: 20 * S },
    );
    expect(bytes[1] / (bytes[0] + bytes[1])).toBeGreaterThan(0.4);
  });

  it('at 500 kbit/s a target of 1.5 packets leaves the link busy', () => {
    const rate = 0.0625;
    const packet = PACKET / rate;
    const raised = run([{ roundTrip: 40 * MS, ecn: true }], { rate, target: 1.5 * packet, until: 60 * S });
    expect(raised.busy).toBeGreaterThan(0.95);
    expect(quantile(raised.bulkWaits, 0.9)).toBeLessThan(6 * packet);
  });
});
