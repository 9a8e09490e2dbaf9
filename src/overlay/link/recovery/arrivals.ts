/**
 * The receiver's half of a link's recovery, for one class: which record brings a frame for the first time, what to acknowledge and when,
 * and how much was lost.
 *
 *  1. Each authentic numbered record goes to `receive`, whose answer says what becomes of its frame. A frame is known by the number of its
 *     first transmission; a copy or a retransmission names that (frame 0x06) and has a number of its own.
 *  2. An acknowledgement rides on data when there `hasNews`, and goes alone when `ackDue`; `nextAck` is when that will be.
 *  3. A report goes now and then.
 *
 * Epochs: one that is 1 to 4 ahead (modulo 8) is the sender's next, and everything of the old one is forgotten. One that is
 * further ahead, or a number further behind than the window, is from before: delivered, for it may be new, but not acknowledged. Where nothing else has
 * come for a second, it is the truth that this end has missed, and begins anew. Times in µs. Nothing here allocates after construction.
 */
import { ACK_PAIR_SIZE } from '../../wire/frames.js';
import {
  ACK_FRAME_MIN_SIZE,
  ACK_SPAN,
  encodeReport,
  REPORT_FRAME_SIZE,
  writeAckHead,
  writeAckPair,
} from '../../wire/recovery.js';
import { ArrivedRanges } from './arrived-ranges.js';
import { LossMeter } from './loss-meter.js';
import { NumberSet } from './number-set.js';
import { add21, difference21 } from './numbers.js';

/** The frame is new: deliver it. */
export const ARRIVAL_NEW = 0;
/** It was here before: drop it. */
export const ARRIVAL_DUPLICATE = 1;
/** Whether it was here before can't be known: deliver it; it isn't acknowledged. */
export const ARRIVAL_UNNUMBERED = 2;

/** The furthest that another epoch may be ahead to be the next, modulo 8. */
const EPOCHS_AHEAD = 4;
/** After so long without a record that makes sense, one that doesn't begins anew. Tuned. */
const SENSELESS_FOR = 1_000_000;
/** Least time between reports. */
const REPORT_INTERVAL = 100_000;

export interface ArrivalsOptions {
  /** The class: its lane's number. */
  readonly lane: number;
  /** Numbers remembered behind the largest: a power of 2, 32 to 32768. */
  readonly window: number;
  /** Records after which an acknowledgement is due. */
  readonly ackEvery: number;
  /** Longest that an acknowledgement waits, as both ends know. */
  readonly maxAckDelay: number;
}

export class Arrivals {
  /** 0…7; -1 before the first record. */
  epoch = -1;
  /** Largest number of the epoch; -1 before the first record. */
  largest = -1;
  /** An acknowledgement would say something new. */
  hasNews = false;
  /** Frames that parity gave, in this epoch, modulo 2³². */
  repairedCount = 0;
  readonly meter: LossMeter;

  private readonly options: ArrivalsOptions;
  /** Numbers of records that arrived. */
  private readonly arrived: NumberSet;
  /** Numbers of first transmissions whose frames are here, by whatever way. */
  private readonly had: NumberSet;
  private readonly ranges = new ArrivedRanges();
  private largestAt = 0;
  private sensibleAt = 0;
  /** Records since the last acknowledgement. */
  private unacked = 0;
  private ackAt = Infinity;
  private ceMarks = 0;
  private lastWasCe = false;
  private reportedAt = -Infinity;
  private reportedExpected = 0;
  private reportedLost = 0;
  private reportedRepaired = 0;

  constructor(o: ArrivalsOptions) {
    if (o.window < 32 || o.window > ACK_SPAN || (o.window & (o.window - 1)) !== 0)
      throw new RangeError(`window of ${o.window}: not a power of 2 from 32 to ${ACK_SPAN}`);
    this.options = o;
    this.arrived = new NumberSet(o.window);
    this.had = new NumberSet(o.window);
    this.meter = new LossMeter(this.arrived, o.window);
  }

  /**
   * Takes an authentic record's epoch and number, the number of its frame's first transmission (`repeatOf`; -1: this is it) and whether it
   * came with a congestion mark. Answers ARRIVAL_….
   */
  receive(now: number, epoch: number, number: number, repeatOf: number, ce: boolean): number {
    if (!this.isSensible(epoch, number)) {
      if (this.epoch >= 0 && now - this.sensibleAt < SENSELESS_FOR) return ARRIVAL_UNNUMBERED;
      this.begin(epoch, number);
    }
    this.sensibleAt = now;
    const step = difference21(number, this.largest);
    if (step > 0) this.advance(now, number);
    else if (this.arrived.has(number)) return ARRIVAL_DUPLICATE;
    this.arrived.add(number);
    this.noteNews(now, this.ranges.add(now, number), ce);
    return this.noteFrame(number, repeatOf);
  }

  /** Whether the record continues what is known; an epoch that comes next is adopted on the way. */
  private isSensible(epoch: number, number: number): boolean {
    if (this.epoch < 0) return false;
    const ahead = (epoch - this.epoch) & 7;
    if (ahead === 0) return difference21(number, this.largest) > -this.options.window;
    if (ahead > EPOCHS_AHEAD) return false;
    this.begin(epoch, number);
    return true;
  }

