/**
 * The sender's idea of a link's loss, from its peer's reports (0x08): how much, in runs of what length, and how much parity gave back.
 * Two memories, of some seconds and of half a minute, and the worse of them counts: the first loss shows at once, and a link stays
 * suspect for a while. Times in µs.
 */
import { decodeReport, type Report } from '../../wire/recovery.js';
import { elapsed32 } from '../../wire/sequence.js';

/** Time in which each memory fades to 1/e. Tuned. */
const SHORT = 3_000_000;
const LONG = 30_000_000;
/** A memory of fewer transmissions judges as if it had so many: one early loss isn't a lossy link. Tuned. */
const LEAST_EXPECTED = 200;
/** More transmissions in one report than any link makes between two. */
const ABSURD = 2 ** 24;
/** The furthest that another epoch may be ahead to be the next, modulo 8. */
const EPOCHS_AHEAD = 4;
/** Where no report has made sense for so long, the next one begins anew. Tuned. */
const SENSELESS_FOR = 5_000_000;

/** Counts that fade. */
class Memory {
  private expected = 0;
  private lost = 0;
  private runs = 0;
  private repaired = 0;

  constructor(private readonly span: number) {}

  add(elapsed: number, expected: number, lost: number, runs: number, repaired: number): void {
    const kept = Math.exp(-elapsed / this.span);
    this.expected = this.expected * kept + expected;
    this.lost = this.lost * kept + lost;
    this.runs = this.runs * kept + runs;
    this.repaired = this.repaired * kept + repaired;
  }

  get loss(): number {
    return Math.min(1, this.lost / Math.max(LEAST_EXPECTED, this.expected));
  }

  get repair(): number {
    return Math.min(this.loss, this.repaired / Math.max(LEAST_EXPECTED, this.expected));
  }

  /** Mean length of a run of losses; one run of one is taken for seen. */
  get burst(): number {
    return Math.max(1, (this.lost + 1) / (this.runs + 1));
  }
}

export class LossEstimate {
  /** Share of transmissions lost, 0…1. */
  loss = 0;
  /** Share lost for good but for retransmission: what parity didn't give back. */
  after = 0;
  /** Mean run of losses, at least 1. */
  burst = 1;
  private readonly short = new Memory(SHORT);
  private readonly long = new Memory(LONG);
  private last: Report | undefined;
  /** Counts of the epoch, unwrapped. */
  private expected = 0;
  private lost = 0;
  private runs = 0;
  private repaired = 0;
  private takenAt = 0;

  /**
   * Takes the report whose value fills `length` bytes at `at`. False where it was malformed, overtaken, of an earlier epoch or
   * impossible: then nothing has changed.
   */
  receiveReport(now: number, view: DataView, at: number, length: number): boolean {
    const report = decodeReport(view, at, length);
    if (report.type === 'reject') return false;
    const { last } = this;
    const continues = report.epoch === last?.epoch;
    if (last && !continues && !this.begins(now, report, last)) return false;
    return this.take(now, report, continues ? last : undefined);
  }

  private begins(now: number, report: Report, last: Report): boolean {
    const ahead = (report.epoch - last.epoch) & 7;
    return ahead <= EPOCHS_AHEAD || now - this.takenAt >= SENSELESS_FOR;
  }

  /** `before`: the report that this one continues; without one its counts began at zero. */
  private take(now: number, report: Report, before: Report | undefined): boolean {
    const expected = elapsed32(report.expected, before?.expected ?? 0);
    const lost = elapsed32(report.lost, before?.lost ?? 0);
    const runs = elapsed32(report.runs, before?.runs ?? 0);
    const repaired = elapsed32(report.repaired, before?.repaired ?? 0);
    if (expected > ABSURD || !this.count(before !== undefined, expected, lost, runs, repaired)) return false;
    const elapsed = this.last ? Math.max(0, now - this.takenAt) : 0;
    this.short.add(elapsed, expected, lost, runs, repaired);
    this.long.add(elapsed, expected, lost, runs, repaired);
    this.last = report;
    this.takenAt = now;
    this.judge();
    return true;
  }

  /** Adds to the epoch's counts; false, and nothing, where they would contradict each other. */
  private count(continues: boolean, expected: number, lost: number, runs: number, repaired: number): boolean {
    const allExpected = expected + (continues ? this.expected : 0);
    const allLost = lost + (continues ? this.lost : 0);
    const allRuns = runs + (continues ? this.runs : 0);
    const allRepaired = repaired + (continues ? this.repaired : 0);
    if (allLost > allExpected || allRepaired > allExpected || allRuns > allLost) return false;
    if (allLost > 0 && allRuns === 0) return false;
    this.expected = allExpected;
    this.lost = allLost;
    this.runs = allRuns;
    this.repaired = allRepaired;
    return true;
  }

  private judge(): void {
    const worse = this.short.loss > this.long.loss ? this.short : this.long;
    this.loss = worse.loss;
    this.after = worse.loss - worse.repair;
    this.burst = this.long.burst;
  }
}
