/**
 * Whether a link lives, and how far away its other end is: a pure machine for each link (design §6).
 *
 *              a hello of ours, sent since, comes back
 *      ┌────► down ─────────────────────────────────────► up
 *    start     ▲   silence, and nothing in the sockets     │
 *              │   the peer says it hears us no longer     │
 *              └───────────────────────────────────────────┘      the peer or we close: closed, for good
 *
 * A link that carried data in the last 10 s is busy: a hello every 100 ms, probes (hellos that ask for an answer at once) every
 * 40 ms after 200 ms of silence, down at 500 ms. An idle one: a hello on each whole second of the clock, so that all links of
 * an agent wake it together; probes after 2.25 s, down after 3.5 s. Any authentic record breaks the silence. A doubt (`suspicion`) has a link
 * probed, and so judged, sooner; what this host itself says of the way there (`fail`) ends it at once.
 *
 * How to drive it: after any input, while `wanted` send `take(now)`; then arm a timer for `nextTimeout()`. A timeout may be
 * called early or late. Silence is never judged in `timeout`, since the process may have been starved and the peer's records
 * may lie unread: it returns 'drain'; the caller reads its sockets empty, then calls `drained`, which judges. All times in µs.
 */
import type { Hello } from '../wire/frames.js';
import { difference32, elapsed32 } from '../wire/sequence.js';
import { RttEstimator } from './rtt.js';
import { Suspicion } from './suspicion.js';

const MS = 1000;
/** Fixed by the design. */
export const BUSY_SPELL = 10_000 * MS;
export const BUSY_INTERVAL = 100 * MS;
export const BUSY_PROBE_AFTER = 200 * MS;
export const BUSY_PROBE_INTERVAL = 40 * MS;
export const BUSY_DOWN = 500 * MS;
export const IDLE_INTERVAL = 1000 * MS;
export const IDLE_DOWN = 3500 * MS;
/** Tuned. */
const IDLE_PROBE_AFTER = 2250 * MS;
const IDLE_PROBE_INTERVAL = 250 * MS;
/** A link that has just gone down, or just begun, tries harder for so long. */
const EAGER_SPELL = 1000 * MS;
const EAGER_INTERVAL = 100 * MS;
/** A timeout this late says that the process was starved or suspended. */
const LATE = 100 * MS;
/** What a starved process allows a silent peer to answer fresh probes, once in each silence. */
const GRACE = 300 * MS;
/** Answers to a peer's hellos lie at least this far apart. */
const ANSWER_GAP = 5 * MS;
/** Hellos of a link that loses some: at first, to know soon how many, and later. */
const ALARM_SPELL = 3000 * MS;
const ALARM_INTERVAL = 20 * MS;
const LOSSY_INTERVAL = 200 * MS;
/** How long a peer's word that it is busy holds. */
const PEER_BUSY = 500 * MS;
/** No network is slower; an echo that claims to be is none. */
const MAX_RTT = 60_000 * MS;
/** A hello numbered this far back was not reordered: the peer began anew. */
const RESTART_DISTANCE = 16;
/** Silence that ends a link whose acknowledgements are overdue, or that loses packets and is in doubt otherwise. */
export const UNANSWERED_DOWN = 250 * MS;
/** A link that is back so soon had been given up for nothing: for a while no doubt is heard. */
const FALSE_ALARM = 300 * MS;
const CAUTION = 60_000 * MS;
/** How long a probe's answer may take: so much, or what the round trips say, but no longer than this. */
const ANSWER_LEAST = 40 * MS;
const ANSWER_MARGIN = 10 * MS;
const ANSWER_MOST = 300 * MS;
/** Share of a hello in the loss that was seen of late, and how much of it makes a link lossy. */
const LOSS_SHARE = 1 / 32;
const LOSSY = 0.01;

export type DownReason =
  /** Nothing arrived for too long. */
  | 'silence'
  /** The peer says that it doesn't hear us, or has begun anew. */
  | 'unheard'
  /** This host has no way to the peer any more. */
  | 'unreachable'
  | 'closed';

export type HelloState =
  | { readonly name: 'down'; readonly since: number }
  | { readonly name: 'up'; readonly since: number }
  /** As up; silence waits for `drained`. */
  | { readonly name: 'draining'; readonly since: number }
  | { readonly name: 'closed' };

