/** Copies packets into slots of a store: fixed places of one size in another batch's arena. */
import type { PacketBatch } from '../batch.js';

/** See `Io.copy`. */
export function copyBatch(
  from: PacketBatch,
  order: Int32Array,
  n: number,
  into: PacketBatch,
  slots: Int32Array,
  at: number,
): void {
  const slotSize = Math.floor(into.bytes.length / into.capacity);
  for (let k = 0; k < n; k++) {
    const i = order[k];
    const slot = slots[k];
    const place = slot * slotSize + at;
    const [start, length] = [from.offset[i], from.length[i]];
    const fits = start >= 0 && length > 0 && start + length <= from.bytes.length && at + length <= slotSize;
    if (fits) into.bytes.set(from.bytes.subarray(start, start + length), place);
    into.offset[slot] = place;
    into.length[slot] = fits ? length : 0;
    into.flags[slot] = from.flags[i];
    into.trafficClass[slot] = from.trafficClass[i];
  }
}
