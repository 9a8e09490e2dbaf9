import { describe, expect, it } from 'vitest';

import {
  decodeMessage,
  encodeCertificate,
  encodeDigest,
  encodeRecordMessage,
  encodeRequest,
  isRoutingMessage,
} from '../../../src/overlay/route/messages.js';
import { decodeRecord, encodeRecord, MAX_LINKS, nextVersion } from '../../../src/overlay/route/record.js';
import { cleanLink } from '../../support/ways.js';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const bytes = (...parts: string[]): Uint8Array =>
  Uint8Array.from(Buffer.from(parts.join('').replaceAll(' ', ''), 'hex'));

const HEAD = '0a0b0c0d 00000007 00000009 0e10 0000 1122334455667788';
const LINK_2 = '01 0008 00000002 00002710';
const LINK_5 = '01 0008 00000005 0000012c';
const record = {
  origin: 0x0a0b0c0d,
  epoch: 7,
  sequence: 9,
  lifetime: 3600,
  certificate: bytes('1122334455667788'),
  links: [cleanLink(2, 10_000), cleanLink(5, 300)],
};

describe('a record on the wire', () => {
  it('has these bytes', () => {
    expect(hex(encodeRecord(record))).toBe(hex(bytes(HEAD, LINK_2, LINK_5)));
    expect(decodeRecord(bytes(HEAD, LINK_2, LINK_5))).toEqual({ ok: true, value: record });
  });

  it('may have unknown fields, and unknown subfields of a link', () => {
    const roomy = '01 000e 00000002 00002710 07 01 ff 09 01 aa';
    expect(decodeRecord(bytes(HEAD, '63 0002 abcd', roomy, LINK_5, 'ff 0000'))).toEqual({
      ok: true,
      value: record,
    });
  });

  it('tells of loss, runs and price where there are any', () => {
    const lossy = { neighbour: 2, rtt: 10_000, loss: 20_000, burst: 1.5, price: 0.25 };
    const text = '01 0014 00000002 00002710 01 06 00004e20 0018 02 02 0019';
    expect(hex(encodeRecord({ ...record, links: [lossy] }))).toBe(hex(bytes(HEAD, text)));
    const longer = '01 0016 00000002 00002710 01 07 00004e20 0018 aa 02 03 0019 bb';
    for (const link of [text, longer])
      expect(decodeRecord(bytes(HEAD, link))).toEqual({ ok: true, value: { ...record, links: [lossy] } });
  });

  const rejects: [string, string, string][] = [
    ['is shorter than its header', HEAD.slice(0, -2), 'record-size'],
    ['has origin 0', HEAD.replace('0a0b0c0d', '00000000'), 'record-origin'],
    ['has no lifetime', HEAD.replace('0e10', '0000'), 'record-lifetime'],
    ['has a field header cut off', `${HEAD} 01 00`, 'record-field'],
    ['has a field that reaches beyond its end', `${HEAD} 63 0003 abcd`, 'record-field'],
    ['has a link that is too short', `${HEAD} 01 0007 00000002 000027`, 'record-link'],
    ['has a link with half a subfield', `${HEAD} 01 0009 00000002 00002710 07`, 'record-link'],
    ['has a subfield that reaches beyond its link', `${HEAD} 01 000a 00000002 00002710 07 01`, 'record-link'],
    ['has a link to node 0', `${HEAD} 01 0008 00000000 00002710`, 'record-link'],
    ['has a link to itself', `${HEAD} 01 0008 0a0b0c0d 00002710`, 'record-link'],
    ['has a link of no time', `${HEAD} 01 0008 00000002 00000000`, 'record-link'],
    ['has a loss of more than all', `${HEAD} 01 0010 00000002 00002710 01 06 000f4241 0010`, 'record-link'],
    ['has runs of less than one', `${HEAD} 01 0010 00000002 00002710 01 06 00000001 000f`, 'record-link'],
    ['has half a loss', `${HEAD} 01 000e 00000002 00002710 01 04 00000001`, 'record-link'],
    ['has half a price', `${HEAD} 01 000b 00000002 00002710 02 01 00`, 'record-link'],
    ['has links out of order', `${HEAD} ${LINK_5} ${LINK_2}`, 'record-link-order'],
    ['has a link twice', `${HEAD} ${LINK_2} ${LINK_2}`, 'record-link-order'],
  ];
  it.each(rejects)('is refused where it %s', (_, text, reason) => {
    expect(decodeRecord(bytes(text))).toEqual({ ok: false, reason });
  });

  it('is refused where it has too many links', () => {
    const links = Array.from(
      { length: MAX_LINKS + 1 },
      (_, i) => `010008${(i + 1).toString(16).padStart(8, '0')}00000001`,
    );
    expect(decodeRecord(bytes(HEAD, ...links))).toEqual({ ok: false, reason: 'record-too-many-links' });
  });

  it('is refused where it is too large', () => {
    const field = `63 4000 ${'00'.repeat(16_384)}`;
    expect(decodeRecord(bytes(HEAD, field))).toEqual({ ok: false, reason: 'record-size' });
  });
});

describe('control messages on the wire', () => {
  it('have these bytes', () => {
    expect(hex(encodeCertificate(0x0a0b0c0d, bytes('3000')))).toBe('010a0b0c0d3000');
    const signature = new Uint8Array(64).fill(0xee);
    expect(hex(encodeRecordMessage(258, bytes('aabb'), signature))).toBe(`0200000102aabb${'ee'.repeat(64)}`);
    expect(encodeDigest([{ origin: 1, epoch: 2, sequence: 3, certificate: 4 }]).map(hex)).toEqual([
      '0300000001000000020000000300000004',
    ]);
    expect(encodeRequest([{ origin: 1, what: 3 }]).map(hex)).toEqual(['040000000103']);
  });

  it('are split where there are many rows', () => {
    const rows = Array.from({ length: 2500 }, (_, origin) => ({ origin, what: 1 }));
    const sizes = encodeRequest(rows).map((message) => (message.length - 1) / 5);
    expect(sizes).toEqual([1024, 1024, 452]);
  });

  const rejects: [string, string, string][] = [
    ['empty', '', 'message-size'],
    ['of an unknown type', '05', 'message-type'],
    ['a certificate without its bytes', '01 00000001', 'message-size'],
    ['a record without room for header and signature', `02 ${'00'.repeat(4 + 23 + 64)}`, 'message-size'],
    ['a digest of a row and a half', `03 ${'00'.repeat(24)}`, 'message-size'],
    ['a request of a row and a bit', `04 ${'00'.repeat(6)}`, 'message-size'],
    ['beyond the limit', `04 ${'00'.repeat(65_535)}`, 'message-size'],
  ];
  it.each(rejects)('are refused where they are %s', (_, text, reason) => {
    expect(decodeMessage(bytes(text))).toEqual({ ok: false, reason });
  });

  it('are told from those of others by their first byte', () => {
    expect([0, 1, 4, 5].map((type) => isRoutingMessage(Uint8Array.of(type)))).toEqual([
      false,
      true,
      true,
      false,
    ]);
  });
});

describe('the version after', () => {
  it.each([
    [
      { epoch: 3, sequence: 9 },
      { epoch: 3, sequence: 10 },
    ],
    [
      { epoch: 3, sequence: 0xffffffff },
      { epoch: 4, sequence: 1 },
    ],
    [{ epoch: 0xffffffff, sequence: 0xffffffff }, undefined],
  ])('%o is %o', (version, next) => {
    expect(nextVersion(version)).toEqual(next);
  });
});
