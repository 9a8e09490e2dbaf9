/**
 * The way of packets that came into the device but don't go over the overlay: on as they are, by the host's own routes.
 *
 * 1. `take` lists packets of the read, as they are decided;
 * 2. `flush` cuts segmentation-offload ones into segments and sends them all, with the mark by which the kernel knows them (src/tun/nft-plan.ts);
 * 3. what is larger than the interface takes, and may be, is sent in fragments (RFC 791 §3.2).
 *
 * In mode full that is a flow's first packet, more or less: the kernel sends the rest of it without asking.
 */
import { createBatch, type PacketBatch } from '../io/batch.js';
import { type Io, RAW_REFUSED, RAW_SENT, RAW_TOO_BIG, type RawSender } from '../io/ports.js';
import { fragmentIpv4 } from './fragment.js';

/** Every network takes packets of this size (RFC 8200 §5); IPv4's own 68 would be many. */
const FRAGMENT_BYTES = 1280;

export interface DirectCounters {
  directPackets: number;
  directBytes: number;
  drop(reason: 'direct-refused', n?: number): void;
}

export class DirectPath {
  private readonly order: Int32Array;
  private count = 0;
  /** Every row of a batch in its place. */
  private readonly rows: Int32Array;
  private readonly out: PacketBatch;
  private readonly fragments = createBatch(128 * 1024, 64);

  /** `read`: what the device fills. `arena` bytes for up to `capacity` segments. */
  constructor(
    private readonly io: Io,
    private readonly raw: RawSender,
    private readonly counters: DirectCounters,
    private readonly read: PacketBatch,
    arena: number,
    capacity: number,
  ) {
    this.order = new Int32Array(read.capacity);
    this.out = createBatch(arena, capacity);
    this.rows = Int32Array.from({ length: Math.max(capacity, this.fragments.capacity) }, (_, row) => row);
  }

  take(i: number): void {
    this.order[this.count++] = i;
  }

  flush(): void {
    const { io, read, out, rows, counters, count } = this;
    this.count = 0;
    for (let done = 0; done < count;) {
      const rest = this.order.subarray(done, count);
      // A packet too large for an empty batch would be tried for ever.
      done += Math.max(1, io.segment(read, rest, count - done, out, 0, 0));
      let refused = out.count - this.raw.send(out, rows, out.count);
      if (refused > 0) refused -= this.sendLarge();
      counters.directPackets += out.count - refused;
      for (let row = 0; row < out.count; row++)
        if (out.status[row] !== RAW_REFUSED) counters.directBytes += out.length[row]!;
      if (refused > 0) counters.drop('direct-refused', refused);
    }
  }

  close(): void {
    this.raw.close();
  }

  /** Sends what was too big in fragments; returns how many packets that helped. */
  private sendLarge(): number {
    const { out, fragments, rows } = this;
    let helped = 0;
    for (let row = 0; row < out.count; row++) {
      if (out.status[row] !== RAW_TOO_BIG) continue;
      const packet = out.bytes.subarray(out.offset[row], out.offset[row]! + out.length[row]!);
      if (!fragmentIpv4(packet, FRAGMENT_BYTES, fragments)) continue;
      this.raw.send(fragments, rows, fragments.count);
      if (fragments.status.subarray(0, fragments.count).every((status) => status === RAW_SENT)) helped++;
    }
    return helped;
  }
}
