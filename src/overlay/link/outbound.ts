/**
 * What a node does for the frames that one link recovers, on their way out. A pure core: it knows frames by their handles, never their bytes.
 *
 *   offer ─► queue (flow-fair, controlled delay) ─► window and pace ─► transmission ─► acknowledged: released
 *               reliable only                            ▲                   │
 *                                                        └──── lost ◄────────┤ until the deadline
 *                                           thin flow on a lossy link: copy ◄┘ a moment later
 *
 * Realtime frames pass at once, in front of all that, and are sent again at most once, while that can still be in time and the
 * retransmission budget lasts. Both classes have their own numbers and acknowledgements, and share one congestion
 * controller: a link is one share of its bottleneck however many flows and services it carries.
 *
 * How to drive it: after any input call `pump`, then arm a timer for `nextTimeout()`; frames go to `wire.transmit` in the order of
 * sending. All times in µs, sizes in bytes of the underlay's packets.
 */
import { FRAME_LOST, FRAME_UNDER_WAY, FRAME_WAITING, type FrameColumns } from './frame-columns.js';
import { CongestionController } from './congestion/controller.js';
import { BURST_BYTES, Pacer } from './congestion/pacer.js';
import { RetransmissionBudget } from './fec/retransmission-budget.js';
import { ParityPolicy, type ParitySignals } from './fec/parity-policy.js';
import { LossEstimate } from './recovery/loss-estimate.js';
import { Transmissions, type Settled } from './recovery/transmissions.js';
import { FairQueue, QUEUE_DROP, QUEUE_MARK } from '../service/fair-queue.js';
import { ThinFlows } from '../service/thin-flows.js';
import { LANE_REALTIME, LANE_RELIABLE } from '../wire/lanes.js';
import { REPAIR_OVERHEAD_MAX } from '../wire/repair.js';
import { ROUTED_HEADER_SIZE } from '../wire/routed.js';
import { readRecoveryLane } from '../wire/recovery.js';
import { Schedule } from './schedule.js';

const MS = 1000;
/** Fixed by the design: a reliable frame is given up after so long at one hop. */
export const RELIABLE_DEADLINE = 1000 * MS;
/** IPv4 and UDP headers, and our record's header and tag: what a frame grows by on the underlay. */
export const FRAME_OVERHEAD = 28 + 32;

/** Tuned. Transmissions that may be under way at once, a power of two each. */
const RELIABLE_RING = 8192;
const REALTIME_RING = 1024;
/** The longest that a peer holds back an acknowledgement (see `Inbound`). */
export const MAX_ACK_DELAY = 5 * MS;
/** Bytes and frames that may wait in front of a link. */
const QUEUE_BYTES = 8 * 1024 * 1024;
const QUEUE_FRAMES = 6144;
/**
 * Controlled delay of each flow (RFC 8289 §4.2, §4.3), longer than usual: a flow's queue is its own, others don't wait behind it, and a TCP flow whose
 * round trip is a tenth of a second leaves the link idle half of the time after each loss that a shorter one causes.
 */
const TARGET = 20 * MS;
const INTERVAL = 200 * MS;
/** On a slow link the target is so many packets' time (RFC 8290 §5.2.2). */
const TARGET_PACKETS = 1.5;
/** Beside a competitor the window falls by a third at each of its losses; flows are to keep what they had until it is back (bench/recovery, fairness). */
const COMPETING_TARGET = 60 * MS;
/** Where frames are lost the exit makes a flow pause for as long as recovery takes: what waits here is what fills the link meanwhile. Tuned. */
const LOSSY = 0.001;
const RECOVERY_ROUND_TRIPS = 1.25;
const QUANTUM = 1514;
/** Probe timeouts in a row after which the peer must have lost our numbering. */
const PROBES_BEFORE_RESTART = 6;
/** Probe timeouts in a row after which the link itself is in doubt. */
const PROBES_BEFORE_DOUBT = 2;
/** Realtime bytes under way, beyond so many windows, say that the link can't carry them. */
const REALTIME_WINDOWS = 4;
const REALTIME_LEAST = 128 * 1024;

