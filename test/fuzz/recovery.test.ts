import { describe, expect, it } from 'vitest';
import { Arrivals } from '../../src/overlay/link/recovery/arrivals.js';
import { LossEstimate } from '../../src/overlay/link/recovery/loss-estimate.js';
import { Transmissions } from '../../src/overlay/link/recovery/transmissions.js';
import { LinkFrames } from '../../src/overlay/wire/frames.js';
import { AckFrame, decodeReport, encodeReport, readRepeat } from '../../src/overlay/wire/recovery.js';
import { randomFrom } from '../sim/link-pair.js';

const SEED = 40_506;

/** An acknowledgement's value that is nearly right: of numbers near `next`, with some runs, now and then spoilt. */
function writeNearlyAck(bytes: Uint8Array, next: () => number, epoch: number, newest: number): number {
  const view = new DataView(bytes.buffer);
  const small = (): number => (next() % 50 === 0 ? next() % 65_536 : 1 + (next() % 4));
  const pairs = next() % 5;
  view.setUint8(0, next() % 30 === 0 ? next() : 2);
  view.setUint32(1, (epoch << 24) | ((newest - (next() % 40)) & 0x1f_ffff));
  view.setUint16(5, next());
  view.setUint16(7, next());
  view.setUint16(9, small());
  for (let i = 0; i < pairs; i++) view.setUint32(11 + 4 * i, (small() << 16) | small());
  if (next() % 4 === 0) bytes[next() % 30] = next();
  return next() % 16 === 0 ? next() % 40 : 11 + 4 * pairs;
}

