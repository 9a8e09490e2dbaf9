import { PACKET_PARTIAL, type PacketBatch } from '../../io/batch.js';
import type { FlowCache } from '../../intercept/flow-cache.js';
import {
  DISTANCE_MAX,
  FLAG_PARTIAL,
  FRAME_DATA,
  SERVICE_RELIABLE,
  writeRoutedHeader,
} from '../wire/routed.js';
import type { Neighbour } from './neighbour.js';
import type { Destination } from './routes.js';

/** What was decided of the packets of a read, by their index there. */
export class Decided {
  readonly destinations: (Destination | undefined)[];
  readonly next: (Neighbour | undefined)[];
  /** Service, which a flow may change from packet to packet, and index in the flow cache. */
  readonly service: Uint8Array;
  readonly flow: Int32Array;
  readonly ttl: Uint8Array;
  /** Of the inner packet, and of the outer header without its ECN bits. */
  readonly ecn: Uint8Array;
  readonly outer: Uint8Array;

  constructor(capacity: number) {
    this.destinations = new Array<Destination | undefined>(capacity).fill(undefined);
    this.next = new Array<Neighbour | undefined>(capacity).fill(undefined);
    this.service = new Uint8Array(capacity);
    this.flow = new Int32Array(capacity);
    this.ttl = new Uint8Array(capacity);
    this.ecn = new Uint8Array(capacity);
    this.outer = new Uint8Array(capacity);
  }
}

/** Writes the routed headers of the segments that one packet was cut into. */
export class RoutedRun {
  constructor(
    private readonly decided: Decided,
    private readonly flows: FlowCache,
    private readonly self: number,
    private readonly epoch: number,
  ) {}

  /**
   * The rows `rows[from …]` of a batch, of `count`, are segments of packets of the read, as `source` says: writes the headers of those of the
   * first packet, `shift` bytes from their offset on. Returns where the next packet's begin.
   */
  write(batch: PacketBatch, rows: Int32Array, from: number, count: number, shift: number): number {
    const { decided, flows, self, epoch } = this;
    const { view } = batch;
    const i = batch.source[rows[from]!]!;
    const destination = decided.destinations[i]!;
    const { nodeId } = destination;
    const flow = decided.flow[i]!;
    const service = decided.service[i]!;
    const ecn = decided.ecn[i]!;
    const ttl = decided.ttl[i]!;
    const label = flows.label[flow]!;
    let { sequence } = destination;
    let last = service === SERVICE_RELIABLE ? flows.lastSequence[flow]! : -1;
    let j = from;
    for (; j < count; j++) {
      const row = rows[j]!;
      if (batch.source[row] !== i) break;
      const flags = batch.flags[row]! & PACKET_PARTIAL ? FLAG_PARTIAL : 0;
      sequence = (sequence + 1) >>> 0;
      const behind = last < 0 ? 0 : (sequence - last) >>> 0;
      const distance = behind <= DISTANCE_MAX ? behind : 0;
      const at = batch.offset[row]! + shift;
      // prettier-ignore
      writeRoutedHeader(view, at, FRAME_DATA, flags, service, ecn, ttl, self, nodeId, epoch, distance, sequence, label);
      if (service === SERVICE_RELIABLE) last = sequence;
    }
    destination.sequence = sequence;
    if (service === SERVICE_RELIABLE) flows.lastSequence[flow] = last;
    return j;
  }
}
