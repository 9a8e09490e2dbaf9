import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LinkFrames, FRAME_ACK, FRAME_REPEAT, FRAME_REPORT } from '../../../src/overlay/wire/frames.js';
import {
  isRecord,
  readCounter,
  readNumber,
  readNumberEpoch,
  readReceiverIndex,
  writeNumber,
  writeRecordHeader,
} from '../../../src/overlay/wire/record.js';
import * as recovery from '../../../src/overlay/wire/recovery.js';

const AT = 5;
const view = (size = 300): DataView => new DataView(new ArrayBuffer(size));
const hex = (v: DataView, from: number, to: number): string =>
  Buffer.from(v.buffer, from, to - from).toString('hex');

/** Writes an acknowledgement; `pairs` of gap and length. */
function writeAck(v: DataView, at: number, first: number, pairs: readonly (readonly number[])[]): number {
  let end = recovery.writeAckHead(v, at, 2, 5, 0x1abcde, 1605, 0x10007, first, pairs.length);
  for (const [gap, length] of pairs) end = recovery.writeAckPair(v, end, gap, length);
  return end;
}

describe('a record’s number', () => {
  it('lies with its epoch in the header’s bytes 1 to 3, and leaves the rest alone', () => {
    const v = view();
    writeRecordHeader(v, AT, 0x01020304, 0x0506);
    expect([readNumberEpoch(v, AT), readNumber(v, AT)]).toEqual([0, 0]);
    writeNumber(v, AT, 5, 0x1abcde);
    expect(hex(v, AT, AT + 16)).toBe('15' + 'babcde' + '01020304' + '0000000000000506');
    expect([readNumberEpoch(v, AT), readNumber(v, AT)]).toEqual([5, 0x1abcde]);
    expect([isRecord(v, AT, 32), readReceiverIndex(v, AT), readCounter(v, AT)]).toEqual([
      true,
      0x01020304,
      0x0506,
    ]);
    writeNumber(v, AT, 7, 0x1fffff);
    expect([readNumberEpoch(v, AT), readNumber(v, AT)]).toEqual([7, 0x1fffff]);
  });
});

