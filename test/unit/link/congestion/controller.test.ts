import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CongestionController } from '../../../../src/overlay/link/congestion/controller.js';

const MS = 1000;
const S = 1000 * MS;
const PACKET = 1000;
const LEAST = 3 * PACKET;

/** Sends windows full over a path without a queue and acknowledges them at once, a round trip later. */
class Rounds {
  readonly controller = new CongestionController(0, { packet: PACKET });
  now = 0;
  private delivered = 0;

  run(rounds: number, rtt: number, limited = true): this {
    for (let i = 0; i < rounds; i++) this.round(rtt, limited);
    return this;
  }

  private round(rtt: number, limited: boolean): void {
    const sentAt = this.now;
    const bytes = this.controller.window;
    const before = this.delivered;
    this.controller.onSent(sentAt, bytes, bytes);
    this.now += rtt;
    this.delivered += bytes;
    this.controller.onAck(this.now, {
      ackedBytes: bytes,
      rtt,
      newestSentAt: sentAt,
      bytesInFlight: 0,
      delivered: this.delivered,
      deliveredBefore: before,
      deliveredBeforeAt: sentAt,
      windowLimited: limited,
    });
  }
}

describe('the congestion controller', () => {
  it('begins with ten packets within a millisecond', () => {
    const controller = new CongestionController(0, { packet: PACKET });
    expect([controller.window, controller.rate, controller.mode]).toEqual([10 * PACKET, 20, 'start']);
  });

  it('grows by half each round trip in slow start, only while the window limits', () => {
    const path = new Rounds().run(2, 20 * MS);
    expect(path.controller.window).toBe(22.5 * PACKET);
    path.run(5, 20 * MS, false);
    expect(path.controller.window).toBe(22.5 * PACKET);
  });

  it('paces at twice the window a round trip in slow start, and knows no queue', () => {
    const { controller } = new Rounds().run(1, 20 * MS);
    expect(controller.rate).toBeCloseTo((2 * controller.window) / (20 * MS));
    expect(controller.queueDelay).toBe(0);
  });

  it('leaves slow start when round trips grow', () => {
    const path = new Rounds().run(3, 20 * MS).run(6, 40 * MS);
    expect(path.controller.mode).toBe('delay');
    expect(path.controller.queueDelay).toBe(20 * MS);
  });

  it('takes no notice of loss without a queue', () => {
    const path = new Rounds().run(5, 20 * MS);
    const { window } = path.controller;
    path.controller.onLoss(path.now, 3 * PACKET, path.now - MS);
    expect(path.controller.window).toBe(window);
  });

  it('yields to one mark a round trip', () => {
    const path = new Rounds().run(5, 20 * MS);
    const { controller, now } = path;
    const { window } = controller;
    controller.onCongestionMark(now, now - 5 * MS);
    expect(controller.window).toBeCloseTo(0.7 * window);
    controller.onCongestionMark(now + MS, now - 4 * MS);
    expect(controller.window).toBeCloseTo(0.7 * window);
    controller.onCongestionMark(now + 30 * MS, now + MS);
    expect(controller.window).toBeCloseTo(0.49 * window);
  });

  it('slow-starts after idle, up to the window before', () => {
    const path = new Rounds().run(6, 20 * MS);
    const { window } = path.controller;
    path.now += 5 * S;
    path.controller.onIdle(path.now);
    expect([path.controller.window, path.controller.mode]).toEqual([10 * PACKET, 'start']);
    path.run(2, 20 * MS);
    expect(path.controller.window).toBe(22.5 * PACKET);
    expect(window).toBeGreaterThan(22.5 * PACKET);
  });

  it('is as new after a reset', () => {
    const path = new Rounds().run(3, 20 * MS).run(20, 60 * MS);
    path.controller.reset(path.now);
    const { window, rate, mode, queueDelay } = path.controller;
    expect([window, rate, mode, queueDelay]).toEqual([10 * PACKET, 20, 'start', 0]);
    path.run(1, 60 * MS);
    expect(path.controller.queueDelay).toBe(0);
  });

  it('keeps a usable window and a positive, finite rate whatever happens', () => {
    const event = fc.record({
      kind: fc.constantFrom('ack', 'ack', 'ack', 'loss', 'mark', 'idle', 'reset'),
      wait: fc.integer({ min: 0, max: 200_000 }),
      rtt: fc.integer({ min: 0, max: 300_000 }),
      bytes: fc.integer({ min: 0, max: 100_000 }),
      limited: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 300 }), (events) => {
        const controller = new CongestionController(0, { packet: PACKET });
        let now = 0;
        let delivered = 0;
        for (const { kind, wait, rtt, bytes, limited } of events) {
          now += wait;
          const newestSentAt = Math.max(0, now - rtt);
          if (kind === 'loss') controller.onLoss(now, bytes, newestSentAt);
          else if (kind === 'mark') controller.onCongestionMark(now, newestSentAt);
          else if (kind === 'idle') controller.onIdle(now);
          else if (kind === 'reset') controller.reset(now);
          else {
            controller.onSent(now, bytes, bytes);
            controller.onAck(now, {
              ackedBytes: bytes,
              rtt,
              newestSentAt,
              bytesInFlight: bytes,
              delivered: delivered + bytes,
              deliveredBefore: delivered,
              deliveredBeforeAt: newestSentAt,
              windowLimited: limited,
            });
            delivered += bytes;
          }
          expect(controller.window).toBeGreaterThanOrEqual(LEAST);
          expect(controller.window).toBeLessThan(Infinity);
          expect(controller.rate).toBeGreaterThan(0);
          expect(controller.rate).toBeLessThan(Infinity);
          expect(controller.queueDelay).toBeGreaterThanOrEqual(0);
        }
      }),
      { numRuns: 300 },
    );
  });
});
