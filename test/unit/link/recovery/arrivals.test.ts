import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ARRIVAL_DUPLICATE,
  ARRIVAL_NEW,
  ARRIVAL_UNNUMBERED,
  Arrivals,
} from '../../../../src/overlay/link/recovery/arrivals.js';
import { add21 } from '../../../../src/overlay/link/recovery/numbers.js';
import { AckFrame, decodeReport } from '../../../../src/overlay/wire/recovery.js';

const MS = 1000;
const S = 1000 * MS;
const SPACE = 2 ** 21;
const NEVER = Infinity;

class Rig {
  readonly core: Arrivals;
  now = 1_000_000_000;
  private readonly view = new DataView(new ArrayBuffer(400));
  private readonly frame = new AckFrame();

  constructor(window = 64, ackEvery = 4) {
    this.core = new Arrivals({ lane: 3, window, ackEvery, maxAckDelay: 5 * MS });
  }

  take(number: number, o: { epoch?: number; repeatOf?: number; ce?: boolean } = {}): number {
    return this.core.receive(this.now, o.epoch ?? 2, add21(number, 0), o.repeatOf ?? -1, o.ce ?? false);
  }

  /** The numbers acknowledged, newest first and unwrapped downward from the largest, each as a run. */
  ack(limit = 400): {
    runs: [number, number][];
    ceMarks: number;
    delay: number;
    bytes: number;
    epoch: number;
  } {
    const end = this.core.writeAck(this.now, this.view, 4, limit);
    const { frame } = this;
    expect(frame.read(this.view, 7, end - 7)).toBe('ok');
    expect(frame.lane).toBe(3);
    const runs = Array.from({ length: frame.ranges }, (_, i): [number, number] => [
      frame.largest - frame.oldest[i],
      frame.largest - frame.newest[i],
    ]);
    const { ceMarks, delay, epoch } = frame;
    return { runs, ceMarks, delay, bytes: end - 4, epoch };
  }

  /** Expected, lost, runs and repaired as reported; undefined where nothing is. */
  report(): number[] | undefined {
    const end = this.core.writeReport(this.now, this.view, 0, 400);
    if (end === 0) return undefined;
    const report = decodeReport(this.view, 3, end - 3);
    return report.type === 'report'
      ? [report.expected, report.lost, report.runs, report.repaired]
      : undefined;
  }
}

