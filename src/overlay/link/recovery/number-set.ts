/** Which of the last `window` numbers are in a set: a bit each, in a ring. */
import { difference21 } from './numbers.js';

export class NumberSet {
  private readonly words: Int32Array;
  private readonly mask: number;

  /** `window` a power of 2, at least 32. */
  constructor(private readonly window: number) {
    this.words = new Int32Array(window >>> 5);
    this.mask = window - 1;
  }

  /** Of a number in the window. */
  has(number: number): boolean {
    const bit = number & this.mask;
    return (this.words[bit >>> 5] & (1 << (bit & 31))) !== 0;
  }

  add(number: number): void {
    const bit = number & this.mask;
    this.words[bit >>> 5] |= 1 << (bit & 31);
  }

  /** The window's newest moves from `from` forward to `to`: the numbers after `from` aren't in the set. */
  advance(from: number, to: number): void {
    const count = difference21(to, from);
    if (count >= this.window) {
      this.words.fill(0);
      return;
    }
    for (let left = count, number = from + 1; left > 0;) {
      const bit = number & this.mask;
      const here = Math.min(left, 32 - (bit & 31));
      this.words[bit >>> 5] &= here === 32 ? 0 : ~(((1 << here) - 1) << (bit & 31));
      number += here;
      left -= here;
    }
  }

  clear(): void {
    this.words.fill(0);
  }
}
