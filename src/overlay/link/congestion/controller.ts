/**
 * Congestion control of one link: how much may be under way (`window`) and how fast it leaves (`rate`). One controller per neighbour, one
 * share of the bottleneck however many flows the link carries. It knows bytes and times, no packets.
 *
 *   controller.ts        modes, drains, reactions (this file)
 *   rounds.ts            round trips: standing RTT, delivery rate        base-rtt.ts         what the path takes without a queue
 *   start-up.ts          when slow start ends                            delay-window.ts     the window while the queue is ours
 *   competitor-watch.ts  whose queue is it?                              cubic.ts            the window beside who fills the queue
 *   drain.ts             is the queue gone when ours is?                 loss-watch.ts       loss that chance doesn't explain
 *   pacer.ts             spreads the bytes by `rate`
 *
 * The modes:
 *   start      grows by half each round trip until delay rises; also after idle
 *   delay      keeps a queue of a few ms; loss is no sign of anything unless it is far beyond the usual. Drains refresh the base and show
 *              whether a queue that is too long is one at all
 *   competing  the queue stands though we yield: CUBIC, which yields to loss and marks only. Every so often a drain takes away our part of
 *              the queue; if nothing of it remains twice in a row, the competitor is gone
 *
 * What never happens here: a window below what keeps acknowledgements coming; growth while the window isn't what limits; two reactions
 * to loss or marks within one round trip.
 */
import { BaseRtt } from './base-rtt.js';
import { CompetitorWatch } from './competitor-watch.js';
import { Cubic } from './cubic.js';
import { DelayWindow } from './delay-window.js';
import { Drain } from './drain.js';
import { LossWatch } from './loss-watch.js';
import { Rounds } from './rounds.js';
import { START_GROWTH, StartUp } from './start-up.js';

export interface AckSample {
  /** Newly acknowledged. */
  ackedBytes: number;
  /** µs, of the newest newly acknowledged packet; 0: none. */
  rtt: number;
  /** When that packet was sent, µs; -1: none. */
  newestSentAt: number;
  /** After this acknowledgement. */
  bytesInFlight: number;
  /** All bytes acknowledged so far. */
  delivered: number;
  /** The same, and when it was counted, as the newest newly acknowledged packet was sent (BBR draft, delivery rate). */
  deliveredBefore: number;
  deliveredBeforeAt: number;
  /** There was more to send than window or pacer let go. */
  windowLimited: boolean;
}

export type Mode = 'start' | 'delay' | 'competing';

/** Packets at the start and after idle. RFC 6928. */
const INITIAL_PACKETS = 10;
const LEAST_PACKETS = 3;
/** At least so much time of the delivery rate is under way: a starved process mustn't look like a slow path. Tuned, µs. */
const FLOOR_TIME = 3000;
/** That rate is forgotten by half in this time. Tuned, µs. */
const RATE_HALF_LIFE = 10_000_000;
/** Reaction to a mark: CUBIC's in every mode, so that who is marked with us gets no less. RFC 9438 §4.6. */
const MARK_FACTOR = 0.7;
/** Loss beyond the usual while the queue is ours. Tuned. */
const LOSS_FACTOR = 0.8;

/** Pacing above the window's own rate, by mode: room for growth; so that the window, not the pacer, limits. RFC 9002 §7.7. */
const START_GAIN = 2;
const STEADY_GAIN = 1.25;
/** Above the delivery rate, where an inner flow paused: what it makes up for would stand in the queue. Tuned. */
const REFILL_GAIN = 1.1;
/** While no round trip is known, the first window leaves within this time, µs. */
const FIRST_FLIGHT = 1000;
/** Round trips so short vary with scheduling: pacing follows the base rather than them. Tuned, µs. */
const SHORT_RTT = 2000;
const SHORT_SLACK = 1000;

/** A drain is due when the base hasn't been seen for so long, µs. Those who share a bottleneck so drain together (as BBR's ProbeRTT). */
const DRAIN_INTERVAL = 10_000_000;
/** Share of the empty path's content that is left: with only our own queue to empty; so that those of others of our kind go too; and where they
 * haven't yielded yet. Tuned. */
