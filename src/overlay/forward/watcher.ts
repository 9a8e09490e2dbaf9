import type { PacketBatch } from '../../io/batch.js';
import type { DropReason } from './counters.js';

/**
 * Someone who looks on while packets pass, as a capture does. Mostly there is none, so whoever calls asks `counters.watcher?.…`. Nothing may be
 * kept of a batch beyond the call.
 */
export interface Watcher {
  /** Packet `i` of a batch that a device or socket filled goes over the overlay, to a node by a service. */
  entered(batch: PacketBatch, i: number, node: number, service: number): void;
  /** Packet `i` of a batch that a device filled goes by the host's own routes. */
  left(batch: PacketBatch, i: number): void;
  /** The data frame of `length` bytes at `frame` goes on to another node. */
  relayed(batch: PacketBatch, frame: number, length: number): void;
  /** Packet `i` of a batch that a device or socket filled went no further. */
  dropped(reason: DropReason, batch: PacketBatch, i: number): void;
  /** The packet of `length` bytes at `at`, in a frame for this node, went no further. */
  droppedInside(reason: DropReason, batch: PacketBatch, at: number, length: number): void;
}
