/** What plain ports and ports in memory share: ciphers, cutting and copying. */
import type { PacketBatch } from '../batch.js';
import type { Aead, Closable } from '../ports.js';
import { createPlainAead } from './aead.js';
import { copyBatch } from './copy.js';
import { scatterBatch, segmentBatch } from './segment.js';

export abstract class PureIo {
  readonly kind = 'plain';
  segmentErrors = 0;

  createAead(slots: number): Aead {
    return createPlainAead(slots);
  }

  segment(
    from: PacketBatch,
    order: Int32Array,
    n: number,
    into: PacketBatch,
    headroom: number,
    tailroom: number,
  ): number {
    const outcome = segmentBatch(from, order, n, into, headroom, tailroom);
    this.segmentErrors += outcome.refused;
    return outcome.consumed;
  }

  scatter(
    from: PacketBatch,
    order: Int32Array,
    n: number,
    into: PacketBatch,
    slots: Int32Array,
    slotCount: number,
    at: number,
  ): number {
    const outcome = scatterBatch(from, order, n, into, slots, slotCount, at);
    this.segmentErrors += outcome.refused;
    return outcome.consumed;
  }

  /** Nobody tells. */
  watchHost(): Closable | undefined {
    return undefined;
  }

  copy(
    from: PacketBatch,
    order: Int32Array,
    n: number,
    into: PacketBatch,
    slots: Int32Array,
    at: number,
  ): void {
    copyBatch(from, order, n, into, slots, at);
  }
}
