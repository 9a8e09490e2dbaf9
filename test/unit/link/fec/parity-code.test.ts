import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ParityDecoder } from '../../../../src/overlay/link/fec/parity-decoder.js';
import { ParityEncoder } from '../../../../src/overlay/link/fec/parity-encoder.js';
import { LINK_FRAME_HEAD } from '../../../../src/overlay/wire/frames.js';
import { NUMBER_MASK } from '../../../../src/overlay/wire/record.js';
import { repairCoefficient, REPAIR_OVERHEAD_MAX } from '../../../../src/overlay/wire/repair.js';

const FRAME_BYTES = 300;

/** A frame whose bytes follow from its number. */
function frameOf(number: number, length: number): DataView {
  const view = new DataView(new ArrayBuffer(length));
  let state = Math.imul(number + 1, 0x9e3779b1);
  for (let i = 0; i < length; i++) {
    state = Math.imul(state, 1664525) + 1013904223;
    view.setUint8(i, state >>> 24);
  }
  return view;
}

const hex = (view: DataView, at: number, length: number): string =>
  Buffer.from(view.buffer, view.byteOffset + at, length).toString('hex');

/** An encoder, a decoder, and what the decoder has found, in hex by number. */
class Pair {
  readonly encoder = new ParityEncoder({ frameBytes: FRAME_BYTES });
  readonly decoder = new ParityDecoder({ frameBytes: FRAME_BYTES });
  readonly sent = new Map<number, DataView>();
  readonly found = new Map<number, string>();

  send(number: number, length: number): void {
    const frame = frameOf(number, length);
    this.sent.set(number, frame);
    expect(this.encoder.add(number, frame, 0, length)).toBe(true);
  }

  arrive(number: number): void {
    const frame = this.sent.get(number)!;
    this.decoder.frame(number, frame, 0, frame.byteLength);
    this.gather();
  }

  /** A repair that arrives, or is lost. */
  repair(count: number, key: number, arrives = true): DataView {
    const view = new DataView(new ArrayBuffer(FRAME_BYTES + REPAIR_OVERHEAD_MAX));
    const end = this.encoder.write(view, 0, view.byteLength, count, key);
    if (arrives) this.take(view, end);
    return new DataView(view.buffer, 0, end);
  }

  take(view: DataView, end: number): void {
    expect(this.decoder.repair(view, LINK_FRAME_HEAD, end - LINK_FRAME_HEAD)).toBe('ok');
    this.gather();
  }

  /** Leaves long frames and equations in every slot, and numbers so far back that nothing is left to say about them. */
  soil(before: number): void {
    const number = (i: number): number => (before - 200 + i) & NUMBER_MASK;
    this.send(number(0), FRAME_BYTES);
    this.repair(1, 0);
    for (let i = 1; i < 8; i++) this.send(number(i), FRAME_BYTES);
    for (let key = 1; key < 7; key++) this.repair(7, key);
    for (let i = 8; i < 80; i++) {
      this.send(number(i), FRAME_BYTES);
      this.arrive(number(i));
    }
    this.found.clear();
  }

  private gather(): void {
    const { recovered, view } = this.decoder;
    for (let i = 0; i < recovered.count; i++) {
      const number = recovered.numbers[i];
      expect(this.found.has(number)).toBe(false);
      this.found.set(number, hex(view, recovered.offsets[i], recovered.lengths[i]));
    }
  }

  expectFound(...numbers: number[]): void {
    expect([...this.found.keys()].sort((a, b) => a - b)).toEqual(numbers);
    for (const n of numbers) {
      const frame = this.sent.get(n)!;
      expect(this.found.get(n)).toBe(hex(frame, 0, frame.byteLength));
    }
  }
}

