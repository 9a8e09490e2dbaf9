import { PACKET_PARTIAL, type PacketBatch } from '../../io/batch.js';
import type { TunDevice } from '../../io/ports.js';
import { hasMartianSource, isUnicast } from '../../intercept/address.js';
import { clampMss, isSyn } from '../../intercept/mss.js';
import { FRAGMENT_REFUSED, FragmentWatch } from '../../intercept/fragments.js';
import { INBOUND_ALLOWED, INBOUND_REJECTED, type InboundFilter } from '../../intercept/inbound.js';
import {
  applyEcn,
  FRAGMENT_FIRST,
  FRAGMENT_NONE,
  PacketInfo,
  PARSE_OK,
  parsePacket,
  setTtl,
} from '../../intercept/packet.js';
import {
  FLAG_GROUP,
  FLAG_PARTIAL,
  FLAG_SEALED,
  readEcn,
  readFlags,
  readHeadSize,
  readService,
  readSource,
  readTtl,
} from '../wire/routed.js';
import { NO_OWNER } from '../route/prefix-table.js';
import { type Counters, INNER_DROPS } from './counters.js';
import type { Routes } from './routes.js';
import type { Widths } from './widths.js';

export interface ExitParts {
  tun: TunDevice;
  routes: Routes;
  counters: Counters;
  self: number;
  inbound: InboundFilter;
  /** Tells the source of a data frame that its packet isn't let in. */
  refuse: (now: number, view: DataView, frame: number) => void;
  widths: Widths;
  /** Packets of a batch. */
  capacity: number;
}

/**
 * The way out, for data frames addressed to this node: the inner source must be owned by the frame's source, the inner destination by us, or one
 * of them be nobody's and the frame come from this node's exit, or to this node as one; TTL and ECN are written into the packet (RFC 6040 §4.2), which so far nobody has touched; then the batch goes to the TUN device.
 */
export class Exit {
  private readonly order: Int32Array;
  /** Of the packet last taken. */
  readonly info: PacketInfo = new PacketInfo();
  private readonly fragments = new FragmentWatch();
  private now = 0;
  private count = 0;
  /** The inner source and frame source that were found to belong together last. */
  private readonly lastSource = new Uint32Array(4);
  private lastNode = 0;
  private lastVersion = 0;

  constructor(private readonly parts: ExitParts) {
    this.order = new Int32Array(parts.capacity);
  }

  begin(now: number): void {
    this.now = now;
    this.count = 0;
    // Tables may have changed since the last batch.
    this.lastVersion = 0;
  }

  /**
   * Takes the data frame of `length` bytes at `frame`, packet `i` of the batch. Turns its offset and length into the inner packet's; false where
   * it was dropped.
   */
  take(batch: PacketBatch, i: number, frame: number, length: number): boolean {
    const { view } = batch;
    const { info } = this;
    const { counters, self } = this.parts;
    const head = readHeadSize(view, frame);
    const at = frame + head;
    const inner = length - head;
    if (readFlags(view, frame) & (FLAG_GROUP | FLAG_SEALED)) {
      counters.dropInside('frame-unknown', batch, at, inner); // relays carry these; this version can't deliver them
      return false;
    }
    const parsed = parsePacket(view, at, inner, info);
    if (parsed !== PARSE_OK) {
      counters.dropInside(INNER_DROPS[parsed]!, batch, at, inner);
      return false;
    }
    const source = readSource(view, frame);
    // What this node sends to itself never leaves it, so such a frame is a forgery.
    if (source === self || !this.sourceBelongs(source)) {
      counters.dropInside(hasMartianSource(info) ? 'martian' : 'foreign-source', batch, at, inner);
      return false;
    }
    if (!this.destinationIsOurs()) {
      counters.dropInside('foreign-destination', batch, at, inner);
      return false;
    }
    if (!this.mayEnter(batch, frame, inner, source)) return false;
    if (!applyEcn(view, at, readEcn(view, frame))) {
      counters.dropInside('ecn', batch, at, inner);
      return false;
    }
    const ttl = readTtl(view, frame);
    if (ttl !== info.ttl) setTtl(view, at, ttl);
    const isPartial = (readFlags(view, frame) & FLAG_PARTIAL) !== 0;
    this.narrow(view, frame, source, isPartial);
    batch.offset[i] = at;
    batch.length[i] = info.totalLength;
    batch.flags[i] = isPartial ? PACKET_PARTIAL : 0;
    this.order[this.count++] = i;
    return true;
  }

