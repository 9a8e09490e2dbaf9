import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import {
  CHANGE_MARK,
  CHANGE_NONE,
  CHANGE_VOID,
  FRAME_OVERHEAD,
  RELIABLE_DEADLINE,
} from '../../../src/overlay/link/outbound.js';
import { LANE_REALTIME, LANE_RELIABLE } from '../../../src/overlay/wire/lanes.js';
import { ROUTED_HEADER_SIZE } from '../../../src/overlay/wire/routed.js';
import { FramePool } from '../../support/forward/frame-pool.js';
import { numbers, OutboundRig, type Transmission } from '../../support/forward/outbound-rig.js';
import { Random } from '../../support/sim/random.js';

const MS = 1000;
const S = 1000 * MS;
const RTT = 20 * MS;
const BYTES = 1000;

/** A link that knows its round trip, 50 frames sent and acknowledged; what was sent so far is taken out. */
function warm(pool?: FramePool, lane = LANE_RELIABLE): OutboundRig {
  const rig = new OutboundRig(pool);
  rig.warmUp(50, 5 * MS, RTT, lane);
  rig.take();
  rig.pool.released.length = 0;
  return rig;
}

/** Lets the link report a share of losses, each alone, which its estimate then follows. */
function lossy(rig: OutboundRig, loss: number, lane = LANE_RELIABLE): void {
  rig.report(1000, 0, 0, lane);
  for (let k = 1; k <= 20; k++)
    rig.report(1000 + 1000 * k, Math.round(1000 * loss) * k, Math.round(1000 * loss) * k, lane);
}

const namesOf = (sent: readonly Transmission[]): number[] => sent.map(({ name }) => name);

