/**
 * What parity leaves lost, on a channel that forgets all but whether the last transmission was lost (Gilbert's): a transmission is
 * lost with probability `loss`, and with 1 − 1/burst where the one before was, `burst` being the mean length of a run of losses.
 *
 * A window of w frames with r repairs is taken for a block of n = w + r in which any w give the rest: a frame stays lost where it is, and
 * r or more of the other n − 1 are. Those are taken to lie around it evenly; the chain looks the same in both directions, so
 * each side is counted on its own and the two are convolved.
 */

/** Transmissions on one side of a frame. */
const SIDE_MAX = 36;
const ROW = SIDE_MAX + 1;

export class Residual {
  private loss = 0;
  /** `after[m · ROW + k]`: probability that exactly k of the m transmissions next to a lost one are lost. */
  private readonly after = new Float64Array(ROW * ROW);

  /** Takes `loss` 0…1 and `burst` ≥ 1. */
  set(loss: number, burst: number): void {
    this.loss = loss;
    const stay = Math.min(0.99, Math.max(loss, 1 - 1 / burst));
    const enter = Math.min(1, (loss * (1 - stay)) / Math.max(1e-9, 1 - loss));
    this.count(stay, enter);
  }

  /** Chance that a frame is lost for good in a window of `frames` frames and `repairs` repairs, together at most 72. */
  of(frames: number, repairs: number): number {
    const others = frames + repairs - 1;
    const left = (others >>> 1) * ROW;
    const right = (others - (others >>> 1)) * ROW;
    let solvable = 0;
    for (let i = 0; i < repairs; i++) {
      for (let j = 0; i + j < repairs; j++) solvable += this.after[left + i] * this.after[right + j];
    }
    return this.loss * Math.max(0, 1 - solvable);
  }

  /** Fills `after`, one row from the one before: `good` and `bad` hold its probabilities by the first transmission's fate. */
  private count(stay: number, enter: number): void {
    const { after } = this;
    const good = new Float64Array(ROW);
    const bad = new Float64Array(ROW);
    good[0] = bad[0] = 1;
    after.set(bad);
    for (let m = 1; m < ROW; m++) {
      for (let k = m; k >= 0; k--) {
        const intact = good[k];
        const lost = k === 0 ? 0 : bad[k - 1];
        good[k] = (1 - enter) * intact + enter * lost;
        bad[k] = (1 - stay) * intact + stay * lost;
      }
      after.set(bad, m * ROW);
    }
  }
}
