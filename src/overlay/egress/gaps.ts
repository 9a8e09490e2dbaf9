/**
 * What each flow's front has passed without seeing it: ranges of sequences in which packets of the flow may still be under way. A packet
 * behind the front that lies in one is late; any other one came before. The most recent GAPS_PER_FLOW ranges are kept, of a forgotten
 * one all counts as come.
 */
import { difference32 } from '../wire/sequence.js';
import { RESTART_BEHIND } from './limits.js';

export const GAPS_PER_FLOW = 16;

export class Gaps {
  private readonly from: Int32Array;
  private readonly to: Int32Array;
  private readonly count: Uint8Array;

  constructor(flows: number) {
    this.from = new Int32Array(flows * GAPS_PER_FLOW);
    this.to = new Int32Array(flows * GAPS_PER_FLOW);
    this.count = new Uint8Array(flows);
  }

  clear(flow: number): void {
    this.count[flow] = 0;
  }

  /** The front passed over `from` .. `to`, both included; of a range longer than RESTART_BEHIND the end counts. */
  note(flow: number, from: number, to: number): void {
    const length = difference32(to, from);
    if (length < 0) return;
    const at =
      this.count[flow]! < GAPS_PER_FLOW ? flow * GAPS_PER_FLOW + this.count[flow]!++ : this.oldest(flow, to);
    this.from[at] = length < RESTART_BEHIND ? from : to - RESTART_BEHIND + 1;
    this.to[at] = to;
  }

  /**
   * Whether `sequence` may still come; it has now. Its predecessor in the flow is `distance` before it (0: unknown), so that between
   * the two there is nothing to come either.
   */
  take(flow: number, sequence: number, distance: number): boolean {
    const first = flow * GAPS_PER_FLOW;
    for (let at = first; at < first + this.count[flow]!; at++) {
      const from = this.from[at]!;
      const to = this.to[at]!;
      if (difference32(sequence, from) < 0 || difference32(to, sequence) < 0) continue;
      this.remove(flow, at);
      this.note(flow, from, sequence - (distance || 1));
      this.note(flow, sequence + 1, to);
      return true;
    }
    return false;
  }

  private remove(flow: number, at: number): void {
    const last = flow * GAPS_PER_FLOW + --this.count[flow]!;
    this.from[at] = this.from[last]!;
    this.to[at] = this.to[last]!;
  }

  private oldest(flow: number, newest: number): number {
    const first = flow * GAPS_PER_FLOW;
    let oldest = first;
    for (let at = first + 1; at < first + GAPS_PER_FLOW; at++) {
      if (difference32(newest, this.to[at]!) > difference32(newest, this.to[oldest]!)) oldest = at;
    }
    return oldest;
  }
}