describe('parity', () => {
  it('gives a lone frame back as a copy would', () => {
    const pair = new Pair();
    pair.send(7, 100);
    expect(pair.repair(1, 0).byteLength).toBe(100 + LINK_FRAME_HEAD + 6 + 2);
    pair.expectFound(7);
  });

  it('restores frames of different lengths with their lengths', () => {
    const pair = new Pair();
    pair.repair(1, 0, false);
    pair.send(1, 100);
    pair.repair(1, 0);
    for (const [n, length] of [
      [2, 24],
      [3, 300],
      [5, 77],
      [6, 31],
    ]) {
      pair.send(n, length);
    }
    pair.arrive(3);
    pair.arrive(6);
    pair.repair(4, 1);
    pair.expectFound(1);
    pair.repair(4, 2);
    pair.expectFound(1, 2, 5);
  });

  it('finds a frame once its only companion arrives late', () => {
    const pair = new Pair();
    pair.send(1, 40);
    pair.send(2, 50);
    pair.repair(2, 0);
    pair.expectFound();
    pair.arrive(2);
    pair.expectFound(1);
  });

  it('works where numbers wrap', () => {
    const pair = new Pair();
    pair.send(NUMBER_MASK - 1, 40);
    pair.send(NUMBER_MASK, 41);
    pair.send(0, 42);
    pair.send(3, 43);
    pair.repair(4, 1);
    pair.repair(4, 2);
    pair.arrive(NUMBER_MASK);
    pair.arrive(3);
    pair.expectFound(0, NUMBER_MASK - 1);
  });

  it('asks for no arithmetic when nothing is missing, and counts it', () => {
    const pair = new Pair();
    pair.send(1, 40);
    pair.repair(1, 0);
    pair.repair(1, 0);
    pair.expectFound(1);
    expect(pair.decoder.useless).toBe(1);
  });

  it('leaves alone what lies too far back', () => {
    const pair = new Pair();
    pair.send(1, 40);
    const late = pair.repair(1, 0, false);
    pair.send(2, 40);
    pair.repair(1, 0);
    pair.send(2 + 63, 40);
    pair.arrive(65);
    pair.take(late, late.byteLength);
    pair.expectFound(2);
    expect(pair.decoder.bad).toBe(1);
  });

  it('forgets equations with what they were about', () => {
    const pair = new Pair();
    pair.send(1, 40);
    pair.send(2, 40);
    pair.repair(2, 1);
    pair.send(66, 40);
    pair.arrive(66);
    pair.arrive(2);
    pair.expectFound();
  });

  it('covers only frames whose numbers lie close enough', () => {
    const pair = new Pair();
    pair.send(1, 40);
    pair.send(2, 40);
    pair.send(42, 40);
    const repair = pair.repair(3, 0);
    expect(repair.getUint32(LINK_FRAME_HEAD)).toBe((2 << 8) | 41);
    pair.arrive(42);
    pair.expectFound(2);
  });

  it('writes nothing where it does not fit, or there is nothing to protect', () => {
    const { encoder } = new Pair();
    const view = new DataView(new ArrayBuffer(400));
    expect(encoder.write(view, 5, 400, 1, 0)).toBe(5);
    expect(encoder.add(1, view, 0, FRAME_BYTES + 1)).toBe(false);
    expect(encoder.add(1, view, 0, 100)).toBe(true);
    expect(encoder.write(view, 5, 5 + 110, 1, 0)).toBe(5);
    expect(encoder.write(view, 5, 5 + 111, 1, 0)).toBe(116);
    encoder.clear();
    expect(encoder.write(view, 5, 400, 1, 0)).toBe(5);
  });

  it('keeps the newest equations when there are more than it holds', () => {
    const pair = new Pair();
    for (let n = 1; n <= 31; n++) pair.send(n, 40);
    for (let key = 1; key <= 30; key++) pair.repair(31, key);
    for (let n = 32; n <= 62; n++) pair.send(n, 40);
    for (let key = 31; key <= 60; key++) pair.repair(31, key);
    pair.expectFound();
    pair.arrive(33);
    pair.expectFound(32, ...Array.from({ length: 29 }, (_, i) => 34 + i));
  });

  it('holds memory only while repairs come', () => {
    const pair = new Pair();
    expect(pair.decoder.memory).toBe(0);
    pair.send(0, 40);
    pair.repair(1, 0);
    expect(pair.decoder.memory).toBe(96 * 304);
    const frame = frameOf(1, 40);
    for (let n = 1; n <= 4097; n++) pair.decoder.frame(n, frame, 0, 40);
    expect(pair.decoder.memory).toBe(0);
  });
});

