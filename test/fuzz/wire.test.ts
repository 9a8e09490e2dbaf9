import { describe, expect, it } from 'vitest';
import { checkEcho, decodeEcho } from '../../src/overlay/wire/echo.js';
import { decodeError } from '../../src/overlay/wire/error.js';
import { decodeLinkFrame, LinkFrames } from '../../src/overlay/wire/frames.js';
import { isRecord } from '../../src/overlay/wire/record.js';
import {
  checkRouted,
  FLAG_SOURCE_ROUTED,
  readDestination,
  readDistance,
  readFlags,
  readHeadSize,
  readSource,
  ROUTED_HEADER_SIZE,
  ROUTED_REJECTS,
} from '../../src/overlay/wire/routed.js';
import { decodeSourceRoute, findListed, readOnward } from '../../src/overlay/wire/source-route.js';

const SEED = 20_240_611;
const ROUNDS = 400_000;
const SIZE = 96;

/** Small and fast, so that the rounds are spent in the decoders (xorshift32). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

/**
 * The view ends where the given length does, so any read beyond it throws a RangeError and fails the test.
 */
function eachInput(run: (view: DataView, length: number) => void): void {
  const next = generator(SEED);
  for (let round = 0; round < ROUNDS; round++) {
    const length = next() % SIZE;
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i++) bytes[i] = next();
    for (let at = 0; round & 1 && at + 3 <= length; at += 3 + bytes[at + 2]) {
      bytes.set([next() & 0x0f, 0, next() % 24], at);
    }
    if (length > 0 && round % 3 === 0) bytes[0] = 0x10 | (next() & 3);
    if (length > 24 && round % 9 === 0) bytes.set([0x10, 0x10, 0, 0], 0);
    if (length > 24 && round % 9 === 0) bytes.set([next() % 4, next() % 10], 14);
    // Indices of few nodes, so that some lists are possible.
    for (let i = 24; round % 18 === 0 && i < length; i++) bytes[i] &= 0x33;
    if (length > 41 && round % 6 === 0) bytes[41] = (length - 42) >>> 2;
    run(new DataView(bytes.buffer), length);
  }
}

/** Reads a checked list of links in every way that there is. */
function readRoute(view: DataView, length: number): void {
  const counts = readDistance(view, 0);
  const [source, destination] = [readSource(view, 0), readDestination(view, 0)];
  if (readHeadSize(view, 0) > length) throw new Error('a list longer than its frame');
  const edges = decodeSourceRoute(view, ROUTED_HEADER_SIZE, counts, source, destination);
  const into = new Uint32Array(24);
  let onward = 0;
  for (let index = 0; index < 16; index++)
    onward += readOnward(view, ROUTED_HEADER_SIZE, counts, index, destination, into);
  if (onward !== edges.length || edges.flat().includes(undefined as never))
    throw new Error('edges went astray');
  findListed(view, ROUTED_HEADER_SIZE, counts, destination);
  routes++;
}
let routes = 0;

describe(`decoders of random bytes (seed ${SEED})`, () => {
  it('read link frames within their body, make progress and never throw', () => {
    const cursor = new LinkFrames();
    let decoded = 0;
    eachInput((view, length) => {
      cursor.reset(view, 0, length);
      let spent = 0;
      while (cursor.next()) {
        if (cursor.at + cursor.length > length || ++spent > length / 3)
          throw new Error('left its body or stood still');
        decodeLinkFrame(cursor.type, view, cursor.at, cursor.length);
        decoded++;
      }
    });
    expect(decoded).toBeGreaterThan(10_000);
  });

  it('read routed frames within their length and never throw', () => {
    const outcomes = new Set<string>();
    eachInput((view, length) => {
      isRecord(view, 0, length);
      const reason = ROUTED_REJECTS[checkRouted(view, 0, length)];
      outcomes.add(reason);
      if (reason !== 'ok') return;
      if (readFlags(view, 0) & FLAG_SOURCE_ROUTED) readRoute(view, length);
      outcomes.add(decodeError(view, 0, length).type);
      const echo = decodeEcho(view, 0, length);
      outcomes.add(echo.type);
      if ((echo.type === 'reject') !== (checkEcho(view, 0, length) !== undefined))
        throw new Error('checks disagree');
    });
    expect([...outcomes].sort()).toEqual([
      'bad-route',
      'echo',
      'error',
      'ok',
      'reject',
      'short',
      'unknown-flags',
      'unknown-type',
    ]);
    expect(routes).toBeGreaterThan(100);
  });
});
