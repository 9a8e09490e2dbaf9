import { createBatch, type PacketBatch, RECORD_HEADER, RECORD_TAG } from '../../io/batch.js';
import type { UdpSocket } from '../../io/ports.js';
import { LANE_CONTROL } from '../wire/lanes.js';
import { writeProbe } from '../wire/piece.js';
import type { Neighbour } from './neighbour.js';
import type { Sender } from './sender.js';

/** Most bytes of frames in one control record; with header and tag it passes a 1280-byte underlay. */
export const CONTROL_BODY_MAX = 1200;

/** Sends what isn't data, a record at a time: link frames, echoes, errors. */
export class ControlRecords {
  private readonly batch = createBatch(RECORD_HEADER + CONTROL_BODY_MAX + RECORD_TAG, 1);
  private readonly order = Int32Array.of(0);
  readonly view = this.batch.view;
  /** Where a caller writes the body before `send`. */
  readonly at = RECORD_HEADER;

  private probes: PacketBatch | undefined;

  constructor(
    private readonly sender: Sender,
    private readonly udp: UdpSocket,
  ) {}

  /** Sends a datagram of `size` bytes that the network may not take apart; nothing where the socket can't say so. */
  probe(next: Neighbour, number: number, size: number): void {
    const { udp, sender, order } = this;
    if ((this.probes?.bytes.length ?? 0) < size) this.probes = createBatch(size, 1);
    const batch = this.probes!;
    const body = size - RECORD_HEADER - RECORD_TAG;
    writeProbe(batch.view, RECORD_HEADER, number, body);
    batch.count = 1;
    batch.offset[0] = 0;
    batch.length[0] = RECORD_HEADER + body;
    if (!sender.addressOne(batch, 0, next, LANE_CONTROL, 0)) return;
    udp.keepWhole(true);
    sender.sealAndSend(batch, order, 1);
    udp.keepWhole(false);
  }

  /**
   * Sends the `length` bytes at `at` to a neighbour, or to another of its endpoints; false where there is no session to seal with or no room
   * to send.
   */
  send(next: Neighbour, length: number, slot = next.slot): boolean {
    const { batch } = this;
    batch.count = 1;
    batch.offset[0] = 0;
    batch.length[0] = RECORD_HEADER + length;
    if (!this.sender.addressOne(batch, 0, next, LANE_CONTROL, 0)) return false;
    batch.endpoint[0] = slot;
    return this.sender.sealAndSend(batch, this.order, 1) === 1;
  }
}
