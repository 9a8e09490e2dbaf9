import { describe, expect, it } from 'vitest';
import { writeTlv } from '../../../src/crypto/identity/der.js';
import {
  isAuthority,
  mayAuthenticate,
  maySignCertificates,
  readExtensions,
  unknownCritical,
} from '../../../src/crypto/identity/extensions.js';
import type { Extensions } from '../../../src/crypto/identity/extensions.js';

const hex = (text: string): Uint8Array => Buffer.from(text.replaceAll(' ', ''), 'hex');

/** The end of a TBSCertificate: a SEQUENCE whose last member is [3] Extensions. */
function extensions(...each: string[]): ReturnType<typeof readExtensions> {
  return readExtensions(writeTlv(0x30, hex('020101'), writeTlv(0xa3, writeTlv(0x30, ...each.map(hex)))));
}

function taken(...each: string[]): Extensions {
  const read = extensions(...each);
  if ('reason' in read) throw new Error(read.text);
  return read;
}

const CA_TRUE = '30 0f 06 03 551d13 01 01 ff 04 05 30 03 01 01 ff';
const CA_FALSE = '30 0c 06 03 551d13 01 01 ff 04 02 30 00';
const CA_FALSE_SPELT = '30 0c 06 03 551d13 04 05 30 03 01 01 00';
const SIGNS_DATA = '30 0b 06 03 551d0f 04 04 03 02 07 80';
const SIGNS_CERTIFICATES = '30 0b 06 03 551d0f 04 04 03 02 02 04';
const FOR_SERVERS = '30 13 06 03 551d25 04 0c 30 0a 06 08 2b06010505070301';
const FOR_CODE = '30 13 06 03 551d25 04 0c 30 0a 06 08 2b06010505070303';

describe('extensions', () => {
  it('are found by object identifier, with their criticality', () => {
    const read = taken(CA_TRUE, SIGNS_DATA, '30 0a 06 04 2a 03 8f 04 04 02 05 00');
    expect([...read].map(([oid, { critical }]) => [oid, critical])).toEqual([
      ['2.5.29.19', true],
      ['2.5.29.15', false],
      ['1.2.3.1924', false],
    ]);
  });

  it('that are critical and not known are named', () => {
    const read = taken(CA_TRUE, '30 0b 06 02 2a 03 01 01 ff 04 02 05 00');
    expect(unknownCritical(read, ['2.5.29.19'])).toMatchObject({
      reason: 'unknown-critical',
      text: expect.stringContaining('1.2.3 '),
    });
    expect(unknownCritical(read, ['2.5.29.19', '1.2.3'])).toBeUndefined();
  });

  it.each([
    ['repeated', [CA_FALSE, CA_TRUE]],
    ['none in their list', []],
    ['without a value', ['30 05 06 03 551d13']],
    ['with a strange criticality', ['30 0c 06 03 551d13 01 01 01 04 02 30 00']],
    ['with an unfinished identifier', ['30 07 06 03 551d93 04 00']],
  ])('%s are malformed', (_, each) => {
    expect(extensions(...each)).toMatchObject({ reason: 'malformed' });
  });

  it('tell a CA from a node, and a malformed claim from both', () => {
    expect(isAuthority(taken(CA_TRUE))).toBe(true);
    expect(isAuthority(taken(CA_FALSE))).toBe(false);
    expect(isAuthority(taken(CA_FALSE_SPELT))).toBe(false);
    expect(isAuthority(taken(SIGNS_DATA))).toBe(false);
    expect(isAuthority(taken('30 0c 06 03 551d13 04 05 30 03 01 01 02'))).toBeUndefined();
    expect(isAuthority(taken('30 09 06 03 551d13 04 02 30 01'))).toBeUndefined();
  });

  it('limit what a key may do', () => {
    expect([maySignCertificates(taken(CA_TRUE)), mayAuthenticate(taken(CA_TRUE))]).toEqual([true, true]);
    expect([maySignCertificates(taken(SIGNS_DATA)), mayAuthenticate(taken(SIGNS_DATA))]).toEqual([
      false,
      true,
    ]);
    expect([
      maySignCertificates(taken(SIGNS_CERTIFICATES)),
      mayAuthenticate(taken(SIGNS_CERTIFICATES)),
    ]).toEqual([true, false]);
    expect([mayAuthenticate(taken(FOR_SERVERS)), mayAuthenticate(taken(FOR_CODE))]).toEqual([true, false]);
    expect(mayAuthenticate(taken('30 07 06 03 551d0f 04 00'))).toBe(false);
    expect(mayAuthenticate(taken('30 07 06 03 551d25 04 00'))).toBe(false);
  });
});
