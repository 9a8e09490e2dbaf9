import { describe, expect, it } from 'vitest';

import { certificateHash } from '../../../src/overlay/route/identity.js';
import { encodeCertificate } from '../../../src/overlay/route/messages.js';
import type { Claims } from '../../support/sim/identities.js';
import {
  certificate,
  drops,
  LoneRouter,
  notices,
  recordMessage,
  WALL,
} from '../../support/sim/lone-router.js';

const SECOND = 1_000_000;

/** Node 1 beside 2, behind which is 9 with the older of two certificates of one name. */
function withHolder() {
  const node = new LoneRouter();
  node.up(2);
  const older = { notBefore: WALL - 2e6 };
  node.hear(2, encodeCertificate(2, certificate(2)), recordMessage(2, { 1: 10_000, 9: 10_000 }));
  node.hear(
    2,
    encodeCertificate(9, certificate(9, older)),
    recordMessage(9, { 2: 10_000 }, { certificate: hashOf(older) }),
  );
  node.pass(SECOND);
  return node;
}

const hashOf = (more: Partial<Claims>, nodeId = 9): Uint8Array => certificateHash(certificate(nodeId, more));

const NEWER = { notBefore: WALL - 1e6, keyOf: 77 };

describe('a second node of the same name', () => {
  it('is told of and kept out while the one with the older certificate is there', () => {
    const node = withHolder();
    expect(node.router.troubles).toEqual([]);
    const actions = node.hear(2, encodeCertificate(9, certificate(9, NEWER)));
    expect(drops(actions)).toEqual(['name-held']);
    expect(notices(actions)).toEqual([{ kind: 'name-conflict', name: 'n9', own: false }]);
    expect(node.router.troubles).toEqual([
      'two nodes have the name n9; the one with the older certificate counts',
    ]);
    expect(node.router.db.certificates.get(9)!.certificate.notBefore).toBe(WALL - 2e6);
  });

  it('gets the name when that one has left', () => {
    const node = withHolder();
    node.hear(2, encodeCertificate(9, certificate(9, NEWER)));
    const older = { notBefore: WALL - 2e6 };
    node.hear(2, recordMessage(9, {}, { sequence: 2, lifetime: 60, certificate: hashOf(older) }));
    node.pass(40 * SECOND);
    expect(node.router.db.certificates.get(9)!.certificate.notBefore).toBe(WALL - 1e6);
    expect(node.router.troubles).toEqual([]);
  });

  it('replaces it if its certificate is the older', () => {
    const node = withHolder();
    const oldest = { notBefore: WALL - 3e6, keyOf: 77 };
    expect(notices(node.hear(2, encodeCertificate(9, certificate(9, oldest))))).toMatchObject([
      { kind: 'name-conflict' },
    ]);
    expect(node.router.troubles).toHaveLength(1);
  });

  it('is no second node with a renewed certificate of the same key', () => {
    const node = withHolder();
    const actions = node.hear(2, encodeCertificate(9, certificate(9, { notBefore: WALL - 1e6 })));
    expect([drops(actions), notices(actions)]).toEqual([[], []]);
    expect(node.router.db.certificates.get(9)!.certificate.notBefore).toBe(WALL - 1e6);
  });

  it("is told of where the name is this node's own, and costs its neighbour no trust", () => {
    const node = new LoneRouter();
    node.up(2);
    const other = { keyOf: 77, notBefore: WALL - 1e6 };
    expect(notices(node.hear(2, encodeCertificate(1, certificate(1, other))))).toEqual([
      { kind: 'name-conflict', name: 'n1', own: true },
    ]);
    expect(node.router.troubles[0]).toMatch(/another node has this node's name, n1/);
    for (let sequence = 1; sequence < 300; sequence++) {
      const record = recordMessage(1, {}, { epoch: 9, sequence, signer: 77, certificate: hashOf(other, 1) });
      expect(drops(node.hear(2, record))).toEqual(['name-held']);
    }
  });
});

it('two certificates of one address are told of, and the older counts', () => {
  const node = new LoneRouter();
  node.up(2);
  const address = { addresses: ['10.77.0.50'] };
  node.hear(
    2,
    encodeCertificate(5, certificate(5, { ...address, notBefore: WALL - 2e6 })),
    encodeCertificate(6, certificate(6, { ...address, notBefore: WALL - 1e6 })),
  );
  node.pass(SECOND);
  expect(node.router.troubles).toEqual([
    "10.77.0.50/32 is in the certificates of n5 and n6; the older counts, n5's",
  ]);
});

describe('a record', () => {
  it('of an epoch more than a day ahead is dropped', () => {
    const node = new LoneRouter();
    node.up(2);
    node.hear(2, encodeCertificate(9, certificate(9)));
    const day = 24 * 3600;
    const wall = Math.floor(WALL / 1000);
    expect(drops(node.hear(2, recordMessage(9, {}, { epoch: wall + day + 60 })))).toEqual(['record-future']);
    expect(drops(node.hear(2, recordMessage(9, {}, { epoch: wall + day - 60 })))).toEqual([]);
  });

  it('is looked at as often as a whole mesh needs, then a thousand times a second for each neighbour', () => {
    const node = new LoneRouter({ maxNodes: 50 });
    node.up(2);
    node.up(3);
    node.hear(2, encodeCertificate(9, certificate(9)));
    const flood = (from: number, count: number): string[] =>
      Array.from({ length: count }, (_, i) => recordMessage(9, {}, { sequence: from + i })).flatMap(
        (message) => drops(node.hear(2, message)),
      );
    const dropped = flood(1, 1000);
    expect(new Set(dropped)).toEqual(new Set(['neighbour-flood']));
    expect(dropped.length).toBeGreaterThan(880);
    expect(node.router.counters.recordsInstalled).toBeLessThan(30);
    // Others aren't held up, nor does coming again help.
    expect(drops(node.hear(3, recordMessage(9, {}, { sequence: 5000 })))).toEqual([]);
    node.down(2);
    node.up(2);
    expect(flood(6000, 10)).toHaveLength(10);
    node.pass(SECOND);
    expect(flood(7000, 50)).toEqual([]);
  });
});
