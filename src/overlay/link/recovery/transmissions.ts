/**
 * The sender's half of a link's recovery, for one class: which transmission carried which frame, what became of it, and when to ask.
 * RFC 9002 is the model, with RACK's reordering window (RFC 8985) in place of its time threshold, because a gap on a hop is acted on fast.
 *
 *  1. The caller sends a frame, which it knows by a handle: `send` gives the transmission's number. The first since `release` is the
 *     frame's own (`firstNumber`); later ones repeat it.
 *  2. An acknowledgement arrives: `acknowledge` fills `settled`. Delivered handles are free again; lost ones are for the caller to send
 *     again or to `release`. A handle that was named lost may yet be named delivered, while it waits to be sent again.
 *  3. The caller arms its timer for `nextTimeout()` and calls `timeout` then: it settles too, or asks for a probe.
 *  4. After a restart of either end, or many probes in vain, `restart` begins a new epoch.
 *
 * Handles and bytes are the caller's; frames are never seen here. A transmission remembers its handle's generation, so that a released
 * handle may be used again at once. Times in µs. Nothing here allocates after construction.
 */
import { AckFrame } from '../../wire/recovery.js';
import { EPOCH_MASK, NUMBER_MASK } from '../../wire/record.js';
import type { RejectReason } from '../../wire/reject.js';
import { RttEstimator } from '../rtt.js';
import { difference16 } from '../../wire/sequence.js';
import { difference21, isAfter21 } from './numbers.js';
import { Reordering } from './reordering.js';
import { ListLinks, TransmissionList } from './transmission-list.js';

/** Later arrivals that prove a loss while no reordering is seen (RFC 9002 §6.1.1). */
const PACKET_THRESHOLD = 3;
/** Timer granularity (RFC 9002 §6.1.2). */
const GRANULARITY = 1_000;
/** Round trip assumed before the first sample: an acknowledgement is sure to be missed after three of it. Tuned. */
const INITIAL_RTT = 100_000;
/** Longest that backing off makes the wait for the next probe: a frame lives a second. Tuned. */
const MAX_PROBE_WAIT = 250_000;
/** Longest wait for a probe whatever the round trip seems to be: a frame lives no longer, and late acknowledgements could stretch it without end. */
const PROBE_WAIT_BOUND = 1_000_000;
/** A lost transmission is remembered for so many round trips, but not less than so long, so that a late arrival is known. Tuned. */
const LOST_KEPT_ROUNDS = 4;
const LOST_KEPT_LEAST = 100_000;
/** Numbers sent in an epoch are counted up to half their space, beyond which any number has been sent. */
const SENT_COUNTED = 1 << 20;

const FREE = 0;
const UNDER_WAY = 1;
const LOST = 2;

/** Why an acknowledgement changed nothing. */
export type AckResult =
  | 'ok'
  | RejectReason
  /** Of an epoch that has ended or never was. */
  | 'other-epoch'
  /** Of a number that this end hasn't sent. */
  | 'never-sent';

/** What an acknowledgement or a timeout settled. Valid until the next call; the arrays hold as many handles as the counts say. */
export interface Settled {
  /** Frames that arrived: their handles are released. */
  readonly delivered: Int32Array;
  deliveredCount: number;
  /** Frames none of whose transmissions is under way any more, and that aren't known to have arrived. */
  readonly lost: Int32Array;
  lostCount: number;
  /** Of transmissions, whoever's. */
  ackedBytes: number;
  lostBytes: number;
  /** Round trip less the peer's delay; 0: none. */
  rttSample: number;
  /** When the newest of the newly acknowledged was sent; -1: none. */
  newestSentAt: number;
  /** When the oldest and the newest of the newly lost were sent; -1: none. */
  oldestLostSentAt: number;
  newestLostSentAt: number;
  /** Records newly said to have come with a congestion mark. */
  ceDelta: number;
  /** `deliveredBytes`, and the time it was reached, when the newest newly acknowledged was sent (BBR draft, §4.1.1.2.3). */
  deliveredBefore: number;
  deliveredBeforeAt: number;
  /** Transmissions that had been counted as lost and arrived after all. */
  spurious: number;
}

export interface TransmissionsOptions {
  /** How many handles there are: 0 … handles-1. */
  readonly handles: number;
  /** Most transmissions under way, a power of 2 up to 32768. */
  readonly ring: number;
  /** First epoch; random for a new process. */
  readonly epoch: number;
  /** Longest that the peer may hold an acknowledgement. */
  readonly maxAckDelay: number;
}