const OWN_DRAIN = 0.9;
const DEEP_DRAIN = 0.75;
const START_DRAIN = 0.5;
/** Who still gets this share of what he had doesn't yield. Tuned. */
const YIELDED_SHARE = 0.7;
/** The first drains in competition come sooner: it may be a mistake. Tuned, µs and count. */
const EARLY_DRAIN_INTERVAL = 2_000_000;
const EARLY_DRAINS = 3;
/** After a drain that found no queue, another one confirms it. Tuned, µs. */
const CONFIRM_INTERVAL = 1_000_000;
/** Drained beside a queue shorter than both, it says nothing: times our queue, share of the base. Tuned. */
const TELLING_QUEUE = 3;
const TELLING_SHARE = 1 / 4;
/** What remains of a queue in a drain is the competitor's share: if that is less than this, we don't take up again all that we gave. Tuned. */
const FAIR_REMAINDER = 0.55;
const REFILL_SHARE = 0.8;
/** If no such queue comes up for so long, nobody fills it. Tuned, µs. */
const NO_QUEUE_TIME = 5_000_000;
/** After so many rounds with less queue than we keep ourselves nobody fills it. Tuned. */
const SHORT_QUEUE_ROUNDS = 4;
/** Of a queue that was ours less than this remains. Tuned: share and µs. */
const REMAINDER = 1 / 5;
const REMAINDER_TIME = 1000;
/** A suspicion lasts so long, µs. Tuned. */
const SUSPICION_TIME = 4_000_000;
/** A path is longer by at least this, µs, if that doesn't change by more than this share while we drain such a share of it. Tuned. */
const LONGER_PATH = 2000;
const NO_ANSWER = 0.1;
const TELLING_DRAIN = 1 / 3;
/** So much of the window before yielding remains until it is known whose queue it is: what flows lose meanwhile they regain slowly. Tuned. */
const YIELD_LEAST = 0.5;
/** So much of the window before yielding is taken up again beside a competitor. Tuned. */
const COMPETING_SHARE = 0.9;

export class CongestionController {
  /** Most bytes under way. */
  window: number;
  /** Bytes per µs, for the pacer. */
  rate: number;
  /** µs; 0 before the first round trip is known. */
  queueDelay = 0;
  mode: Mode = 'start';

  private readonly packet: number;
  private readonly base = new BaseRtt();
  private readonly rounds: Rounds;
  private readonly startUp = new StartUp();
  private readonly delay: DelayWindow;
  private readonly cubic: Cubic;
  private readonly watch: CompetitorWatch;
  private readonly lossWatch: LossWatch;
  private readonly drain = new Drain();
  /** Slow start's own window, and where it ends anyway: the window before idle. */
  private startWindow: number;
  /** The greatest that it was, and when it ended. */
  private startPeak = 0;
  private startedUntil = -Infinity;
  private threshold = Infinity;
  /** What is sent until then has been answered for. */
  private reducedAt = -1;
  private nextDrainAt = Infinity;
  private drains = 0;
  /** As the last drain in the delay mode left it, unless the path had become so short meanwhile that it drained nothing. */
  private drainedBase = 0;
  private emptyDrains = 0;
  private shortQueueRounds = 0;
  private suspectedAt = -Infinity;
  private suspectedWindow = 0;
  private longRate = 0;
  private longRateAt = 0;
  private delivered = 0;
  private isQuiet = true;

  /** `packet`: bytes of a full one. */
  constructor(now: number, o: { packet: number }) {
    this.packet = o.packet;
    this.rounds = new Rounds(now);
    this.delay = new DelayWindow(o.packet);
    this.cubic = new Cubic(o.packet);
    this.watch = new CompetitorWatch(o.packet);
    this.lossWatch = new LossWatch(o.packet);
    this.startWindow = INITIAL_PACKETS * o.packet;
    this.window = this.startWindow;
    this.rate = (START_GAIN * this.window) / FIRST_FLIGHT;
  }

  /** `bytes` left; `bytesInFlight` includes them. */
  onSent(now: number, bytes: number, bytesInFlight: number): void {
    if (!this.isQuiet || bytesInFlight > bytes) return;
    this.isQuiet = false;
    this.rounds.begin(now, this.delivered);
  }

