/**
 * `causeway capture`, the worker's part: looks on while packets pass and hands out what somebody asked for as pcapng blocks.
 *
 * What a batch brings is copied when it is read, before anything is changed in place; what becomes of each packet is learnt later in the same
 * turn, and written when the turn ends (`flush`). While nobody captures, `isOn` is false and all that is left is one look at it a batch.
 */
import { encodePacket, type Direction } from '../../capture/pcapng.js';
import { type OuterEnd, wrapDatagram } from '../../capture/outer.js';
import { PacketFilter } from '../../capture/filter.js';
import { SERVICE_NAMES } from '../../intercept/services.js';
import { PacketInfo, PARSE_OK, parsePacket } from '../../intercept/packet.js';
import { ADDRESS_BYTES } from '../../io/address.js';
import { ENDPOINT_LOCAL, ENDPOINT_PORT, ENDPOINT_WORDS, type PacketBatch } from '../../io/batch.js';
import type { TunDevice, UdpSocket } from '../../io/ports.js';
import type { Counters, DropReason } from '../../overlay/forward/counters.js';
import type { Routes } from '../../overlay/forward/routes.js';
import type { Watcher } from '../../overlay/forward/watcher.js';
import { readDestination, readService, readSource, ROUTED_HEADER_SIZE } from '../../overlay/wire/routed.js';
import type { CaptureFilter, FromWorker } from '../messages.js';

/** Of one turn: beyond it packets are counted and not kept. */
const MAX_TURN_BYTES = 4 << 20;

interface Session {
  readonly id: number;
  readonly filter: CaptureFilter;
  readonly packets: PacketFilter | undefined;
  /** µs: the wall clock's lead over the agent's. */
  readonly wallOffset: number;
}

interface Kept {
  readonly at: number;
  readonly bytes: Uint8Array;
  readonly length: number;
  readonly direction: Direction;
  /** Of a packet: the node that it comes from or goes to; of a datagram: the neighbour. 0: unknown. */
  node: number;
  comment: string | undefined;
}

/** A neighbour's node id by the words of its endpoint record, 0 for a stranger. */
export type NeighbourAt = (words: Uint32Array, slot: number) => number;

export class Capture implements Watcher {
  private readonly sessions = new Map<number, Session>();
  private readonly datagrams: Kept[] = [];
  private readonly packets: Kept[] = [];
  /** What the last read of a batch kept of its packets, by their place. */
  private readonly fresh = new Map<PacketBatch, (Kept | undefined)[]>();
  private turnBytes = 0;
  private missed = 0;
  private snap = 0;
  private wantsDatagrams = false;
  private wantsPackets = false;
  private readonly info = new PacketInfo();
  private counters: Counters | undefined;
  private routes: Routes | undefined;
  private neighbourAt: NeighbourAt = () => 0;

  constructor(
    private readonly now: () => number,
    private readonly post: (message: FromWorker, transfer: ArrayBuffer[]) => void,
  ) {}

  get isOn(): boolean {
    return this.sessions.size > 0;
  }

  /** What it learns from; before the first session. */
  attach(counters: Counters, routes: Routes, neighbourAt: NeighbourAt): void {
    this.counters = counters;
    this.routes = routes;
    this.neighbourAt = neighbourAt;
  }

  begin(id: number, filter: CaptureFilter, wallOffset: number): void {
    const packets = filter.flow && new PacketFilter(filter.flow);
    this.sessions.set(id, { id, filter, packets, wallOffset });
    this.arrange();
  }

  end(id: number): void {
    this.sessions.delete(id);
    this.arrange();
  }

  private arrange(): void {
    const all = [...this.sessions.values()];
    this.wantsPackets = all.some(({ filter }) => filter.decrypted);
    this.wantsDatagrams = all.some(({ filter }) => !filter.decrypted);
    this.snap = Math.max(0, ...all.map(({ filter }) => filter.snap));
    this.counters!.watcher = all.length > 0 ? this : undefined;
    this.clear();
  }

  private clear(): void {
    this.datagrams.length = this.packets.length = 0;
    this.fresh.clear();
    this.turnBytes = this.missed = 0;
  }

  // --- what passes ---