describe(`recovery fed with nonsense by an authentic peer (seed ${SEED})`, () => {
  it('reads frames of random bytes within their length and never throws', () => {
    const next = randomFrom(SEED);
    const ack = new AckFrame();
    const cursor = new LinkFrames();
    const outcomes = new Map<string, number>();
    const count = (what: string): void => void outcomes.set(what, (outcomes.get(what) ?? 0) + 1);
    for (let round = 0; round < 200_000; round++) {
      // The view ends where the length does: a read beyond it throws.
      const bytes = new Uint8Array(next() % 60).map(() => next());
      if (next() % 2 === 0) bytes.set([2, next() & 7, next() & 31].slice(0, bytes.length));
      for (let i = 9; next() % 2 === 0 && i < bytes.length; i += 2) bytes[i] = 0;
      const view = new DataView(bytes.buffer);
      count(ack.read(view, 0, bytes.length));
      count(decodeReport(view, 0, bytes.length).type);
      if (readRepeat(view, 0, Math.min(3, bytes.length)) >= 0) count('repeat');
      if (bytes.length > 4) bytes.set([5 + (next() & 3), 0, next() % bytes.length], 0);
      cursor.reset(view, 0, bytes.length);
      while (cursor.next()) count(`frame ${Math.min(cursor.type, 9)}`);
      if (cursor.routedAt >= bytes.length) throw new Error('a routed frame behind the body');
      if (cursor.routedAt >= 0) count('routed');
    }
    for (const what of [
      'ok',
      'short',
      'unknown-value',
      'inconsistent',
      'report',
      'reject',
      'repeat',
      'routed',
      'frame 5',
    ])
      expect([what, outcomes.get(what) ?? 0]).not.toEqual([what, 0]);
  });

  it('keeps a sender’s accounts whatever is acknowledged', () => {
    const next = randomFrom(SEED);
    const core = new Transmissions({ handles: 64, ring: 64, epoch: 0, maxAckDelay: 5000 });
    const bytes = new Uint8Array(64);
    const view = new DataView(bytes.buffer);
    const results = new Map<string, number>();
    const flying = new Int32Array(64);
    let now = 1e9;
    let newest = 0;
    for (let round = 0; round < 300_000; round++) {
      now += next() % 3000;
      if (next() % 2 === 0 && core.hasRoom()) newest = core.send(now, next() % 64, 100);
      if (next() % 9 === 0) core.release(next() % 64);
      if (next() % 5000 === 0) core.restart();
      if (next() % 4 === 0) core.timeout(now);
      const before = [core.bytesInFlight, core.deliveredBytes, core.nextTimeout()].join();
      for (let handle = 0; handle < 64; handle++) flying[handle] = core.underWay(handle);
      const length = writeNearlyAck(bytes, next, next() % 20 === 0 ? next() % 9 : core.epoch, newest);
      const result = core.acknowledge(now, view, 0, length);
      results.set(result, (results.get(result) ?? 0) + 1);
      const { settled } = core;
      if (result !== 'ok') {
        if (before !== [core.bytesInFlight, core.deliveredBytes, core.nextTimeout()].join())
          throw new Error(`${result} changed something`);
        if (settled.ackedBytes + settled.lostBytes + settled.ceDelta > 0)
          throw new Error('settled by nonsense');
      }
      for (let k = 0; k < settled.deliveredCount; k++)
        if (core.firstNumber(settled.delivered[k]) >= 0) throw new Error('delivered and not released');
      for (let k = 0; k < settled.lostCount; k++)
        if (flying[settled.lost[k]] === 0 || core.underWay(settled.lost[k]) > 0)
          throw new Error('lost twice, or not');
      if (settled.ceDelta * 100 > settled.ackedBytes) throw new Error('more marks than records');
      if (core.bytesInFlight < 0 || core.bytesInFlight > 6400)
        throw new Error('bytes under way out of bounds');
      if (Number.isNaN(core.nextTimeout())) throw new Error('timer is not a number');
      if (core.bytesInFlight > 0 === (core.nextTimeout() === Infinity))
        throw new Error('a timer for nothing, or none');
    }
    for (const result of ['ok', 'short', 'unknown-value', 'inconsistent', 'other-epoch', 'never-sent'])
      expect([result, results.get(result) ?? 0]).not.toEqual([result, 0]);
  });

  it('keeps a receiver able to acknowledge whatever numbers come', () => {
    const next = randomFrom(SEED);
    const core = new Arrivals({ lane: 2, window: 256, ackEvery: 4, maxAckDelay: 5000 });
    const view = new DataView(new ArrayBuffer(200));
    const ack = new AckFrame();
    const verdicts = [0, 0, 0];
    let now = 1e9;
    let number = 0;
    let epoch = 0;
    for (let round = 0; round < 300_000; round++) {
      now += next() % 2000;
      if (next() % 3000 === 0) now += 2_000_000;
      if (next() % 200 === 0) epoch = next() & 7;
      if (next() % 100 === 0) number = next() & 0x1f_ffff;
      number = (number + (next() % 5)) & 0x1f_ffff;
      const of = (number - (next() % 300)) & 0x1f_ffff;
      const which = next() % 3 === 0 ? of : number;
      verdicts[core.receive(now, epoch, which, next() % 4 === 0 ? of : -1, next() % 9 === 0)]++;
      if (next() % 7 === 0) core.repaired(0, of);
      if (!core.ackDue(now)) continue;
      const end = core.writeAck(now, view, 0, 100 + (next() % 100));
      if (ack.read(view, 3, end - 3) !== 'ok') throw new Error('wrote an acknowledgement that can’t be read');
      if (ack.largest !== core.largest) throw new Error('acknowledged another number');
      if (core.hasNews || core.nextAck() !== Infinity) throw new Error('still has news');
      const reported = core.writeReport(now, view, 0, 200);
      const report = decodeReport(view, 3, reported - 3);
      if (
        reported > 0 &&
        (report.type === 'reject' || report.lost > report.expected || report.runs > report.lost)
      )
        throw new Error('reported the impossible');
    }
    expect(verdicts.every((each) => each > 1000)).toBe(true);
  });

  it('keeps an estimate of loss between nothing and all', () => {
    const next = randomFrom(SEED);
    const view = new DataView(new ArrayBuffer(40));
    const estimate = new LossEstimate();
    const u32 = (): number => (next() % 3 === 0 ? next() : next() % 1000);
    let now = 1e9;
    let taken = 0;
    for (let round = 0; round < 200_000; round++) {
      now += next() % 200_000;
      const epoch = next() % 9;
      encodeReport(view, 0, {
        type: 'report',
        lane: 2,
        epoch,
        expected: u32(),
        lost: u32(),
        runs: u32(),
        repaired: u32(),
      });
      if (estimate.receiveReport(now, view, 3, next() % 40 === 0 ? next() % 18 : 18)) taken++;
      const { loss, burst, after } = estimate;
      if (!(loss >= 0 && loss <= 1 && after >= 0 && after <= loss && burst >= 1 && Number.isFinite(burst)))
        throw new Error(`loss ${loss}, after ${after}, burst ${burst}`);
    }
    expect(taken).toBeGreaterThan(100);
  });
});