describe('parity that contradicts the frames', () => {
  /** Frames 1 and 2, of 24 and 100 bytes, frame 2 known, and a repair over both in which one byte is changed. */
  function tampered(change: (repair: DataView) => void): Pair {
    const pair = new Pair();
    pair.send(0, 30);
    pair.repair(1, 0);
    pair.send(1, 24);
    pair.send(2, 100);
    pair.arrive(2);
    const repair = pair.repair(2, 0, false);
    change(repair);
    pair.take(repair, repair.byteLength);
    return pair;
  }
  const flip = (view: DataView, at: number, bits: number): void =>
    view.setUint8(at, view.getUint8(at) ^ bits);
  const CODED = LINK_FRAME_HEAD + 7;

  it('is told by what lies behind the frame', () => {
    const pair = tampered((repair) => flip(repair, CODED + 2 + 24, 1));
    pair.expectFound(0);
    expect(pair.decoder.bad).toBe(1);
  });

  it.each([
    ['longer than the repair', 24 ^ 101],
    ['shorter than a routed header', 24 ^ 23],
  ])('is told by a length %s', (_, bits) => {
    const pair = tampered((repair) => {
      flip(repair, CODED + 1, bits);
      flip(repair, CODED + 2 + 23, frameOf(1, 24).getUint8(23));
    });
    pair.expectFound(0);
    expect(pair.decoder.bad).toBe(1);
  });

  it('is told by a frame too long to be in it, known before or after', () => {
    for (const before of [true, false]) {
      const pair = new Pair();
      const other = new Pair();
      pair.send(0, 30);
      pair.repair(1, 0);
      for (const p of [pair, other]) p.send(1, 40);
      pair.send(2, 41);
      other.send(2, 40);
      if (before) pair.arrive(2);
      const repair = other.repair(2, 0, false);
      pair.take(repair, repair.byteLength);
      if (!before) pair.arrive(2);
      pair.expectFound(0);
      expect(pair.decoder.bad).toBe(1);
    }
  });

  it('cannot make a frame known that has no room', () => {
    const pair = new Pair();
    pair.send(0, 30);
    pair.repair(1, 0);
    pair.decoder.frame(1, frameOf(1, FRAME_BYTES + 1), 0, FRAME_BYTES + 1);
    pair.send(1, 40);
    pair.repair(1, 0);
    pair.expectFound(0, 1);
  });

  it('is too old where the window begins too far back', () => {
    const pair = new Pair();
    pair.send(1, 40);
    pair.send(41, 40);
    const late = pair.repair(2, 0, false);
    pair.send(72, 40);
    pair.repair(1, 0);
    pair.arrive(41);
    pair.take(late, late.byteLength);
    pair.expectFound(72);
    expect(pair.decoder.bad).toBe(1);
  });
});

type Step = { send: boolean; lost: boolean; gap: number; length: number; count: number; key: number };

const step: fc.Arbitrary<Step> = fc.record({
  send: fc.boolean(),
  lost: fc.boolean(),
  gap: fc.integer({ min: 1, max: 2 }),
  length: fc.integer({ min: 24, max: FRAME_BYTES }),
  count: fc.integer({ min: 1, max: 8 }),
  key: fc.integer({ min: 0, max: 5 }),
});

/** The product in GF(2⁸), bit by bit. */
function product(a: number, b: number): number {
  let sum = 0;
  for (let bit = 0x80; bit > 0; bit >>= 1) {
    sum = (sum << 1) ^ (sum & 0x80 ? 0x11d : 0);
    if (b & bit) sum ^= a;
  }
  return sum;
}

