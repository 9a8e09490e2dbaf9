import {
  isPiece,
  PIECED_BODY_MAX,
  pieceStep,
  PIECE_HEAD_SIZE,
  readPieceBody,
  readPieceCount,
  readPieceIndex,
  readPieceLane,
  readPieceNumber,
  readPieceWord,
} from '../../wire/piece.js';

/** What `take` answers. */
export const PIECE_KEPT = 0;
export const PIECE_COMPLETE = 1;
export const PIECE_MALFORMED = 2;

/** Bodies in the making at once. A power of two, so that numbers wrap where slots do. */
const SLOTS = 32;
/** µs; of a body that takes longer, the pieces so far are forgotten. */
const PATIENCE = 1_000_000;

/**
 * Puts together the bodies that a neighbour split for a narrow link. Its memory is bounded, and used as far as needed: bodies take turns in the
 * slots, a newer one replaces what an older one has of its slot, for a body of which a piece is lost never gets complete.
 */
export class PieceJoiner {
  private readonly bytes: (Uint8Array | undefined)[] = new Array<undefined>(SLOTS).fill(undefined);
  private readonly number = new Uint32Array(SLOTS);
  private readonly since = new Float64Array(SLOTS).fill(-Infinity);
  /** Word 1 and 2 of a piece's head but its index, which are those of all its body's pieces. */
  private readonly lane = new Uint8Array(SLOTS);
  private readonly word = new Int32Array(SLOTS);
  private readonly length = new Int32Array(SLOTS);
  private readonly pieces = new Uint8Array(SLOTS);
  /** Bit i: piece i is there. */
  private readonly there = new Uint32Array(SLOTS);
  private readonly marked = new Uint8Array(SLOTS);
  private last = 0;

  /** Takes the piece value that fills `length` bytes at `at`, and whether its datagram bore a congestion mark. After PIECE_COMPLETE the body is in `body`, until the next call. */
  take(now: number, view: DataView, at: number, length: number, isMarked: boolean): number {
    if (!isPiece(view, at, length)) return PIECE_MALFORMED;
    const slot = readPieceNumber(view, at) % SLOTS;
    if (!this.isSame(now, slot, view, at)) this.begin(now, slot, view, at);
    const bit = 1 << readPieceIndex(view, at);
    if (this.there[slot]! & bit) return PIECE_KEPT;
    const step = pieceStep(this.length[slot]!, this.pieces[slot]!);
    const from = view.byteOffset + at + PIECE_HEAD_SIZE;
    const piece = new Uint8Array(view.buffer, from, length - PIECE_HEAD_SIZE);
    this.bytes[slot]!.set(piece, readPieceIndex(view, at) * step);
    this.there[slot]! |= bit;
    if (isMarked) this.marked[slot] = 1;
    if (this.there[slot] !== (1 << this.pieces[slot]!) - 1) return PIECE_KEPT;
    this.since[slot] = -Infinity;
    this.last = slot;
    return PIECE_COMPLETE;
  }

  get body(): Uint8Array {
    return this.bytes[this.last]!.subarray(0, this.length[this.last]);
  }

  get bodyLane(): number {
    return this.lane[this.last]!;
  }

  /** A datagram of it bore a congestion mark. */
  get isBodyMarked(): boolean {
    return this.marked[this.last] === 1;
  }

  /** Epoch and number, as in a record header. */
  get bodyWord(): number {
    return this.word[this.last]!;
  }

  private isSame(now: number, slot: number, view: DataView, at: number): boolean {
    return (
      this.number[slot] === readPieceNumber(view, at) &&
      now - this.since[slot]! <= PATIENCE &&
      this.lane[slot] === readPieceLane(view, at) &&
      this.word[slot] === readPieceWord(view, at) &&
      this.length[slot] === readPieceBody(view, at) &&
      this.pieces[slot] === readPieceCount(view, at)
    );
  }

  private begin(now: number, slot: number, view: DataView, at: number): void {
    this.number[slot] = readPieceNumber(view, at);
    this.since[slot] = now;
    this.lane[slot] = readPieceLane(view, at);
    this.word[slot] = readPieceWord(view, at);
    this.length[slot] = readPieceBody(view, at);
    this.pieces[slot] = readPieceCount(view, at);
    this.there[slot] = 0;
    this.marked[slot] = 0;
    if ((this.bytes[slot]?.length ?? 0) < this.length[slot]!) {
      this.bytes[slot] = new Uint8Array(this.length[slot]! <= 2048 ? 2048 : PIECED_BODY_MAX);
    }
  }
}
