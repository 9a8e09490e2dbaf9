import { createBatch, type PacketBatch, RECORD_HEADER, RECORD_TAG } from '../../io/batch.js';
import { PIECE_OVERHEAD, PIECED_BODY_MAX, PIECES_MAX, pieceStep, writePieceHead } from '../wire/piece.js';
import type { Neighbour } from './neighbour.js';

/** Bytes of a record that isn't its body's. */
const AROUND = RECORD_HEADER + RECORD_TAG;
/** Pieces that are sealed and sent with one call. */
const CAPACITY = 128;
const ARENA = 256 * 1024;

/**
 * Splits the bodies of records that a link can't carry whole into pieces, each in a record of its own on the best-effort lane. What recovers
 * or orders frames knows nothing of it: a body that misses a piece is a record lost.
 */
export class Splitter {
  readonly batch = createBatch(ARENA, CAPACITY);
  readonly order = Int32Array.from({ length: CAPACITY }, (_, row) => row);
  private end = 0;
  private number: number;

  constructor(random: number) {
    this.number = random >>> 0;
  }

  /**
   * Writes the pieces of record `i`, whose header and body lie in `from`, behind those written since `clear`; false where they have no room
   * (flush, and try again), or where it is too large for any number of pieces. Their header, key and endpoint are the caller's to write.
   */
  split(from: PacketBatch, i: number, lane: number, next: Neighbour): boolean {
    const at = from.offset[i]! + RECORD_HEADER;
    const length = from.length[i]! - RECORD_HEADER;
    const count = Math.ceil(length / (next.link.datagramMax - AROUND - PIECE_OVERHEAD));
    if (!this.hasRoom(length, count)) return false;
    const { batch } = this;
    const step = pieceStep(length, count);
    const word = from.view.getUint32(at - RECORD_HEADER);
    const number = (this.number = (this.number + 1) >>> 0);
    for (let index = 0; index < count; index++) {
      const size = Math.min(step, length - index * step);
      const row = batch.count++;
      const bytes = writePieceHead(
        batch.view,
        this.end + RECORD_HEADER,
        number,
        lane,
        word,
        length,
        index,
        count,
        size,
      );
      batch.bytes.set(from.bytes.subarray(at + index * step, at + index * step + size), bytes);
      batch.offset[row] = this.end;
      batch.length[row] = bytes + size - this.end;
      batch.trafficClass[row] = from.trafficClass[i]!;
      this.end = bytes + size + RECORD_TAG;
    }
    return true;
  }

  clear(): void {
    this.batch.count = 0;
    this.end = 0;
  }

  private hasRoom(length: number, count: number): boolean {
    if (length > PIECED_BODY_MAX || count > PIECES_MAX) return false;
    return (
      this.batch.count + count <= CAPACITY && this.end + length + count * (AROUND + PIECE_OVERHEAD) <= ARENA
    );
  }
}
