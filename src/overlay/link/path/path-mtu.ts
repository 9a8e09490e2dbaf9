/**
 * How large a datagram passes a link, in the direction from us to the peer: a pure machine for each link, after RFC 8899. It needs no ICMP.
 *
 *           the wanted size passes, or the search is done           time for a check: the present size is probed
 *  search ────────────────────────────────────────────────► settled ◄────────────────────────────────────────────► check
 *    ▲ ▲                                                       │                                                      │
 *    │ └─ a larger size passes ─ raise ◄─ smaller than wanted, time to try ─┘            it doesn't pass any more     │
 *    └────────────────────────────────────────────────────────────────────────────────────────────────────────────────┘
 *
 * Sizes are bytes of UDP payload. Until something larger is proven, LEAST_DATAGRAM is believed to pass; where a probe of that size fails too,
 * the path is `isBlocked`: small packets may pass, data doesn't. Lost probes say nothing about the link's loss (`takeLost`).
 *
 * How to drive it: after any input call `take(now)` and send a probe of that size, whole; then arm a timer for `nextTimeout()` and call `timeout`.
 * All times in µs.
 */

const MS = 1000;
/** What every path that IPv6 allows carries: 1280 bytes less the headers of IPv6 and UDP. */
export const LEAST_DATAGRAM = 1232;

/** Tuned. */
const SEARCH_TRIES = 3;
const CHECK_TRIES = 4;
/** A search ends when it is this exact, bytes. */
const STEP = 8;
const CHECK_BUSY = 1000 * MS;
const CHECK_IDLE = 120_000 * MS;
const RAISE_EVERY = 10_000 * MS;
/** Between the first datagram of a greater size and its probe. */
const RAISE_SOON = 10 * MS;
/** A link that had data since then is checked as busy. */
const BUSY_SPELL = 10_000 * MS;
const TIMEOUT_LEAST = 150 * MS;

type Mode = 'off' | 'settled' | 'search' | 'check' | 'raise';

export class PathMtu {
  /** Largest datagram to send whole, bytes. */
  size: number;
  /** Not even LEAST_DATAGRAM passes. */
  isBlocked = false;
  private mode: Mode = 'off';
  /** Least size that was found not to pass, or one more than wanted. */
  private failed = Infinity;
  /** Least size that didn't pass when it was tried last, and nothing as large has passed since. */
  private tooLarge = Infinity;
  private isLeastProven = false;
  private probe = LEAST_DATAGRAM;
  private tries = 0;
  /** Numbers of the probes of the present size: [first, next). */
  private first = 0;
  private next = 0;
  private due = Infinity;
  private raiseAt = 0;
  private dataAt = -Infinity;
  private lost = 0;

  /** `wanted`: the largest datagram that there is to send, so far; 0: all are sent whole, and nothing is probed. */
  constructor(private wanted: number) {
    this.size = wanted === 0 ? Infinity : LEAST_DATAGRAM;
  }

  /** `size` where something larger was tried and doesn't pass; Infinity where that isn't known. */
  get provenMax(): number {
    const isKnown = this.mode === 'settled' || this.mode === 'check' || this.mode === 'raise';
    return isKnown && !this.isBlocked && this.tooLarge < Infinity ? this.size : Infinity;
  }

  /** The link is up. */
  start(now: number): void {
    if (this.wanted === 0) return;
    this.size = LEAST_DATAGRAM;
    this.isBlocked = this.isLeastProven = false;
    this.tooLarge = Infinity;
    this.searchAll(now);
  }

  stop(): void {
    this.mode = 'off';
    this.due = Infinity;
  }

  /** Datagrams of `size` bytes are, or will be, there to be sent. */
  want(size: number): void {
    if (size <= this.wanted || this.wanted === 0) return;
    this.wanted = size;
    this.raiseAt = -Infinity;
    if (this.mode === 'settled') this.due = Math.min(this.due, this.dataAt + RAISE_SOON);
  }