/** Retransmissions of realtime frames that may come in a row. */
const BUDGET = 32;

/** Within so much parity should give a lost frame back: less than what most voice and video players buffer. */
const PARITY_DEADLINE = 15 * MS;
/** From a frame's sending to its retransmission's arrival, in round trips: the loss is seen with the next frame. */
const RETRANSMISSION_ROUND_TRIPS = 1.75;

/** Of the largest protected frame, by frame. */
const FADING = 15 / 16;

/** Whether a handle stands in the list of what is to be sent again, and whether it is still to be. */
const NOT_LISTED = 0;
const LISTED = 1;
const AWAITED = 2;

/** What a frame goes out with. */
export const CHANGE_NONE = 0;
/** Congestion experienced is to be marked in it. */
export const CHANGE_MARK = 1;
/** Its payload is dropped; the header goes on alone. */
export const CHANGE_VOID = 2;

/** Carries out what `Outbound` decides. */
export interface Wire {
  /** Sends a frame as transmission `number`. `repeatOf`: the number of its first transmission, -1 for that one itself. */
  transmit(
    handle: number,
    lane: number,
    epoch: number,
    number: number,
    repeatOf: number,
    change: number,
  ): void;
  /** A realtime frame goes out as transmission `number` and is to be kept for parity. */
  protect(handle: number, number: number): void;
  /** Sends parity over the newest `frames` protected frames as transmission `number` of `epoch`. */
  repair(epoch: number, number: number, frames: number, key: number): void;
  /** The realtime class begins a new epoch: parity begins anew. */
  forgetParity(): void;
  /** A frame is about to be sent again: a copy ahead of loss, or because it was lost. */
  noteRepeat(handle: number, isCopy: boolean): void;
  /** A queued frame is dropped: that behind it in the queue, where it is the flow's next, isn't to wait for it at the exit. */
  unchain(dropped: number, next: number): void;
  /** Nobody needs the frame here any more. */
  release(handle: number): void;
}

export interface OutboundOptions {
  /** u32; where the numbering begins. */
  random: () => number;
  /** µs after which a realtime frame is worth nothing. */
  realtimeDeadline: number;
  handles: number;
}

/** Counts since the link began; frames unless it says otherwise. */
export interface OutboundStats {
  sent: number;
  retransmitted: number;
  copies: number;
  /** Parity packets. */
  parity: number;
  /** Transmissions found lost. */
  lost: number;
  /** Retransmissions of what had arrived after all. */
  spurious: number;
  /** Given up at the deadline. */
  expired: number;
  /** Payloads dropped by the queue. */
  dropped: number;
  marked: number;
  acksRejected: number;
}

export class Outbound {
  readonly reliable: Transmissions;
  readonly realtime: Transmissions;
  readonly queue: FairQueue;
  readonly congestion: CongestionController;
  readonly reliableLoss = new LossEstimate();
  readonly realtimeLoss = new LossEstimate();
  readonly stats: OutboundStats = {
    sent: 0,
    retransmitted: 0,
    copies: 0,
    parity: 0,
    lost: 0,
    spurious: 0,
    expired: 0,
    dropped: 0,
    marked: 0,
    acksRejected: 0,
  };
  private readonly pacer = new Pacer();
  private readonly thin = new ThinFlows();
  private readonly budget = new RetransmissionBudget(BUDGET);
  /** Reliable frames to be sent again, oldest loss first, each handle once; those that aren't AWAITED any more are skipped. */
  private readonly again: Int32Array;
  /** By handle. The frame's own state won't do: its slot may be another link's by now. */
  private readonly inAgain: Uint8Array;
  private againHead = 0;
  private againCount = 0;
  private readonly parity = new ParityPolicy();
  private readonly signals: ParitySignals = {
    loss: 0,
    burst: 1,
    rate: 0,
    deadline: PARITY_DEADLINE,
    retransmission: Infinity,
  };
  private readonly copies = new Schedule();
  /** Since the last acknowledgement, the window or the pace held something back. */
  private limited = false;
  private pacedUntil = Infinity;
  /** µs since when the link is down; Infinity while it is up. */
  private suspendedAt = Infinity;
  /** About what a repair takes. */
  private parityBytes = 0;
  private lastSent = -Infinity;
  /** What parity is sent under: no frame of its own, so nobody sends it again. */
  private readonly nobody: number;