describe('a reliable frame', () => {
  it('goes out at once where there is room, numbered in the order of sending', () => {
    const rig = new OutboundRig();
    for (let i = 0; i < 2; i++) rig.send();
    expect(rig.take().map(({ number, repeatOf, epoch, lane }) => [number, repeatOf, epoch, lane])).toEqual([
      [0, -1, 5, LANE_RELIABLE],
      [1, -1, 5, LANE_RELIABLE],
    ]);
    expect(rig.pool.used).toBe(2);
    rig.now = RTT;
    rig.ack([0, 1]);
    expect([rig.pool.released, rig.pool.used, rig.outbound.bytesInFlight]).toEqual([[0, 1], 0, 0]);
    expect(rig.outbound.nextTimeout()).toBe(Infinity);
  });

  it('waits for the window, and goes when an acknowledgement opens it', () => {
    const rig = warm();
    for (let i = 0; i < 200; i++) rig.send();
    rig.run(10 * MS);
    const { congestion } = rig.outbound;
    expect(rig.outbound.bytesInFlight).toBeLessThanOrEqual(congestion.window);
    expect(rig.outbound.bytesInFlight).toBeGreaterThan(congestion.window - BYTES - FRAME_OVERHEAD);
    const before = rig.sent.length;
    expect(before).toBeLessThan(200);
    rig.run(RTT - 10 * MS);
    expect(rig.sent.length).toBe(before);
    rig.ackAll();
    rig.run(10 * MS);
    expect(rig.sent.length).toBeGreaterThan(before);
    expect(rig.outbound.bytesInFlight).toBeLessThanOrEqual(congestion.window);
  });

  it('keeps to the pace: in no millisecond more than a millisecond of the rate and a burst', () => {
    const rig = warm();
    for (let i = 0; i < 100; i++) rig.send();
    rig.run(RTT - MS);
    const { rate } = rig.outbound.congestion;
    for (const { at } of rig.sent) {
      const bytes = rig.sent
        .filter((other) => other.at >= at && other.at < at + MS)
        .reduce((sum, each) => sum + each.bytes + FRAME_OVERHEAD, 0);
      expect(bytes).toBeLessThanOrEqual(rate * MS + Math.max(3000, rate * MS) + 1);
    }
    expect(new Set(rig.sent.map(({ at }) => at)).size).toBeGreaterThan(5);
  });

  it('is sent again under a new number, naming its first, when a gap shows that it was lost', () => {
    const rig = warm();
    const names = rig.sendAll(5);
    const first = rig.sent[0]!.number;
    rig.run(RTT);
    rig.ack(numbers(first + 1, first + 4));
    expect(rig.pool.released).toEqual(names.slice(1));
    const [again, ...more] = rig.sent.slice(5);
    expect(more).toEqual([]);
    expect(again).toMatchObject({ name: names[0], number: first + 5, repeatOf: first, change: CHANGE_NONE });
    expect(rig.repeats).toEqual([{ name: names[0], isCopy: false }]);
    expect(rig.outbound.stats).toMatchObject({ lost: 1, retransmitted: 1, spurious: 0 });
    rig.run(RTT);
    rig.ack([first + 5]);
    expect(rig.pool.used).toBe(0);
  });

  it('that was lost again and again still names its very first number', () => {
    const rig = warm();
    rig.send();
    const first = rig.sent[0]!.number;
    for (let round = 0; round < 3; round++) {
      rig.sendAll(4);
      rig.run(RTT - MS);
      rig.ack(rig.sent.filter(({ name }) => name !== rig.sent[0]!.name).map(({ number }) => number));
    }
    const repeats = rig.sent.filter(({ repeatOf }) => repeatOf >= 0);
    expect(repeats.length).toBe(3);
    expect(new Set(repeats.map(({ repeatOf }) => repeatOf))).toEqual(new Set([first]));
  });

  it('goes before what waits in the queue when it is lost', () => {
    const rig = warm();
    for (let i = 0; i < 100; i++) rig.send();
    rig.run(RTT);
    const { number } = rig.sent[0]!;
    const sent = rig.sent.length;
    rig.ack(numbers(number + 1, number + 5));
    expect(rig.sent[sent]).toMatchObject({ repeatOf: number });
  });

  it('is probed for when nothing is heard, whatever the window says', () => {
    const rig = warm();
    const name = rig.send();
    rig.run(4 * RTT);
    expect(rig.sent.length).toBeGreaterThanOrEqual(2);
    expect(new Set(namesOf(rig.sent))).toEqual(new Set([name]));
    expect(rig.pool.used).toBe(1);
  });

  it('that waits is what probes, when all that is under way is too old', () => {
    // Of this round trip the fifth probe is the first behind the deadline.
    const rig = new OutboundRig();
    rig.warmUp(50, 5 * MS, 2 * RTT);
    rig.take();
    rig.pinWindow(3 * (BYTES + FRAME_OVERHEAD));
    rig.sendAll(3);
    while (rig.outbound.stats.expired < 3) {
      rig.send();
      rig.run(50 * MS);
    }
    const [newest, ...before] = rig.sent.slice().reverse();
    expect(newest!.name).toBeGreaterThan(Math.max(...namesOf(before)));
    expect(rig.now - newest!.at).toBeLessThanOrEqual(50 * MS);
    rig.ack([newest!.number]);
    rig.run(10 * MS);
    expect(rig.sent.at(-1)!.name).toBeGreaterThan(newest!.name);
  });

  it('is given up at its deadline, without an end to nothing being sent for it', () => {
    const rig = warm();
    const name = rig.send();
    const begin = rig.now;
    rig.run(3 * S);
    expect(rig.pool.released).toEqual([name]);
    expect(rig.outbound.stats.expired).toBe(1);
    for (const { at } of rig.sent) expect(at - begin).toBeLessThanOrEqual(RELIABLE_DEADLINE);
    expect(rig.outbound.bytesInFlight).toBe(0);
    expect(rig.outbound.nextTimeout()).toBe(Infinity);
  });

  it('that waited longer than its deadline in the queue is never sent', () => {
    const rig = warm();
    for (let i = 0; i < 200; i++) rig.send();
    const waiting = rig.outbound.queue.packets;
    expect(waiting).toBeGreaterThan(100);
    rig.now += RELIABLE_DEADLINE + 1;
    rig.ackAll();
    rig.run(3 * S);
    expect([rig.pool.used, rig.outbound.queue.packets]).toEqual([0, 0]);
    expect(rig.outbound.stats.expired).toBe(waiting);
  });
});

