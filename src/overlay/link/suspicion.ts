/**
 * Doubt about a link that counts as up, raised by something weaker than the silence that ends it: an ICMP error, which anyone can forge, or
 * acknowledgements that don't come. It only lets probes go out sooner. The link is judged when enough of them had their time to be answered, and
 * any authentic record since refutes it. Times in µs.
 */
const MS = 1000;

/** Fixed by the design. */
const PROBES = 3;
/** Tuned. On a link that loses packets three in a row prove little. */
const PROBES_WHERE_LOSSY = 8;
const PROBE_INTERVAL = 20 * MS;
/** A doubt that was refuted isn't raised again for so long, unless its cause can be trusted: whoever forges errors makes us send no more than this. */
const REST = 200 * MS;

export class Suspicion {
  /** Infinity: there is none. */
  private since = Infinity;
  private probesLeft = 0;
  private lastProbe = -Infinity;
  /** When the last probe went that counts. */
  private probedAt = Infinity;
  private patience = 0;
  private restUntil = -Infinity;

  /** `patience`: the silence that there must have been besides. False where there is nothing new to do. */
  raise(now: number, patience: number, isLossy: boolean, isTrusted: boolean): boolean {
    if (this.since !== Infinity) {
      this.patience = Math.min(this.patience, patience);
      return false;
    }
    if (now < this.restUntil && !isTrusted) return false;
    this.since = now;
    this.patience = patience;
    this.probesLeft = isLossy ? PROBES_WHERE_LOSSY : PROBES;
    this.probedAt = Infinity;
    this.lastProbe = -Infinity;
    return true;
  }

  get isRaised(): boolean {
    return this.since !== Infinity;
  }

  /** An authentic record came at `receivedAt`, the newest. */
  refute(receivedAt: number): void {
    if (receivedAt > this.since) this.end(receivedAt);
  }

  end(now: number): void {
    this.since = Infinity;
    this.restUntil = now + REST;
  }

  /** A probe went out. */
  noteProbe(now: number): void {
    if (!this.isRaised) return;
    this.lastProbe = now;
    if (this.probesLeft > 0 && --this.probesLeft === 0) this.probedAt = now;
  }

  /** When the next probe is due; Infinity for never. */
  nextProbe(): number {
    if (!this.isRaised) return Infinity;
    return Math.max(this.since, this.lastProbe + PROBE_INTERVAL);
  }

  /** When the link may be judged, given since when it is silent and how long an answer may take; Infinity for never. */
  judgeAt(quietSince: number, answerTime: number): number {
    if (!this.isRaised) return Infinity;
    return Math.max(this.probedAt + answerTime, quietSince + this.patience);
  }
}
