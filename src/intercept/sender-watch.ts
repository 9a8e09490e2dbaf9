/**
 * Whose packets come out of the device. A packet there bears no sign of its sender; but while it was still its socket's, nftables logged its head with user,
 * group and cgroups, once a second and flow (`src/tun/sender-plan.ts`). The log is read before a batch is decided, and so says of each
 * packet in it what is to be known.
 */
import type { SenderBatch, SenderLog } from '../io/ports.js';
import { SENDER_HEAD, SENDER_COLUMNS } from '../io/ports.js';
import type { FlowCache } from './flow-cache.js';
import { FRAGMENT_FIRST, FRAGMENT_NONE, PacketInfo, PARSE_OK, parseHead, PROTOCOL_TCP } from './packet.js';

const ROWS = 256;
/** µs: how long nftables may not repeat what was lost. */
const BLIND_FOR = 1_100_000;
/** Reads at a time, at most: a flood must not hold up packets for ever. */
const READS = 64;

export class SenderWatch {
  private readonly batch: SenderBatch = {
    bytes: new Uint8Array(ROWS * SENDER_HEAD),
    table: new Uint32Array(ROWS * SENDER_COLUMNS),
  };
  private readonly view = new DataView(this.batch.bytes.buffer);
  private readonly info = new PacketInfo();
  private blindUntil = -Infinity;

  /** `mtu`: what is larger, and no TCP, comes in fragments, which are a flow of their own. */
  constructor(
    private readonly log: SenderLog,
    private readonly flows: FlowCache,
    private readonly mtu: number,
  ) {}

  /** Takes over what was logged. */
  drain(now: number): void {
    for (let reads = 0; reads < READS; reads++) {
      const taken = this.log.read(this.batch);
      const rows = taken < 0 ? -1 - taken : taken;
      if (taken < 0) this.blindUntil = now + BLIND_FOR;
      for (let row = 0; row < rows; row++) this.take(now, row);
      if (taken >= 0 && rows < ROWS) return;
    }
    this.blindUntil = now + BLIND_FOR;
  }

  /** Whether some of the log was lost of late. */
  isBlind(now: number): boolean {
    return now < this.blindUntil;
  }

  close(): void {
    this.log.close();
  }

  private take(now: number, row: number): void {
    const { view, info } = this;
    const { table } = this.batch;
    const at = row * SENDER_HEAD;
    const column = row * SENDER_COLUMNS;
    if (parseHead(view, at, table[column]!, info) !== PARSE_OK) return;
    this.note(now, column);
    const announced = info.version === 4 ? view.getUint16(at + 2) : view.getUint16(at + 4) + 40;
    if (info.fragment !== FRAGMENT_NONE || info.protocol === PROTOCOL_TCP || announced <= this.mtu) return;
    info.fragment = FRAGMENT_FIRST;
    this.note(now, column);
  }

  private note(now: number, column: number): void {
    const { flows, info } = this;
    const { table } = this.batch;
    const known = flows.peek(info);
    const flow = known < 0 ? flows.find(now, info, 0) : known;
    flows.setSender(flow, table[column + 1]!, table[column + 2]!, table[column + 3]!);
  }
}
