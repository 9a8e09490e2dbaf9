/**
 * The window while the queue is ours: as much as keeps a small queue, whatever is lost. FAST TCP's rule (Wei, Jin, Low, Hegde 2006, eq. 3),
 * w ← w·(base + T)/rtt + α, once a round, on the window that the measured round trip belongs to. At rest rate·(queue − T) = α/rtt-round, which
 * is the same for all who share a bottleneck only if they have the same rate: so α, not T, is what makes shares equal; and loss doesn't
 * occur in it. Windows in bytes, times in µs. Pure.
 */

/** The queue that we keep, µs. Tuned: what a pacer with timers of 1 ms needs in order to keep the link busy. */
const QUEUE_TIME = 3000;
/** And no less than so many packets' time on the link, but no more than the greatest. */
const QUEUE_PACKETS = 1;
const GREATEST_QUEUE_TIME = 8000;
/** α is so many packets times the root of the window in packets: small on slow links, convergent on fast ones. Tuned. */
const INCREASE = 0.2;
/** Most change by one round. */
const LEAST_FACTOR = 0.6;
const GREATEST_FACTOR = 2;
/** Half the way is gone at a time, or odd and even rounds would find their own ways; all of it where the window is far too large. Tuned. */
const FAR = 0.8;
/** After so many rounds with hardly any queue, growth quickens each round up to the greatest. Tuned. */
const CALM_ROUNDS = 3;
const CALM_GROWTH = 0.05;
const GREATEST_CALM_GROWTH = 0.15;
/** Where slow start may have ended early (RFC 9406's second phase goes back as well): sooner, and as fast as there. Tuned. */
const EARLY_CALM_ROUNDS = 1;
const EARLY_GROWTH = 0.25;
/** After so many rounds with a queue it didn't. Tuned. */
const QUEUE_ROUNDS = 4;
/** After a reduction growth doesn't quicken for so many rounds. Tuned. */
const CAUTIOUS_ROUNDS = 20;
/** The window never exceeds the delivery rate by more: a policer drops and never delays. Tuned. */
const OVER_DELIVERY = 1.5;

/** A round in which the window was full. Times in µs, windows in bytes. */
export interface DelayRound {
  standingRtt: number;
  /** The round trip without any queue. */
  base: number;
  /** The greatest rate of late, bytes per µs. */
  rate: number;
  /** The queue to keep. */
  target: number;
  /** Windows are no less. */
  least: number;
  /** The window was full most of the time, or that the queue is short proves nothing. */
  mayGrow: boolean;
}

export class DelayWindow {
  window = 0;
  /** Rounds without quickened growth left. */
  private cautious = 0;
  /** The window in the round before: what is acknowledged now was sent by it. */
  private before = 0;
  private calm = 0;
  private settling = 0;
  /** Rounds with a queue until slow start is known to have ended in time. */
  private unproven = 0;

  constructor(private readonly packet: number) {}

  /** Begins, or goes on after a drain, with `window`; the next two rounds still show what was before. */
  enter(window: number): void {
    this.window = window;
    this.before = window;
    this.calm = 0;
    this.settling = 2;
  }

  /** Slow start has ended with `window`, for a delay that may have been another's. */
  begin(window: number): void {
    this.enter(window);
    this.unproven = QUEUE_ROUNDS;
  }

  get isProven(): boolean {
    return this.unproven === 0;
  }

  /** The queue that is kept at `rate` (bytes per µs; 0: unknown), µs. */
  queueTime(rate: number): number {
    if (rate === 0) return QUEUE_TIME;
    return Math.min(GREATEST_QUEUE_TIME, Math.max(QUEUE_TIME, (QUEUE_PACKETS * this.packet) / rate));
  }

  /** The queue that is there at rest when nobody else uses the link, µs. */
  ownQueue(rate: number): number {
    const increase = rate === 0 ? 0 : this.increase(this.window) / rate;
    return this.queueTime(rate) + Math.min(increase, QUEUE_TIME);
  }

  /** What a round's end says of the window. */
  onRound({ standingRtt, base, rate, target, least, mayGrow }: DelayRound): void {
    if (this.settling > 0) {
      this.settling--;
      return;
    }
    if (this.cautious > 0) this.cautious--;
    const isShort = standingRtt - base < target / 2;
    this.calm = isShort && this.cautious === 0 && mayGrow ? this.calm + 1 : 0;
    if (!isShort && this.unproven > 0) this.unproven--;
    const factor = Math.min(GREATEST_FACTOR, Math.max(LEAST_FACTOR, (base + target) / standingRtt));
    const right = this.before * factor + this.increase(this.before);
    const near = right < this.window * FAR ? right : (this.window + right) / 2;
    const free = Math.max(near, this.window * this.calmFactor(), least);
    const next = mayGrow ? free : Math.min(free, this.window);
    this.before = this.window;
    const most = OVER_DELIVERY * rate * (base + target) + 4 * this.packet;
    this.window = Math.min(next, Math.max(most, least));
  }

  /** A mark, or loss beyond what chance explains. */
  reduce(factor: number, least: number, most = Infinity): void {
    this.enter(Math.max(least, Math.min(this.window * factor, most)));
    this.cautious = CAUTIOUS_ROUNDS;
    this.unproven = 0;
  }

  private increase(window: number): number {
    return INCREASE * Math.sqrt(window * this.packet);
  }

  private calmFactor(): number {
    if (this.unproven > 0) return this.calm > EARLY_CALM_ROUNDS ? 1 + EARLY_GROWTH : 0;
    if (this.calm <= CALM_ROUNDS) return 0;
    return 1 + Math.min(GREATEST_CALM_GROWTH, CALM_GROWTH * 2 ** (this.calm - CALM_ROUNDS - 1));
  }
}