  /** Forgets everything. The largest number is put just before the first, which `advance` then counts. */
  private begin(epoch: number, number: number): void {
    this.epoch = epoch;
    this.largest = add21(number, -1);
    this.arrived.clear();
    this.had.clear();
    this.ranges.clear();
    this.meter.clear();
    this.repairedCount = this.ceMarks = 0;
    this.lastWasCe = false;
    this.unacked = 0;
    this.ackAt = Infinity;
    this.reportedExpected = this.reportedLost = this.reportedRepaired = 0;
  }

  private advance(now: number, number: number): void {
    this.meter.advance(now, this.largest, number);
    this.arrived.advance(this.largest, number);
    this.had.advance(this.largest, number);
    this.largest = number;
    this.largestAt = now;
  }

  private noteNews(now: number, gapChanged: boolean, ce: boolean): void {
    const { ackEvery, maxAckDelay } = this.options;
    this.hasNews = true;
    if (ce) this.ceMarks = (this.ceMarks + 1) & 0xffff;
    // The first mark in a row is told at once (RFC 9000 §13.2.1).
    if (++this.unacked >= ackEvery || gapChanged || (ce && !this.lastWasCe))
      this.ackAt = Math.min(this.ackAt, now);
    else if (this.ackAt === Infinity) this.ackAt = now + maxAckDelay;
    this.lastWasCe = ce;
  }

  /** Whether the frame of the record that has just come is here for the first time. */
  private noteFrame(number: number, repeatOf: number): number {
    if (repeatOf < 0 || repeatOf === number) return this.take(number) ? ARRIVAL_NEW : ARRIVAL_DUPLICATE;
    // Parity may speak of the frame by this number too.
    this.had.add(number);
    return !this.isRemembered(repeatOf) || this.take(repeatOf) ? ARRIVAL_NEW : ARRIVAL_DUPLICATE;
  }

  /** Notes that a remembered frame is here; true for the first time. */
  private take(number: number): boolean {
    if (this.had.has(number)) return false;
    this.had.add(number);
    return true;
  }

  private isRemembered(number: number): boolean {
    const back = difference21(this.largest, number);
    return this.epoch >= 0 && back >= 0 && back < this.options.window;
  }

  /** Whether transmission `number` is one of the remembered, and its frame not here. */
  isMissing(number: number): boolean {
    return this.isRemembered(number) && !this.had.has(number);
  }

  /**
   * Parity gave the frame of transmission `number`: true if it was missing, and is to be delivered. It is acknowledged, lest it be sent again, but
   * counts as lost.
   */
  repaired(now: number, number: number): boolean {
    if (!this.isMissing(number)) return false;
    this.had.add(number);
    this.repairedCount = (this.repairedCount + 1) >>> 0;
    if (this.ranges.add(now, number)) this.ackAt = Math.min(this.ackAt, now);
    this.hasNews = true;
    return true;
  }

  /** An acknowledgement may wait no longer. */
  ackDue(now: number): boolean {
    return now >= this.ackAt;
  }

  /** When an acknowledgement is due; Infinity for never. */
  nextAck(): number {
    return this.ackAt;
  }

  /**
   * Writes an acknowledgement at `at` and before `limit`, and returns the offset behind it: as many ranges as fit, or `at` where not even one
   * does or nothing has come yet.
   */
  writeAck(now: number, view: DataView, at: number, limit: number): number {
    const { ranges } = this;
    const room = limit - at - ACK_FRAME_MIN_SIZE;
    if (room < 0 || this.epoch < 0) return at;
    ranges.prune(now);
    const pairs = Math.min(ranges.count - 1, Math.floor(room / ACK_PAIR_SIZE));
    const { lane } = this.options;
    const delay = now - this.largestAt;
    const first = ranges.tell(0);
    let end = writeAckHead(view, at, lane, this.epoch, this.largest, delay, this.ceMarks, first, pairs);
    for (let back = 1; back <= pairs; back++)
      end = writeAckPair(view, end, ranges.gapAfter(back), ranges.tell(back));
    this.hasNews = false;
    this.unacked = 0;
    this.ackAt = Infinity;
    return end;
  }

  /** Writes a report likewise, if its counts have changed and the last one is 100 ms old; otherwise returns `at`. */
  writeReport(now: number, view: DataView, at: number, limit: number): number {
    if (now - this.reportedAt < REPORT_INTERVAL || at + REPORT_FRAME_SIZE > limit || this.epoch < 0)
      return at;
    const { meter, epoch, repairedCount: repaired } = this;
    meter.judge(now, this.largest);
    const { expected, lost, runs } = meter;
    const isOld = expected === this.reportedExpected && lost === this.reportedLost;
    if (isOld && repaired === this.reportedRepaired) return at;
    this.reportedAt = now;
    this.reportedExpected = expected;
    this.reportedLost = lost;
    this.reportedRepaired = repaired;
    return encodeReport(view, at, {
      type: 'report',
      lane: this.options.lane,
      epoch,
      expected,
      lost,
      runs,
      repaired,
    });
  }
}
