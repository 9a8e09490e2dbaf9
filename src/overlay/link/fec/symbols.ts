/**
 * Equal slots for symbols, the vectors over GF(2⁸) that parity adds up: length of a frame (2) ‖ frame, then zeros up to the next whole
 * word. A symbol's size counts length field and frame; the caller keeps it, and sees that `slot` and size are in range.
 */
import { REPAIR_LENGTH_SIZE } from '../../wire/repair.js';
import { PRODUCTS } from './gf256.js';

export class Symbols {
  readonly view: DataView;
  private readonly words: Int32Array;
  /** Words of a slot. */
  private readonly stride: number;

  constructor(slots: number, frameBytes: number) {
    this.stride = (REPAIR_LENGTH_SIZE + frameBytes + 3) >>> 2;
    this.words = new Int32Array(slots * this.stride);
    this.view = new DataView(this.words.buffer);
  }

  /** Where a slot's frame begins in `view`. */
  frameAt(slot: number): number {
    return slot * this.stride * 4 + REPAIR_LENGTH_SIZE;
  }

  /** What a symbol says its frame's length is. */
  frameLength(slot: number): number {
    return this.view.getUint16(slot * this.stride * 4);
  }

  /** Makes `slot` the symbol of the frame that fills `length` bytes at `at`. */
  putFrame(slot: number, from: DataView, at: number, length: number): void {
    const start = slot * this.stride * 4;
    this.zeroLastWord(slot, REPAIR_LENGTH_SIZE + length);
    this.view.setUint16(start, length);
    copyBytes(from, at, this.view, start + REPAIR_LENGTH_SIZE, length);
  }

  /** Makes `slot` a symbol of `size` bytes as they stand at `at`. */
  put(slot: number, from: DataView, at: number, size: number): void {
    this.zeroLastWord(slot, size);
    copyBytes(from, at, this.view, slot * this.stride * 4, size);
  }

  /** Copies a symbol of `size` bytes out to `at`. */
  take(slot: number, into: DataView, at: number, size: number): void {
    copyBytes(this.view, slot * this.stride * 4, into, at, size);
  }

  private zeroLastWord(slot: number, size: number): void {
    this.words[slot * this.stride + ((size - 1) >>> 2)] = 0;
  }

  /** Makes `slot` a symbol of `size` zeros. */
  clear(slot: number, size: number): void {
    this.extend(slot, 0, size);
  }

  /** Lengthens a symbol of `from` bytes to `to` with zeros. */
  extend(slot: number, from: number, to: number): void {
    const start = slot * this.stride;
    this.words.fill(0, start + ((from + 3) >>> 2), start + ((to + 3) >>> 2));
  }

  /** Whether a symbol is zero between `from` and `size`. */
  isZero(slot: number, from: number, size: number): boolean {
    const start = slot * this.stride * 4;
    for (let i = start + from; i < start + size; i++) if (this.view.getUint8(i) !== 0) return false;
    return true;
  }

  copy(to: number, from: number, size: number): void {
    const start = from * this.stride;
    this.words.copyWithin(to * this.stride, start, start + ((size + 3) >>> 2));
  }

  /** to += factor · from, over the `size` bytes of `from`; `to` is as long or zero behind its end. */
  add(to: number, from: number, factor: number, size: number): void {
    if (factor === 1) this.addPlain(to * this.stride, from * this.stride, (size + 3) >>> 2);
    else this.addProduct(to * this.stride, from * this.stride, factor << 8, (size + 3) >>> 2);
  }

  private addPlain(to: number, from: number, count: number): void {
    const words = this.words;
    for (let i = 0; i < count; i++) words[to + i] ^= words[from + i];
  }

  private addProduct(to: number, from: number, row: number, count: number): void {
    const words = this.words;
    const products = PRODUCTS;
    for (let i = 0; i < count; i++) words[to + i] ^= multiplyWord(products, row, words[from + i]);
  }

  /** slot *= factor, over `size` bytes. */
  scale(slot: number, factor: number, size: number): void {
    const words = this.words;
    const products = PRODUCTS;
    const start = slot * this.stride;
    const end = start + ((size + 3) >>> 2);
    for (let i = start; i < end; i++) words[i] = multiplyWord(products, factor << 8, words[i]);
  }
}

/** The four bytes of `word`, each multiplied by the factor whose row of the table of products begins at `row`. */
function multiplyWord(products: Uint8Array, row: number, word: number): number {
  return (
    products[row | (word & 0xff)] |
    (products[row | ((word >>> 8) & 0xff)] << 8) |
    (products[row | ((word >>> 16) & 0xff)] << 16) |
    (products[row | (word >>> 24)] << 24)
  );
}

/** Like `Uint8Array.set`, without the subarray that would be allocated each time. */
function copyBytes(from: DataView, at: number, into: DataView, to: number, length: number): void {
  const whole = length & ~3;
  for (let i = 0; i < whole; i += 4) into.setInt32(to + i, from.getInt32(at + i));
  for (let i = whole; i < length; i++) into.setUint8(to + i, from.getUint8(at + i));
}
