import { PACKET_PARTIAL, type PacketBatch } from '../../io/batch.js';
import type { TunDevice } from '../../io/ports.js';
import { type PacketInfo, applyEcn, createPacketInfo, parsePacket, setTtl } from '../../intercept/packet.js';
import { FLAG_PARTIAL, readEcn, readFlags, readSource, readTtl, ROUTED_HEADER_SIZE } from '../wire/routed.js';
import type { Counters } from './counters.js';
import type { Routes } from './routes.js';

/**
 * The way out, for data frames addressed to this node: the inner source must be owned by the frame's source, the inner destination by us; TTL
 * and ECN are written into the packet (RFC 6040 §4.2), which so far nobody has touched; then the batch goes to the TUN device.
 */
export class Exit {
  private readonly order: Int32Array;
  private readonly info: PacketInfo = createPacketInfo();
  private count = 0;
  /** The inner source and frame source that were found to belong together last. */
  private readonly lastSource = new Uint32Array(4);
  private lastNode = 0;
  private lastVersion = 0;

  constructor(
    private readonly tun: TunDevice,
    private readonly routes: Routes,
    private readonly counters: Counters,
    private readonly self: number,
    capacity: number,
  ) {
    this.order = new Int32Array(capacity);
  }

  begin(): void {
    this.count = 0;
    // Tables may have changed since the last batch.
    this.lastVersion = 0;
  }

  /** Takes the data frame of `length` bytes at `frame`, packet `i` of the batch. Turns its offset and length into the inner packet's. */
  take(batch: PacketBatch, i: number, frame: number, length: number): void {
    const { view } = batch;
    const { info, counters } = this;
    const at = frame + ROUTED_HEADER_SIZE;
    if (parsePacket(view, at, length - ROUTED_HEADER_SIZE, info) !== 0) {
      counters.drop('inner-malformed');
      return;
    }
    if (!this.sourceBelongs(readSource(view, frame))) {
      counters.drop('foreign-source');
      return;
    }
    if (!this.destinationIsOurs()) {
      counters.drop('foreign-destination');
      return;
    }
    const ecn = applyEcn(info.trafficClass & 3, readEcn(view, frame), view, at);
    if (!ecn) {
      counters.drop('ecn');
      return;
    }
    const ttl = readTtl(view, frame);
    if (ttl !== info.ttl) setTtl(view, at, ttl);
    batch.offset[i] = at;
    batch.length[i] = info.totalLength;
    batch.flags[i] = readFlags(view, frame) & FLAG_PARTIAL ? PACKET_PARTIAL : 0;
    this.order[this.count++] = i;
  }

  /** Writes what was taken to the device. */
  flush(batch: PacketBatch): void {
    if (this.count === 0) return;
    let bytes = 0;
    for (let k = 0; k < this.count; k++) bytes += batch.length[this.order[k]!]!;
    this.counters.tunWrittenPackets += this.tun.write(batch, this.order, this.count);
    this.counters.tunWrittenBytes += bytes;
  }

  private sourceBelongs(node: number): boolean {
    const { source, version } = this.info;
    const { lastSource } = this;
    if (
      node === this.lastNode &&
      version === this.lastVersion &&
      source[3] === lastSource[3] &&
      source[2] === lastSource[2] &&
      source[1] === lastSource[1] &&
      source[0] === lastSource[0]
    ) {
      return true;
    }
    const owner = this.owner(source);
    if (owner < 0 || this.routes.destination(owner).nodeId !== node) return false;
    lastSource.set(source);
    this.lastNode = node;
    this.lastVersion = version;
    return true;
  }

  private destinationIsOurs(): boolean {
    const owner = this.owner(this.info.destination);
    return owner >= 0 && this.routes.destination(owner).nodeId === this.self;
  }

  private owner(words: Uint32Array): number {
    return this.info.version === 4
      ? this.routes.owner4(words[3]!)
      : this.routes.owner6(words[0]!, words[1]!, words[2]!, words[3]!);
  }
}
