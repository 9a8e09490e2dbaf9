import type { Neighbour } from './neighbour.js';

/** A replay window: `check` before a record is opened, `accept` after. */
export interface Window {
  check(counter: number): boolean;
  accept(counter: number): boolean;
  /** The newest counter accepted. */
  readonly highest: number;
}

/** One traffic class of one session, receiving. */
export interface ReceiveLane {
  readonly neighbour: Neighbour;
  /** Names the session within its neighbour. */
  readonly session: number;
  /** Traffic class (src/overlay/wire/lanes.ts). */
  readonly lane: number;
  /** AEAD key slot. */
  readonly key: number;
  readonly window: Window;
}

/** Receiver index → lane. Consecutive records mostly name the same one. */
export class LaneTable {
  private readonly lanes = new Map<number, ReceiveLane>();
  private lastIndex = -1;
  private last: ReceiveLane | undefined;

  find(index: number): ReceiveLane | undefined {
    if (index !== this.lastIndex) {
      this.lastIndex = index;
      this.last = this.lanes.get(index);
    }
    return this.last;
  }

  add(index: number, lane: ReceiveLane): void {
    this.lanes.set(index, lane);
    this.lastIndex = -1;
  }

  remove(index: number): void {
    this.lanes.delete(index);
    this.lastIndex = -1;
  }
}