describe('a frame', () => {
  it('is new once, whichever of its transmissions comes first', () => {
    const rig = new Rig();
    expect([rig.take(0), rig.take(0), rig.take(2), rig.take(1), rig.take(1)]).toEqual([
      ARRIVAL_NEW,
      ARRIVAL_DUPLICATE,
      ARRIVAL_NEW,
      ARRIVAL_NEW,
      ARRIVAL_DUPLICATE,
    ]);
    // 3 is lost; 4 and 5 bring it again; then it comes after all.
    expect([rig.take(4, { repeatOf: 3 }), rig.take(5, { repeatOf: 3 }), rig.take(3)]).toEqual([
      ARRIVAL_NEW,
      ARRIVAL_DUPLICATE,
      ARRIVAL_DUPLICATE,
    ]);
    expect(rig.take(6, { repeatOf: 2 })).toBe(ARRIVAL_DUPLICATE);
    expect(rig.ack().runs).toEqual([[0, 6]]);
  });

  it('that parity gave is no longer missing, is acknowledged at once, and is a duplicate when it comes', () => {
    const rig = new Rig();
    rig.take(0);
    rig.take(2);
    expect([0, 1, 2, 3].map((n) => rig.core.isMissing(n))).toEqual([false, true, false, false]);
    expect([0, 1, 1, 2, 3].map((n) => rig.core.repaired(rig.now, n))).toEqual([
      false,
      true,
      false,
      false,
      false,
    ]);
    expect(rig.core.isMissing(1)).toBe(false);
    expect(rig.core.ackDue(rig.now)).toBe(true);
    expect(rig.ack().runs).toEqual([[0, 2]]);
    expect([rig.take(3, { repeatOf: 1 }), rig.take(1)]).toEqual([ARRIVAL_DUPLICATE, ARRIVAL_DUPLICATE]);
    expect(rig.ack().runs).toEqual([[0, 3]]);
  });

  it('of a repeat that names a number out of the window, or not yet sent, is delivered and acknowledged', () => {
    const rig = new Rig(32);
    rig.take(100);
    expect([
      rig.take(101, { repeatOf: 69 }),
      rig.take(102, { repeatOf: 72 }),
      rig.take(103, { repeatOf: 72 }),
    ]).toEqual([ARRIVAL_NEW, ARRIVAL_NEW, ARRIVAL_DUPLICATE]);
    expect([rig.take(104, { repeatOf: 105 }), rig.take(105)]).toEqual([ARRIVAL_NEW, ARRIVAL_NEW]);
    expect(rig.ack().runs).toEqual([[100, 105]]);
  });

  it('further behind than the window is delivered and not acknowledged', () => {
    const rig = new Rig(32);
    rig.take(0);
    rig.take(50);
    rig.ack();
    expect([rig.take(18), rig.take(18), rig.core.hasNews]).toEqual([
      ARRIVAL_UNNUMBERED,
      ARRIVAL_UNNUMBERED,
      false,
    ]);
    expect([rig.take(19), rig.take(19)]).toEqual([ARRIVAL_NEW, ARRIVAL_DUPLICATE]);
  });

  it('of any number that a leap skipped is new, whatever lay a window before', () => {
    for (const leap of [1, 31, 32, 33, 64, 100, 127, 128, 500]) {
      const rig = new Rig(128);
      for (let n = 0; n < 200; n++) rig.take(n);
      rig.take(199 + leap);
      for (let n = Math.max(200, 199 + leap - 127); n < 199 + leap; n++)
        expect([leap, n, rig.core.isMissing(n), rig.take(n)]).toEqual([leap, n, true, ARRIVAL_NEW]);
      for (let n = Math.max(73 + leap, 73); n < 199 + leap; n++)
        expect([leap, n, rig.take(n)]).toEqual([leap, n, ARRIVAL_DUPLICATE]);
    }
  });

  it('of nothing known is not missing', () => {
    const rig = new Rig();
    expect([
      rig.core.isMissing(0),
      rig.core.repaired(rig.now, 0),
      rig.core.writeAck(0, new DataView(new ArrayBuffer(99)), 5, 99),
    ]).toEqual([false, false, 5]);
  });
});