  onAck(now: number, sample: AckSample): void {
    this.delivered = sample.delivered;
    this.isQuiet = sample.bytesInFlight === 0;
    if (sample.rtt > 0) this.base.sample(now, sample.rtt);
    const ended = this.rounds.onAck(now, sample);
    this.queueDelay = Math.max(0, this.rounds.standingRtt - this.base.value);
    if (ended) this.noteLongRate(now);
    if (this.drain.isActive) {
      if (this.drain.onAck(now, sample, this.rounds.smoothedRtt)) this.endDrain(now);
    } else this.grow(now, sample, ended);
    if (this.mode !== 'competing' && this.lossWatch.count(sample.ackedBytes, 0, this.mode === 'start'))
      this.reduceForLoss(now);
    this.publish();
  }

  /** Found lost, the newest of them sent at `newestLostSentAt`, µs. */
  onLoss(now: number, lostBytes: number, newestLostSentAt: number): void {
    if (this.mode !== 'competing') {
      if (this.lossWatch.count(0, lostBytes, this.mode === 'start')) this.reduceForLoss(now);
    } else if (newestLostSentAt > this.reducedAt && this.queueDelay >= this.ownQueueTime()) {
      this.reducedAt = now;
      this.cubic.reduce(now, this.leastWindow());
    }
    this.publish();
  }

  /** A packet sent at `sentAt` came with congestion experienced. One reaction a round trip (RFC 9002 §7.1). */
  onCongestionMark(now: number, sentAt: number): void {
    if (sentAt <= this.reducedAt) return;
    this.reducedAt = now;
    if (this.mode === 'start') this.leaveStart(now);
    if (this.mode === 'competing') this.cubic.reduce(now, this.leastWindow());
    else this.delay.reduce(MARK_FACTOR, this.leastWindow());
    this.publish();
  }

  /** Nothing was under way for a while: slow start, up to what was right before. The path is still the same. */
  onIdle(now: number): void {
    this.isQuiet = true;
    const before = this.steadyWindow();
    const first = INITIAL_PACKETS * this.packet;
    if (before <= first) return;
    if (this.mode !== 'start') this.threshold = this.delay.isProven ? before : Infinity;
    this.enterStart(now, first);
    this.publish();
  }

  /** Another path, or a process that has lost its state: as at the beginning. */
  reset(now: number): void {
    this.base.forget();
    this.lossWatch.forget();
    this.rounds.forget(now, this.delivered);
    this.longRate = 0;
    this.threshold = Infinity;
    this.queueDelay = 0;
    this.isQuiet = true;
    this.enterStart(now, INITIAL_PACKETS * this.packet);
    this.publish();
  }

  private enterStart(now: number, window: number): void {
    this.mode = 'start';
    this.startWindow = window;
    this.startUp.restart();
    this.watch.reset();
    this.drain.cancel();
    this.reducedAt = now;
  }

  private grow(now: number, sample: AckSample, ended: boolean): void {
    if (this.mode === 'start') this.growInStart(now, sample);
    else if (this.mode === 'competing') {
      this.cubic.onAck(now, sample.ackedBytes, this.rounds.smoothedRtt, sample.windowLimited);
      if (ended) this.competingRound(now);
    } else if (ended && this.rounds.limited) this.delayRound(now);
  }

  private growInStart(now: number, sample: AckSample): void {
    if (sample.windowLimited) this.startWindow += sample.ackedBytes * START_GROWTH;
    this.startPeak = this.startWindow;
    // A delay that rises while there is little to send is none of our making, and the rate then says nothing about the link.
    const risen =
      sample.rtt > 0 && this.startUp.hasRisen(now, sample.rtt, this.base.value) && sample.windowLimited;
    if (risen && sample.deliveredBeforeAt < now) {
      const rate = (sample.delivered - sample.deliveredBefore) / (now - sample.deliveredBeforeAt);
      const right = rate * (this.base.value + this.delay.queueTime(rate));
      this.startWindow = Math.min(this.startWindow, Math.max(right, this.startWindow / 2));
    }
    if (risen || this.startWindow >= this.threshold) this.leaveStart(now);
  }

  /** What was sent last is on its way still: the drain empties it, and shows the base if others left a queue too. */
  private leaveStart(now: number): void {
    this.startedUntil = now;
    this.enterDelay(now, Math.min(this.startWindow, this.threshold));
    this.threshold = Infinity;
    if (this.rounds.rate > 0 && this.queueDelay > 0) this.beginDrain(now, START_DRAIN);
  }

