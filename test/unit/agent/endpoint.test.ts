import fc from 'fast-check';
import { IPv6 } from 'ip-num';
import { describe, expect, it } from 'vitest';
import { formatAddress } from '../../../src/io/address.js';
import { ENDPOINT_WORDS } from '../../../src/io/batch.js';
import {
  addressBytes,
  endpointKey,
  parseEndpoint,
  readEndpoint,
  writeEndpoint,
} from '../../../src/agent/endpoint.js';

const bytes16 = fc.uint8Array({ minLength: 16, maxLength: 16 });
/** Mostly zeros, so that runs of them meet. */
const sparse = fc
  .array(fc.constantFrom(0, 0, 0, 1, 0xfe80), { minLength: 8, maxLength: 8 })
  .map((groups) => Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 255])));

describe('an address as text', () => {
  it.each([
    ['192.0.2.2', '192.0.2.2'],
    ['::ffff:192.0.2.2', '192.0.2.2'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['0:0:1:0:0:0:1:1', '0:0:1::1:1'],
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['FE80::A', 'fe80::a'],
  ])('%s is written as RFC 5952 has it: %s', (given, written) => {
    expect(formatAddress(addressBytes(given))).toBe(written);
  });

  it('names the same sixteen bytes again, and ip-num reads the same number from it', () => {
    fc.assert(
      fc.property(fc.oneof(bytes16, sparse), (bytes) => {
        const text = formatAddress(bytes);
        expect(addressBytes(text)).toEqual(bytes);
        if (text.includes('.')) return;
        const value = bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
        expect(new IPv6(text).getValue()).toBe(value);
      }),
    );
  });

  it('never says "::" twice', () => {
    fc.assert(fc.property(sparse, (bytes) => formatAddress(bytes).split('::').length <= 2));
  });
});

describe('an endpoint as text', () => {
  it.each([
    ['192.0.2.2:7100', { host: '192.0.2.2', port: 7100 }],
    ['[2001:db8::2]:1', { host: '2001:db8::2', port: 1 }],
    ['[::ffff:192.0.2.2]:65535', { host: '::ffff:192.0.2.2', port: 65535 }],
  ])('%s is read', (text, endpoint) => {
    expect(parseEndpoint(text)).toEqual(endpoint);
    expect(endpointKey(endpoint)).toBe(text);
  });

  it.each(['', '192.0.2.2', '192.0.2.2:', '192.0.2.2:0', '192.0.2.2:65536', '192.0.2:1', '2001:db8::2:7100'])(
    '%j is none',
    (text) => expect(parseEndpoint(text)).toBeUndefined(),
  );

  it.each(['[192.0.2.2]:1', '[::g]:1', '[:::]:1', '192.0.2.2:1 ', 'example.com:1', '[fe80::1%eth0]:1'])(
    '%j is none either',
    (text) => expect(parseEndpoint(text)).toBeUndefined(),
  );
});

describe('an endpoint in its slot', () => {
  it('comes back as it was written, beside its neighbours', () => {
    const words = new Uint32Array(3 * ENDPOINT_WORDS).fill(7);
    const endpoint = { host: '192.0.2.2', port: 7100, local: '192.0.2.1' };
    writeEndpoint(words, 1, endpoint);
    expect(readEndpoint(words, 1)).toEqual(endpoint);
    expect(
      [...words.subarray(0, ENDPOINT_WORDS), ...words.subarray(2 * ENDPOINT_WORDS)].every(
        (word) => word === 7,
      ),
    ).toBe(true);
  });

  it('forgets the local address that was there before', () => {
    const words = new Uint32Array(ENDPOINT_WORDS);
    writeEndpoint(words, 0, { host: 'fe80::2', port: 1, local: 'fe80::1', interface: 3 });
    expect(readEndpoint(words, 0)).toEqual({ host: 'fe80::2', port: 1, local: 'fe80::1', interface: 3 });
    writeEndpoint(words, 0, { host: '2001:db8::2', port: 1 });
    expect(readEndpoint(words, 0)).toEqual({ host: '2001:db8::2', port: 1 });
    expect([...words.subarray(5)]).toEqual([0, 0, 0, 0, 0]);
  });
});