describe('an acknowledgement', () => {
  it('is due after so many records, or its delay after the first of them', () => {
    const rig = new Rig();
    const due = (): number => rig.core.nextAck() - rig.now;
    expect(due()).toBe(NEVER);
    rig.take(0);
    expect([due(), rig.core.ackDue(rig.now + 4999), rig.core.ackDue(rig.now + 5000)]).toEqual([
      5000,
      false,
      true,
    ]);
    rig.now += 2000;
    rig.take(1);
    rig.take(2);
    expect([due(), rig.core.hasNews]).toEqual([3000, true]);
    rig.take(3);
    expect([due(), rig.core.ackDue(rig.now)]).toEqual([0, true]);
    rig.now += 320;
    expect(rig.ack()).toMatchObject({ runs: [[0, 3]], delay: 320, bytes: 14, epoch: 2 });
    expect([due(), rig.core.hasNews]).toEqual([NEVER, false]);
  });

  it('is due at once when a gap opens, and when it closes', () => {
    const rig = new Rig();
    rig.take(0);
    rig.ack();
    for (const [number, due] of [
      [2, true],
      [3, false],
      [1, true],
      [4, false],
      [6, true],
    ] as const) {
      rig.take(number);
      expect([number, rig.core.ackDue(rig.now)]).toEqual([number, due]);
      rig.ack();
    }
  });

  it('is due at once at the first congestion mark in a row, and counts them', () => {
    const rig = new Rig();
    rig.take(0);
    rig.ack();
    const marked = [true, true, false, true].map((ce, i) => {
      rig.take(1 + i, { ce });
      const due = rig.core.ackDue(rig.now);
      return [due, rig.ack().ceMarks];
    });
    expect(marked).toEqual([
      [true, 1],
      [false, 2],
      [false, 2],
      [true, 3],
    ]);
  });

  it('tells as many runs as fit, the newest ones', () => {
    const rig = new Rig(256);
    for (let n = 0; n < 100; n += 2) rig.take(n);
    expect(rig.ack()).toMatchObject({ bytes: 14 + 30 * 4 });
    expect(rig.ack(4 + 14 + 11).runs).toEqual([
      [98, 98],
      [96, 96],
      [94, 94],
    ]);
    const nothing = new DataView(new ArrayBuffer(50));
    expect([rig.core.writeAck(rig.now, nothing, 4, 17), rig.core.writeAck(rig.now, nothing, 4, 18)]).toEqual([
      4, 18,
    ]);
  });

  it('forgets runs that were told six times and for 30 ms, but not what changed since', () => {
    const rig = new Rig();
    rig.take(0);
    rig.take(2);
    for (let i = 0; i < 6; i++) rig.ack();
    expect(rig.ack().runs).toHaveLength(2);
    rig.now += 30 * MS;
    expect(rig.ack().bytes).toBe(14);
    expect(rig.take(1)).toBe(ARRIVAL_NEW);
    expect(rig.ack().runs).toEqual([[1, 2]]);
    rig.now += 60 * MS;
    rig.take(4);
    for (let i = 0; i < 3; i++) expect(rig.ack().runs).toHaveLength(2);
  });

  it('counts the times that a run was told from its last change on', () => {
    const rig = new Rig();
    rig.take(0);
    for (let i = 0; i < 6; i++) rig.ack();
    rig.take(1);
    rig.take(3);
    rig.now += 30 * MS;
    for (let i = 0; i < 6; i++) expect([i, rig.ack().runs.length]).toEqual([i, 2]);
    expect(rig.ack().runs).toEqual([[3, 3]]);
  });

  it('stays true over gaps, wraps and a peer that asks for none in a million records', () => {
    const rig = new Rig();
    const end = 1_500_000;
    for (let n = SPACE - 100; n < SPACE + end; n++) if (n !== SPACE + 3) rig.take(n);
    expect(rig.ack().runs).toEqual([[end - 32_768, end - 1]]);
    rig.take(end + 60_000);
    expect(rig.ack().runs).toEqual([[end + 60_000, end + 60_000]]);
  });
});

describe('an epoch', () => {
  it('that is one to four ahead is adopted, and what was known is forgotten', () => {
    for (const ahead of [1, 2, 3, 4]) {
      const rig = new Rig();
      rig.take(7, { epoch: 6, ce: true });
      rig.take(9, { epoch: 6 });
      const epoch = (6 + ahead) % 8;
      expect([rig.take(0, { epoch }), rig.take(7, { epoch })]).toEqual([ARRIVAL_NEW, ARRIVAL_NEW]);
      if (ahead < 4) expect(rig.take(7, { epoch: 6 })).toBe(ARRIVAL_UNNUMBERED);
      expect(rig.ack()).toMatchObject({
        epoch,
        runs: [
          [7, 7],
          [0, 0],
        ],
        ceMarks: 0,
      });
    }
  });

  it('that is further ahead is of the past: delivered, not acknowledged', () => {
    for (const ahead of [5, 6, 7]) {
      const rig = new Rig();
      rig.take(0);
      rig.ack();
      expect([rig.take(0, { epoch: (2 + ahead) % 8 }), rig.core.hasNews, rig.core.epoch]).toEqual([
        ARRIVAL_UNNUMBERED,
        false,
        2,
      ]);
    }
  });

  it('or number of the past is believed where nothing else has come for a second', () => {
    for (const [epoch, number] of [
      [0, 5],
      [2, 900],
    ]) {
      const rig = new Rig(32);
      rig.take(1000);
      rig.now += S - 1;
      expect(rig.take(number, { epoch })).toBe(ARRIVAL_UNNUMBERED);
      rig.now += 1;
      expect([rig.take(number, { epoch }), rig.take(number + 1, { epoch })]).toEqual([
        ARRIVAL_NEW,
        ARRIVAL_NEW,
      ]);
      expect(rig.ack()).toMatchObject({ epoch, runs: [[number, number + 1]] });
    }
  });
});

