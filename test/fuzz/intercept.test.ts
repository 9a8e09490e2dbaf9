import { describe, expect, it } from 'vitest';
import { buildIcmpError, ICMP_ERROR_MAX, mayAnswer } from '../../src/intercept/icmp.js';
import {
  applyEcn,
  flowHash,
  PacketInfo,
  PARSE_OK,
  PARSE_REJECTS,
  parsePacket,
  setTtl,
} from '../../src/intercept/packet.js';

const SEED = 7_919_001;
const ROUNDS = 1_500_000;
const SIZE = 160;

/** xorshift32: cheap, so that the rounds are spent in the parser. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

const HEADERS = [0, 43, 44, 51, 60, 17, 6, 58, 59, 135, 253];

describe(`packet views of random bytes (seed ${SEED})`, () => {
  it('stay within the packet, and never throw or loop', () => {
    const next = generator(SEED);
    // One view for each length, so that reading beyond it throws a RangeError.
    const views = Array.from({ length: SIZE }, (_, length) => new DataView(new ArrayBuffer(length)));
    const into = new DataView(new ArrayBuffer(ICMP_ERROR_MAX));
    const info = new PacketInfo();
    const results = new Map<string, number>();
    for (let round = 0; round < ROUNDS; round++) {
      const length = next() % SIZE;
      const view = views[length];
      for (let i = 0; i + 4 <= length; i += 4) view.setUint32(i, next());
      shape(view, length, next);
      const result = PARSE_REJECTS[parsePacket(view, 0, length, info)];
      results.set(result, (results.get(result) ?? 0) + 1);
      if (result === PARSE_REJECTS[PARSE_OK]) exercise(view, length, info, into);
    }
    for (const reason of PARSE_REJECTS) expect([reason, results.get(reason) ?? 0]).not.toEqual([reason, 0]);
    expect(results.get('ok')).toBeGreaterThan(ROUNDS / 10);
  });

  /** Makes most inputs true enough to get past the first checks. */
  function shape(view: DataView, length: number, next: () => number): void {
    const choice = next();
    if (length < 20 || (choice & 15) === 0) return;
    if (choice & 16) {
      view.setUint8(0, 0x40 | (5 + ((choice >>> 8) & 1)));
      if (choice & 0x600) view.setUint16(2, length);
      return;
    }
    view.setUint8(0, 0x60);
    if (length < 48) return;
    view.setUint16(4, length - 40);
    view.setUint8(6, HEADERS[next() % HEADERS.length]);
    for (let at = 40; at + 4 < length; at += 8) {
      view.setUint8(at, HEADERS[next() % HEADERS.length]);
      view.setUint8(at + 1, next() & 1);
    }
  }

  function exercise(view: DataView, length: number, info: PacketInfo, into: DataView): void {
    if (info.transportOffset + info.transportLength !== length || info.headerLength < 20)
      throw new Error('wrong extent');
    const hash = flowHash(info);
    if (mayAnswer(view, info, 'ttl-exceeded')) {
      const size = buildIcmpError(into, 0, 'ttl-exceeded', 0, [0, 0, 0xffff, 1], view, 0, info);
      if (parsePacket(into, 0, size, new PacketInfo()) !== PARSE_OK) throw new Error('built what it refuses');
    }
    setTtl(view, 0, 7);
    applyEcn(view, 0, 3);
    if (parsePacket(view, 0, length, info) !== PARSE_OK) throw new Error('no longer parses');
    if (info.ttl !== 7 || flowHash(info) !== hash) throw new Error('changed what it should not');
  }
});