  private enterDelay(now: number, window: number): void {
    const isStart = this.mode === 'start';
    this.mode = 'delay';
    if (isStart) this.delay.begin(Math.max(window, this.leastWindow()));
    else this.delay.enter(Math.max(window, this.leastWindow()));
    this.watch.reset();
    this.nextDrainAt = now + DRAIN_INTERVAL;
  }

  private delayRound(now: number): void {
    const { standingRtt, maxRate } = this.rounds;
    const own = this.delay.ownQueue(this.longRate);
    const verdict = this.watch.onRound(now, this.queueDelay, own, this.delay.window, this.longRate);
    if (verdict !== 'none') this.suspect(now, verdict);
    else {
      this.delay.onRound({
        standingRtt,
        base: this.base.value,
        rate: maxRate,
        target: this.ownQueueTime(),
        least: Math.max(this.leastWindow(), this.watch.windowBefore * YIELD_LEAST),
        mayGrow: this.rounds.mostlyLimited,
      });
      if (this.isDrainDue(now)) this.beginDrain(now, DEEP_DRAIN);
    }
  }

  /** The base hasn't been seen for long, or looks wrong: it fell with our queue in it, or we yield and yield to a small queue. */
  private isDrainDue(now: number): boolean {
    if (now >= Math.max(this.base.touchedAt + DRAIN_INTERVAL, this.nextDrainAt)) return true;
    if (now < this.nextDrainAt - DRAIN_INTERVAL + EARLY_DRAIN_INTERVAL) return false;
    const isYielding =
      this.queueDelay > this.ownQueueTime() && this.rounds.maxRate < this.longRate * YIELDED_SHARE;
    return isYielding || this.base.value < this.drainedBase - LONGER_PATH / 2;
  }

  /**
   * It may be another of our kind who takes our queue for its path: a drain shows it. It is a competitor only where that leaves more than
   * such a one would, or the second time.
   */
  private suspect(now: number, verdict: 'competitor' | 'crowded'): void {
    if (now - this.suspectedAt >= SUSPICION_TIME) {
      const hasJustStarted = now - this.startedUntil < SUSPICION_TIME;
      this.suspectedAt = now;
      this.suspectedWindow = Math.max(this.watch.windowBefore, hasJustStarted ? this.startPeak : 0);
      this.beginDrain(now, START_DRAIN);
    } else if (verdict === 'competitor') this.enterCompeting(now);
  }

  private enterCompeting(now: number): void {
    this.mode = 'competing';
    this.suspectedAt = -Infinity;
    this.cubic.enter(now, Math.max(this.delay.window, this.suspectedWindow * COMPETING_SHARE));
    this.drains = 0;
    this.emptyDrains = 0;
    this.shortQueueRounds = 0;
    this.nextDrainAt = now + EARLY_DRAIN_INTERVAL;
  }

  private competingRound(now: number): void {
    this.shortQueueRounds = this.queueDelay < this.ownQueueTime() ? this.shortQueueRounds + 1 : 0;
    if (this.shortQueueRounds >= SHORT_QUEUE_ROUNDS) this.enterDelay(now, this.cubic.window);
    else this.considerCompetingDrain(now);
  }

  private considerCompetingDrain(now: number): void {
    if (now < this.nextDrainAt) return;
    const own = this.ownQueueTime();
    const telling = Math.max(TELLING_QUEUE * own, this.base.value * TELLING_SHARE);
    if (this.queueDelay >= telling) this.beginDrain(now, OWN_DRAIN);
    else if (now >= this.nextDrainAt + NO_QUEUE_TIME) this.noteEmptyDrain(now);
  }

  private beginDrain(now: number, share: number): void {
    const empty = this.rounds.recentRate(3) * this.base.value;
    this.drain.begin(now, Math.max(empty * share, LEAST_PACKETS * this.packet), this.queueDelay);
  }