  /** Writes to the device what was taken of a batch since the last call. */
  flush(batch: PacketBatch): void {
    const { count } = this;
    if (count === 0) return;
    this.count = 0;
    let bytes = 0;
    for (let k = 0; k < count; k++) bytes += batch.length[this.order[k]!]!;
    const { tun, counters } = this.parts;
    const written = tun.write(batch, this.order, count);
    if (written < count) counters.drop('tun-refused', count - written);
    counters.tunWrittenPackets += written;
    counters.tunWrittenBytes += bytes;
  }

  /** Whether the parsed packet of a node is let in; counts it where it isn't. */
  private mayEnter(batch: PacketBatch, frame: number, inner: number, source: number): boolean {
    const { view } = batch;
    const at = frame + readHeadSize(view, frame);
    const { info, fragments, now } = this;
    const { inbound, counters } = this.parts;
    let slot = -1;
    if (info.fragment !== FRAGMENT_NONE) {
      slot = fragments.take(now, info);
      if (slot === FRAGMENT_REFUSED) {
        counters.dropInside('inner-overlap', batch, at, inner);
        return false;
      }
    }
    if (!inbound.active) return true;
    const verdict = inbound.judge(now, view, info, source, slot >= 0 && fragments.admitted[slot] !== 0);
    if (verdict === INBOUND_ALLOWED) {
      if (info.fragment === FRAGMENT_FIRST) fragments.admitted[slot] = 1;
      return true;
    }
    counters.dropInside('inbound', batch, at, inner);
    if (verdict === INBOUND_REJECTED) this.parts.refuse(now, view, frame);
    return false;
  }

  /** A SYN learns how large segments fit the link that its answers leave by; the one that it came by, as a rule. */
  private narrow(view: DataView, frame: number, source: number, isPartial: boolean): void {
    const { info } = this;
    const { routes, widths } = this.parts;
    const next = isSyn(view, info) && routes.byNode(source)?.next[readService(view, frame)];
    if (next) clampMss(view, info, widths.room(next), isPartial);
  }

  private sourceBelongs(node: number): boolean {
    const { version, src0, src1, src2, src3 } = this.info;
    const { lastSource } = this;
    if (
      node === this.lastNode &&
      version === this.lastVersion &&
      src3 === lastSource[3] &&
      src2 === lastSource[2] &&
      src1 === lastSource[1] &&
      src0 === lastSource[0]
    ) {
      return true;
    }
    const owner = this.ownerOf(src0, src1, src2, src3);
    if (owner !== node && !(owner === NO_OWNER && node === this.parts.routes.exit()?.nodeId)) return false;
    lastSource[0] = src0;
    lastSource[1] = src1;
    lastSource[2] = src2;
    lastSource[3] = src3;
    this.lastNode = node;
    this.lastVersion = version;
    return true;
  }

  private destinationIsOurs(): boolean {
    const { dst0, dst1, dst2, dst3 } = this.info;
    const { self, routes } = this.parts;
    const owner = this.ownerOf(dst0, dst1, dst2, dst3);
    if (owner === self) return true;
    return owner === NO_OWNER && routes.outside.forOthers && isUnicast(dst0, dst1, dst2, dst3);
  }

  /** Node id of the owner, NO_OWNER outside the overlay, NOBODY inside it. */
  private ownerOf(w0: number, w1: number, w2: number, w3: number): number {
    const { routes } = this.parts;
    const index = this.info.version === 4 ? routes.owner4(w3) : routes.owner6(w0, w1, w2, w3);
    return index < 0 ? index : routes.destination(index).nodeId;
  }
}
