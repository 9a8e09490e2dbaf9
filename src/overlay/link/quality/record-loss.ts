/**
 * What a link loses of all that this node sends on it, from the peer's tallies: counts that fade with time and with newer counts, so that a busy
 * link is judged by its last seconds and an idle one by its last hundred records. Few records prove little: the estimate leans towards none,
 * and a single run of losses is an accident. Times in µs. Pure.
 */
import type { Counts } from '../../wire/frames.js';
import { elapsed32 } from '../../wire/sequence.js';

/** Counts fade to 1/e in so many records, or in this time where more come. Tuned. */
const RECORDS = 100;
const SPAN = 1_000_000;
/** Records without loss that stand beside what was counted. Tuned. */
const BENEFIT = 20;
/** Runs of losses, faded, that make more than an accident. Tuned. */
const LEAST_RUNS = 1.5;
/** More records between two tallies than any link carries: the peer began anew. */
const ABSURD = 2 ** 26;

export class RecordLoss {
  private last: Counts | undefined;
  private takenAt = 0;
  private sealed = 0;
  private lost = 0;
  private runs = 0;
  /** Records whose loss was not the link's, still to be taken off. */
  private excused = 0;

  /** `records` sealed records were not sent, or were lost for a reason that is not the link's. */
  excuse(records: number): void {
    this.excused += records;
  }

  /** What comes after this isn't compared with what came before: the link was down in between. */
  interrupt(): void {
    this.last = undefined;
  }

  /** `congested`: in the time that it tells of, our own traffic filled the network's queue. */
  take(now: number, tally: Counts, congested: boolean): void {
    const { last } = this;
    this.last = tally;
    const elapsed = now - this.takenAt;
    this.takenAt = now;
    if (last === undefined) return;
    const sealed = elapsed32(tally.sealed, last.sealed);
    // Less than none is what reordering gives: a record that was late came after all.
    const lost = (sealed - elapsed32(tally.arrived, last.arrived)) | 0;
    const runs = elapsed32(tally.gaps, last.gaps);
    if (sealed > ABSURD || lost > sealed || runs > ABSURD) return;
    if (!congested) this.count(elapsed, sealed, lost, runs);
  }

  private count(elapsed: number, sealed: number, lost: number, runs: number): void {
    const kept = Math.exp(-Math.min(sealed / RECORDS, elapsed / SPAN));
    const forgiven = Math.min(Math.max(0, lost), this.excused);
    this.excused = (this.excused - forgiven) * kept;
    this.sealed = this.sealed * kept + sealed;
    this.lost = Math.max(0, this.lost * kept + lost - forgiven);
    this.runs = this.runs * kept + (lost > forgiven ? Math.max(1, runs) : 0);
  }

  /** Share of records lost, 0 … 1. */
  get loss(): number {
    return this.runs < LEAST_RUNS ? 0 : Math.min(1, this.lost / (this.sealed + BENEFIT));
  }

  /** Mean length of a run of losses, at least 1. */
  get burst(): number {
    return Math.max(1, this.lost / Math.max(1, this.runs));
  }
}