  private endDrain(now: number): void {
    if (this.mode === 'delay') {
      this.endDelayDrain(now);
      return;
    }
    this.drains++;
    this.nextDrainAt = now + (this.drains < EARLY_DRAINS ? EARLY_DRAIN_INTERVAL : DRAIN_INTERVAL);
    const remainder = this.drain.leastRtt - this.base.value;
    if (remainder <= REMAINDER_TIME + this.drain.queueBefore * REMAINDER) this.noteEmptyDrain(now);
    else {
      this.emptyDrains = 0;
      this.watch.learn(false, this.longRate);
      if (remainder < this.drain.queueBefore * FAIR_REMAINDER) {
        this.cubic.reduce(now, this.leastWindow(), REFILL_SHARE);
      }
    }
  }

  /** What stands though we took our part away, all of it, is no queue; and if that was only a part, it is someone else's. */
  private endDelayDrain(now: number): void {
    const { leastRtt } = this.drain;
    const isSuspicious = now - this.suspectedAt < SUSPICION_TIME;
    const isLonger = this.isPathLonger();
    const remainder = leastRtt - this.base.value;
    this.nextDrainAt = now + DRAIN_INTERVAL;
    if (isLonger) this.base.restart(now, leastRtt);
    else if (isSuspicious && this.watch.isAlien(remainder, this.delay.ownQueue(this.longRate))) {
      this.enterCompeting(now);
      return;
    }
    const wasDrained = this.drain.window < this.rounds.recentRate(3) * this.base.value;
    if (wasDrained) this.drainedBase = this.base.value;
    const windowBefore = isSuspicious && isLonger ? this.suspectedWindow : 0;
    this.delay.enter(Math.max(windowBefore, this.delay.window));
  }

  /** The drain took away much of what stood, at the link's rate, and yet the round trip hardly answered. */
  private isPathLonger(): boolean {
    const { queueBefore, leastRtt, window } = this.drain;
    const answer = this.base.value + queueBefore - leastRtt;
    const taken = (this.delay.window - window) / this.longRate;
    return (
      leastRtt !== Infinity &&
      Math.min(queueBefore, taken) > LONGER_PATH &&
      taken > queueBefore * TELLING_DRAIN &&
      answer < queueBefore * NO_ANSWER + LONGER_PATH / 4
    );
  }

  private noteEmptyDrain(now: number): void {
    this.nextDrainAt = now + CONFIRM_INTERVAL;
    if (++this.emptyDrains < 2) return;
    this.watch.learn(true, this.longRate);
    this.enterDelay(now, this.rounds.recentRate(3) * (this.base.value + this.ownQueueTime()));
  }

  /** Loss while there is little to send isn't of our making either. */
  private reduceForLoss(now: number): void {
    if (!this.rounds.limited) return;
    if (this.mode === 'start') this.leaveStart(now);
    this.delay.reduce(
      LOSS_FACTOR,
      this.leastWindow(),
      this.rounds.maxRate * (this.base.value + this.ownQueueTime()),
    );
  }

  private noteLongRate(now: number): void {
    this.longRate *= 2 ** (-(now - this.longRateAt) / RATE_HALF_LIFE);
    this.longRateAt = now;
    this.longRate = Math.max(this.longRate, this.rounds.rate);
  }

  private leastWindow(): number {
    const floor = this.mode === 'competing' ? 0 : this.longRate * FLOOR_TIME;
    return Math.max(LEAST_PACKETS * this.packet, floor);
  }

  /** Not by the rate of just now: yielding makes that small. */
  private ownQueueTime(): number {
    return this.delay.queueTime(this.longRate);
  }

  private steadyWindow(): number {
    if (this.mode === 'start') return this.startWindow;
    return this.mode === 'delay' ? this.delay.window : this.cubic.window;
  }

  private publish(): void {
    const window = this.steadyWindow();
    this.window = this.drain.isActive ? Math.min(window, this.drain.window) : window;
    const gain = this.mode === 'start' ? START_GAIN : STEADY_GAIN;
    const steady = window / this.pacingRtt();
    const { maxRate, mostlyLimited } = this.rounds;
    const refills = this.mode === 'delay' && maxRate > 0 && !mostlyLimited;
    this.rate = refills ? Math.min(gain * steady, Math.max(REFILL_GAIN * maxRate, steady)) : gain * steady;
  }

  private pacingRtt(): number {
    const rtt = this.rounds.smoothedRtt;
    if (rtt === 0) return FIRST_FLIGHT;
    return this.base.value < SHORT_RTT ? Math.min(rtt, this.base.value + SHORT_SLACK) : rtt;
  }
}
