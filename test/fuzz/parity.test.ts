import { describe, expect, it } from 'vitest';
import { ParityDecoder } from '../../src/overlay/link/fec/parity-decoder.js';
import { ParityEncoder } from '../../src/overlay/link/fec/parity-encoder.js';
import { LINK_FRAME_HEAD } from '../../src/overlay/wire/frames.js';
import { NUMBER_MASK } from '../../src/overlay/wire/record.js';
import { Random } from '../support/sim/random.js';

const SEED = 4711;
const ROUNDS = 60_000;
const FRAME_BYTES = 200;
const ROOM = 320;

describe(`parity fed with nonsense by an authentic peer (seed ${SEED})`, () => {
  it('never throws, recovers only what fits, and holds no more memory', () => {
    const random = new Random(SEED);
    const view = new DataView(new ArrayBuffer(ROOM));
    const encoder = new ParityEncoder({ frameBytes: FRAME_BYTES });
    const decoder = new ParityDecoder({ frameBytes: FRAME_BYTES });
    const seen = new Map<string, number>();
    let number = random.integer(NUMBER_MASK);
    const fill = (from: number, to: number): void => {
      for (let i = from; i < to; i++) view.setUint8(i, random.chance(0.5) ? 0 : random.u32());
    };

    const genuine = (): number => {
      for (let i = random.integer(4); i >= 0; i--) {
        number = (number + 1 + (random.chance(0.01) ? random.integer(100) : random.integer(2))) & NUMBER_MASK;
        const length = 24 + random.integer(FRAME_BYTES - 24);
        fill(0, length);
        encoder.add(number, view, 0, length);
        if (random.chance(0.6)) decoder.frame(number, view, 0, length);
      }
      return encoder.write(
        view,
        0,
        ROOM,
        1 + random.integer(32),
        random.chance(0.3) ? 0 : random.integer(65_536),
      );
    };
    const garble = (end: number): number => {
      for (let i = random.integer(4); i > 0; i--) view.setUint8(random.integer(end), random.u32());
      return random.chance(0.2) ? random.integer(end + 1) : end;
    };

    for (let round = 0; round < ROUNDS; round++) {
      let end = genuine();
      const kind = random.integer(4);
      if (kind === 1) end = garble(end);
      if (kind === 2) {
        end = random.integer(ROOM);
        fill(0, end);
      }
      const length = Math.max(0, end - LINK_FRAME_HEAD);
      const result =
        kind === 3
          ? (decoder.frame((number + random.integer(200) - 150) & NUMBER_MASK, view, 0, random.integer(ROOM)),
            'frame')
          : decoder.repair(view, LINK_FRAME_HEAD, length);
      const { recovered } = decoder;
      if (kind === 0) expect(result).toBe('ok');
      seen.set(`${kind} ${result}`, (seen.get(`${kind} ${result}`) ?? 0) + 1);
      if (recovered.count > 0) seen.set('recovered', (seen.get('recovered') ?? 0) + recovered.count);
      expect(recovered.count).toBeLessThanOrEqual(32);
      for (let i = 0; i < recovered.count; i++) {
        expect(recovered.lengths[i]).toBeGreaterThanOrEqual(24);
        expect(recovered.lengths[i]).toBeLessThanOrEqual(FRAME_BYTES);
        expect(recovered.offsets[i] + recovered.lengths[i]).toBeLessThanOrEqual(decoder.view.byteLength);
      }
      expect(decoder.memory).toBeLessThanOrEqual(96 * 204);
    }
    for (const outcome of [
      '1 ok',
      '1 short',
      '1 unknown-value',
      '1 inconsistent',
      '2 ok',
      '2 long',
      'recovered',
    ]) {
      expect(seen.get(outcome) ?? 0, outcome).toBeGreaterThan(20);
    }
    expect(decoder.bad).toBeGreaterThan(1000);
  });
});
