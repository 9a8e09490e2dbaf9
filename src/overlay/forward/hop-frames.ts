/**
 * The link frames in front of, or without, a routed frame. Those of recovery go to the neighbour's hop at once, since they may come with every
 * packet; whether there were others is left in `others`, and they are left to the link.
 */
import {
  FRAME_ACK,
  FRAME_PIECE,
  FRAME_REPAIR,
  FRAME_REPEAT,
  FRAME_REPORT,
  LinkFrames,
} from '../wire/frames.js';
import { readRepeat } from '../wire/recovery.js';
import type { Counters } from './counters.js';
import type { Hops } from './hops.js';
import type { Neighbour } from './neighbour.js';

export class HopFrames {
  /** Number of the first transmission of the routed frame behind, -1: this is it. */
  repeatOf = -1;
  /** There were frames for the link itself. */
  others = false;
  /** Where a repair's value lies, and its length; -1: there was none. */
  repairAt = -1;
  repairLength = 0;
  /** Where a piece's value lies, and its length; -1: there was none. */
  pieceAt = -1;
  pieceLength = 0;
  private readonly frames = new LinkFrames();

  constructor(
    private readonly hops: Hops,
    private readonly counters: Counters,
  ) {}

  /** Walks the body that fills `length` bytes at `at`; returns the offset of its routed frame, -1 where there is none. */
  walk(now: number, neighbour: Neighbour, view: DataView, at: number, length: number): number {
    const { frames } = this;
    this.repeatOf = -1;
    this.others = false;
    this.repairAt = -1;
    this.pieceAt = -1;
    frames.reset(view, at, length);
    while (frames.next()) this.take(now, neighbour, view);
    if (frames.malformed) this.counters.drop('frame-malformed');
    return frames.routedAt;
  }

  private take(now: number, neighbour: Neighbour, view: DataView): void {
    const { frames, hops } = this;
    switch (frames.type) {
      case FRAME_ACK:
        hops.acknowledge(now, neighbour, view, frames.at, frames.length);
        return;
      case FRAME_REPORT:
        hops.report(now, neighbour, view, frames.at, frames.length);
        return;
      case FRAME_REPEAT:
        this.repeatOf = readRepeat(view, frames.at, frames.length);
        return;
      case FRAME_REPAIR:
        this.repairAt = frames.at;
        this.repairLength = frames.length;
        return;
      case FRAME_PIECE:
        this.pieceAt = frames.at;
        this.pieceLength = frames.length;
        return;
      default:
        this.others = true;
    }
  }
}