/** The columns that equations over GF(2⁸) determine: plain elimination of a whole matrix. */
function determined(rows: number[][], columns: number): number[] {
  const left = rows.map((row) => [...row]);
  const pivots: number[][] = [];
  for (let column = 0; column < columns; column++) {
    const at = left.findIndex((row) => row[column] !== 0);
    if (at < 0) continue;
    const pivot = left.splice(at, 1)[0];
    const inverse = Array.from({ length: 256 }, (_, i) => i).find((i) => product(i, pivot[column]) === 1)!;
    const unit = pivot.map((c) => product(c, inverse));
    for (const row of [...left, ...pivots]) {
      const factor = row[column];
      for (let i = 0; i < columns; i++) row[i] ^= product(factor, unit[i]);
    }
    pivots.push(unit);
  }
  return pivots
    .filter((row) => row.filter((c) => c !== 0).length === 1)
    .map((row) => row.findIndex((c) => c !== 0));
}

/** Plays the steps; returns what was lost, and the equations that arrived about it. */
function play(pair: Pair, start: number, steps: readonly Step[]): { lost: number[]; rows: number[][] } {
  const lost: number[] = [];
  pair.soil(start);
  const windows: { key: number; numbers: number[] }[] = [];
  const numbers: number[] = [start];
  pair.send(start, 30);
  pair.repair(1, 0);
  for (const { send, lost: isLost, gap, length, count, key } of steps) {
    if (send) {
      const number = (numbers.at(-1)! + gap) & NUMBER_MASK;
      numbers.push(number);
      pair.send(number, length);
      if (isLost) lost.push(number);
      else pair.arrive(number);
    } else {
      pair.repair(count, key, !isLost);
      if (!isLost) windows.push({ key, numbers: numbers.slice(-count) });
    }
  }
  const rows = windows.map(({ key, numbers: of }) =>
    lost.map((n) => (of.includes(n) ? repairCoefficient(key, n) : 0)),
  );
  return { lost, rows };
}

describe('parity, for any order of losses', () => {
  it('finds exactly the frames that the repairs determine', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 30 }),
        fc.integer({ min: 0, max: NUMBER_MASK }),
        (steps, start) => {
          const pair = new Pair();
          const { lost, rows } = play(pair, start, steps);
          const found = determined(rows, lost.length).map((column) => lost[column]);
          pair.expectFound(...[start, ...found].sort((a, b) => a - b));
          expect(pair.decoder.bad).toBe(0);
        },
      ),
      { seed: 5, numRuns: 1000 },
    );
  });

  it('finds them too when lost frames arrive after all', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), fc.nat(), (steps, pick) => {
        const pair = new Pair();
        const { lost, rows } = play(pair, 9, steps);
        const open = lost.filter((n) => !pair.found.has(n));
        const late = open[pick % open.length];
        if (late === undefined) return;
        pair.arrive(late);
        const known = rows.map((row) => row.filter((_, i) => lost[i] !== late));
        const rest = lost.filter((n) => n !== late);
        const found = determined(known, rest.length).map((column) => rest[column]);
        pair.expectFound(...[9, ...found].sort((a, b) => a - b));
      }),
      { seed: 6, numRuns: 1000 },
    );
  });

  it('repairs as many losses as there are repairs, but for one window in a hundred', () => {
    let failures = 0;
    const runs = 4000;
    for (let run = 0; run < runs; run++) {
      const pair = new Pair();
      pair.send(0, 30);
      pair.repair(1, 0);
      for (let n = 1; n <= 12; n++) pair.send(n, 24 + ((n * run) % 90));
      for (let n = 5; n <= 12; n++) pair.arrive(n);
      for (let key = 0; key < 4; key++) pair.repair(12, key === 0 ? 0 : 4 * run + key);
      if (pair.found.size !== 5) failures++;
    }
    expect(failures).toBeLessThanOrEqual(runs / 100);
  });
});
