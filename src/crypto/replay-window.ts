/**
 * Which counters of a lane have been seen: the newest, and a bit for each of the 8192 up to it (RFC 6479's ring of words: nothing is ever
 * shifted, words that the window moves over are cleared). Allocation-free after construction.
 *
 * Counters are numbers below 2^53. The ring is twice the window, a power of two of bits, so that a counter's place follows from its low bits
 * alone; what lies outside the window is told by comparison, before the ring is looked at.
 */

/** Wire: how far behind the newest a counter may be, plus one. */
export const REPLAY_WINDOW = 8192;

const RING_WORDS = 512;
const RING_MASK = RING_WORDS - 1;

export class ReplayWindow {
  private readonly ring = new Int32Array(RING_WORDS);
  private newest = -1;
  private accepted = 0;
  private gaps = 0;

  /** Whether `counter` is new: to be asked before the record is opened, which costs more. Changes nothing. */
  check(counter: number): boolean {
    const newest = this.newest;
    if (counter > newest) return counter <= Number.MAX_SAFE_INTEGER;
    if (counter < 0 || counter <= newest - REPLAY_WINDOW) return false;
    return (this.ring[(counter >>> 5) & RING_MASK]! & (1 << (counter & 31))) === 0;
  }

  /** Takes the counter of an authentic record. False: it is a replay, or too old to tell. */
  accept(counter: number): boolean {
    if (!this.check(counter)) return false;
    if (counter > this.newest) this.advance(counter);
    this.accepted++;
    this.ring[(counter >>> 5) & RING_MASK]! |= 1 << (counter & 31);
    return true;
  }

  /** The newest counter accepted; -1 before the first. */
  get highest(): number {
    return this.newest;
  }

  /** How many counters were accepted. */
  get count(): number {
    return this.accepted;
  }

  /** How many runs of counters were still missing when a newer one came. */
  get overtaken(): number {
    return this.gaps;
  }

  /** Clears the words between the newest counter's and the new one's, the latter included. */
  private advance(counter: number): void {
    if (counter > this.newest + 1) this.gaps++;
    const from = Math.floor(this.newest / 32);
    const words = Math.floor(counter / 32) - from;
    if (words >= RING_WORDS) this.ring.fill(0);
    else for (let i = 1; i <= words; i++) this.ring[(from + i) & RING_MASK] = 0;
    this.newest = counter;
  }
}