  /** Packets that a device gave, on their way in. */
  readPackets(batch: PacketBatch): void {
    if (!this.wantsPackets) return;
    this.fresh.set(
      batch,
      Array.from({ length: batch.count }, (_, i) =>
        this.keepPacket('out', batch, batch.offset[i]!, batch.length[i]!, 'destination'),
      ),
    );
  }

  /** Packets for a device, on their way out. */
  writtenPackets(batch: PacketBatch, order: Int32Array, n: number): void {
    if (!this.wantsPackets) return;
    for (let k = 0; k < n; k++) {
      const i = order[k]!;
      this.keepPacket('in', batch, batch.offset[i]!, batch.length[i]!, 'source');
    }
  }

  readDatagrams(batch: PacketBatch, port: number): void {
    if (!this.wantsDatagrams) return;
    this.fresh.set(
      batch,
      Array.from({ length: batch.count }, (_, i) => {
        const { remote, local } = endsAt(batch.endpoints, batch.source[i]!, port);
        const node = this.neighbourAt(batch.endpoints, batch.source[i]!);
        return this.keepDatagram('in', batch, i, remote, local, node);
      }),
    );
  }

  sentDatagrams(
    batch: PacketBatch,
    order: Int32Array,
    n: number,
    endpoints: Uint32Array,
    port: number,
  ): void {
    if (!this.wantsDatagrams) return;
    for (let k = 0; k < n; k++) {
      const i = order[k]!;
      const slot = batch.endpoint[i]!;
      const { remote, local } = endsAt(endpoints, slot, port);
      this.keepDatagram('out', batch, i, local, remote, this.neighbourAt(endpoints, slot));
    }
  }

  entered(batch: PacketBatch, i: number, node: number, service: number): void {
    const kept = this.fresh.get(batch)?.[i];
    if (!kept) return;
    kept.node = node;
    kept.comment = `to ${this.nameOf(node)}, ${SERVICE_NAMES[service] ?? `service ${service}`}`;
  }

  left(batch: PacketBatch, i: number): void {
    const kept = this.fresh.get(batch)?.[i];
    if (kept) kept.comment = 'direct';
  }

  relayed(batch: PacketBatch, frame: number, length: number): void {
    if (!this.wantsPackets) return;
    const { view } = batch;
    const [from, to] = [readSource(view, frame), readDestination(view, frame)];
    const kept = this.keep(
      this.packets,
      'unknown',
      batch.bytes.subarray(frame + ROUTED_HEADER_SIZE, frame + length),
      to,
    );
    if (!kept) return;
    const service = SERVICE_NAMES[readService(view, frame)] ?? `service ${readService(view, frame)}`;
    kept.comment = `relayed from ${this.nameOf(from)} to ${this.nameOf(to)}, ${service}`;
  }

  dropped(reason: DropReason, batch: PacketBatch, i: number): void {
    const kept = this.fresh.get(batch)?.[i];
    if (kept) kept.comment = `dropped: ${reason}`;
  }

  droppedInside(reason: DropReason, batch: PacketBatch, at: number, length: number): void {
    if (!this.wantsPackets) return;
    const kept = this.keepPacket('in', batch, at, length, 'source');
    if (kept) kept.comment = `dropped: ${reason}`;
  }

  private keepPacket(
    direction: Direction,
    batch: PacketBatch,
    at: number,
    length: number,
    end: 'source' | 'destination',
  ): Kept | undefined {
    const node = this.nodeOf(batch.view, at, length, end);
    return this.keep(this.packets, direction, batch.bytes.subarray(at, at + length), node);
  }

  private keepDatagram(
    direction: Direction,
    batch: PacketBatch,
    i: number,
    from: OuterEnd,
    to: OuterEnd,
    node: number,
  ): Kept | undefined {
    const at = batch.offset[i]!;
    const payload = batch.bytes.subarray(at, at + batch.length[i]!);
    return this.keep(
      this.datagrams,
      direction,
      wrapDatagram(from, to, batch.trafficClass[i]!, payload),
      node,
    );
  }

  private keep(into: Kept[], direction: Direction, whole: Uint8Array, node: number): Kept | undefined {
    const bytes = whole.slice(0, this.snap);
    if (this.turnBytes + bytes.length > MAX_TURN_BYTES) {
      this.missed++;
      return undefined;
    }
    this.turnBytes += bytes.length;
    const kept = { at: this.now(), bytes, length: whole.length, direction, node, comment: undefined };
    into.push(kept);
    return kept;
  }