export class Transmissions {
  readonly settled: Settled;
  readonly rtt = new RttEstimator();
  readonly reordering = new Reordering();
  epoch: number;
  /** Bytes of transmissions under way. */
  bytesInFlight = 0;
  /** Bytes of acknowledged transmissions, ever. */
  deliveredBytes = 0;
  /** Probe timeouts since the last acknowledgement that told something. */
  probesInRow = 0;

  private readonly mask: number;
  private readonly maxAckDelay: number;
  // Of transmissions, by slot: the low bits of the number.
  private readonly state: Uint8Array;
  private readonly number: Int32Array;
  private readonly bytes: Int32Array;
  private readonly sentAt: Float64Array;
  private readonly deliveredThen: Float64Array;
  private readonly deliveredThenAt: Float64Array;
  private readonly handle: Int32Array;
  private readonly ofGeneration: Uint32Array;
  private readonly underWayList: TransmissionList;
  private readonly lostList: TransmissionList;
  // Of frames, by handle.
  private readonly first: Int32Array;
  private readonly flying: Int32Array;
  private readonly generation: Uint32Array;
  /** Transmissions under way whose frames aren't released. */
  private named = 0;

  /** Number of the next transmission, and how many there were in this epoch, up to SENT_COUNTED. */
  private next = 0;
  private sent = 0;
  private largestAcked = -1;
  private lastSentAt = 0;
  private probedAt = -Infinity;
  private deliveredAt = 0;
  private ceMarks = 0;
  /** RACK: round trip of the newest of all acknowledged, the peer's delay included. */
  private newestAckedRtt = 0;
  /** When the oldest gap turns into a loss. */
  private lossAt = Infinity;
  /** Distance from `next` back to the newest newly acknowledged; 0: none. */
  private newestAge = 0;
  private readonly ack = new AckFrame();

  constructor(o: TransmissionsOptions) {
    if (o.ring < 1 || o.ring > 32_768 || (o.ring & (o.ring - 1)) !== 0)
      throw new RangeError(`ring of ${o.ring}: not a power of 2 up to 32768`);
    this.epoch = o.epoch & EPOCH_MASK;
    this.maxAckDelay = o.maxAckDelay;
    this.mask = o.ring - 1;
    this.state = new Uint8Array(o.ring);
    this.number = new Int32Array(o.ring);
    this.bytes = new Int32Array(o.ring);
    this.sentAt = new Float64Array(o.ring);
    this.deliveredThen = new Float64Array(o.ring);
    this.deliveredThenAt = new Float64Array(o.ring);
    this.handle = new Int32Array(o.ring);
    this.ofGeneration = new Uint32Array(o.ring);
    const links = new ListLinks(o.ring);
    this.underWayList = new TransmissionList(links);
    this.lostList = new TransmissionList(links);
    this.first = new Int32Array(o.handles).fill(-1);
    this.flying = new Int32Array(o.handles);
    this.generation = new Uint32Array(o.handles);
    this.settled = nothingSettled(o.handles);
  }

  /** A round trip measured otherwise, for as long as there is no sample of our own. */
  seedRtt(rtt: number, now: number): void {
    if (this.rtt.smoothed > 0) return;
    this.rtt.sample(rtt, now);
    this.reordering.noteRtt(rtt);
  }

  /** Whether `send` may be called: the ring has a slot. */
  hasRoom(): boolean {
    return this.state[this.next & this.mask] !== UNDER_WAY;
  }

  /** Notes that a frame of `bytes` bytes goes out now, and returns the number its record gets. */
  send(now: number, handle: number, bytes: number): number {
    const { next } = this;
    const slot = next & this.mask;
    this.vacate(slot);
    this.underWayList.append(slot);
    this.state[slot] = UNDER_WAY;
    this.number[slot] = next;
    this.bytes[slot] = bytes;
    this.sentAt[slot] = now;
    // Nothing under way: what is idle now must not count as time to deliver in (BBR draft, §4.1.1.2.2).
    if (this.bytesInFlight === 0) this.deliveredAt = now;
    this.deliveredThen[slot] = this.deliveredBytes;
    this.deliveredThenAt[slot] = this.deliveredAt;
    this.handle[slot] = handle;
    this.ofGeneration[slot] = this.generation[handle];
    if (this.first[handle] < 0) this.first[handle] = next;
    this.flying[handle]++;
    this.named++;
    this.bytesInFlight += bytes;
    this.lastSentAt = now;
    this.next = (next + 1) & NUMBER_MASK;
    if (this.sent < SENT_COUNTED) this.sent++;
    return next;
  }

