/**
 * The receiving end of parity: keeps the newest frames, and as equations over GF(2⁸) the repairs that don't tell anything yet, in
 * reduced row echelon form (Gauss–Jordan), so that a frame is known as soon as an equation has no other unknown.
 *
 * Bounds: 64 frames and 32 equations, allocated with the first repair and let go when no repair has come for 4096 frames. A repair or a
 * frame costs at most 32 additions of a symbol for what is known and 31 for the elimination. Whatever a peer sends, nothing throws; what
 * contradicts itself is dropped and counted.
 */
import { NUMBER_MASK } from '../../wire/record.js';
import type { RejectReason } from '../../wire/reject.js';
import { readRepair, repairCoefficient, RepairHead, REPAIR_LENGTH_SIZE } from '../../wire/repair.js';
import { ROUTED_HEADER_SIZE } from '../../wire/routed.js';
import { difference21 } from '../recovery/numbers.js';
import { inverse, multiply } from './gf256.js';
import { Symbols } from './symbols.js';

/** Frames remembered: a power of two, greater than a repair's span. Tuned. */
const FRAMES = 64;
const COLUMN = FRAMES - 1;
const EQUATIONS = 32;
/** Frames without a repair after which the memory is let go. Tuned. */
const QUIET = 4096;

const NOTHING = new DataView(new ArrayBuffer(0));

/** Frames that were found, the result of the call before; their bytes are valid until the next one. */
export interface Recovered {
  count: number;
  readonly numbers: Int32Array;
  /** Offsets in the decoder's `view`. */
  readonly offsets: Int32Array;
  readonly lengths: Int32Array;
}

export class ParityDecoder {
  readonly recovered: Recovered = {
    count: 0,
    numbers: new Int32Array(EQUATIONS),
    offsets: new Int32Array(EQUATIONS),
    lengths: new Int32Array(EQUATIONS),
  };
  /** Repairs of which nothing was missing, or that told nothing new. */
  useless = 0;
  /** Repairs and equations that contradicted the frames, or were too old or not decodable. */
  bad = 0;

  private readonly frameBytes: number;
  /** Frames first, then equations. Undefined: no repairs have come lately, and nothing is kept. */
  private symbols: Symbols | undefined;
  private quiet = 0;
  private newest = -1;
  /** By column (number modulo FRAMES): the number of the frame kept there, -1 none; and its length. */
  private readonly numbers = new Int32Array(FRAMES).fill(-1);
  private readonly lengths = new Int32Array(FRAMES);

  /** Equations in use, the oldest first: the first `equations` of `order`; the rest of `order` are free slots. */
  private readonly order = Uint8Array.from({ length: EQUATIONS }, (_, i) => i);
  private equations = 0;
  /** By equation: coefficient of each column, the column that no other equation has, and size in bytes. */
  private readonly coefficients = new Uint8Array(EQUATIONS * FRAMES);
  private readonly pivots = new Uint8Array(EQUATIONS);
  private readonly sizes = new Int32Array(EQUATIONS);
  private readonly head = new RepairHead();

  /** `frameBytes`: size of the largest routed frame; the same as the encoder's, or larger. */
  constructor(o: { frameBytes: number }) {
    this.frameBytes = o.frameBytes;
  }

  /** Where the recovered frames lie. */
  get view(): DataView {
    return this.symbols?.view ?? NOTHING;
  }

  /** Bytes that this decoder holds for frames and equations. */
  get memory(): number {
    return this.symbols === undefined ? 0 : this.symbols.view.byteLength;
  }

  /** Forgets everything: the peer's numbers begin anew. */
  reset(): void {
    this.numbers.fill(-1);
    this.equations = 0;
    this.newest = -1;
    this.recovered.count = 0;
  }

  /**
   * Frame `number` has arrived as the `length` bytes at `at`, unchanged since the peer sent it (TTL and ECN too). Fills `recovered` with
   * what can be told now. Frames too large, known or too old are ignored.
   */
  frame(number: number, view: DataView, at: number, length: number): void {
    this.recovered.count = 0;
    const { symbols } = this;
    if (symbols === undefined) return;
    if (++this.quiet > QUIET) return this.letGo();
    if (length > this.frameBytes || !this.advance(number) || this.isKnown(number)) return;
    symbols.putFrame(number & COLUMN, view, at, length);
    this.keep(number, length);
    if (this.equations > 0) this.substitute(symbols, number);
  }

