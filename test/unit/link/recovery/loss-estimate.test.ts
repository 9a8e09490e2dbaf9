import { describe, expect, it } from 'vitest';
import { LossEstimate } from '../../../../src/overlay/link/recovery/loss-estimate.js';
import { encodeReport } from '../../../../src/overlay/wire/recovery.js';

const S = 1_000_000;
const view = new DataView(new ArrayBuffer(40));

/** A peer that reports ten times a second. */
class Peer {
  readonly estimate = new LossEstimate();
  now = 1e9;
  counts = { expected: 0, lost: 0, runs: 0, repaired: 0 };
  epoch = 3;

  report(o: Partial<Peer['counts']> = {}): boolean {
    this.now += S / 10;
    for (const key of ['expected', 'lost', 'runs', 'repaired'] as const)
      this.counts[key] = (this.counts[key] + (o[key] ?? 0)) >>> 0;
    return this.send(this.counts);
  }

  send(counts: Peer['counts']): boolean {
    const end = encodeReport(view, 0, { type: 'report', lane: 2, epoch: this.epoch, ...counts });
    return this.estimate.receiveReport(this.now, view, 3, end - 3);
  }
}

describe('a link’s loss', () => {
  it('is nothing before the first report, and on a clean link', () => {
    const peer = new Peer();
    expect([peer.estimate.loss, peer.estimate.burst, peer.estimate.after]).toEqual([0, 1, 0]);
    for (let i = 0; i < 50; i++) expect(peer.report({ expected: 10 })).toBe(true);
    expect([peer.estimate.loss, peer.estimate.burst, peer.estimate.after]).toEqual([0, 1, 0]);
  });

  it('shows the first loss at once, also after a long clean time, and fades in half a minute', () => {
    const peer = new Peer();
    for (let i = 0; i < 3000; i++) peer.report({ expected: 10 });
    peer.report({ expected: 10, lost: 1, runs: 1 });
    const [at] = [peer.estimate.loss];
    expect(at).toBeGreaterThan(0.002);
    for (let i = 0; i < 100; i++) peer.report({ expected: 10 });
    expect(peer.estimate.loss).toBeLessThan(at / 4);
    expect(peer.estimate.loss).toBeGreaterThan(0);
    for (let i = 0; i < 2000; i++) peer.report({ expected: 10 });
    expect(peer.estimate.loss).toBeLessThan(1e-5);
  });

  it('converges to what is, and so do burst length and what parity leaves', () => {
    const peer = new Peer();
    for (let i = 0; i < 600; i++)
      peer.report({ expected: 60, lost: i % 2 ? 6 : 0, runs: i % 2 ? 2 : 0, repaired: i % 2 ? 4 : 0 });
    expect(peer.estimate.loss).toBeCloseTo(0.05, 2);
    expect(peer.estimate.after).toBeCloseTo(0.05 / 3, 2);
    expect(peer.estimate.burst).toBeCloseTo(3, 1);
  });

  it('is counted over the wrap of 32 bits', () => {
    const peer = new Peer();
    peer.estimate.receiveReport(0, view, 0, 0);
    peer.counts = { expected: 0, lost: 0, runs: 0, repaired: 0 };
    let reports = 0;
    while (reports++ < 300)
      expect(peer.report({ expected: 2 ** 24, lost: 2 ** 20, runs: 2 ** 20 })).toBe(true);
    expect(peer.estimate.loss).toBeCloseTo(1 / 16, 6);
  });
});

describe('a report that can’t be changes nothing', () => {
  it.each([
    ['more lost than expected', { expected: 10, lost: 11, runs: 1 }],
    ['more runs than lost', { expected: 10, lost: 1, runs: 2 }],
    ['lost in no run', { expected: 10, lost: 1 }],
    ['more repaired than expected', { expected: 10, repaired: 11 }],
    ['more than any link sends', { expected: 2 ** 25 }],
  ])('%s', (_, counts) => {
    const peer = new Peer();
    const none = { expected: 0, lost: 0, runs: 0, repaired: 0 };
    expect(peer.send({ ...none, ...counts })).toBe(false);
    peer.report({ expected: 100, lost: 5, runs: 5 });
    const { loss } = peer.estimate;
    expect([loss, peer.estimate.burst]).toEqual([0.025, 1]);
  });

  it('overtaken by a later one, short, or of an earlier epoch', () => {
    const peer = new Peer();
    peer.report({ expected: 1000, lost: 10, runs: 10 });
    const { loss } = peer.estimate;
    expect(peer.send({ expected: 900, lost: 9, runs: 9, repaired: 0 })).toBe(false);
    expect(peer.estimate.receiveReport(peer.now, view, 3, 17)).toBe(false);
    peer.epoch = 2;
    expect(peer.send({ expected: 100, lost: 90, runs: 1, repaired: 0 })).toBe(false);
    expect(peer.estimate.loss).toBe(loss);
    peer.epoch = 4;
    expect(peer.send({ expected: 100, lost: 90, runs: 1, repaired: 0 })).toBe(true);
    expect(peer.estimate.loss).toBeGreaterThan(loss);
  });

  it('unless nothing else has come for five seconds', () => {
    const peer = new Peer();
    peer.report({ expected: 1000 });
    peer.epoch = 2;
    peer.now += 5 * S;
    expect(peer.send({ expected: 10, lost: 0, runs: 0, repaired: 0 })).toBe(true);
  });
});