  /** A lost transmission a whole ring ago is forgotten; one under way means that the caller didn't ask for room. */
  private vacate(slot: number): void {
    const state = this.state[slot];
    if (state === LOST) this.lostList.remove(slot);
    else if (state === UNDER_WAY) throw new RangeError('no room for another transmission');
  }

  /** Number of the frame's first transmission; -1 before that. */
  firstNumber(handle: number): number {
    return this.first[handle];
  }

  /** Transmissions of the frame that aren't settled. */
  underWay(handle: number): number {
    return this.flying[handle];
  }

  /** The frame is given up or done with: nothing names the handle until it is sent again, as another frame's. */
  release(handle: number): void {
    this.named -= this.flying[handle];
    this.flying[handle] = 0;
    this.first[handle] = -1;
    this.generation[handle]++;
  }

  /**
   * Takes the acknowledgement whose value fills `length` bytes at `at`, and fills `settled`. Any answer but 'ok' means that it was
   * malformed, of another epoch or of what was never sent: it has changed nothing, and `settled` is empty.
   */
  acknowledge(now: number, view: DataView, at: number, length: number): AckResult {
    this.clearSettled();
    const read = this.ack.read(view, at, length);
    if (read !== 'ok') return read;
    if (this.ack.epoch !== this.epoch) return 'other-epoch';
    // Distances back from `next`: 1 is the newest sent.
    const age = (this.next - this.ack.largest) & NUMBER_MASK;
    if (age === 0 || age + this.ack.oldest[this.ack.ranges - 1] > this.sent) return 'never-sent';
    this.newestAge = 0;
    const acked = this.settleUnderWay(age) + this.settleLost(now, age);
    if (acked > 0) this.noteProgress(now, age, acked);
    this.forgetLost(now);
    return 'ok';
  }

  /**
   * Settles what is under way in the acknowledgement's ranges, from the oldest; `age` is that of its largest number. Returns how many. What
   * it passes without settling is a gap, soon lost.
   */
  private settleUnderWay(age: number): number {
    const { newest, oldest, ranges } = this.ack;
    let acked = 0;
    let range = ranges - 1;
    for (let slot = this.underWayList.head; slot >= 0;) {
      const back = ((this.next - this.number[slot]) & NUMBER_MASK) - age;
      if (back < 0) break;
      while (range >= 0 && back < newest[range]) range--;
      const following = this.underWayList.after(slot);
      if (range >= 0 && back <= oldest[range]) {
        this.settleAcked(this.underWayList, slot, back + age);
        acked++;
      }
      slot = following;
    }
    return acked;
  }

  /** Likewise of what counted as lost, but from the newest: it is many, and mostly older than any range. */
  private settleLostRanges(age: number): number {
    const { newest, oldest, ranges } = this.ack;
    let acked = 0;
    let range = 0;
    for (let slot = this.lostList.tail; slot >= 0;) {
      const back = ((this.next - this.number[slot]) & NUMBER_MASK) - age;
      while (range < ranges && back > oldest[range]) range++;
      if (range === ranges) break;
      const preceding = this.lostList.before(slot);
      if (back >= newest[range]) {
        this.settleAcked(this.lostList, slot, back + age);
        acked++;
      }
      slot = preceding;
    }
    return acked;
  }

  private settleAcked(list: TransmissionList, slot: number, age: number): void {
    const { settled } = this;
    const bytes = this.bytes[slot];
    const handle = this.handle[slot];
    if (this.state[slot] === UNDER_WAY) this.land(slot);
    list.remove(slot);
    this.state[slot] = FREE;
    this.deliveredBytes += bytes;
    settled.ackedBytes += bytes;
    if (this.ofGeneration[slot] === this.generation[handle]) {
      settled.delivered[settled.deliveredCount++] = handle;
      this.release(handle);
    }
    if (this.newestAge === 0 || age < this.newestAge) this.newestAge = age;
  }

