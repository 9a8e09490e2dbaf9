import { createBatch, RECORD_HEADER, RECORD_TAG } from '../../io/batch.js';
import { LANE_CONTROL } from '../wire/lanes.js';
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

  constructor(private readonly sender: Sender) {}

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
