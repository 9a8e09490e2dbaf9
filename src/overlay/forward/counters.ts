import type { PacketBatch } from '../../io/batch.js';
import { PARSE_REJECTS } from '../../intercept/packet.js';
import type { Watcher } from './watcher.js';

/** Why a packet went no further. Names are what `causeway status` and the metrics print; append, never rename. */
export const DROP_REASONS = [
  // outer datagrams, cheapest check first
  'short',
  'version',
  'type',
  'no-session',
  'counter-range',
  'replayed',
  'forged',
  'handshake-flood',
  // frames inside an authentic record
  'frame-malformed',
  'frame-unknown',
  'ttl-exceeded',
  'no-route',
  'queue-full',
  // inner packets
  'inner-short',
  'inner-version',
  'inner-header-length',
  'inner-total-length',
  'inner-fragment',
  'inner-extension-header',
  'inner-transport-header',
  // fragments that overlap, or that lie behind their datagram's end
  'inner-overlap',
  // a source that can't be a single host
  'martian',
  'foreign-source',
  'foreign-destination',
  'multicast',
  'rule',
  'overlay-absent',
  'no-path',
  'ecn',
  // a handshake datagram larger than any
  'long',
  // error frames beyond what is looked into
  'error-flood',
  // the kernel took it not: the device is down
  'tun-refused',
  // the payload was dropped by a queue on the way
  'void',
  // source-routed frames: this node isn't on the list, or a link of the list isn't there
  'route-unlisted',
  'route-down',
  // one too large for this node to keep
  'route-size',
  // sent again as it was, which the host refused
  'direct-refused',
  // a rule would send it directly, but to an address of the overlay's own
  'direct-overlay',
  // this host's `intercept.inbound` doesn't let it in
  'inbound',
  // its sender may not use the overlay
  'access',
  // larger than any number of pieces, or than the link where packets aren't to go in pieces
  'too-big',
] as const;

export type DropReason = (typeof DROP_REASONS)[number];

/** By what `parsePacket` answers. */
export const INNER_DROPS: readonly DropReason[] = PARSE_REJECTS.map((reject) =>
  reject === 'ok' ? 'inner-short' : (`inner-${reject}` as const),
);

const indexOf = new Map(DROP_REASONS.map((reason, i) => [reason, i]));

/** Counts drops by reason and packets by direction; Float64 so that nothing wraps. */
export class Counters {
  private readonly dropped = new Float64Array(DROP_REASONS.length);
  tunReadPackets = 0;
  tunReadBytes = 0;
  tunWrittenPackets = 0;
  tunWrittenBytes = 0;
  sentRecords = 0;
  sentBytes = 0;
  receivedRecords = 0;
  receivedBytes = 0;
  relayedPackets = 0;
  relayedBytes = 0;
  /** Sent on by the host's own routes. */
  directPackets = 0;
  directBytes = 0;
  /** Frames that had arrived before: copies ahead of loss, needless retransmissions. */
  duplicates = 0;
  /** Records sent in pieces because their link can't carry them whole, and records that came so. */
  splitRecords = 0;
  joinedRecords = 0;

  /** Sees each packet that is named to one of the `drop…` calls below. */
  watcher: Watcher | undefined;

  drop(reason: DropReason, n = 1): void {
    this.dropped[indexOf.get(reason)!]! += n;
  }

  /** Packet `i` of a batch that a device or socket filled. */
  dropPacket(reason: DropReason, batch: PacketBatch, i: number): void {
    this.drop(reason);
    this.watcher?.dropped(reason, batch, i);
  }

  /** A packet of `length` bytes at `at`, in a frame for this node. */
  dropInside(reason: DropReason, batch: PacketBatch, at: number, length: number): void {
    this.drop(reason);
    this.watcher?.droppedInside(reason, batch, at, length);
  }

  drops(): Record<string, number> {
    return Object.fromEntries(DROP_REASONS.map((reason, i) => [reason, this.dropped[i]!]));
  }

  totals(): Record<string, number> {
    return {
      tunReadPackets: this.tunReadPackets,
      tunReadBytes: this.tunReadBytes,
      tunWrittenPackets: this.tunWrittenPackets,
      tunWrittenBytes: this.tunWrittenBytes,
      sentRecords: this.sentRecords,
      sentBytes: this.sentBytes,
      receivedRecords: this.receivedRecords,
      receivedBytes: this.receivedBytes,
      relayedPackets: this.relayedPackets,
      relayedBytes: this.relayedBytes,
      directPackets: this.directPackets,
      directBytes: this.directBytes,
      duplicates: this.duplicates,
    };
  }
}
