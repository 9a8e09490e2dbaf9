import { describe, expect, it } from 'vitest';
import { encodeHello } from '../../../src/overlay/wire/frames.js';
import {
  LANE_BEST_EFFORT,
  LANE_CONTROL,
  LANE_REALTIME,
  LANE_RELIABLE,
} from '../../../src/overlay/wire/lanes.js';
import { encodeReport, REPORT_FRAME_SIZE } from '../../../src/overlay/wire/recovery.js';
import { ackFrame, join, repeatFrame } from '../../support/forward/bodies.js';
import { frame } from '../../support/forward/frames.js';
import { ForwardRig, NEAR, SELF } from '../../support/forward/rig.js';
import { buildPacket, TCP } from '../../support/native-packets.js';

const inner = (to: number, from: number) =>
  buildPacket({ version: 4, protocol: TCP, payload: Uint8Array.of(1, 2, 3), from, to, checksum: 'whole' });
const data = (sequence = 1, service = 1) =>
  frame({ from: NEAR, to: SELF, service, sequence }, inner(SELF, NEAR));
const open = () => new ForwardRig({ services: { tcp: 1 } });

function hello(): Uint8Array {
  const view = new DataView(new ArrayBuffer(40));
  const fields = { number: 1, clock: 2, echoClock: 0, echoAge: 0, answer: false, busy: false };
  const end = encodeHello(view, 0, { type: 'hello', ...fields });
  return new Uint8Array(view.buffer, 0, end);
}

function report(expected: number, lost: number): Uint8Array {
  const bytes = new Uint8Array(REPORT_FRAME_SIZE);
  const counts = { expected, lost, runs: lost, repaired: 0 };
  encodeReport(new DataView(bytes.buffer), 0, { type: 'report', lane: LANE_RELIABLE, epoch: 7, ...counts });
  return bytes;
}

function arrive(rig: ForwardRig, body: Uint8Array, lane: number, number = 0): void {
  rig.near.send([
    lane >= LANE_RELIABLE ? rig.near.sealNumbered(body, lane, number) : rig.near.seal(body, lane),
  ]);
  rig.settle();
}

/** Sends a packet to NEAR, which is under way then. */
function sendOne(rig: ForwardRig): void {
  rig.tun.inject(inner(NEAR, SELF));
  rig.settle();
  expect(rig.store.used).toBe(1);
}

describe('link frames in front of a routed one', () => {
  it.each([LANE_BEST_EFFORT, LANE_RELIABLE, LANE_REALTIME])(
    'are taken, and so is the frame (lane %i)',
    (lane) => {
      const rig = open();
      sendOne(rig);
      arrive(rig, join(ackFrame(LANE_RELIABLE, 7, [0]), report(10, 1), data()), lane);
      expect(rig.takeTun()).toEqual([inner(SELF, NEAR)]);
      expect([rig.store.used, rig.drops(), rig.linkFrames]).toEqual([0, {}, []]);
      expect(rig.near.neighbour.hop!.outbound.stats.acksRejected).toBe(0);
    },
  );

  it("that aren't recovery's go to the link, without the routed frame", () => {
    const rig = open();
    arrive(rig, join(hello(), data()), LANE_RELIABLE);
    expect(rig.linkFrames).toEqual([{ from: NEAR, bytes: hello() }]);
    expect(rig.takeTun()).toHaveLength(1);
  });

  it('that are malformed cost the rest of the body', () => {
    const rig = open();
    sendOne(rig);
    const ack = ackFrame(LANE_RELIABLE, 7, [0]);
    arrive(rig, join(ack, Uint8Array.of(0x05, 0xff, 0xff), data()), LANE_RELIABLE);
    expect(rig.drops()).toEqual({ 'frame-malformed': 1 });
    expect([rig.takeTun(), rig.store.used]).toEqual([[], 0]);
  });

  it('cost nothing where the routed frame is no good', () => {
    const rig = open();
    sendOne(rig);
    arrive(rig, join(ackFrame(LANE_RELIABLE, 7, [0]), data().subarray(0, 20)), LANE_RELIABLE);
    expect(rig.drops()).toEqual({ 'frame-malformed': 1 });
    expect(rig.store.used).toBe(0);
  });
});

describe('a repeat frame', () => {
  it('makes a duplicate of what was here, and something new of what was not', () => {
    const rig = open();
    arrive(rig, data(1), LANE_RELIABLE, 0);
    arrive(rig, join(repeatFrame(0), data(1)), LANE_RELIABLE, 2);
    expect([rig.takeTun().length, rig.counters.duplicates]).toEqual([1, 1]);
    arrive(rig, join(repeatFrame(1), data(2)), LANE_RELIABLE, 3);
    arrive(rig, data(2), LANE_RELIABLE, 1);
    expect([rig.takeTun().length, rig.counters.duplicates]).toEqual([1, 2]);
  });

  it('counts for its own record only', () => {
    const rig = open();
    arrive(rig, data(1), LANE_RELIABLE, 0);
    const batch = [join(repeatFrame(0), data(1)), data(2), join(ackFrame(2, 7, [0]), data(3))];
    rig.near.send(batch.map((body, i) => rig.near.sealNumbered(body, LANE_RELIABLE, 1 + i)));
    rig.settle();
    expect([rig.takeTun().length, rig.counters.duplicates]).toEqual([3, 1]);
  });

  it('on a lane without numbers says nothing', () => {
    const rig = open();
    for (let i = 0; i < 2; i++) arrive(rig, join(repeatFrame(0), data(1, 0)), LANE_BEST_EFFORT);
    expect([rig.takeTun().length, rig.counters.duplicates]).toEqual([2, 0]);
  });
});

describe('acknowledgements that make no sense', () => {
  it('before anything went there are nothing, and make no hop', () => {
    const rig = open();
    arrive(rig, ackFrame(LANE_RELIABLE, 7, [0, 1, 2]), LANE_CONTROL);
    arrive(rig, report(10, 10), LANE_CONTROL);
    expect([rig.near.neighbour.hop, rig.drops()]).toEqual([undefined, {}]);
  });

  it('are counted and harmless: of the future, of another epoch, of a lane without numbers', () => {
    const rig = open();
    sendOne(rig);
    const absurd = [
      ackFrame(LANE_RELIABLE, 7, [1]),
      ackFrame(LANE_RELIABLE, 7, [0, 1_000_000]),
      ackFrame(LANE_RELIABLE, 6, [0]),
      ackFrame(LANE_REALTIME, 7, [0]),
      ackFrame(LANE_BEST_EFFORT, 7, [0]),
      ackFrame(200, 7, [0]),
    ];
    arrive(rig, join(...absurd), LANE_CONTROL);
    expect(rig.near.neighbour.hop!.outbound.stats.acksRejected).toBe(absurd.length);
    expect(rig.store.used).toBe(1);
    arrive(rig, ackFrame(LANE_RELIABLE, 7, [0]), LANE_CONTROL);
    expect(rig.store.used).toBe(0);
  });
});
