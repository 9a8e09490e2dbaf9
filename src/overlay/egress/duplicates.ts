/**
 * Which packets of a source have been seen: its newest sequence and a bit for each number up to it (RFC 6479's ring of words, as in
 * `crypto/replay-window`, on numbers that wrap). What lies behind the window counts as seen: never twice, rather than always.
 */
import { difference32 } from '../wire/sequence.js';
import { RESTART_BEHIND } from './limits.js';
import { SOURCE_STRAGGLER, Sources } from './sources.js';

export interface DuplicatesOptions {
  /** Sources remembered at least; the one heard longest ago makes room. */
  readonly sources?: number;
  /**
   * How far behind the newest a sequence may be, a power of two, at least 32. All services share one numbering, so a full-speed bulk
   * transfer of the same source ages a realtime packet: 65536 numbers are 120 ms at 6 Gbit/s.
   */
  readonly window?: number;
}

export class Duplicates {
  private readonly sources: Sources;
  private readonly window: number;
  private readonly words: number;
  private readonly bits: Int32Array;
  private readonly newest: Int32Array;
  private lastSource = -1;
  private lastEpoch = -1;
  private lastPlace = -1;

  /** Takes `sources · window / 4` bytes. */
  constructor({ sources = 128, window = 65_536 }: DuplicatesOptions = {}) {
    if (window < 32 || (window & (window - 1)) !== 0)
      throw new RangeError('window must be a power of two, at least 32');
    this.sources = new Sources(sources);
    this.window = window;
    // Twice the window, so that a number's place follows from its low bits alone.
    this.words = window / 16;
    this.bits = new Int32Array(this.sources.capacity * this.words);
    this.newest = new Int32Array(this.sources.capacity);
  }

  /** Whether the packet came before, or is too old to tell; from now on it has. */
  seen(source: number, epoch: number, sequence: number): boolean {
    if (source !== this.lastSource || epoch !== this.lastEpoch) {
      const place = this.sources.find(source, epoch);
      if (place === SOURCE_STRAGGLER) return true;
      if (this.sources.isNew) this.restart(place, sequence);
      this.lastSource = source;
      this.lastEpoch = epoch;
      this.lastPlace = place;
    }
    const place = this.lastPlace;
    const ahead = difference32(sequence, this.newest[place]!);
    if (ahead > 0) this.advance(place, sequence, ahead);
    else if (ahead <= -RESTART_BEHIND) this.restart(place, sequence);
    else if (ahead <= -this.window) return true;
    return this.mark(place, sequence);
  }

  /** Sets the bit of a number within the window; true: it was set. */
  private mark(place: number, sequence: number): boolean {
    const word = place * this.words + ((sequence >>> 5) & (this.words - 1));
    const bit = 1 << (sequence & 31);
    const before = this.bits[word]!;
    this.bits[word] = before | bit;
    return (before & bit) !== 0;
  }

  /** Clears the words between the newest number's and the new one's, the latter included. */
  private advance(place: number, sequence: number, ahead: number): void {
    const from = place * this.words;
    const word = this.newest[place]! >>> 5;
    const count = ((this.newest[place]! & 31) + ahead) >>> 5;
    if (count >= this.words) this.bits.fill(0, from, from + this.words);
    else for (let i = 1; i <= count; i++) this.bits[from + ((word + i) & (this.words - 1))] = 0;
    this.newest[place] = sequence;
  }

  private restart(place: number, sequence: number): void {
    this.bits.fill(0, place * this.words, (place + 1) * this.words);
    this.newest[place] = sequence;
  }
}