export type HelloEvent =
  /** Both directions are proven. */
  | { readonly type: 'up'; readonly rtt: number }
  | { readonly type: 'down'; readonly reason: DownReason }
  /** A fresh sample: smoothed, least of the last minutes, and the sample itself. */
  | { readonly type: 'measured'; readonly rtt: number; readonly base: number; readonly latest: number }
  /** Read the sockets empty, pass on what is there, then call `drained`. */
  | { readonly type: 'drain' };

const NOTHING: readonly HelloEvent[] = [];

export class HelloMachine {
  readonly rtt = new RttEstimator();
  private current: HelloState;
  /** A hello is to be sent now. */
  wanted = true;
  /** Since when records are lost towards the peer, so that what hellos show of it is wanted sooner; undefined: none are. */
  private lossySince: number | undefined;
  private number = 0;
  private sentAt = -Infinity;
  private receivedAt: number;
  private dataAt = -Infinity;
  private busySince = -Infinity;
  private peerBusyUntil = -Infinity;
  /** The next hello asks for an answer, whatever the silence. */
  private asking = false;
  private readonly suspicion = new Suspicion();
  /** When a doubt ended the link, and until when there is to be none. */
  private hastyAt = -Infinity;
  private cautiousUntil = -Infinity;
  /** Of the peer's hellos, of late. */
  private lossSeen = 0;
  /** When a postponed answer is due. */
  private answerAt = Infinity;
  private judgeNotBefore = -Infinity;
  /** The silence, named by its beginning, that has had its grace. */
  private graceGiven = -Infinity;
  /** Newest hello of the peer's since this link was last down: what we echo. */
  private peer: { readonly number: number; readonly clock: number; readonly at: number } | undefined;
  private lastEcho = 0;

  constructor(now: number) {
    this.current = { name: 'down', since: now };
    this.receivedAt = now;
  }

  get state(): HelloState {
    return this.current;
  }

  get isUp(): boolean {
    return this.current.name === 'up' || this.current.name === 'draining';
  }

  /** Data was sent or received over the link. Cheap: once a batch or once a packet. True when `wanted` and `nextTimeout` have changed. */
  noteData(now: number): boolean {
    const fresh = now - this.dataAt >= BUSY_SPELL;
    this.dataAt = now;
    if (!fresh || !this.isUp) return false;
    this.busySince = now;
    this.asking = this.wanted = true;
    return true;
  }

  /** Whether data crossed the link in the spell before `time`. */
  isBusyAt(time: number): boolean {
    return time - this.dataAt < BUSY_SPELL;
  }

  /** An authentic record arrived. As cheap. Never brings `nextTimeout` forward. */
  noteReceived(now: number): void {
    this.receivedAt = now;
  }

  /** Whether records are lost towards the peer. `nextTimeout` may change. */
  watch(now: number, isLossy: boolean): void {
    if (!isLossy) this.lossySince = undefined;
    else this.lossySince ??= now;
  }

  /** Something says that the peer can't be reached: it is probed. `isTrusted`: nobody could have forged it, as anyone can an ICMP error. */
  suspect(now: number, isTrusted: boolean): void {
    this.doubt(now, this.mayLose ? UNANSWERED_DOWN : 0, isTrusted);
  }

  /** Acknowledgements of the peer's are overdue, though asked for again. Called as often as that is so. */
  noteUnanswered(now: number): void {
    this.doubt(now, UNANSWERED_DOWN, false);
  }

  private doubt(now: number, patience: number, isTrusted: boolean): void {
    this.suspicion.refute(this.receivedAt);
    if (!this.isUp || now < this.cautiousUntil) return;
    if (this.suspicion.raise(now, patience, this.mayLose, isTrusted)) this.wanted = true;
  }

  /** This host itself says that it has no way to the peer. */
  fail(now: number): readonly HelloEvent[] {
    if (!this.isUp) return NOTHING;
    const events: HelloEvent[] = [];
    this.goDown(now, 'unreachable', events);
    return events;
  }

  /** The host's network has changed: what didn't work may work. */
  retry(): void {
    if (this.current.name === 'down') this.wanted = true;
  }

  /** The next hello, which is wanted now, asks for an answer. */
  ask(): void {
    if (this.current.name !== 'closed') this.asking = this.wanted = true;
  }