  constructor(
    now: number,
    private readonly frames: FrameColumns,
    private readonly wire: Wire,
    private readonly options: OutboundOptions,
  ) {
    const { handles, random } = options;
    const epoch = random() & 7;
    const maxAckDelay = MAX_ACK_DELAY;
    this.nobody = handles;
    this.reliable = new Transmissions({ handles, ring: RELIABLE_RING, epoch, maxAckDelay });
    this.realtime = new Transmissions({ handles: handles + 1, ring: REALTIME_RING, epoch, maxAckDelay });
    this.congestion = new CongestionController(now, { packet: 1500 });
    this.queue = new FairQueue({
      handles,
      quantum: QUANTUM,
      target: TARGET,
      interval: INTERVAL,
      limitBytes: QUEUE_BYTES,
      limitPackets: QUEUE_FRAMES,
      perturbation: random() >>> 0,
    });
    this.again = new Int32Array(handles);
    this.inAgain = new Uint8Array(handles);
  }

  /** The link's round trip as its hellos know it, for as long as no acknowledgement has told. */
  seedRtt(now: number, rtt: number): void {
    this.reliable.seedRtt(rtt, now);
    this.realtime.seedRtt(rtt, now);
  }

  get bytesInFlight(): number {
    return this.reliable.bytesInFlight + this.realtime.bytesInFlight;
  }

  /** Takes a frame over; it comes back by `wire.release`. `markable`: its packet understands ECN marks. */
  offer(now: number, handle: number, lane: number, markable: boolean): void {
    const { frames } = this;
    frames.state[handle] = FRAME_WAITING;
    frames.lane[handle] = lane;
    if (lane === LANE_REALTIME) {
      this.sendRealtime(now, handle);
      return;
    }
    this.enqueue(now, handle, markable);
  }

  /** Takes frames of one flow over, `handles[from … to-1]`, as `offer` does. */
  offerRun(
    now: number,
    handles: Int32Array,
    from: number,
    to: number,
    lane: number,
    markable: boolean,
  ): void {
    const passed = lane === LANE_RELIABLE ? this.passQueue(now, handles, from, to) : 0;
    for (let k = from + passed; k < to; k++) this.offer(now, handles[k]!, lane, markable);
  }

  /**
   * Where nothing waits, sends those of a run of reliable frames that window and pace allow: they would leave the queue at the next `pump`,
   * with nothing to say about them. Returns how many.
   */
  private passQueue(now: number, handles: Int32Array, from: number, to: number): number {
    const { reliable, pacer, congestion, frames } = this;
    if (!this.queue.isEmpty || this.againCount > 0 || this.isSuspended) return 0;
    const paced = pacer.allowance(now, congestion.rate);
    const allowance = Math.min(paced, congestion.window - this.bytesInFlight);
    let spent = 0;
    let k = from;
    for (; k < to && reliable.hasRoom(); k++) {
      const handle = handles[k]!;
      if (spent + this.sizeOf(handle) > allowance) break;
      frames.lane[handle] = LANE_RELIABLE;
      spent += this.sendFirst(now, handle, CHANGE_NONE);
    }
    pacer.spend(spent);
    return k - from;
  }

  private enqueue(now: number, handle: number, markable: boolean): void {
    const { queue, frames } = this;
    let full = queue.enqueue(now, handle, this.sizeOf(handle), frames.flow[handle]!, markable);
    for (; full >= 0; full = queue.shed()) {
      this.stats.dropped++;
      if (queue.successor >= 0) this.wire.unchain(full, queue.successor);
      this.wire.release(full);
    }
  }

  /** Sends what window and pace allow. */
  pump(now: number): void {
    if (this.isSuspended) return;
    this.sendAgain(now);
    this.sendCopies(now);
    this.sendParity(now);
    this.sendQueued(now);
  }