describe('a report', () => {
  it('counts numbers missing for longer than reordering explains, and their runs', () => {
    const rig = new Rig();
    for (const n of [0, 1, 4, 5, 9, 7, 10]) rig.take(n);
    expect(rig.report()).toEqual([11, 0, 0, 0]);
    rig.now += 100 * MS;
    rig.take(11);
    expect(rig.report()).toEqual([12, 4, 3, 0]);
  });

  it('forgives what comes in time, and not what comes too late', () => {
    const rig = new Rig();
    rig.take(0);
    rig.take(3);
    rig.now += 19 * MS;
    rig.take(1);
    rig.now += 1 * MS;
    rig.take(4);
    rig.take(2);
    expect(rig.report()).toEqual([5, 1, 1, 0]);
  });

  it('goes at most ten times a second, and only on change, also when only time told', () => {
    const rig = new Rig();
    rig.take(0);
    rig.take(2);
    expect(rig.report()).toEqual([3, 0, 0, 0]);
    rig.now += 99 * MS;
    rig.core.repaired(rig.now, 1);
    expect(rig.report()).toBeUndefined();
    rig.now += 1 * MS;
    expect(rig.report()).toEqual([3, 1, 1, 1]);
    rig.now += 1000 * MS;
    expect(rig.report()).toBeUndefined();
  });

  it('counts a leap beyond the window as one run', () => {
    const rig = new Rig(64);
    rig.take(0);
    rig.take(10_000);
    rig.now += 100 * MS;
    rig.take(10_001);
    expect(rig.report()).toEqual([10_002, 9_999, 1, 0]);
  });

  it('is exact with more gaps than can wait, and begins anew with an epoch', () => {
    const rig = new Rig(1024);
    for (let n = 0; n < 800; n += 2) rig.take(n);
    rig.now += 100 * MS;
    rig.take(799);
    expect(rig.report()).toEqual([800, 399, 399, 0]);
    rig.now += 100 * MS;
    rig.take(0, { epoch: 3 });
    expect(rig.report()).toEqual([1, 0, 0, 0]);
  });
});

/** The runs of consecutive numbers, newest first. */
function runsOf(numbers: ReadonlySet<number>): [number, number][] {
  const runs: [number, number][] = [];
  for (const number of [...numbers].sort((a, b) => b - a)) {
    const last = runs.at(-1);
    if (last?.[0] === number + 1) last[0] = number;
    else runs.push([number, number]);
  }
  return runs;
}

describe('any order of arrival', () => {
  it('agrees with sets of everything that came', () => {
    const step = fc.record({
      /** How far behind the newest sent. */
      back: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 12 })),
      skip: fc.oneof(
        { weight: 4, arbitrary: fc.constant(1) },
        { weight: 1, arbitrary: fc.integer({ min: 1, max: 9 }) },
      ),
      repeat: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 20 })),
      ack: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 50, maxLength: 200, size: 'max' }),
        fc.nat(SPACE - 1),
        (steps, base) => {
          const rig = new Rig(64);
          const came = new Set<number>();
          const had = new Set<number>();
          let newest = 0;

          for (const { back, skip, repeat, ack } of steps) {
            rig.now += 500;
            newest += skip;
            const number = Math.max(0, newest - back);
            const frame = repeat > 0 ? Math.max(0, number - repeat) : number;
            const expected = came.has(number) || had.has(frame) ? ARRIVAL_DUPLICATE : ARRIVAL_NEW;
            const repeatOf = repeat > 0 ? add21(base, frame) : -1;
            expect(rig.take(base + number, { repeatOf })).toBe(expected);
            if (!came.has(number)) had.add(frame).add(number);
            came.add(number);
            if (!ack) continue;
            const told = rig.ack().runs;
            const all = runsOf(came);
            const shift = all[0][1] - told[0][1];
            expect(told.map((run) => run.map((n) => n + shift))).toEqual(all.slice(0, told.length));
          }
        },
      ),
      { numRuns: 100 },
    );
  });
});
