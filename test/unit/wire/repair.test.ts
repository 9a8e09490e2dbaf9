import { FRAME_REPAIR } from '../../../src/overlay/wire/frames.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LINK_FRAME_HEAD, LinkFrames } from '../../../src/overlay/wire/frames.js';
import { NUMBER_MASK } from '../../../src/overlay/wire/record.js';
import {
  readRepair,
  repairCoefficient,
  RepairHead,
  REPAIR_OVERHEAD_MAX,
  REPAIR_SPAN_MAX,
  REPAIR_WINDOW_MAX,
  writeRepairHead,
} from '../../../src/overlay/wire/repair.js';

const AT = 3;
const CODED = 60;

function write(key: number, numbers: readonly number[]): { view: DataView; coded: number } {
  const view = new DataView(new ArrayBuffer(200));
  for (let i = 0; i < 200; i++) view.setUint8(i, 0xaa);
  const coded = writeRepairHead(view, AT, key, Int32Array.from([9, ...numbers]), 1, numbers.length, CODED);
  return { view, coded };
}

const read = (view: DataView, length: number, head = new RepairHead()): [string, RepairHead] => [
  readRepair(view, AT + LINK_FRAME_HEAD, length, head),
  head,
];

describe('repair frame', () => {
  it.each([
    ['a lone frame', [0x1abcde], '07' + '0042' + '1abcde' + '01' + '0102'],
    ['two in a row', [1, 2], '07' + '0043' + '000001' + '02' + '0102' + '01'],
    ['nine numbers', [5, 7, 13], '07' + '0043' + '000005' + '09' + '0102' + '82'],
    ['ten numbers', [5, 7, 14], '07' + '0044' + '000005' + '0a' + '0102' + '0201'],
    ['numbers that wrap', [0x1fffff, 1], '07' + '0043' + '1fffff' + '03' + '0102' + '02'],
  ])('is laid out as documented for %s', (_, numbers, expected) => {
    const { view, coded } = write(0x102, numbers);
    expect(Buffer.from(view.buffer, AT, coded - AT).toString('hex')).toBe(expected);
    const frames = new LinkFrames();
    frames.reset(view, AT, coded + CODED - AT);
    expect(frames.next()).toBe(true);
    expect(frames.type).toBe(FRAME_REPAIR);
    expect(frames.length).toBe(coded + CODED - AT - LINK_FRAME_HEAD);
  });

  it('reads back as it was written, for any window', () => {
    const windows = fc
      .uniqueArray(fc.integer({ min: 1, max: REPAIR_SPAN_MAX - 1 }), { maxLength: REPAIR_WINDOW_MAX - 1 })
      .map((offsets) => [0, ...offsets.sort((a, b) => a - b)]);
    fc.assert(
      fc.property(
        windows,
        fc.integer({ min: 0, max: NUMBER_MASK }),
        fc.nat(0xffff),
        (offsets, first, key) => {
          const numbers = offsets.map((offset) => (first + offset) & NUMBER_MASK);
          const { view, coded } = write(key, numbers);
          expect(coded - AT + 2).toBeLessThanOrEqual(REPAIR_OVERHEAD_MAX);
          const [result, head] = read(view, coded + CODED - AT - LINK_FRAME_HEAD);
          expect(result).toBe('ok');
          expect([...head.numbers.subarray(0, head.count)]).toEqual(numbers);
          expect([head.key, head.at, head.length]).toEqual([key, coded, CODED]);
        },
      ),
      { seed: 1 },
    );
  });

  it('is short with less than a routed header coded', () => {
    const { view } = write(1, [5, 7]);
    expect(read(view, 5)[0]).toBe('short');
    expect(read(view, 7 + 2 + 23)[0]).toBe('short');
    expect(read(view, 7 + 2 + 24)[0]).toBe('ok');
  });

  it.each([
    ['unknown-value', 'a span of zero', 3, 0],
    ['unknown-value', 'too great a span', 3, REPAIR_SPAN_MAX + 1],
    ['unknown-value', 'a number of more than 21 bits', 0, 0x20],
    ['inconsistent', 'a window without its newest frame', 6, 1],
    ['inconsistent', 'a frame behind its newest', 6, 6],
  ] as const)('is rejected as %s for %s', (reason, _, offset, byte) => {
    const { view } = write(1, [5, 7]);
    view.setUint8(AT + LINK_FRAME_HEAD + offset, byte);
    expect(read(view, 80)[0]).toBe(reason);
  });

  it('is rejected for more than 32 frames', () => {
    const numbers = Array.from({ length: 32 }, (_, i) => i);
    const { view } = write(1, [...numbers, 40]);
    expect(read(view, 80)[0]).toBe('inconsistent');
    expect(read(write(1, numbers).view, 80)[0]).toBe('ok');
  });
});

describe('coefficient of a repair', () => {
  it('is one for key 0', () => {
    for (let number = 0; number < 100; number++) expect(repairCoefficient(0, number)).toBe(1);
  });

  it('is what the wire format says', () => {
    const some = [1, 2, 0xffff].flatMap((key) => [0, 1, NUMBER_MASK].map((n) => repairCoefficient(key, n)));
    expect(some).toEqual([50, 144, 43, 165, 177, 163, 42, 29, 187]);
  });

  it('is spread evenly over 1…255', () => {
    const counts = new Array<number>(256).fill(0);
    for (let key = 1; key <= 100; key++) for (let n = 0; n < 255; n++) counts[repairCoefficient(key, n)]++;
    expect(counts[0]).toBe(0);
    expect(Math.min(...counts.slice(1))).toBeGreaterThan(60);
    expect(Math.max(...counts)).toBeLessThan(145);
  });
});