  private nodeOf(view: DataView, at: number, length: number, end: 'source' | 'destination'): number {
    const { info, routes } = this;
    if (parsePacket(view, at, length, info) !== PARSE_OK) return 0;
    const { version, src0, src1, src2, src3, dst0, dst1, dst2, dst3 } = info;
    const words = end === 'source' ? [src0, src1, src2, src3] : [dst0, dst1, dst2, dst3];
    const [w0, w1, w2, w3] = words.map((word) => word >>> 0) as [number, number, number, number];
    const index = version === 4 ? routes!.owner4(w3) : routes!.owner6(w0, w1, w2, w3);
    return index < 0 ? 0 : routes!.destination(index).nodeId;
  }

  private nameOf(node: number): string {
    return this.routes!.name(node) ?? `#${node}`;
  }

  // --- what is handed out ---

  /** Ends a turn: what it brought goes to those who asked for it. */
  flush(): void {
    if (this.turnBytes === 0 && this.missed === 0) return;
    for (const session of this.sessions.values()) this.handOut(session);
    this.clear();
  }

  private handOut({ id, filter, packets, wallOffset }: Session): void {
    const blocks: Uint8Array[] = [];
    for (const kept of filter.decrypted ? this.packets : this.datagrams) {
      if (filter.node !== undefined && filter.node !== kept.node) continue;
      const view = new DataView(kept.bytes.buffer, kept.bytes.byteOffset, kept.bytes.length);
      if (packets && !packets.passes(view, 0, kept.bytes.length)) continue;
      const data = kept.bytes.subarray(0, filter.snap);
      blocks.push(encodePacket(kept.at + wallOffset, data, kept.length, kept.direction, kept.comment));
    }
    if (blocks.length === 0 && this.missed === 0) return;
    const bytes = new Uint8Array(blocks.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const block of blocks) {
      bytes.set(block, at);
      at += block.length;
    }
    this.post({ type: 'captured', id, bytes, packets: blocks.length, missed: this.missed }, [bytes.buffer]);
  }
}

function endsAt(words: Uint32Array, slot: number, port: number): { remote: OuterEnd; local: OuterEnd } {
  const at = slot * ENDPOINT_WORDS;
  const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  const address = (word: number) => bytes.slice(4 * word, 4 * word + ADDRESS_BYTES);
  return {
    remote: { address: address(at), port: words[at + ENDPOINT_PORT]! },
    local: { address: address(at + ENDPOINT_LOCAL), port },
  };
}

/** The device, seen by a capture. */
export function watchedTun(tun: TunDevice, capture: Capture): TunDevice {
  return {
    name: tun.name,
    features: tun.features,
    read(batch) {
      const count = tun.read(batch);
      if (capture.isOn) capture.readPackets(batch);
      return count;
    },
    write(batch, order, n) {
      if (capture.isOn) capture.writtenPackets(batch, order, n);
      return tun.write(batch, order, n);
    },
    onReadable: (callback) => tun.onReadable(callback),
    pause: () => tun.pause(),
    resume: () => tun.resume(),
    close: () => tun.close(),
  };
}

/** The socket, likewise. */
export function watchedUdp(udp: UdpSocket, capture: Capture): UdpSocket {
  return {
    port: udp.port,
    features: udp.features,
    endpoints: udp.endpoints,
    sendErrors: udp.sendErrors,
    read(batch, messages) {
      const count = udp.read(batch, messages);
      if (capture.isOn) capture.readDatagrams(batch, udp.port);
      return count;
    },
    send(batch, order, n) {
      if (capture.isOn) capture.sentDatagrams(batch, order, n, udp.endpoints, udp.port);
      return udp.send(batch, order, n);
    },
    takeTroubles: (into) => udp.takeTroubles(into),
    sourceFor: (slot, address) => udp.sourceFor(slot, address),
    keepWhole: (on) => udp.keepWhole(on),
    onReadable: (callback) => udp.onReadable(callback),
    pause: () => udp.pause(),
    resume: () => udp.resume(),
    onWritable: (callback) => udp.onWritable(callback),
    close: () => udp.close(),
  };
}