  /** Data goes over the link. True when `nextTimeout` has changed. */
  noteData(now: number): boolean {
    const wasIdle = now - this.dataAt >= BUSY_SPELL;
    this.dataAt = now;
    if (!wasIdle || this.mode !== 'settled') return false;
    this.due = now;
    return true;
  }

  /** Size of the probe to send now, 0 for none; `number` names it. */
  take(now: number, roundTrip: number): number {
    if (now < this.due || this.mode === 'off' || this.mode === 'settled') return 0;
    this.tries++;
    this.next = (this.next + 1) >>> 0;
    this.due = now + Math.max(TIMEOUT_LEAST, 2 * roundTrip);
    return this.probe;
  }

  /** Of the probe that was taken last. */
  get number(): number {
    return (this.next - 1) >>> 0;
  }

  /** The peer got probe `number`. */
  answered(now: number, number: number): void {
    if (this.mode === 'off' || this.mode === 'settled') return;
    if ((number - this.first) >>> 0 >= (this.next - this.first) >>> 0) return;
    const { mode, isBlocked } = this;
    this.lost += this.tries - 1;
    this.isBlocked = false;
    this.isLeastProven = true;
    this.size = Math.max(this.size, this.probe);
    if (this.size >= this.tooLarge) this.tooLarge = Infinity;
    if (isBlocked) this.searchAll(now);
    else if (mode === 'check') this.settle(now);
    else this.narrow(now);
  }

  /** Whatever is due at `now`; nothing if called early. */
  timeout(now: number): void {
    if (now < this.due || this.mode === 'off') return;
    if (this.mode === 'settled') this.wake(now);
    else if (this.tries >= (this.mode === 'check' ? CHECK_TRIES : SEARCH_TRIES)) this.fail(now);
  }

  nextTimeout(): number {
    return this.due;
  }

  /** Probes lost since this was asked last. */
  takeLost(): number {
    const { lost } = this;
    this.lost = 0;
    return lost;
  }

  private wake(now: number): void {
    const raise = this.size < this.wanted && now >= this.raiseAt && !this.isBlocked;
    if (raise) {
      this.raiseAt = now + RAISE_EVERY;
      this.failed = this.wanted + 1;
    }
    this.begin(now, raise ? 'raise' : 'check', raise ? this.wanted : this.size);
  }

  private fail(now: number): void {
    const { mode, probe } = this;
    this.lost += this.tries;
    if (probe === LEAST_DATAGRAM) {
      this.isBlocked = true;
      this.settle(now);
      return;
    }
    this.failed = probe;
    this.tooLarge = Math.min(this.tooLarge, probe);
    if (mode === 'check') {
      this.size = LEAST_DATAGRAM;
      this.isLeastProven = false;
    }
    // A path may have grown by less than what is wanted.
    const little = Math.min(this.size + 2 * STEP, this.wanted);
    if (mode !== 'raise') this.narrow(now);
    else if (probe > little) this.begin(now, 'raise', little);
    else this.settle(now);
  }

  /** The next probe between what passes and what doesn't. */
  private narrow(now: number): void {
    if (!this.isLeastProven) this.begin(now, 'search', LEAST_DATAGRAM);
    else if (this.size >= this.wanted || this.failed - this.size <= STEP) this.settle(now);
    else this.begin(now, 'search', (this.size + this.failed) >>> 1);
  }

  private searchAll(now: number): void {
    this.failed = this.wanted + 1;
    this.begin(now, 'search', this.wanted);
  }

  private begin(now: number, mode: Mode, probe: number): void {
    this.mode = mode;
    this.probe = probe;
    this.tries = 0;
    this.first = this.next;
    this.due = now;
  }

  private settle(now: number): void {
    this.mode = 'settled';
    if (this.raiseAt <= now) this.raiseAt = now + RAISE_EVERY;
    const isBusy = now - this.dataAt < BUSY_SPELL;
    this.due = now + (isBusy || this.isBlocked ? CHECK_BUSY : CHECK_IDLE);
  }
}