  /** Takes the repair whose value fills `length` bytes at `at`. Fills `recovered`; on a reject nothing has changed. */
  repair(view: DataView, at: number, length: number): 'ok' | RejectReason {
    this.recovered.count = 0;
    const { head } = this;
    const result = this.readHead(view, at, length);
    if (result !== 'ok') {
      this.bad++;
      return result;
    }
    this.quiet = 0;
    this.symbols ??= new Symbols(FRAMES + EQUATIONS, this.frameBytes);
    if (!this.advance(head.numbers[head.count - 1]) || this.age(head.numbers[0]) >= FRAMES) this.bad++;
    else if (this.nothingMissing()) this.useless++;
    else this.insert(this.symbols, view);
    return 'ok';
  }

  private readHead(view: DataView, at: number, length: number): 'ok' | RejectReason {
    const result = readRepair(view, at, length, this.head);
    if (result !== 'ok') return result;
    return this.head.length > REPAIR_LENGTH_SIZE + this.frameBytes ? 'long' : 'ok';
  }

  private letGo(): void {
    this.symbols = undefined;
    this.reset();
  }

  /** How many numbers lie from `number` to the newest, which isn't before it. */
  private age(number: number): number {
    return (this.newest - number) & NUMBER_MASK;
  }

  private isKnown(number: number): boolean {
    return this.numbers[number & COLUMN] === number;
  }

  private keep(number: number, length: number): void {
    this.numbers[number & COLUMN] = number;
    this.lengths[number & COLUMN] = length;
  }

  /** Makes room up to `number`. False for one too old to have a column. */
  private advance(number: number): boolean {
    const ahead = this.newest < 0 ? FRAMES : difference21(number, this.newest);
    if (ahead <= 0) return this.age(number) < FRAMES;
    for (let i = Math.min(ahead, FRAMES); i > 0; i--) this.forget((number - i + 1) & COLUMN);
    this.newest = number;
    return true;
  }

  /** A column's number has grown too old: its frame and the equations about it go. */
  private forget(column: number): void {
    this.numbers[column] = -1;
    for (let i = this.equations - 1; i >= 0; i--) {
      if (this.coefficients[this.order[i] * FRAMES + column] !== 0) this.remove(i);
    }
  }

  private nothingMissing(): boolean {
    const { numbers, count } = this.head;
    for (let i = 0; i < count; i++) if (!this.isKnown(numbers[i])) return false;
    return true;
  }

  /** Makes the repair in `head` an equation about what is missing. */
  private insert(symbols: Symbols, view: DataView): void {
    if (this.equations === EQUATIONS) this.remove(0);
    const equation = this.order[this.equations];
    if (!this.setUp(symbols, equation, view)) {
      this.bad++;
      return;
    }
    for (let i = 0; i < this.equations; i++) {
      const other = this.order[i];
      const factor = this.coefficients[equation * FRAMES + this.pivots[other]];
      if (factor !== 0) this.addEquation(symbols, equation, other, factor);
    }
    if (!this.makePivot(symbols, equation)) {
      this.useless++;
      return;
    }
    this.equations++;
    this.collect(symbols);
  }

  /** Fills `equation` from the repair in `head`, less the frames that are known; false where one of these is too long for it. */
  private setUp(symbols: Symbols, equation: number, view: DataView): boolean {
    const { numbers, count, key, at, length } = this.head;
    const row = equation * FRAMES;
    this.coefficients.fill(0, row, row + FRAMES);
    this.sizes[equation] = length;
    symbols.put(FRAMES + equation, view, at, length);
    for (let i = 0; i < count; i++) {
      this.coefficients[row + (numbers[i] & COLUMN)] = repairCoefficient(key, numbers[i]);
      if (this.isKnown(numbers[i]) && !this.subtract(symbols, equation, numbers[i] & COLUMN)) return false;
    }
    return true;
  }

