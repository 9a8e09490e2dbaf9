import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RECORD_TAG } from '../../../src/io/batch.js';
import { FRAME_AT, FrameStore, RIDE_MAX } from '../../../src/overlay/forward/store.js';
import { FRAME_FREE, FRAME_WAITING } from '../../../src/overlay/link/frame-columns.js';

describe('the frame store', () => {
  it('has room in every slot for headers in front, the largest frame, and a tag behind', () => {
    const store = new FrameStore(3, 1500, RECORD_TAG);
    expect(store.frameMax).toBeGreaterThanOrEqual(1500);
    expect(FRAME_AT + store.frameMax + RECORD_TAG).toBeLessThanOrEqual(store.slotSize);
    expect(store.batch.bytes.length).toBe(3 * store.slotSize);
    expect(store.frameAt(2)).toBe(2 * store.slotSize + FRAME_AT);
    expect(RIDE_MAX).toBeLessThan(FRAME_AT);
  });

  it('gives the slot freed last first, so that little of its memory is touched', () => {
    const store = new FrameStore(1000, 100, RECORD_TAG);
    const seen = new Set<number>();
    for (let i = 0; i < 5000; i++) {
      const [one, other] = [store.take(), store.take()];
      seen.add(one).add(other);
      store.release(one);
      store.release(other);
    }
    expect(seen.size).toBe(2);
  });

  it('forgets with each taking what a slot was', () => {
    const store = new FrameStore(1, 100, RECORD_TAG);
    const slot = store.take();
    store.sealed[slot] = 2;
    store.repeats[slot] = 1;
    store.release(slot);
    expect(store.state[slot]).toBe(FRAME_FREE);
    expect(store.take()).toBe(slot);
    expect([store.sealed[slot], store.repeats[slot], store.state[slot]]).toEqual([0, 0, FRAME_WAITING]);
  });

  it('spares a sixteenth for realtime frames', () => {
    const store = new FrameStore(64, 64, RECORD_TAG);
    const reliable = Array.from({ length: 64 }, () => store.takeSparing());
    expect(reliable.filter((slot) => slot >= 0)).toHaveLength(60);
    expect(store.room).toBe(0);
    expect(Array.from({ length: 5 }, () => store.take()).filter((slot) => slot >= 0)).toHaveLength(4);
    store.release(reliable[0]!);
    expect(store.takeSparing()).toBe(-1);
  });

  it('never gives a slot twice, says when all are taken, and takes none back twice', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(9), { maxLength: 100 }), (steps) => {
        const store = new FrameStore(6, 64, RECORD_TAG);
        const held: number[] = [];
        for (const step of steps) {
          if (step < 6) {
            const slot = store.take();
            if (held.length === 6) expect(slot).toBe(-1);
            else held.push(slot);
          } else if (held.length > 0) {
            const [slot] = held.splice(step % held.length, 1);
            store.release(slot!);
            expect(() => store.release(slot!)).toThrow('free already');
          }
          expect(new Set(held).size).toBe(held.length);
          expect([store.used, store.slots]).toEqual([held.length, 6]);
        }
      }),
    );
  });
});