  /** The transmission is under way no longer. */
  private land(slot: number): void {
    const handle = this.handle[slot];
    this.bytesInFlight -= this.bytes[slot];
    if (this.ofGeneration[slot] !== this.generation[handle]) return;
    this.flying[handle]--;
    this.named--;
  }

  /** What was counted as lost and is acknowledged now shows how much the path reorders. */
  private settleLost(now: number, age: number): number {
    if (this.lostList.head < 0) return 0;
    const before = this.newestAge;
    this.newestAge = 0;
    const spurious = this.settleLostRanges(age);
    if (spurious > 0) {
      const sentAt = this.sentAt[this.slotOfAge(this.newestAge)];
      this.reordering.noteSpurious(now - sentAt - this.rtt.smoothed, this.rtt.smoothed);
      this.settled.spurious = spurious;
    }
    if (before > 0 && (this.newestAge === 0 || before < this.newestAge)) this.newestAge = before;
    return spurious;
  }

  private slotOfAge(age: number): number {
    return (this.next - age) & this.mask;
  }

  private noteProgress(now: number, age: number, acked: number): void {
    const { settled, newestAge } = this;
    const slot = this.slotOfAge(newestAge);
    this.probesInRow = 0;
    this.deliveredAt = now;
    settled.newestSentAt = this.sentAt[slot];
    settled.deliveredBefore = this.deliveredThen[slot];
    settled.deliveredBeforeAt = this.deliveredThenAt[slot];
    if (newestAge === age && settled.spurious === 0) this.sampleRtt(now);
    this.noteCeMarks(acked);
    if (this.largestAcked < 0 || isAfter21(this.number[slot], this.largestAcked)) {
      this.largestAcked = this.number[slot];
      this.newestAckedRtt = now - this.sentAt[slot];
    }
    this.detectLosses(now);
  }

  /** The acknowledgement's largest number is newly acknowledged (RFC 9002 §5.1). Its delay is believed as far as it may be. */
  private sampleRtt(now: number): void {
    const delay = Math.min(this.ack.delay, this.maxAckDelay);
    const sample = Math.max(1, now - this.settled.newestSentAt - delay);
    this.settled.rttSample = sample;
    this.rtt.sample(sample, now);
    this.reordering.noteRtt(this.rtt.smoothed);
  }

  /** Marks can't be more than the records that came with them. An overtaken acknowledgement tells nothing new, or less. */
  private noteCeMarks(acked: number): void {
    const delta = difference16(this.ack.ceMarks, this.ceMarks);
    if (delta <= 0) return;
    this.ceMarks = this.ack.ceMarks;
    this.settled.ceDelta = Math.min(delta, acked);
  }

  /**
   * Counts as lost what was sent a reordering window before something acknowledged, or is long enough overdue (RFC 8985 §6.2 step 5), or,
   * as long as the path keeps order, three numbers before (RFC 9002 §6.1.1). The oldest are tried first: no newer one is lost before them.
   */
  private detectLosses(now: number): void {
    const counting = !this.reordering.isSeen;
    this.lossAt = Infinity;
    for (let slot = this.underWayList.head; slot >= 0; slot = this.underWayList.head) {
      const later = difference21(this.largestAcked, this.number[slot]);
      if (this.largestAcked < 0 || later <= 0) return;
      const overdueAt = this.sentAt[slot] + this.newestAckedRtt + this.reordering.window;
      if (overdueAt > now && !(counting && later >= PACKET_THRESHOLD)) {
        this.lossAt = overdueAt;
        return;
      }
      this.lose(now, slot);
    }
  }

  private lose(now: number, slot: number): void {
    const { settled } = this;
    const handle = this.handle[slot];
    const sentAt = this.sentAt[slot];
    this.land(slot);
    this.underWayList.remove(slot);
    this.lostList.append(slot);
    this.state[slot] = LOST;
    settled.lostBytes += this.bytes[slot];
    if (settled.oldestLostSentAt < 0) settled.oldestLostSentAt = sentAt;
    settled.newestLostSentAt = sentAt;
    this.reordering.noteLoss(now, sentAt);
    if (this.ofGeneration[slot] !== this.generation[handle] || this.flying[handle] > 0) return;
    settled.lost[settled.lostCount++] = handle;
  }

