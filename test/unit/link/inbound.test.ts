import { describe, expect, it } from 'vitest';
import { Inbound } from '../../../src/overlay/link/inbound.js';
import { MAX_ACK_DELAY } from '../../../src/overlay/link/outbound.js';
import { ARRIVAL_DUPLICATE, ARRIVAL_NEW } from '../../../src/overlay/link/recovery/arrivals.js';
import { FRAME_ACK, FRAME_REPORT, LinkFrames } from '../../../src/overlay/wire/frames.js';
import { LANE_REALTIME, LANE_RELIABLE } from '../../../src/overlay/wire/lanes.js';
import { AckFrame, decodeReport } from '../../../src/overlay/wire/recovery.js';

const view = new DataView(new ArrayBuffer(400));

/** What the link frames in `view` before `end` say. */
function read(end: number): { lane: number; type: number; largest?: number; lost?: number }[] {
  const cursor = new LinkFrames();
  cursor.reset(view, 0, end);
  const said = [];
  const ack = new AckFrame();
  while (cursor.next()) {
    const { type, at, length } = cursor;
    if (type === FRAME_ACK) {
      expect(ack.read(view, at, length)).toBe('ok');
      said.push({ type, lane: ack.lane, largest: ack.largest });
    } else {
      const report = decodeReport(view, at, length);
      if (report.type !== 'report') throw new Error(report.reason);
      said.push({ type, lane: report.lane, lost: report.lost });
    }
  }
  expect(cursor.malformed).toBe(false);
  return said;
}

/** Records `numbers` of a lane, from `now` on, one each 100 µs. */
function receive(inbound: Inbound, lane: number, numbers: readonly number[], now = 0): number[] {
  return numbers.map((number, i) => inbound.ofLane(lane).receive(now + 100 * i, 0, number, -1, false));
}

describe('what a link owes its peer', () => {
  it('is nothing before anything has come', () => {
    const inbound = new Inbound();
    expect([inbound.hasNews, inbound.isDue(1e9), inbound.nextTimeout()]).toEqual([false, false, Infinity]);
    expect(inbound.writeAcks(0, view, 0, 400)).toBe(0);
    expect(inbound.writeReports(0, view, 0, 400)).toBe(0);
  });

  it('is an acknowledgement within the delay that both ends know, and at once after sixteen records', () => {
    const inbound = new Inbound();
    receive(inbound, LANE_RELIABLE, [0]);
    expect([inbound.hasNews, inbound.isDue(MAX_ACK_DELAY - 1)]).toEqual([true, false]);
    expect(inbound.nextTimeout()).toBe(MAX_ACK_DELAY);
    expect(inbound.isDue(MAX_ACK_DELAY)).toBe(true);
    receive(
      inbound,
      LANE_RELIABLE,
      Array.from({ length: 15 }, (_, i) => i + 1),
    );
    expect(inbound.isDue(1500)).toBe(true);
  });

  it('is told of both classes, each with its own numbers, and then no more', () => {
    const inbound = new Inbound();
    expect(receive(inbound, LANE_RELIABLE, [7, 8])).toEqual([ARRIVAL_NEW, ARRIVAL_NEW]);
    expect(receive(inbound, LANE_REALTIME, [8, 8])).toEqual([ARRIVAL_NEW, ARRIVAL_DUPLICATE]);
    const end = inbound.writeAcks(300, view, 0, 400);
    expect(read(end)).toEqual([
      { type: FRAME_ACK, lane: LANE_RELIABLE, largest: 8 },
      { type: FRAME_ACK, lane: LANE_REALTIME, largest: 8 },
    ]);
    expect([inbound.hasNews, inbound.nextTimeout()]).toEqual([false, Infinity]);
    expect(inbound.writeAcks(300, view, 0, 400)).toBe(0);
  });

  it('stays due where there was no room for it', () => {
    const inbound = new Inbound();
    receive(inbound, LANE_RELIABLE, [0, 2]);
    receive(inbound, LANE_REALTIME, [0, 2]);
    expect(inbound.writeAcks(300, view, 0, 13)).toBe(0);
    const first = inbound.writeAcks(300, view, 0, 20);
    expect(read(first)).toEqual([{ type: FRAME_ACK, lane: LANE_RELIABLE, largest: 2 }]);
    expect([inbound.hasNews, inbound.isDue(300)]).toEqual([true, true]);
    expect(read(inbound.writeAcks(300, view, 0, 20))).toEqual([
      { type: FRAME_ACK, lane: LANE_REALTIME, largest: 2 },
    ]);
    expect(inbound.hasNews).toBe(false);
  });

  it('includes a report of what was lost, of both classes, when that has changed, ten times a second at most', () => {
    const inbound = new Inbound();
    receive(inbound, LANE_RELIABLE, [0, 3, 4, 5]);
    receive(inbound, LANE_REALTIME, [0, 2, 3, 4]);
    const late = 1_000_000;
    receive(inbound, LANE_RELIABLE, [6], late);
    receive(inbound, LANE_REALTIME, [5], late);
    expect(read(inbound.writeReports(late, view, 0, 400))).toEqual([
      { type: FRAME_REPORT, lane: LANE_RELIABLE, lost: 2 },
      { type: FRAME_REPORT, lane: LANE_REALTIME, lost: 1 },
    ]);
    receive(inbound, LANE_RELIABLE, [7, 8], late);
    expect(inbound.writeReports(late + 99_999, view, 0, 400)).toBe(0);
    expect(read(inbound.writeReports(late + 200_000, view, 0, 400)).map(({ lane }) => lane)).toEqual([
      LANE_RELIABLE,
    ]);
  });
});
