import { beforeAll, describe, expect, it } from 'vitest';
import {
  conflictWith,
  emptyIndex,
  nodeIdOf,
  parseIndex,
  withIssued,
} from '../../../src/crypto/identity/index.js';
import type { IssuedIndex } from '../../../src/crypto/identity/index.js';
import { DAY, makeCa, makeNode, NEW_YEAR, request, term } from './fixture.js';
import type { TestCa } from './fixture.js';

let ca: TestCa;
let index: IssuedIndex;
beforeAll(async () => {
  ca = await makeCa();
  index = withIssued(emptyIndex(ca.certificate), (await makeNode(ca)).certificate);
});

describe('the index of issued certificates', () => {
  it('survives its JSON, and is refused when broken or of another CA', async () => {
    expect(parseIndex(JSON.stringify(index), ca.certificate)).toEqual(index);
    expect(parseIndex('{', ca.certificate)).toContain('JSON');
    expect(parseIndex('{"version":2}', ca.certificate)).toContain('not an index');
    expect(parseIndex(JSON.stringify(index), (await makeCa('Other')).certificate)).toContain('another CA');
  });

  it('refuses an address that another node holds, until that one has expired', () => {
    const wanted = request('b', { addresses: ['10.77.0.2', 'fd77::1'] });
    expect(conflictWith(index, wanted, NEW_YEAR)).toMatch(/fd77::1 already belongs to "a"/);
    expect(conflictWith(index, wanted, NEW_YEAR + 366 * DAY)).toBeUndefined();
  });

  it('refuses another name with the same node id, for ever', () => {
    const twin = {
      ...index,
      issued: [{ ...index.issued[0], name: 'twin', nodeId: nodeIdOf('b'), addresses: [] }],
    };
    expect(conflictWith(twin, request('b'), NEW_YEAR + 9999 * DAY)).toMatch(
      /node id 3e23e816 of "b" is already that of "twin"/,
    );
  });

  it('lets a node renew, and keeps one entry per name and key', async () => {
    expect(conflictWith(index, request('a'), NEW_YEAR)).toBeUndefined();
    const renewed = withIssued(index, (await makeNode(ca, request('a'), term('again'))).certificate);
    expect(renewed.issued).toHaveLength(1);
    expect(renewed.issued[0].serial).not.toBe(index.issued[0].serial);
  });
});