  /** The peer said goodbye, or we do. */
  close(): readonly HelloEvent[] {
    const wasUp = this.isUp;
    this.transition({ name: 'closed' });
    return wasUp ? [{ type: 'down', reason: 'closed' }] : NOTHING;
  }

  /** A hello came in an authentic record. */
  receive(now: number, hello: Hello): readonly HelloEvent[] {
    if (this.current.name === 'closed') return NOTHING;
    this.noteReceived(now);
    const events: HelloEvent[] = [];
    const ahead = this.peer === undefined ? 1 : difference32(hello.number, this.peer.number);
    if (ahead <= -RESTART_DISTANCE) this.goDown(now, 'unheard', events);
    else if (ahead <= 0) return NOTHING;
    else this.noteLoss(ahead - 1);
    this.peer = { number: hello.number, clock: hello.clock, at: now };
    if (hello.busy) this.peerBusyUntil = now + PEER_BUSY;
    if (hello.echoClock === 0) {
      if (this.isUp) this.goDown(now, 'unheard', events, this.peer);
    } else this.weighEcho(now, hello, events);
    if (hello.answer) this.answerSoon(now);
    return events;
  }

  private get mayLose(): boolean {
    return this.lossySince !== undefined || this.lossSeen >= LOSSY;
  }

  private noteLoss(missing: number): void {
    for (let k = Math.min(missing, RESTART_DISTANCE); k > 0; k--)
      this.lossSeen += (1 - this.lossSeen) * LOSS_SHARE;
    this.lossSeen -= this.lossSeen * LOSS_SHARE;
  }

  /** The peer echoed a hello of ours: a sample, and where the link was down the proof that it carries both ways. */
  private weighEcho(now: number, hello: Hello, events: HelloEvent[]): void {
    const age = elapsed32(now, hello.echoClock);
    const rtt = age - hello.echoAge;
    // Drift between the clocks can make a short round trip come out negative after a long wait at the peer: no sample then.
    if (rtt > MAX_RTT || rtt < -MS) return;
    if (rtt > 0 && hello.echoClock !== this.lastEcho) {
      this.lastEcho = hello.echoClock;
      this.rtt.sample(rtt, now);
      events.push({ type: 'measured', rtt: this.rtt.smoothed, base: this.rtt.base, latest: rtt });
    }
    if (this.current.name !== 'down' || now - age < Math.floor(this.current.since)) return;
    if (now - this.hastyAt < FALSE_ALARM + this.rtt.smoothed) this.cautiousUntil = now + CAUTION;
    this.transition({ name: 'up', since: now });
    events.push({ type: 'up', rtt: this.rtt.smoothed });
  }

  private answerSoon(now: number): void {
    this.answerAt = Math.max(now, this.sentAt + ANSWER_GAP);
    if (this.answerAt <= now) this.wanted = true;
  }

  /** Whatever is due at `now`; nothing if called early. */
  timeout(now: number): readonly HelloEvent[] {
    const due = this.nextTimeout();
    if (now < due) return NOTHING;
    this.suspicion.refute(this.receivedAt);
    if (now - due > LATE) this.grantGrace(now);
    if (now >= this.nextHello()) this.wanted = true;
    if (this.current.name !== 'up' || now < this.judgeAt()) return NOTHING;
    this.transition({ name: 'draining', since: this.current.since });
    return [{ type: 'drain' }];
  }

  /** The sockets have been read empty after 'drain', and what was there passed on: silence may be judged. */
  drained(now: number): readonly HelloEvent[] {
    if (this.current.name !== 'draining') return NOTHING;
    this.transition({ name: 'up', since: this.current.since });
    this.suspicion.refute(this.receivedAt);
    if (now < this.judgeAt()) return NOTHING;
    if (this.suspicion.isRaised && now < this.silentAt()) this.hastyAt = now;
    const events: HelloEvent[] = [];
    this.goDown(now, 'silence', events);
    return events;
  }

  /** While we slept nobody was probed, so the peer may be well and have had nothing to say. */
  private grantGrace(now: number): void {
    if (this.graceGiven === this.quietSince()) return;
    this.graceGiven = this.quietSince();
    this.judgeNotBefore = now + GRACE;
  }