describe('a frame whose handle came back while it waited to be sent again', () => {
  /** Two frames lost while the window is full, so that they wait; then the second turns out to have arrived. */
  function lateArrival(rig: OutboundRig): void {
    rig.sendAll(150);
    rig.run(RTT);
    const first = rig.sent[0]!.number;
    rig.pinWindow(1);
    rig.ack(numbers(first + 2, first + 5));
    expect(rig.outbound.stats).toMatchObject({ lost: 2, retransmitted: 0 });
    rig.ack(numbers(first + 1, first + 5));
    expect(rig.outbound.stats.spurious).toBe(1);
  }

  it("isn't sent as what another link keeps under that handle", () => {
    const pool = new FramePool(160);
    const rig = warm(pool);
    const other = warm(pool);
    lateArrival(rig);
    other.run(rig.now - other.now);
    other.sendAll(8);
    other.run(RTT);
    // The other link's frames are lost and wait there, under handles that this link has used.
    other.pinWindow(1);
    other.ack([other.sent.at(-1)!.number]);
    expect(other.outbound.stats).toMatchObject({ lost: 5, retransmitted: 0 });
    rig.take();
    rig.pinWindow(1e6);
    rig.pump();
    const foreign = new Set(namesOf(other.sent));
    expect(namesOf(rig.sent).filter((name) => foreign.has(name))).toEqual([]);
  });

  it('is sent again once, when another frame of this link takes its handle and is lost', () => {
    const rig = warm(new FramePool(160));
    lateArrival(rig);
    rig.pinWindow(1e6);
    rig.sendAll(4);
    rig.run(RTT);
    rig.ackAll();
    rig.run(S);
    rig.ackAll();
    rig.run(5 * S);
    expect(rig.pool.used).toBe(0);
    expect(new Set(rig.pool.released).size).toBe(rig.pool.released.length);
  });
});

describe('what the queue decides', () => {
  /** 200 frames of one flow, five to a round trip. */
  function standing(markable: boolean): OutboundRig {
    const rig = warm();
    rig.pinWindow(5 * (BYTES + FRAME_OVERHEAD));
    for (let i = 0; i < 200; i++) rig.send({ markable });
    for (let i = 0; i < 45; i++) {
      rig.run(RTT);
      rig.ackAll();
    }
    return rig;
  }

  it('is a mark where the packet understands it', () => {
    const rig = standing(true);
    const marked = rig.sent.filter(({ change }) => change === CHANGE_MARK);
    expect(marked.length).toBeGreaterThan(0);
    expect([rig.outbound.stats.marked, rig.outbound.stats.dropped]).toEqual([marked.length, 0]);
    expect(marked.every(({ bytes }) => bytes === BYTES)).toBe(true);
  });

  it('else a header without its payload, which is numbered, acknowledged and sent again like any frame', () => {
    const rig = standing(false);
    const trimmed = rig.sent.filter(({ change }) => change === CHANGE_VOID);
    expect(trimmed.length).toBeGreaterThan(0);
    expect([rig.outbound.stats.marked, rig.outbound.stats.dropped]).toEqual([0, trimmed.length]);
    expect(trimmed.every(({ bytes }) => bytes === ROUTED_HEADER_SIZE)).toBe(true);
    expect(namesOf(rig.sent)).toHaveLength(250 - 50);
    expect([rig.pool.used, rig.outbound.bytesInFlight]).toEqual([0, 0]);
  });

  it('is what had waited longest in the fattest flow, where the limit is reached', () => {
    const pool = new FramePool(7000);
    const rig = new OutboundRig(pool);
    rig.outbound.suspend(0);
    const thin = rig.offer({ flow: 2 });
    for (let i = 0; i < 6500; i++) rig.offer({ flow: 1, bytes: 100 });
    expect(pool.used).toBe(6144);
    expect(pool.released).toEqual(numbers(1, 6501 - 6144));
    expect(pool.released).not.toContain(thin);
    expect(rig.outbound.stats.dropped).toBe(6501 - 6144);
    // Each one's follower is told not to wait for it.
    expect(rig.unchained).toEqual(numbers(1, 6501 - 6144).map((name) => [name, name + 1]));
  });
});