  private sendRealtime(now: number, handle: number): void {
    const { realtime, congestion, options, frames } = this;
    const most = Math.max(REALTIME_LEAST, REALTIME_WINDOWS * congestion.window);
    const late = now - frames.since[handle]! > options.realtimeDeadline;
    if (late || this.isSuspended || !realtime.hasRoom() || realtime.bytesInFlight > most) {
      this.stats.dropped++;
      this.wire.release(handle);
      return;
    }
    this.budget.earn();
    this.signals.loss = this.realtimeLoss.loss;
    this.signals.burst = this.realtimeLoss.burst;
    this.signals.rate = congestion.rate;
    this.signals.retransmission = RETRANSMISSION_ROUND_TRIPS * realtime.rtt.smoothed;
    const isProtected = this.parity.consider(now, this.sizeOf(handle), this.signals);
    const number = this.first(now, handle, realtime, CHANGE_NONE);
    if (!isProtected) return;
    this.parityBytes = Math.max(this.sizeOf(handle), Math.floor(this.parityBytes * FADING));
    this.wire.protect(handle, number);
    this.sendParity(now);
  }

  private sendParity(now: number): void {
    const { parity, realtime, nobody } = this;
    while (realtime.hasRoom() && parity.due(now)) {
      const bytes = this.parityBytes + REPAIR_OVERHEAD_MAX;
      const number = realtime.send(now, nobody, bytes);
      realtime.release(nobody);
      this.noteSent(now, bytes);
      this.pacer.spend(bytes);
      this.stats.parity++;
      this.wire.repair(realtime.epoch, number, parity.window, parity.key);
    }
  }

  private sendAgain(now: number): void {
    while (this.againCount > 0) {
      const handle = this.again[this.againHead]!;
      const isAwaited = this.inAgain[handle] === AWAITED && !this.expire(now, handle);
      if (isAwaited && !(this.windowAllows(this.sizeOf(handle)) && this.reliable.hasRoom())) return;
      this.unlistFirst();
      if (isAwaited) this.repeat(now, handle, this.reliable, false);
    }
  }

  private listAgain(handle: number): void {
    if (this.inAgain[handle] === NOT_LISTED)
      this.again[(this.againHead + this.againCount++) % this.again.length] = handle;
    this.inAgain[handle] = AWAITED;
  }

  private unlistFirst(): void {
    this.inAgain[this.again[this.againHead]!] = NOT_LISTED;
    this.againHead = (this.againHead + 1) % this.again.length;
    this.againCount--;
  }

  /** The frame is done with: its handle may be anyone's. */
  private release(handle: number): void {
    if (this.inAgain[handle] === AWAITED) this.inAgain[handle] = LISTED;
    this.wire.release(handle);
  }

  private sendCopies(now: number): void {
    const { copies, reliable } = this;
    for (let handle = copies.takeDue(now); handle >= 0; handle = copies.takeDue(now)) {
      const same = reliable.firstNumber(handle) === copies.tag;
      if (!same || this.frames.state[handle] !== FRAME_UNDER_WAY || !reliable.hasRoom()) continue;
      if (!this.windowAllows(this.sizeOf(handle))) continue;
      this.repeat(now, handle, reliable, true);
    }
  }

  private sendQueued(now: number): void {
    const { queue, reliable, pacer, congestion } = this;
    this.pacedUntil = Infinity;
    if (queue.isEmpty) return;
    const { rate } = congestion;
    queue.setTarget(this.queueTarget(rate));
    let allowance = pacer.allowance(now, rate);
    while (!queue.isEmpty) {
      const bytes = queue.peekBytes();
      if (!reliable.hasRoom() || !this.windowAllows(bytes)) return;
      if (allowance < Math.min(bytes, BURST_BYTES)) {
        this.limited = true;
        this.pacedUntil = pacer.nextTime(now, bytes, rate);
        return;
      }
      const handle = queue.dequeue(now);
      if (handle < 0) return;
      const sent = this.sendOne(now, handle, queue.verdict);
      pacer.spend(sent);
      allowance -= sent;
    }
  }

