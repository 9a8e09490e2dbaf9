import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ThinFlows, type LinkLoad } from '../../../src/overlay/service/thin-flows.js';

const MS = 1000;
const S = 1000 * MS;
/** 10 Mbit/s in bytes per µs. */
const TEN_MBIT = 1.25;
const link = (changes: Partial<LinkLoad> = {}): LinkLoad => ({
  loss: 0.01,
  burst: 1,
  rate: TEN_MBIT,
  busy: 0,
  ...changes,
});

/** Copies of each of a flow's frames, `bytes` every `every` µs. */
function copiesOf(
  thin: ThinFlows,
  frames: { flow?: number; bytes: number; every: number; from?: number; until: number },
  load: LinkLoad,
): number[] {
  const { flow = 1, bytes, every, from = 0, until } = frames;
  const copies: number[] = [];
  for (let now = from; now < until; now += every) copies.push(thin.consider(now, flow, bytes, load));
  return copies;
}
const total = (copies: number[]): number => copies.reduce((sum, count) => sum + count, 0);

describe('copies ahead of loss', () => {
  it('are made of each frame of a thin flow: 1000 bytes every 16 or 8 ms at 10 Mbit/s', () => {
    for (const every of [16 * MS, 8 * MS]) {
      const load = link({ busy: 1000 / every });
      const copies = copiesOf(new ThinFlows(), { bytes: 1068, every, until: 10 * S }, load);
      expect(new Set(copies)).toEqual(new Set([1]));
    }
  });

  it.each([
    [{ loss: 0.0009 }, 0],
    [{ loss: 0 }, 0],
    [{ loss: 0.001 }, 1],
    [{ loss: 0.039 }, 1],
    [{ loss: 0.04 }, 2],
    [{ burst: 1.9 }, 1],
    [{ burst: 2 }, 3],
    [{ burst: 8 }, 3],
    [{ burst: 8.1 }, 1],
    [{ loss: 0.04, burst: 2 }, 3],
    [{ loss: 0.0009, burst: 9 }, 0],
    [{ loss: 0.5, rate: 0 }, 0],
    [{ loss: NaN }, 0],
  ])('follow the link: %j makes %i', (changes, expected) => {
    const copies = copiesOf(new ThinFlows(), { bytes: 200, every: 20 * MS, until: S }, link(changes));
    expect(new Set(copies)).toEqual(new Set([expected]));
  });

  it('end within a tenth of a second for a flow that fills the link, and begin again when it is thin again', () => {
    const thin = new ThinFlows();
    const bulk = copiesOf(thin, { bytes: 1250, every: 1 * MS, until: 2 * S }, link());
    expect(total(bulk.slice(100))).toBe(0);
    const after = copiesOf(thin, { bytes: 1250, every: 20 * MS, from: 2 * S, until: 6 * S }, link());
    expect([total(after.slice(0, 20)), new Set(after.slice(100))]).toEqual([0, new Set([1])]);
  });

  it('are made for a thin flow beside a bulk one, as long as the link has capacity left', () => {
    const thin = new ThinFlows();
    let [ssh, bulk] = [0, 0];
    for (let now = 0; now < 5 * S; now += 2 * MS) {
      bulk += thin.consider(now, 7, 1400, link({ busy: 0.75 }));
      if (now % (50 * MS) === 0) ssh += thin.consider(now, 8, 120, link({ busy: 0.75 }));
    }
    expect(ssh).toBeGreaterThanOrEqual(99); // one, while the bulk flow still passes for thin
    expect(bulk).toBeLessThan(60); // until its rate is known
  });

  it('are none where the link has nothing left, but for what was saved', () => {
    const thin = new ThinFlows();
    const copies = copiesOf(
      thin,
      { bytes: 1000, every: 16 * MS, until: 20 * S },
      link({ busy: 2 * TEN_MBIT }),
    );
    expect(total(copies)).toBeLessThanOrEqual(3);
  });

  it('never take more than their share of what the link has left, whatever flows do', () => {
    const frame = fc.record({
      after: fc.integer({ min: 0, max: 5000 }),
      flow: fc.nat(0xffffffff),
      bytes: fc.integer({ min: 40, max: 1500 }),
    });
    const load = fc.record({
      loss: fc.constantFrom(0.001, 0.05, 0.5),
      burst: fc.constantFrom(1, 3),
      rate: fc.constantFrom(0.01, 1, 100),
      part: fc.constantFrom(0, 0.5, 0.99, 1.5),
    });
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 500 }), load, (frames, { part, ...rest }) => {
        const thin = new ThinFlows();
        const busy = part * rest.rate;
        let [now, copied] = [0, 0];
        for (const { after, flow, bytes } of frames) {
          now += after;
          copied += bytes * thin.consider(now, flow, bytes, { ...rest, busy });
        }
        const fill = 0.25 * Math.max(0, rest.rate - busy);
        expect(copied).toBeLessThanOrEqual(Math.max(3200, fill * 100 * MS) + fill * now + 1e-6);
      }),
    );
  });

  it('are never made, once its rate is known, for a flow that is no thin one, whatever else there is', () => {
    const others = fc.array(fc.nat(0xffffffff), { maxLength: 40 });
    fc.assert(
      fc.property(others, fc.nat(0xffffffff), fc.constantFrom(4, 1024), (flows, bulk, counters) => {
        const thin = new ThinFlows({ counters });
        for (let now = 0; now < 3 * S; now += 5 * MS) {
          for (const flow of flows) if (flow !== bulk) thin.consider(now, flow, 60, link());
          // 0.2 of the rate
          const copies = thin.consider(now, bulk, 1250, link());
          if (now > S) expect(copies).toBe(0);
        }
      }),
      { numRuns: 30 },
    );
  });

  it('are made for thin flows that share a counter with a bulk one', () => {
    const thin = new ThinFlows();
    let denied = 0;
    for (let at = 0; at < 6000; at++) {
      if (at % 5 === 0) thin.consider(at * MS, 0, 1250, link());
      // 5000 flows, of which some ten share one of the bulk flow's two counters
      if (at >= 1000 && thin.consider(at * MS, Math.imul(at, 0x45d9f3b) >>> 0, 60, link()) === 0) denied++;
    }
    expect(denied).toBe(0);
  });

  it('keep a distance that grows with the runs of losses, and is no later than a quarter of a round trip', () => {
    const thin = new ThinFlows();
    expect([1, 3, 50].map((burst) => thin.copyDelay(1, burst, 20 * MS))).toEqual([1200, 3600, 5 * MS]);
    expect(thin.copyDelay(3, 3, 20 * MS)).toBe(1200);
    expect([thin.copyDelay(1, 0.5, 20 * MS), thin.copyDelay(1, 3, 400), thin.copyDelay(1, 1, 0)]).toEqual([
      1200, 100, 0,
    ]);
  });

  it('follow their options', () => {
    const frames = { bytes: 1000, every: 16 * MS, until: 2 * S };
    const none = [{ thinShare: 0.01 }, { copyShare: 0 }, { leastLoss: 0.02 }];
    for (const options of none)
      expect(total(copiesOf(new ThinFlows(options), frames, link()).slice(10))).toBe(0);
    expect(() => new ThinFlows({ counters: 100 })).toThrow(RangeError);
  });
});