describe('a thin flow on a lossy link', () => {
  it('gets a copy a moment later, under a number of its own, if the frame is still under way', () => {
    const rig = warm();
    lossy(rig, 0.02);
    rig.run(S);
    const name = rig.send({ bytes: 200, flow: 77 });
    const { number, at } = rig.sent[0]!;
    rig.run(RTT / 2);
    const [copy, ...more] = rig.sent.slice(1);
    expect(more).toEqual([]);
    expect(copy).toMatchObject({ name, repeatOf: number, number: number + 1 });
    expect(copy!.at).toBeGreaterThan(at);
    expect(rig.repeats).toEqual([{ name, isCopy: true }]);
    expect(rig.outbound.stats).toMatchObject({ copies: 1, retransmitted: 0 });
    rig.ack([number + 1]);
    expect(rig.pool.used).toBe(0);
  });

  it('gets none once the frame is known to have arrived, though its handle be used again', () => {
    const rig = warm();
    lossy(rig, 0.02);
    rig.run(S);
    rig.send({ bytes: 200, flow: 77 });
    rig.ack([rig.sent[0]!.number]);
    const clean = rig.send({ lane: LANE_REALTIME });
    rig.run(2 * MS);
    expect(rig.outbound.stats.copies).toBe(0);
    expect(rig.sent.filter(({ name }) => name === clean)).toHaveLength(1);
  });

  it('gets none where nothing is lost', () => {
    const rig = warm();
    rig.send({ bytes: 200 });
    rig.run(RTT / 2);
    expect(rig.sent).toHaveLength(1);
  });
});