  /** µs that a flow's queue may stand. */
  private queueTarget(rate: number): number {
    const slow = TARGET_PACKETS * (QUANTUM / rate);
    const competing = this.congestion.mode === 'competing' ? COMPETING_TARGET : 0;
    const lossy = this.reliableLoss.loss > LOSSY ? RECOVERY_ROUND_TRIPS * this.reliable.rtt.smoothed : 0;
    return Math.max(slow, competing, lossy);
  }

  private sendOne(now: number, handle: number, verdict: number): number {
    const { stats, frames } = this;
    if (this.expire(now, handle)) return 0;
    let change = CHANGE_NONE;
    if (verdict === QUEUE_MARK) {
      change = CHANGE_MARK;
      stats.marked++;
    } else if (verdict === QUEUE_DROP) {
      change = CHANGE_VOID;
      stats.dropped++;
      frames.frameLength[handle] = ROUTED_HEADER_SIZE;
    }
    return this.sendFirst(now, handle, change);
  }

  /** Returns the frame's bytes. */
  private sendFirst(now: number, handle: number, change: number): number {
    this.first(now, handle, this.reliable, change);
    this.protect(now, handle);
    return this.sizeOf(handle);
  }

  /** A thin flow's frame on a lossy link is sent again before anyone knows whether it was lost. */
  private protect(now: number, handle: number): void {
    const { reliableLoss, thin, congestion, reliable, frames } = this;
    if (reliableLoss.loss === 0) return;
    const state = {
      loss: reliableLoss.loss,
      burst: reliableLoss.burst,
      rate: congestion.rate,
      busy: this.bytesInFlight / Math.max(1, reliable.rtt.smoothed),
    };
    const copies = thin.consider(now, frames.flow[handle]!, this.sizeOf(handle), state);
    if (copies === 0) return;
    const delay = thin.copyDelay(copies, reliableLoss.burst, reliable.rtt.smoothed);
    const number = reliable.firstNumber(handle);
    for (let k = 1; k <= copies; k++) this.copies.add(now + k * delay, handle, number);
  }

  private first(now: number, handle: number, transmissions: Transmissions, change: number): number {
    const { frames, wire } = this;
    const bytes = this.sizeOf(handle);
    const number = transmissions.send(now, handle, bytes);
    this.noteSent(now, bytes);
    frames.state[handle] = FRAME_UNDER_WAY;
    this.stats.sent++;
    wire.transmit(handle, frames.lane[handle]!, transmissions.epoch, number, -1, change);
    return number;
  }

  private repeat(now: number, handle: number, transmissions: Transmissions, isCopy: boolean): void {
    const { frames, wire, stats } = this;
    if (isCopy) stats.copies++;
    else stats.retransmitted++;
    wire.noteRepeat(handle, isCopy);
    const bytes = this.sizeOf(handle);
    const first = transmissions.firstNumber(handle);
    const number = transmissions.send(now, handle, bytes);
    this.noteSent(now, bytes);
    this.pacer.spend(bytes);
    frames.state[handle] = FRAME_UNDER_WAY;
    wire.transmit(handle, frames.lane[handle]!, transmissions.epoch, number, first, CHANGE_NONE);
  }

  private noteSent(now: number, bytes: number): void {
    const inFlight = this.bytesInFlight;
    if (inFlight === bytes && now - this.lastSent > RELIABLE_DEADLINE) this.congestion.onIdle(now);
    this.lastSent = now;
    this.congestion.onSent(now, bytes, inFlight);
  }

  private windowAllows(bytes: number): boolean {
    const inFlight = this.bytesInFlight;
    if (inFlight === 0 || inFlight + bytes <= this.congestion.window) return true;
    this.limited = true;
    return false;
  }

