/**
 * Loss that chance doesn't explain. Loss without a queue is no reason to yield, but a policer and a queue too short to be seen show nothing
 * else: they lose far more as the window grows than at other times. Pure.
 */

/** Packets that make one figure: fewer say nothing about bursts. Tuned. */
const BATCH = 256;
/** And in slow start, where more may go wrong meanwhile. Tuned. */
const START_BATCH = 64;
/** So much more than twice the usual loss is too much. Tuned: bursts of 3 at 5 % stay below. */
const EXCESS = 0.15;
/** The usual loss, a minimum, may rise by so much a batch. Tuned. */
const FORGETTING = 0.002;

export class LossWatch {
  private usual = 0;
  private acked = 0;
  private lost = 0;

  constructor(private readonly packet: number) {}

  /** What was counted belongs to another path, or to an outage. */
  forget(): void {
    this.acked = 0;
    this.lost = 0;
  }

  /** True where loss is excessive; it isn't judged again before as much has been sent again. */
  count(acked: number, lost: number, starting: boolean): boolean {
    this.acked += acked;
    this.lost += lost;
    const all = this.acked + this.lost;
    if (all < (starting ? START_BATCH : BATCH) * this.packet) return false;
    const share = this.lost / all;
    this.usual = Math.min(share, this.usual + FORGETTING);
    this.acked = 0;
    this.lost = 0;
    return share > EXCESS + 2 * this.usual;
  }
}