describe('a realtime frame', () => {
  const lane = LANE_REALTIME;

  it('passes at once, in front of what waits and whatever the window says', () => {
    const rig = warm();
    for (let i = 0; i < 200; i++) rig.send();
    const sent = rig.sent.length;
    const name = rig.offer({ lane });
    expect(rig.sent.slice(sent)).toEqual([expect.objectContaining({ name, lane, number: 0, repeatOf: -1 })]);
  });

  it('is sent again once when it is lost, and given up when that is lost too', () => {
    const rig = warm(undefined, lane);
    const name = rig.send({ lane });
    const first = rig.sent[0]!.number;
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 4; i++) rig.send({ lane });
      const newest = rig.sent.at(-1)!.number;
      rig.run(RTT);
      rig.ack(numbers(newest - 3, newest), { lane });
    }
    expect(rig.sent.filter((each) => each.name === name).map(({ repeatOf }) => repeatOf)).toEqual([
      -1,
      first,
    ]);
    expect(rig.pool.released).toContain(name);
    expect([rig.pool.used, rig.outbound.stats.expired]).toEqual([0, 1]);
  });

  it('is sent twice at most when nothing is heard at all', () => {
    const rig = warm(undefined, lane);
    const name = rig.send({ lane });
    rig.run(3 * S);
    expect(rig.sent.filter((each) => each.name === name)).toHaveLength(2);
    expect([rig.pool.used, rig.outbound.bytesInFlight]).toEqual([0, 0]);
  });

  it("isn't sent again where that couldn't be in time", () => {
    const rig = new OutboundRig(undefined, { realtimeDeadline: 25 * MS });
    rig.warmUp(50, 5 * MS, RTT, lane);
    rig.take();
    rig.send({ lane });
    for (let i = 0; i < 4; i++) rig.send({ lane });
    const first = rig.sent[0]!.number;
    rig.run(RTT);
    rig.ack(numbers(first + 1, first + 4), { lane });
    expect([rig.outbound.stats.retransmitted, rig.outbound.stats.expired]).toEqual([0, 1]);
    expect(rig.pool.used).toBe(0);
  });

  it('is sent again only as the budget allows: half as often as frames are sent, after the first thirty-two', () => {
    const rig = warm(undefined, lane);
    let lost = 0;
    for (let round = 0; round < 60; round++) {
      const from = rig.sent.length;
      for (let i = 0; i < 8; i++) rig.send({ lane });
      const { number } = rig.sent[from]!;
      rig.run(RTT);
      // Seven in eight are lost, and what is sent again arrives.
      rig.ack([number + 7], { lane });
      lost += 7;
      rig.run(RTT);
      rig.ackAll(lane);
    }
    const { retransmitted } = rig.outbound.stats;
    expect(lost).toBe(420);
    expect(retransmitted).toBeLessThanOrEqual(32 + (60 * 8) / 2);
    expect(retransmitted).toBeGreaterThan((60 * 8) / 2 - 8);
  });

  it('counts with the reliable ones as delivered, so that the link has one rate', () => {
    const rig = warm();
    const onAck = vi.spyOn(rig.outbound.congestion, 'onAck');
    for (const lane of [LANE_RELIABLE, LANE_REALTIME, LANE_RELIABLE, LANE_REALTIME]) {
      rig.sendAll(3, { lane });
      rig.run(RTT);
      rig.ackAll(lane);
    }
    const samples = onAck.mock.calls.map(([, sample]) => sample);
    expect(samples).toHaveLength(4);
    let before = 50 * (BYTES + FRAME_OVERHEAD);
    for (const { ackedBytes, delivered, deliveredBefore } of samples) {
      expect(delivered).toBe(before + ackedBytes);
      expect(deliveredBefore).toBe(before);
      before = delivered;
    }
  });

  it('is dropped where it comes too late, or the link is down, or is hopelessly full', () => {
    const rig = warm(undefined, lane);
    const handle = rig.pool.take(rig.now - 101 * MS, BYTES, 1);
    rig.outbound.offer(rig.now, handle, lane, false);
    expect([rig.sent.length, rig.outbound.stats.dropped, rig.pool.used]).toEqual([0, 1, 0]);
    for (let i = 0; i < 250; i++) rig.offer({ lane });
    expect(rig.outbound.stats.dropped).toBeGreaterThan(1);
    expect(rig.sent.length).toBeGreaterThan(100);
    rig.outbound.suspend(rig.now);
    expect(rig.pool.used).toBe(0);
    rig.offer({ lane });
    expect(rig.pool.used).toBe(0);
  });

  it('is protected by parity where frames are lost: repairs have numbers of their own and come before the deadline', () => {
    const rig = warm(undefined, lane);
    lossy(rig, 0.05, lane);
    rig.run(MS);
    for (let i = 0; i < 20; i++) {
      rig.send({ lane });
      rig.run(16 * MS);
      rig.ackAll(lane);
    }
    expect(rig.repairs.length).toBeGreaterThan(15);
    expect(rig.protectedNumbers).toEqual(rig.sent.map(({ number }) => number));
    const all = [...rig.sent, ...rig.repairs].map(({ number }) => number);
    expect(new Set(all).size).toBe(all.length);
    for (const repair of rig.repairs) {
      const frame = rig.sent.filter(({ at }) => at <= repair.at).at(-1)!;
      expect(repair.at - frame.at).toBeLessThan(15 * MS);
    }
    expect([rig.pool.used, rig.outbound.bytesInFlight]).toEqual([0, 0]);
  });

  it('waits for no parity that finds no number free: its timer rests until one is', () => {
    const rig = warm(new FramePool(2000), lane);
    lossy(rig, 0.05, lane);
    rig.run(MS);
    while (rig.outbound.realtime.hasRoom()) rig.offer({ lane, bytes: 30 });
    const runs = rig.repairs.length;
    rig.run(10 * MS);
    expect(rig.repairs.length - runs).toBeLessThan(100);
    expect(rig.outbound.nextTimeout()).toBeGreaterThan(rig.now);
  });
});