  /** Takes the acknowledgement that fills `length` bytes at `at`. */
  acknowledge(now: number, view: DataView, at: number, length: number): void {
    const transmissions = length > 0 ? this.ofLane(readRecoveryLane(view, at)) : undefined;
    if (transmissions?.acknowledge(now, view, at, length) !== 'ok') {
      this.stats.acksRejected++;
      return;
    }
    const { settled } = transmissions;
    if (settled.ackedBytes > 0) {
      // The controller knows one count for both classes.
      const delivered = this.reliable.deliveredBytes + this.realtime.deliveredBytes;
      this.congestion.onAck(now, {
        ackedBytes: settled.ackedBytes,
        rtt: settled.rttSample,
        newestSentAt: settled.newestSentAt,
        bytesInFlight: this.bytesInFlight,
        delivered,
        deliveredBefore: delivered - (transmissions.deliveredBytes - settled.deliveredBefore),
        deliveredBeforeAt: settled.deliveredBeforeAt,
        windowLimited: this.limited || !this.queue.isEmpty,
      });
      this.limited = false;
    }
    if (settled.ceDelta > 0) this.congestion.onCongestionMark(now, settled.newestSentAt);
    this.stats.spurious += settled.spurious;
    this.settle(now, transmissions, settled);
  }

  /** Takes a receiver's report of what was lost. */
  report(now: number, view: DataView, at: number, length: number): void {
    const lane = length > 0 ? readRecoveryLane(view, at) : -1;
    const estimate =
      lane === LANE_RELIABLE ? this.reliableLoss : lane === LANE_REALTIME ? this.realtimeLoss : undefined;
    if (!estimate?.receiveReport(now, view, at, length)) this.stats.acksRejected++;
  }

  private settle(now: number, transmissions: Transmissions, settled: Settled): void {
    const { delivered, deliveredCount, lost, lostCount, lostBytes, newestLostSentAt } = settled;
    for (let k = 0; k < deliveredCount; k++) this.release(delivered[k]!);
    if (lostBytes > 0) this.congestion.onLoss(now, lostBytes, newestLostSentAt);
    for (let k = 0; k < lostCount; k++) this.lose(now, lost[k]!, transmissions);
    this.stats.lost += lostCount;
  }

  private lose(now: number, handle: number, transmissions: Transmissions): void {
    if (transmissions === this.realtime) this.repeatRealtime(now, handle);
    else if (this.againCount === this.again.length) this.giveUp(handle, transmissions);
    else {
      this.frames.state[handle] = FRAME_LOST;
      this.listAgain(handle);
    }
  }

  /** One request and one retransmission, inside the deadline: true where the frame was sent again, else it is given up. */
  private repeatRealtime(now: number, handle: number): boolean {
    const { realtime, frames, options } = this;
    const arrival = now + realtime.rtt.smoothed / 2;
    const inTime = arrival - frames.since[handle]! <= options.realtimeDeadline;
    const second = frames.repeats[handle]! > 0;
    if (second || !inTime || this.isSuspended || !realtime.hasRoom() || !this.budget.take()) {
      this.giveUp(handle, realtime);
      return false;
    }
    frames.repeats[handle] = 1;
    this.repeat(now, handle, realtime, false);
    return true;
  }

  private expire(now: number, handle: number): boolean {
    if (now - this.frames.since[handle]! < RELIABLE_DEADLINE) return false;
    this.giveUp(handle, this.reliable);
    return true;
  }

  private giveUp(handle: number, transmissions: Transmissions): void {
    transmissions.release(handle);
    this.stats.expired++;
    this.release(handle);
  }

  /** Whatever is due; harmless when early. Call `pump` after it. */
  timeout(now: number): void {
    if (this.isSuspended) {
      if (now >= this.nextTimeout()) this.giveUpWaiting(now);
      return;
    }
    this.timeoutOf(now, this.reliable);
    this.timeoutOf(now, this.realtime);
  }

  /** The link has been down for the time that a frame may wait. */
  private giveUpWaiting(now: number): void {
    this.suspendedAt = now;
    const all = new Int32Array(this.options.handles);
    const n = this.takeBack(now, all);
    for (let k = 0; k < n; k++) this.enqueue(now, all[k]!, false);
  }