  /** The hello to send now; call while `wanted`. */
  take(now: number): Hello {
    const answer =
      this.asking || this.suspicion.isRaised || this.current.name === 'down' || this.isProbing(now);
    this.wanted = this.asking = false;
    this.answerAt = Infinity;
    this.sentAt = now;
    this.suspicion.noteProbe(now);
    this.number = (this.number + 1) >>> 0;
    return {
      type: 'hello',
      number: this.number,
      clock: now >>> 0 || 1,
      echoClock: this.peer?.clock ?? 0,
      echoAge:
        this.peer === undefined ? 0 : Math.min(Math.max(0, Math.floor(now - this.peer.at)), 0xffffffff),
      answer,
      busy: this.isUp && this.isBusyAt(now),
    };
  }

  /** When to call `timeout`, µs; Infinity for never. */
  nextTimeout(): number {
    const judge = this.current.name === 'up' ? this.judgeAt() : Infinity;
    return Math.min(this.nextHello(), judge);
  }

  private quietSince(): number {
    return Math.max(this.receivedAt, this.busySince);
  }

  /** The silence has lasted so long that hellos ask for an answer. */
  isProbing(now: number): boolean {
    return now - this.quietSince() >= (this.isBusyAt(now) ? BUSY_PROBE_AFTER : IDLE_PROBE_AFTER);
  }

  /** When the present silence has to be judged. */
  private judgeAt(): number {
    const doubted = this.suspicion.judgeAt(this.quietSince(), this.answerTime());
    return Math.max(this.judgeNotBefore, Math.min(doubted, this.silentAt()));
  }

  /** When it has lasted too long. */
  private silentAt(): number {
    const busy = this.quietSince() + BUSY_DOWN;
    return this.isBusyAt(busy) ? busy : this.quietSince() + IDLE_DOWN;
  }

  private answerTime(): number {
    const { smoothed, variation } = this.rtt;
    return Math.min(ANSWER_MOST, Math.max(ANSWER_LEAST, smoothed + 4 * variation + ANSWER_MARGIN));
  }

  /** When the next hello is due; Infinity while one is wanted already. */
  private nextHello(): number {
    if (this.wanted || this.current.name === 'closed') return Infinity;
    if (this.current.name === 'down') return Math.min(this.answerAt, this.nextWhileDown(this.current.since));
    return Math.min(this.answerAt, this.suspicion.nextProbe(), this.nextRegular(), this.nextSilenceProbe());
  }

  private nextWhileDown(since: number): number {
    return this.sentAt < since + EAGER_SPELL ? this.sentAt + EAGER_INTERVAL : nextTick(this.sentAt);
  }

  private nextRegular(): number {
    const { lossySince } = this;
    if (lossySince !== undefined && this.sentAt - lossySince < ALARM_SPELL)
      return this.sentAt + ALARM_INTERVAL;
    const soon = this.sentAt + BUSY_INTERVAL;
    if (this.isBusyAt(soon) || soon < this.peerBusyUntil) return soon;
    return lossySince !== undefined ? this.sentAt + LOSSY_INTERVAL : nextTick(this.sentAt);
  }

  private nextSilenceProbe(): number {
    const busy = Math.max(this.quietSince() + BUSY_PROBE_AFTER, this.sentAt + BUSY_PROBE_INTERVAL);
    return this.isBusyAt(busy)
      ? busy
      : Math.max(this.quietSince() + IDLE_PROBE_AFTER, this.sentAt + IDLE_PROBE_INTERVAL);
  }

  /** `heard`: the peer's hello that told of it, echoed at once so that a peer that hears us again sees its round trip. */
  private goDown(now: number, reason: DownReason, events: HelloEvent[], heard?: typeof this.peer): void {
    const wasUp = this.isUp;
    this.transition({ name: 'down', since: now });
    this.peer = heard;
    this.wanted = true;
    if (wasUp) events.push({ type: 'down', reason });
  }

  private transition(to: HelloState): void {
    if (to.name === 'closed') this.wanted = false;
    if (to.name === 'down') this.suspicion.end(this.receivedAt);
    this.current = to;
  }
}

/** The next whole second after `time`, the same for every link on one clock. */
function nextTick(time: number): number {
  return (Math.floor(time / IDLE_INTERVAL) + 1) * IDLE_INTERVAL;
}