describe('a link that goes down', () => {
  it('sends nothing, keeps what it has for the deadline, and sends all of it in a new epoch when it is up again', () => {
    const rig = warm();
    const names = [0, 1, 2].map(() => rig.send());
    const { epoch } = rig.take()[0]!;
    rig.outbound.suspend(rig.now);
    names.push(rig.send());
    rig.run(S / 2);
    expect([rig.sent.length, rig.pool.used]).toEqual([0, 4]);
    rig.outbound.resume();
    rig.pump();
    rig.run(10 * MS);
    expect(namesOf(rig.sent)).toEqual(names);
    expect(rig.sent.map(({ number, repeatOf }) => [number, repeatOf])).toEqual([
      [0, -1],
      [1, -1],
      [2, -1],
      [3, -1],
    ]);
    expect(rig.sent[0]!.epoch).toBe((epoch + 1) & 7);
    rig.ackAll();
    expect(rig.pool.used).toBe(0);
  });

  it('gives up what waits when its deadline has passed, and nothing earlier', () => {
    const rig = warm();
    rig.send();
    rig.outbound.suspend(rig.now);
    rig.run(S / 2);
    rig.send();
    rig.run(S / 2 - 1);
    expect(rig.pool.used).toBe(2);
    rig.run(100);
    expect(rig.pool.used).toBe(1);
    rig.run(2 * S);
    expect([rig.pool.used, rig.outbound.nextTimeout()]).toEqual([0, Infinity]);
    expect(rig.outbound.stats.expired).toBe(2);
  });

  it('gives back what may go another way: frames sent, lost and queued, each once; and forgets them', () => {
    const rig = warm();
    const names = Array.from({ length: 100 }, () => rig.send());
    rig.outbound.suspend(rig.now);
    const into = new Int32Array(rig.pool.size);
    const n = rig.outbound.takeBack(rig.now, into);
    expect([...into.slice(0, n)].map((handle) => rig.pool.name[handle]!)).toEqual(names);
    expect(rig.outbound.takeBack(rig.now, into)).toBe(0);
    rig.take();
    rig.outbound.resume();
    rig.run(S);
    expect([rig.sent.length, rig.outbound.nextTimeout()]).toEqual([0, Infinity]);
  });

  it('takes an acknowledgement from before for nothing', () => {
    const rig = warm();
    rig.send();
    const { number, epoch } = rig.sent[0]!;
    rig.outbound.suspend(rig.now);
    rig.ack([number], { epoch });
    expect([rig.pool.used, rig.outbound.stats.acksRejected]).toEqual([1, 1]);
  });
});

describe('a peer that says nothing', () => {
  it('is taken to have lost our numbers after six probes: the next epoch begins', () => {
    const rig = warm();
    const { epoch } = rig.outbound.reliable;
    rig.run(10 * MS);
    const until = rig.now + 20 * S;
    while (rig.outbound.reliable.epoch === epoch && rig.now < until) {
      rig.send();
      rig.run(50 * MS);
    }
    const before = rig.sent.filter((each) => each.epoch === epoch);
    const after = rig.sent.filter((each) => each.epoch === ((epoch + 1) & 7));
    expect(before.length + after.length).toBe(rig.sent.length);
    expect(after[0]).toMatchObject({ number: 0, repeatOf: -1 });
    expect(rig.outbound.congestion.mode).toBe('start');
    rig.run(2 * S);
    expect(rig.pool.used).toBe(0);
  });
});

describe('nonsense from a peer', () => {
  it('is counted and changes nothing: never sent, other epoch, empty, of another lane, cut short', () => {
    const rig = warm();
    rig.send();
    const { number, epoch } = rig.sent[0]!;
    rig.ack([number + 1]);
    rig.ack([number + 1000]);
    rig.ack([number], { epoch: (epoch + 1) & 7 });
    const view = new DataView(new ArrayBuffer(64));
    for (const [lane, length] of [
      [0, 11],
      [1, 11],
      [4, 11],
      [255, 11],
      [LANE_RELIABLE, 0],
      [LANE_RELIABLE, 5],
      [LANE_RELIABLE, 12],
      [LANE_REALTIME, 11],
    ] as const) {
      view.setUint8(0, lane);
      rig.outbound.acknowledge(rig.now, view, 0, length);
    }
    for (const length of [0, 1, 17, 18]) {
      view.setUint8(0, 9);
      rig.outbound.report(rig.now, view, 0, length);
    }
    expect(rig.outbound.stats.acksRejected).toBe(3 + 8 + 4);
    expect([rig.pool.used, rig.sent.length]).toEqual([1, 1]);
    rig.ack([number]);
    expect(rig.pool.used).toBe(0);
  });
});