  private timeoutOf(now: number, transmissions: Transmissions): void {
    if (now < transmissions.nextTimeout()) return;
    const result = transmissions.timeout(now);
    if (result === 'lost') this.settle(now, transmissions, transmissions.settled);
    if (result !== 'probe') return;
    if (transmissions.probesInRow >= PROBES_BEFORE_RESTART) this.restart(now, transmissions);
    else this.probe(now, transmissions);
  }

  /**
   * Sends again what nobody has heard of for too long, or, where that is all too old, what waits; whatever the window says (RFC 9002
   * §6.2.4).
   */
  private probe(now: number, transmissions: Transmissions): void {
    for (let isDone = !transmissions.hasRoom(); !isDone;) {
      const handle = transmissions.oldestUnderWay();
      if (handle < 0) {
        if (transmissions === this.reliable) this.probeWithQueued(now);
        return;
      }
      if (transmissions === this.realtime) isDone = this.repeatRealtime(now, handle);
      else if (!this.expire(now, handle)) {
        this.repeat(now, handle, transmissions, false);
        isDone = true;
      }
    }
  }

  private probeWithQueued(now: number): void {
    for (let sent = 0; sent === 0 && !this.queue.isEmpty;) {
      const handle = this.queue.dequeue(now);
      sent = this.sendOne(now, handle, this.queue.verdict);
      this.pacer.spend(sent);
    }
  }

  private restart(now: number, transmissions: Transmissions): void {
    transmissions.restart();
    if (transmissions === this.realtime) {
      this.parity.reset();
      this.wire.forgetParity();
    }
    this.settle(now, transmissions, transmissions.settled);
    // Behind the losses: they say nothing of what comes.
    this.congestion.reset(now);
  }

  /** The link is down: nothing goes out until `resume`. What waits is given up when its deadline has passed. */
  suspend(now: number): void {
    if (this.isSuspended) return;
    this.suspendedAt = now;
    this.restart(now, this.reliable);
    this.restart(now, this.realtime);
  }

  /** Acknowledgements are overdue, though probes asked for them. */
  get isUnanswered(): boolean {
    return Math.max(this.reliable.probesInRow, this.realtime.probesInRow) >= PROBES_BEFORE_DOUBT;
  }

  resume(): void {
    this.suspendedAt = Infinity;
  }

  get isSuspended(): boolean {
    return this.suspendedAt !== Infinity;
  }

  /** While suspended: gives every frame that may still go another way in time back in `into`, those sent before first; returns how many. */
  takeBack(now: number, into: Int32Array): number {
    let n = 0;
    while (this.againCount > 0) {
      const handle = this.again[this.againHead]!;
      const isAwaited = this.inAgain[handle] === AWAITED && !this.expire(now, handle);
      this.unlistFirst();
      if (!isAwaited) continue;
      this.reliable.release(handle);
      this.frames.state[handle] = FRAME_WAITING;
      into[n++] = handle;
    }
    const waiting = into.subarray(n);
    const count = this.queue.clear(waiting);
    for (let k = 0; k < count; k++) if (!this.expire(now, waiting[k]!)) into[n++] = waiting[k]!;
    return n;
  }

  /** When to call `timeout` and `pump`, µs; Infinity for never. */
  nextTimeout(): number {
    if (this.isSuspended) {
      return this.againCount > 0 || !this.queue.isEmpty ? this.suspendedAt + RELIABLE_DEADLINE : Infinity;
    }
    return Math.min(
      this.pacedUntil,
      this.copies.nextTime(),
      // Without room it waits for what makes some: an acknowledgement or a timeout.
      this.realtime.hasRoom() ? this.parity.nextDue() : Infinity,
      this.reliable.nextTimeout(),
      this.realtime.nextTimeout(),
    );
  }

  private ofLane(lane: number): Transmissions | undefined {
    if (lane === LANE_RELIABLE) return this.reliable;
    return lane === LANE_REALTIME ? this.realtime : undefined;
  }

  private sizeOf(handle: number): number {
    return this.frames.frameLength[handle]! + FRAME_OVERHEAD;
  }
}