describe('an acknowledgement', () => {
  it('lies as docs/wire-format.md draws it', () => {
    const v = view();
    const end = writeAck(v, AT, 0x0102, [
      [1, 0x0203],
      [0x0304, 1],
    ]);
    expect(hex(v, AT, end)).toBe(
      '050013' + '02' + '05' + '1abcde' + '0064' + '0007' + '0102' + '00010203' + '03040001',
    );
    expect(writeAck(v, AT, 1, []) - AT).toBe(14);
  });

  it('comes out as it went in, ranges as distances back from the largest', () => {
    const v = view();
    const end = writeAck(v, AT, 3, [
      [2, 1],
      [1, 4],
    ]);
    const ack = new recovery.AckFrame();
    expect(ack.read(v, AT + 3, end - AT - 3)).toBe('ok');
    expect(ack).toMatchObject({ lane: 2, epoch: 5, largest: 0x1abcde, delay: 1600, ceMarks: 7, ranges: 3 });
    expect([...ack.newest.slice(0, 3)]).toEqual([0, 5, 7]);
    expect([...ack.oldest.slice(0, 3)]).toEqual([2, 5, 10]);
  });

  it('says no longer a delay than fits', () => {
    const v = view();
    recovery.writeAckHead(v, AT, 3, 0, 0, 10_000_000, 0, 1, 0);
    const ack = new recovery.AckFrame();
    expect([ack.read(v, AT + 3, 11), ack.delay]).toEqual(['ok', 0xffff * 16]);
  });

  it('is refused when short, long, of unknown class or epoch, empty, or further back than its span', () => {
    const v = view(400);
    const ack = new recovery.AckFrame();
    const read = (first: number, pairs: number[][], length?: number): string => {
      const end = writeAck(v, AT, first, pairs);
      return ack.read(v, AT + 3, length ?? end - AT - 3);
    };
    expect([read(1, [], 10), read(1, [[1, 1]], 13), read(1, [], 0)]).toEqual(['short', 'short', 'short']);
    const thirty = Array.from({ length: 30 }, () => [1, 1]);
    expect([read(1, thirty), read(1, [...thirty, [1, 1]])]).toEqual(['ok', 'long']);
    expect([read(0, []), read(1, [[0, 1]]), read(1, [[1, 0]])]).toEqual(Array(3).fill('inconsistent'));
    expect([read(32768, []), read(32769, []), read(32767, [[1, 1]]), read(32766, [[1, 1]])]).toEqual([
      'ok',
      'inconsistent',
      'inconsistent',
      'ok',
    ]);
    for (const [offset, value] of [
      [0, 1],
      [0, 4],
      [1, 8],
      [2, 0x20],
    ]) {
      writeAck(v, AT, 1, []);
      v.setUint8(AT + 3 + offset, value);
      expect([offset, value, ack.read(v, AT + 3, 11)]).toEqual([offset, value, 'unknown-value']);
    }
  });

  it('never reaches beyond its span, whatever a peer writes', () => {
    const ack = new recovery.AckFrame();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 140 }), (bytes) => {
        const copy = bytes.slice();
        const v = new DataView(copy.buffer);
        if (ack.read(v, 0, copy.length) !== 'ok') return;
        let last = -1;
        for (let i = 0; i < ack.ranges; i++) {
          expect(ack.newest[i]).toBeGreaterThan(i === 0 ? -1 : last + 1);
          expect(ack.oldest[i]).toBeGreaterThanOrEqual(ack.newest[i]);
          last = ack.oldest[i];
        }
        expect(last).toBeLessThan(recovery.ACK_SPAN);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('a repeat', () => {
  it('lies as docs/wire-format.md draws it, and comes out as it went in', () => {
    const v = view();
    const end = recovery.writeRepeat(v, AT, 0x1abcde);
    expect(hex(v, AT, end)).toBe('060003' + '1abcde');
    expect(end - AT).toBe(recovery.REPEAT_FRAME_SIZE);
    expect(recovery.readRepeat(v, AT + 3, 3)).toBe(0x1abcde);
  });

  it('of another length or of more than 21 bits is none', () => {
    const v = view();
    recovery.writeRepeat(v, AT, 1);
    expect([recovery.readRepeat(v, AT + 3, 2), recovery.readRepeat(v, AT + 3, 4)]).toEqual([-1, -1]);
    v.setUint8(AT + 3, 0x20);
    expect(recovery.readRepeat(v, AT + 3, 3)).toBe(-1);
  });
});

describe('a report', () => {
  const report: recovery.Report = {
    type: 'report',
    lane: 3,
    epoch: 7,
    expected: 0xf1f2f3f4,
    lost: 0xe1e2e3e4,
    runs: 0xd1d2d3d4,
    repaired: 0xc1c2c3c4,
  };

  it('lies as docs/wire-format.md draws it, may be extended, and comes out as it went in', () => {
    const v = view();
    const end = recovery.encodeReport(v, AT, report);
    expect(hex(v, AT, end)).toBe('080012' + '0307' + 'f1f2f3f4' + 'e1e2e3e4' + 'd1d2d3d4' + 'c1c2c3c4');
    expect(end - AT).toBe(recovery.REPORT_FRAME_SIZE);
    for (const length of [18, 30]) expect(recovery.decodeReport(v, AT + 3, length)).toEqual(report);
    expect(recovery.readRecoveryLane(v, AT + 3)).toBe(3);
  });

  it('is refused when short or of unknown class or epoch', () => {
    const v = view();
    recovery.encodeReport(v, AT, report);
    expect(recovery.decodeReport(v, AT + 3, 17)).toEqual({ type: 'reject', reason: 'short' });
    v.setUint8(AT + 4, 8);
    expect(recovery.decodeReport(v, AT + 3, 18)).toEqual({ type: 'reject', reason: 'unknown-value' });
    v.setUint16(AT + 3, 0x0100);
    expect(recovery.decodeReport(v, AT + 3, 18)).toEqual({ type: 'reject', reason: 'unknown-value' });
  });
});

describe('frames of recovery', () => {
  it('go in front of a routed frame, which the cursor finds', () => {
    const v = view();
    let end = writeAck(v, AT, 2, [[1, 1]]);
    end = recovery.writeRepeat(v, end, 9);
    const routed = recovery.encodeReport(v, end, {
      type: 'report',
      lane: 2,
      epoch: 0,
      expected: 1,
      lost: 0,
      runs: 0,
      repaired: 0,
    });
    v.setUint8(routed, 0x10);
    const cursor = new LinkFrames();
    cursor.reset(v, AT, routed + 24 - AT);
    const types: number[] = [];
    while (cursor.next()) types.push(cursor.type);
    expect(types).toEqual([FRAME_ACK, FRAME_REPEAT, FRAME_REPORT]);
    expect([cursor.routedAt, cursor.malformed]).toEqual([routed, false]);
  });
});
