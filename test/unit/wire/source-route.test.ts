import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  checkRouted,
  FLAG_SOURCE_ROUTED,
  FRAME_DATA,
  FRAME_ECHO_REQUEST,
  readDistance,
  readHeadSize,
  ROUTED_HEADER_SIZE,
  ROUTED_REJECTS,
  writeRoutedHeader,
} from '../../../src/overlay/wire/routed.js';
import {
  decodeSourceRoute,
  encodeSourceRoute,
  findListed,
  FROM_SOURCE,
  readOnward,
  SOURCE_ROUTE_EDGES_MAX,
  type SourceRoute,
} from '../../../src/overlay/wire/source-route.js';

const [A, B, M, N] = [0xaaaa_0001, 0xbbbb_0002, 3, 4];
const DIAMOND: [number, number][] = [
  [A, M],
  [M, B],
  [A, N],
  [N, B],
];
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** A data frame with the route, at offset 5 of a buffer, and `more` bytes behind it. */
function frameOf({ counts, list }: SourceRoute, type = FRAME_DATA, more = 0) {
  const at = 5;
  const view = new DataView(new ArrayBuffer(at + ROUTED_HEADER_SIZE + list.length + more));
  writeRoutedHeader(view, at, type, FLAG_SOURCE_ROUTED, 3, 0, 64, A, B, 7, counts, 1, 2);
  new Uint8Array(view.buffer).set(list, at + ROUTED_HEADER_SIZE);
  return { view, at, list: at + ROUTED_HEADER_SIZE, length: ROUTED_HEADER_SIZE + list.length + more };
}

function onward({ counts, list }: SourceRoute, index: number): number[] {
  const into = new Uint32Array(SOURCE_ROUTE_EDGES_MAX);
  const n = readOnward(new DataView(list.buffer), 0, counts, index, B, into);
  return [...into.subarray(0, n)];
}

describe('a source route', () => {
  it('is its nodes between the ends, then a byte for each edge', () => {
    const route = encodeSourceRoute(A, B, DIAMOND)!;
    expect(route.counts).toBe(0x0204);
    expect(hex(route.list)).toBe('00000003' + '00000004' + '02' + '21' + '03' + '31');
  });

  it('tells each node whom to send to', () => {
    const route = encodeSourceRoute(A, B, DIAMOND)!;
    const view = new DataView(route.list.buffer);
    expect(onward(route, FROM_SOURCE)).toEqual([M, N]);
    expect(findListed(view, 0, route.counts, N)).toBe(3);
    expect(onward(route, 3)).toEqual([B]);
    expect(findListed(view, 0, route.counts, 5)).toBe(-1);
  });

  it('makes the frame longer than its header', () => {
    const { view, at, length } = frameOf(encodeSourceRoute(A, B, DIAMOND)!, FRAME_DATA, 9);
    expect(checkRouted(view, at, length)).toBe(0);
    expect(readHeadSize(view, at)).toBe(ROUTED_HEADER_SIZE + 12);
    expect(checkRouted(view, at, length - 10)).not.toBe(0);
  });

  it('is not made of too many edges or nodes, or of none', () => {
    expect(encodeSourceRoute(A, B, [])).toBeUndefined();
    const star = (n: number) =>
      Array.from({ length: n }, (_, i): [number, number][] => [
        [A, 10 + i],
        [10 + i, B],
      ]).flat();
    expect(encodeSourceRoute(A, B, star(12))!.counts).toBe(0x0c18);
    expect(encodeSourceRoute(A, B, star(13))).toBeUndefined();
    const line = (n: number) =>
      Array.from({ length: n }, (_, i): [number, number] => [i === 0 ? A : 9 + i, 10 + i]);
    expect(encodeSourceRoute(A, B, line(14))!.counts).toBe(0x0e0e);
    expect(encodeSourceRoute(A, B, line(15))).toBeUndefined();
  });

  it.each([
    ['without an edge', 0x0200, ''],
    ['of 25 edges', 0x0019, '01'.repeat(25)],
    ['of 15 nodes', 0x0f01, '00000009'.repeat(15) + '01'],
    ['longer than the frame', 0x0204, '0000000300000004022103'],
    ['with an edge to the source', 0x0102, '00000003' + '0220'],
    ['with an edge from the destination', 0x0102, '00000003' + '0212'],
    ['with an edge from a node to itself', 0x0102, '00000003' + '0222'],
    ['with an edge to a node that it does not list', 0x0102, '00000003' + '0203'],
  ])('%s is refused', (_what, counts, list) => {
    const { view, at, length } = frameOf({ counts, list: Buffer.from(list, 'hex') });
    expect(ROUTED_REJECTS[checkRouted(view, at, length)]).toBe('bad-route');
  });

  it('is refused in what is no data frame', () => {
    const { view, at, length } = frameOf(encodeSourceRoute(A, B, DIAMOND)!, FRAME_ECHO_REQUEST, 20);
    expect(ROUTED_REJECTS[checkRouted(view, at, length)]).toBe('bad-route');
  });

  it('decodes to the edges that it was made of', () => {
    const node = fc.integer({ min: 1, max: 14 });
    const edge = fc
      .tuple(fc.oneof(node, fc.constant(A)), fc.oneof(node, fc.constant(B)))
      .filter(([from, to]) => from !== to);
    fc.assert(
      fc.property(fc.array(edge, { minLength: 1, maxLength: 24 }), (edges) => {
        const route = encodeSourceRoute(A, B, edges)!;
        const { view, at, list, length } = frameOf(route);
        expect(checkRouted(view, at, length)).toBe(0);
        expect(decodeSourceRoute(view, list, readDistance(view, at), A, B)).toEqual(edges);
        const next = edges.filter(([from]) => from === A).map(([, to]) => to);
        expect(onward(route, FROM_SOURCE)).toEqual(next);
      }),
    );
  });
});