  /** Takes the frame in `column` out of an equation; false where the frame is too long to have been in it. */
  private subtract(symbols: Symbols, equation: number, column: number): boolean {
    const size = REPAIR_LENGTH_SIZE + this.lengths[column];
    if (size > this.sizes[equation]) return false;
    const index = equation * FRAMES + column;
    symbols.add(FRAMES + equation, column, this.coefficients[index], size);
    this.coefficients[index] = 0;
    return true;
  }

  /** equation += factor · other. */
  private addEquation(symbols: Symbols, equation: number, other: number, factor: number): void {
    const { coefficients, sizes } = this;
    if (sizes[other] > sizes[equation]) {
      symbols.extend(FRAMES + equation, sizes[equation], sizes[other]);
      sizes[equation] = sizes[other];
    }
    symbols.add(FRAMES + equation, FRAMES + other, factor, sizes[other]);
    const to = equation * FRAMES;
    const from = other * FRAMES;
    for (let i = 0; i < FRAMES; i++) coefficients[to + i] ^= multiply(factor, coefficients[from + i]);
  }

  /** Gives `equation` a column of its own, which the others in use lose; false where nothing unknown is left in it. */
  private makePivot(symbols: Symbols, equation: number): boolean {
    const { coefficients } = this;
    const row = equation * FRAMES;
    let column = 0;
    while (column < FRAMES && coefficients[row + column] === 0) column++;
    if (column === FRAMES) return false;
    this.normalise(symbols, equation, inverse(coefficients[row + column]));
    this.pivots[equation] = column;
    for (let i = 0; i < this.equations; i++) {
      const other = this.order[i];
      const factor = coefficients[other * FRAMES + column];
      if (other !== equation && factor !== 0) this.addEquation(symbols, other, equation, factor);
    }
    return true;
  }

  private normalise(symbols: Symbols, equation: number, factor: number): void {
    const { coefficients } = this;
    if (factor === 1) return;
    const row = equation * FRAMES;
    for (let i = row; i < row + FRAMES; i++) coefficients[i] = multiply(factor, coefficients[i]);
    symbols.scale(FRAMES + equation, factor, this.sizes[equation]);
  }

  /** A frame has come that equations may be about. */
  private substitute(symbols: Symbols, number: number): void {
    const column = number & COLUMN;
    for (let i = this.equations - 1; i >= 0; i--) {
      const equation = this.order[i];
      if (this.coefficients[equation * FRAMES + column] === 0) continue;
      if (!this.subtract(symbols, equation, column)) {
        this.bad++;
        this.remove(i);
      } else if (this.pivots[equation] === column && !this.makePivot(symbols, equation)) this.remove(i);
    }
    this.collect(symbols);
  }

  /** Turns the equations with one unknown into frames. No other equation has that unknown, so one pass finds all. */
  private collect(symbols: Symbols): void {
    for (let i = this.equations - 1; i >= 0; i--) {
      const equation = this.order[i];
      if (!this.isSolved(equation)) continue;
      this.recover(symbols, equation);
      this.remove(i);
    }
  }

  private isSolved(equation: number): boolean {
    const row = equation * FRAMES;
    let unknowns = 0;
    for (let i = row; i < row + FRAMES; i++) if (this.coefficients[i] !== 0) unknowns++;
    return unknowns === 1;
  }

  /** Keeps the frame that `equation` has come down to, unless its length says that it is none. */
  private recover(symbols: Symbols, equation: number): void {
    const column = this.pivots[equation];
    const length = symbols.frameLength(FRAMES + equation);
    const size = REPAIR_LENGTH_SIZE + length;
    const total = this.sizes[equation];
    if (length < ROUTED_HEADER_SIZE || size > total || !symbols.isZero(FRAMES + equation, size, total)) {
      this.bad++;
      return;
    }
    const number = (this.newest - ((this.newest - column) & COLUMN)) & NUMBER_MASK;
    symbols.copy(column, FRAMES + equation, size);
    this.keep(number, length);
    const { recovered } = this;
    recovered.numbers[recovered.count] = number;
    recovered.offsets[recovered.count] = symbols.frameAt(column);
    recovered.lengths[recovered.count++] = length;
  }

  /** Frees the equation at `index` of `order`; the others stay in the order of their coming. */
  private remove(index: number): void {
    const equation = this.order[index];
    this.order.copyWithin(index, index + 1, this.equations);
    this.order[--this.equations] = equation;
  }
}
