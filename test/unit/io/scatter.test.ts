import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createBatch, type PacketBatch } from '../../../src/io/batch.js';
import { loadNative, nativeAvailable } from '../../../src/io/native.js';
import { createPlainIo } from '../../../src/io/plain/index.js';
import { offloadPacket, packetInto } from './batches.js';

const SLOTS = 256;
const SLOT = 9000;
const AT = 120;

/** Slots in an order that isn't theirs. */
const slots = Int32Array.from({ length: SLOTS }, (_, k) => (k * 37 + 5) % SLOTS);
const upTo = (n: number) => Int32Array.from({ length: n }, (_, k) => k);

function rowOf(batch: PacketBatch, row: number): unknown[] {
  const from = batch.offset[row]!;
  const to = batch.offset[row]! + batch.length[row]!;
  return [batch.source[row], batch.flags[row], Buffer.from(batch.bytes.subarray(from, to)).toString('hex')];
}

const implementations = { plain: createPlainIo, native: nativeAvailable() ? loadNative : undefined };

describe.each(Object.entries(implementations))('scatter, %s', (_, makeIo) => {
  it.skipIf(!makeIo)('lays into slots what segment lays back to back', () => {
    const io = makeIo!();
    fc.assert(
      fc.property(
        fc.array(offloadPacket(), { minLength: 1, maxLength: 4 }),
        fc.nat(SLOTS),
        (packets, most) => {
          const from = createBatch(1 << 20, 8);
          for (const { add } of packets) add(from);
          const order = upTo(packets.length).reverse();
          const store = createBatch(SLOTS * SLOT, SLOTS);
          const consumed = io.scatter(from, order, order.length, store, slots, most, AT);
          const whole = createBatch(1 << 20, 2048);
          io.segment(from, order, consumed, whole, 0, 0);
          // A packet with segments larger than a slot is refused by one of the two only.
          const fitting = upTo(whole.count).filter((row) => AT + largestOf(whole, row) <= SLOT);
          expect(store.count).toBe(fitting.length);
          fitting.forEach((row, k) => {
            const slot = slots[k]!;
            expect(store.offset[slot]).toBe(slot * SLOT + AT);
            expect(rowOf(store, slot)).toEqual(rowOf(whole, row));
          });
        },
      ),
      { numRuns: 40 },
    );
  });

  it.skipIf(!makeIo)(
    'consumes no packet whose segments have no slots, and refuses one that exceeds its slot',
    () => {
      const io = makeIo!();
      const from = createBatch(4096, 4);
      for (const length of [100, 300, 100]) packetInto(from, new Uint8Array(length), 7);
      const store = createBatch(4 * 256, 4);
      const before = io.segmentErrors;
      expect(io.scatter(from, upTo(3), 3, store, Int32Array.of(3, 1), 1, 10)).toBe(2);
      expect(io.segmentErrors - before).toBe(1);
      expect(store.count).toBe(1);
      expect([store.offset[3], store.length[3], store.source[3]]).toEqual([3 * 256 + 10, 100, 0]);
      expect(io.scatter(from, upTo(3), 3, store, Int32Array.of(3, 1), 0, 10)).toBe(0);
    },
  );
});

/** Of the segments of the packet that a row is of. */
function largestOf(batch: PacketBatch, row: number): number {
  let largest = 0;
  for (let k = 0; k < batch.count; k++)
    if (batch.source[k] === batch.source[row]) largest = Math.max(largest, batch.length[k]!);
  return largest;
}
