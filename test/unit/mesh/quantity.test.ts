import { describe, expect, it } from 'vitest';
import {
  formatShape,
  isPlain,
  lossConflict,
  parseBurst,
  parseDuration,
  parseLoss,
  parseRate,
  plainShape,
} from '../../../scripts/netns/quantity.js';

describe('quantities of a mesh file', () => {
  it.each([
    ['10ms', 10],
    ['1.5s', 1500],
    ['250us', 0.25],
    ['0', 0],
    ['10 MS', 10],
  ])('reads %s as a duration', (text, ms) => expect(parseDuration(text)).toBe(ms));

  it.each([
    ['10mbit', 10e6],
    ['500kbit', 500e3],
    ['1gbit', 1e9],
    ['unlimited', null],
    ['0', null],
  ])('reads %s as a rate', (text, bps) => expect(parseRate(text)).toBe(bps));

  it('reads a percentage as a fraction', () => {
    expect(parseLoss('1%')).toBeCloseTo(0.01);
    expect(parseLoss('0')).toBe(0);
    expect(parseLoss('100%')).toBe(1);
  });

  it.each([
    () => parseDuration('10'),
    () => parseDuration('-1ms'),
    () => parseDuration('11s'),
    () => parseDuration('10mbit'),
    () => parseRate('10'),
    () => parseRate('10bit'),
    () => parseRate('fast'),
    () => parseLoss('0.01'),
    () => parseLoss('101%'),
    () => parseBurst('0.5'),
    () => parseBurst(''),
  ])('refuses what has no unit, a wrong one, or no sense (%#)', (parse) =>
    expect(parse()).toMatch(/^".*" is /),
  );

  it('refuses a loss that no runs of that length can make', () => {
    expect(lossConflict({ ...plainShape, loss: 0.8, burst: 3 })).toMatch(/at most 75%/);
    expect(lossConflict({ ...plainShape, loss: 0.75, burst: 3 })).toBeUndefined();
    expect(lossConflict({ ...plainShape, loss: 1 })).toBeUndefined();
  });

  it('calls a link plain unless delay, loss or rate is asked of it', () => {
    expect(isPlain({ ...plainShape, queueMs: 10, burst: 3 })).toBe(true);
    for (const asked of [{ delayMs: 1 }, { loss: 0.1 }, { rateBps: 1e6 }])
      expect(isPlain({ ...plainShape, ...asked })).toBe(false);
  });

  it('prints a shape in the units that it reads', () => {
    expect(formatShape({ delayMs: 10, loss: 0.01, burst: 3, rateBps: 1.5e6, queueMs: 50 })).toBe(
      'delay 10ms, loss 1%, burst 3, rate 1.5mbit, queue 50ms',
    );
  });
});
