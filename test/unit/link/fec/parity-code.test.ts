import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ParityDecoder } from '../../../../src/overlay/link/fec/parity-decoder.js';
import { ParityEncoder } from '../../../../src/overlay/link/fec/parity-encoder.js';
import { LINK_FRAME_HEAD } from '../../../../src/overlay/wire/frames.js';
import { NUMBER_MASK } from '../../../../src/overlay/wire/record.js';
import { REPAIR_OVERHEAD_MAX } from '../../../../src/overlay/wire/repair.js';

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

  it('recovers any pattern of losses that the repairs have equations for', () => {
    let failures = 0;
    let trials = 0;
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            gap: fc.integer({ min: 1, max: 2 }),
            length: fc.integer({ min: 24, max: FRAME_BYTES }),
            lost: fc.boolean(),
          }),
          { minLength: 1, maxLength: 20 },
        ),
        fc.integer({ min: 0, max: NUMBER_MASK }),
        fc.integer({ min: 1, max: 60_000 }),
        (frames, start, key) => {
          const pair = new Pair();
          pair.send((start - 1) & NUMBER_MASK, 30);
          pair.repair(1, 0);
          let number = start;
          const lost: number[] = [];
          for (const { gap, length, lost: isLost } of frames) {
            number = (number + gap) & NUMBER_MASK;
            pair.send(number, length);
            if (isLost) lost.push(number);
            else pair.arrive(number);
          }
          for (let i = 0; i < lost.length; i++) pair.repair(frames.length, key + i);
          trials++;
          for (const [n, bytes] of pair.found) {
            const frame = pair.sent.get(n)!;
            expect(bytes).toBe(hex(frame, 0, frame.byteLength));
          }
          if (pair.found.size !== lost.length + 1) failures++;
          expect(pair.decoder.bad).toBe(0);
        },
      ),
      { seed: 5, numRuns: 3000 },
    );
    expect(failures / trials).toBeLessThan(0.015);
  });
});
