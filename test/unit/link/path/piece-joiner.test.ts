import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  PIECE_COMPLETE,
  PIECE_KEPT,
  PIECE_MALFORMED,
  PieceJoiner,
} from '../../../../src/overlay/link/path/piece-joiner.js';
import { LINK_FRAME_HEAD } from '../../../../src/overlay/wire/frames.js';
import { isPiece, PIECE_HEAD_SIZE, pieceStep, writePieceHead } from '../../../../src/overlay/wire/piece.js';

interface Piece {
  view: DataView;
  length: number;
}

/** The piece values of a body. */
function pieces(body: Uint8Array, count: number, number: number, lane = 2, word = 0xabcdef): Piece[] {
  const step = pieceStep(body.length, count);
  return Array.from({ length: count }, (_, index) => {
    const part = body.subarray(index * step, (index + 1) * step);
    const bytes = new Uint8Array(LINK_FRAME_HEAD + PIECE_HEAD_SIZE + part.length);
    const at = writePieceHead(
      new DataView(bytes.buffer),
      0,
      number,
      lane,
      word,
      body.length,
      index,
      count,
      part.length,
    );
    bytes.set(part, at);
    return { view: new DataView(bytes.buffer, LINK_FRAME_HEAD), length: PIECE_HEAD_SIZE + part.length };
  });
}

const take = (joiner: PieceJoiner, now: number, { view, length }: Piece) =>
  joiner.take(now, view, 0, length, false);

describe('pieces of a split body', () => {
  it('have the layout that is written down', () => {
    const [, second] = pieces(
      Uint8Array.from({ length: 5 }, (_, i) => i),
      2,
      0x01020304,
    );
    expect(Buffer.from(second!.view.buffer).toString('hex')).toBe(
      '0a000e' + '01020304' + '02' + 'abcdef' + '0005' + '01' + '02' + '0304',
    );
  });

  it('give the body back in any order, with duplicates, among those of others', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            body: fc.uint8Array({ minLength: 260, maxLength: 3000 }),
            count: fc.integer({ min: 2, max: 16 }),
          }),
          { minLength: 1, maxLength: 8 },
        ),
        fc.infiniteStream(fc.nat()),
        (bodies, random) => {
          const joiner = new PieceJoiner();
          const all = bodies.flatMap(({ body, count }, n) => pieces(body, count, n));
          const order = [...all, all[0]!]
            .map((piece) => ({ piece, key: random.next().value as number }))
            .sort((a, b) => a.key - b.key);
          const found: string[] = [];
          for (const { piece } of order) {
            if (take(joiner, 0, piece) !== PIECE_COMPLETE) continue;
            found.push(Buffer.from(joiner.body).toString('hex'));
            expect([joiner.bodyLane, joiner.bodyWord]).toEqual([2, 0xabcdef]);
          }
          expect(found.sort()).toEqual(bodies.map(({ body }) => Buffer.from(body).toString('hex')).sort());
        },
      ),
      { numRuns: 200 },
    );
  });

  it('are forgotten after a second, and when a newer body needs their slot', () => {
    const joiner = new PieceJoiner();
    const [first, second] = pieces(new Uint8Array(500), 2, 7);
    expect(take(joiner, 0, first!)).toBe(PIECE_KEPT);
    expect(take(joiner, 1_000_001, second!)).toBe(PIECE_KEPT);
    const [newer] = pieces(new Uint8Array(500), 2, 7 + 32);
    expect(take(joiner, 1_000_002, newer!)).toBe(PIECE_KEPT);
    expect(take(joiner, 1_000_003, first!)).toBe(PIECE_KEPT);
  });

  it('that contradict each other do not make a body', () => {
    const joiner = new PieceJoiner();
    const [first] = pieces(new Uint8Array(500), 2, 7);
    const [, second] = pieces(new Uint8Array(502), 2, 7);
    expect(take(joiner, 0, first!)).toBe(PIECE_KEPT);
    expect(take(joiner, 0, second!)).toBe(PIECE_KEPT);
  });

  it('are refused or kept within bounds, whatever bytes a peer sends', () => {
    const joiner = new PieceJoiner();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(1_000_000), (bytes, now) => {
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
        const sound = isPiece(view, 0, bytes.length);
        const verdict = joiner.take(now, view, 0, bytes.length, true);
        expect(verdict === PIECE_MALFORMED).toBe(!sound);
        if (verdict === PIECE_COMPLETE) expect(joiner.body.length).toBeLessThanOrEqual(9216);
      }),
      { numRuns: 3000 },
    );
  });
});