describe('every handle comes back exactly once', () => {
  /** Random offers, acknowledgements, silences and outages, then quiet; throws at a second release or a free frame sent. */
  function live(seed: number, steps: number): OutboundRig {
    const random = new Random(seed);
    const pool = new FramePool(64);
    const rigs = [new OutboundRig(pool), new OutboundRig(pool)];
    if (random.chance(0.5)) rigs[0]!.pinWindow(5000);
    const into = new Int32Array(pool.size);
    const arrived = rigs.map(() => new Map<string, Set<number>>());
    for (let step = 0; step < steps; step++) {
      const which = random.integer(2);
      const rig = rigs[which]!;
      rig.now = Math.max(rigs[0]!.now, rigs[1]!.now);
      const what = random.integer(20);
      if (what < 9) {
        const lane = random.chance(0.3) ? LANE_REALTIME : LANE_RELIABLE;
        rig.offer({
          lane,
          flow: random.integer(4),
          bytes: 40 + random.integer(1400),
          markable: random.chance(0.3),
        });
        if (random.chance(0.7)) rig.pump();
      } else if (what < 14) {
        // Some of what was sent arrives, in any order; acknowledgements tell of all that did.
        for (const { lane, epoch, number } of rig.take()) {
          const key = `${lane} ${epoch}`;
          if (!arrived[which]!.has(key)) arrived[which]!.set(key, new Set());
          if (random.chance(0.7)) arrived[which]!.get(key)!.add(number);
        }
        for (const lane of [LANE_RELIABLE, LANE_REALTIME]) {
          const { epoch } = lane === LANE_RELIABLE ? rig.outbound.reliable : rig.outbound.realtime;
          const all = [...(arrived[which]!.get(`${lane} ${epoch}`) ?? [])];
          const told = random.chance(0.5) ? all : all.filter(() => random.chance(0.5));
          if (told.length > 0) rig.ack(told, { lane });
        }
      } else if (what < 17) {
        for (const each of rigs) {
          each.now = rig.now;
          each.run(random.integer(random.chance(0.1) ? 2 * S : 30 * MS));
        }
      } else if (what < 18)
        lossy(rig, random.pick([0, 0.02, 0.1]), random.pick([LANE_RELIABLE, LANE_REALTIME]));
      else if (rig.outbound.isSuspended) {
        const n = rig.outbound.takeBack(rig.now, into);
        const other = rigs[1 - which]!;
        other.now = rig.now;
        for (let k = 0; k < n; k++)
          (random.chance(0.5) ? other : rig).outbound.offer(rig.now, into[k]!, LANE_RELIABLE, false);
        if (random.chance(0.6)) rig.outbound.resume();
        rig.pump();
        other.pump();
      } else if (random.chance(0.3)) rig.outbound.suspend(rig.now);
    }
    const now = Math.max(rigs[0]!.now, rigs[1]!.now);
    for (const rig of rigs) {
      rig.now = now;
      rig.pump();
      rig.run(20 * S);
    }
    expect([pool.used, rigs.map(({ outbound }) => outbound.bytesInFlight)]).toEqual([0, [0, 0]]);
    expect(pool.released.sort((a, b) => a - b)).toEqual(numbers(0, pool.taken - 1));
    return rigs[0]!;
  }

  it('whatever is offered, lost, acknowledged, suspended and taken another way', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), (seed) => {
        live(seed, 400);
      }),
      { numRuns: 150 },
    );
  });
});