  /** Lost transmissions are remembered for a while only. */
  private forgetLost(now: number): void {
    const before = now - Math.max(LOST_KEPT_LEAST, LOST_KEPT_ROUNDS * this.rtt.smoothed);
    for (let slot = this.lostList.head; slot >= 0; slot = this.lostList.head) {
      if (this.sentAt[slot] >= before) return;
      this.lostList.remove(slot);
      this.state[slot] = FREE;
    }
  }

  /**
   * Whatever is due at `now`; harmless when early. 'lost': `settled` is filled. 'probe': send one or two frames again or for the first
   * time, whatever the window says (RFC 9002 §6.2.4); `oldestUnderWay` is a good one.
   */
  timeout(now: number): 'none' | 'lost' | 'probe' {
    this.clearSettled();
    if (now >= this.lossAt) {
      this.detectLosses(now);
      if (this.settled.lostBytes > 0) return 'lost';
    }
    if (this.underWayList.head < 0 || now < this.probeAt()) return 'none';
    this.probesInRow++;
    this.probedAt = now;
    if (this.named > 0) return 'probe';
    // Only what was given up is under way: no frame is left to probe with, and it must not fill the window for ever.
    this.loseAll(now);
    return 'lost';
  }

  private loseAll(now: number): void {
    for (let slot = this.underWayList.head; slot >= 0; slot = this.underWayList.head) this.lose(now, slot);
    this.lossAt = Infinity;
  }

  /** Handle of the oldest transmission under way whose frame isn't released; -1: none. */
  oldestUnderWay(): number {
    for (let slot = this.underWayList.head; slot >= 0; slot = this.underWayList.after(slot)) {
      const handle = this.handle[slot];
      if (this.ofGeneration[slot] === this.generation[handle]) return handle;
    }
    return -1;
  }

  /** When to call `timeout`; Infinity for never. */
  nextTimeout(): number {
    return this.underWayList.head < 0 ? Infinity : Math.min(this.lossAt, this.probeAt());
  }

  /** Probe timeout (RFC 9002 §6.2.1) after the last transmission or the last probe's own time, doubled by each in a row. */
  private probeAt(): number {
    const { rtt } = this;
    const estimate =
      rtt.smoothed === 0
        ? 3 * INITIAL_RTT
        : rtt.smoothed + Math.max(GRANULARITY, 4 * rtt.variation) + this.maxAckDelay;
    const wait = Math.min(PROBE_WAIT_BOUND, estimate);
    const backedOff = Math.min(Math.max(wait, MAX_PROBE_WAIT), wait * 2 ** Math.min(this.probesInRow, 16));
    return Math.max(this.lastSentAt, this.probedAt) + backedOff;
  }

  /**
   * Gives up all that is under way: `settled.lost` names the frames. The next epoch begins, in which every frame's next transmission is
   * its first again; unless nothing of the present one was ever acknowledged, for then the peer may not have met it, and one that was
   * cut off for many restarts would take the newest epoch for an old one.
   */
  restart(): void {
    this.clearSettled();
    this.loseAll(this.lastSentAt);
    this.probesInRow = 0;
    if (this.largestAcked < 0) return;
    for (let slot = this.lostList.head; slot >= 0; slot = this.lostList.after(slot)) this.state[slot] = FREE;
    this.lostList.clear();
    this.first.fill(-1);
    this.epoch = (this.epoch + 1) & EPOCH_MASK;
    this.next = 0;
    this.sent = 0;
    this.largestAcked = -1;
    this.ceMarks = 0;
  }

  private clearSettled(): void {
    const { settled } = this;
    settled.deliveredCount = settled.lostCount = 0;
    settled.ackedBytes = settled.lostBytes = 0;
    settled.rttSample = settled.ceDelta = settled.spurious = 0;
    settled.newestSentAt = settled.oldestLostSentAt = settled.newestLostSentAt = -1;
    settled.deliveredBefore = settled.deliveredBeforeAt = 0;
  }
}

function nothingSettled(handles: number): Settled {
  return {
    delivered: new Int32Array(handles),
    deliveredCount: 0,
    lost: new Int32Array(handles),
    lostCount: 0,
    ackedBytes: 0,
    lostBytes: 0,
    rttSample: 0,
    newestSentAt: -1,
    oldestLostSentAt: -1,
    newestLostSentAt: -1,
    ceDelta: 0,
    deliveredBefore: 0,
    deliveredBeforeAt: 0,
    spurious: 0,
  };
}
