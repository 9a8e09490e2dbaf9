import { describe, expect, it } from 'vitest';

import { NOBODY, PrefixTable } from '../../../src/overlay/route/prefix-table.js';
import { encodeTables, ForwardingTables, NO_COST } from '../../../src/overlay/route/tables.js';
import { sameWays } from '../../support/ways.js';
import { Random } from '../../support/sim/random.js';

const node = (nodeId: number, addresses: number[][], nextHop: number, cost: number, hops: number) => ({
  certificate: {
    ...{
      nodeId,
      name: `näme-${nodeId}`,
      publicKey: new Uint8Array(32),
      routes: [],
      notBefore: 0,
      notAfter: 0,
    },
    addresses: addresses.map((bytes) => ({ bytes: Uint8Array.from(bytes) })),
  },
  ways: sameWays(nextHop, cost, hops),
});
const FD77_1 = [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/** As the worker gets them: through a transfer. */
function transferred(...args: Parameters<typeof encodeTables>): ForwardingTables {
  const { buffers } = encodeTables(...args);
  return new ForwardingTables(structuredClone(buffers, { transfer: buffers }));
}

describe('forwarding tables', () => {
  it('say on the other thread what was put in on this one', () => {
    const nodes = [
      node(5, [[10, 77, 0, 5], FD77_1], 5, 0, 0),
      node(0xfffffff0, [FD77_1], 9, 1234.6, 3),
      node(0xfffffff1, [], 0, Infinity, 0),
    ];
    const owned = { bytes: Uint8Array.of(10, 77, 0, 5), length: 32, owner: 0 };
    const overlay = { bytes: Uint8Array.of(10, 77, 0, 0), length: 16, owner: NOBODY };
    const tables = transferred(nodes, 0, PrefixTable.build([overlay, owned]));
    const rows = [0, 1, 2].map((i) => [
      tables.nodeId(i),
      tables.nextHop(i, 0),
      tables.cost(i, 0),
      tables.hops(i),
      tables.name(i),
    ]);
    expect(rows).toEqual([
      [5, 5, 0, 0, 'näme-5'],
      [0xfffffff0, 9, 1235, 3, 'näme-4294967280'],
      [0xfffffff1, 0, NO_COST, 0, 'näme-4294967281'],
    ]);
    expect([tables.size, tables.ownIndex]).toEqual([3, 0]);
    expect([0, 1, 2].map((i) => tables.hasAddress4(i))).toEqual([true, false, false]);
    expect([0, 1, 2].map((i) => tables.hasAddress6(i))).toEqual([true, true, false]);
    expect(tables.address4(0)).toBe(0x0a4d0005);
    expect(([0, 1, 2, 3] as const).map((word) => tables.address6(1, word))).toEqual([0xfd770000, 0, 0, 1]);
    expect([tables.owner4(0x0a4d0005), tables.owner4(0x0a4d0006)]).toEqual([0, NOBODY]);
  });

  it('find every node by its id, and no other, also where ids are consecutive', () => {
    const random = new Random(3);
    const ids = new Set<number>();
    for (let i = 0; i < 500; i++) ids.add(1 + random.u32() - 1 || 1).add(1000 + i);
    const sorted = [...ids].sort((a, b) => a - b);
    const tables = transferred(
      sorted.map((id) => node(id, [], 0, Infinity, 0)),
      0,
      PrefixTable.build([]),
    );
    expect(sorted.map((id) => tables.indexOf(id))).toEqual(sorted.map((_, i) => i));
    for (let i = 0; i < 1000; i++) {
      const id = random.u32();
      if (!ids.has(id)) expect(tables.indexOf(id)).toBe(-1);
    }
  });

  it('take less than 200 KiB for a thousand nodes with two addresses each', () => {
    const prefixes = Array.from({ length: 1000 }, (_, i) => [
      { bytes: Uint8Array.of(10, 77, i >> 8, i), length: 32, owner: i },
      { bytes: Uint8Array.from([...FD77_1.slice(0, 14), i >> 8, i]), length: 128, owner: i },
    ]).flat();
    const nodes = Array.from({ length: 1000 }, (_, i) => node(i + 1, [[10, 77, i >> 8, i & 255]], 1, 1, 1));
    const { buffers } = encodeTables(nodes, 0, PrefixTable.build(prefixes));
    expect(buffers.reduce((sum, { byteLength }) => sum + byteLength, 0)).toBeLessThan(200 * 1024);
  });
});
