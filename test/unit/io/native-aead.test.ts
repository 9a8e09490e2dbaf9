import { createCipheriv } from 'node:crypto';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createBatch, RECORD_HEADER, RECORD_TAG } from '../../../src/io/batch.js';
import { aeadVector, loadNative, nativeAvailable } from '../../../src/io/native.js';
import type { Cipher } from '../../../src/io/ports.js';

const hex = (text: string) => Uint8Array.from(Buffer.from(text.replace(/\s/g, ''), 'hex'));
const KEY = Uint8Array.from({ length: 32 }, (_, i) => i * 5 + 1);

/** Record header, plaintext → record, by node:crypto. */
function oracle(cipher: Cipher, key: Uint8Array, header: Uint8Array, plain: Uint8Array): Uint8Array {
  const nonce = new Uint8Array(12);
  nonce.set(header.subarray(8), 4);
  const engine = createCipheriv(cipher as 'chacha20-poly1305', key, nonce, { authTagLength: 16 });
  engine.setAAD(header, { plaintextLength: plain.length });
  return Buffer.concat([header, engine.update(plain), engine.final(), engine.getAuthTag()]);
}

interface Vector {
  name: string;
  cipher: Cipher;
  key: string;
  nonce: string;
  header: string;
  plain: string;
  sealed: string;
}

const VECTORS: Vector[] = [
  {
    name: 'RFC 8439 §2.8.2',
    cipher: 'chacha20-poly1305',
    key: '808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f',
    nonce: '070000004041424344454647',
    header: '50515253c0c1c2c3c4c5c6c7',
    plain: `4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a204966204920636f756c64206f6666657220
      796f75206f6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73637265656e20776f756c642062652069742e`,
    sealed: `d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6
      a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b6116
      1ae10b594f09e26a7e902ecbd0600691`,
  },
  {
    name: 'GCM specification, test case 16',
    cipher: 'aes-256-gcm',
    key: 'feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308',
    nonce: 'cafebabefacedbaddecaf888',
    header: 'feedfacedeadbeeffeedfacedeadbeefabaddad2',
    plain: `d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39`,
    sealed: `522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662
      76fc6ece0f4e1768cddf8853bb2d551b`,
  },
  {
    name: 'GCM specification, test case 13: nothing at all',
    cipher: 'aes-256-gcm',
    key: '00'.repeat(32),
    nonce: '00'.repeat(12),
    header: '',
    plain: '',
    sealed: '530f8afbc74536b9a963b4f1c4cb738b',
  },
];

describe.skipIf(!nativeAvailable()).each(['best', 'openssl'])('AEAD in native/, %s engine', (engine) => {
  const before = process.env['CAUSEWAY_AEAD'];
  beforeEach(() => {
    process.env['CAUSEWAY_AEAD'] = engine;
  });
  afterEach(() => {
    if (before === undefined) delete process.env['CAUSEWAY_AEAD'];
    else process.env['CAUSEWAY_AEAD'] = before;
  });

  it('names what computes', () => {
    expect(loadNative().createAead(1).engine).toMatch(
      engine === 'openssl' ? /^openssl \d/ : /^(ipsec-mb|openssl) \d/,
    );
  });

  it.each(VECTORS)('seals and opens the vector of $name', ({ cipher, key, nonce, header, plain, sealed }) => {
    const body = Uint8Array.of(...hex(plain), ...new Uint8Array(16));
    const message = { key: hex(key), nonce: hex(nonce), header: hex(header), body };
    expect(aeadVector('seal', cipher, message)).toBe(true);
    expect(Buffer.from(body).toString('hex')).toBe(Buffer.from(hex(sealed)).toString('hex'));
    expect(aeadVector('open', cipher, message)).toBe(true);
    expect(body.subarray(0, -16)).toEqual(hex(plain));
  });

  it('seals a batch as node:crypto does, of every length, and opens it again', () => {
    const aead = loadNative().createAead(3);
    aead.setKey(0, 'aes-256-gcm', KEY);
    aead.setKey(2, 'chacha20-poly1305', KEY);
    const record = fc.record({
      slot: fc.constantFrom(0, 2),
      header: fc.uint8Array({ minLength: RECORD_HEADER, maxLength: RECORD_HEADER }),
      plain: fc.uint8Array({ maxLength: 1500, size: 'max' }),
    });
    fc.assert(
      fc.property(fc.array(record, { minLength: 1, maxLength: 8 }), (records) => {
        const batch = createBatch(16384, 8);
        const order = Int32Array.from(records.keys()).reverse();
        let at = 3; // no alignment is promised
        records.forEach(({ slot, header, plain }, i) => {
          batch.offset[i] = at;
          batch.length[i] = RECORD_HEADER + plain.length;
          batch.key[i] = slot;
          batch.bytes.set(header, at);
          batch.bytes.set(plain, at + RECORD_HEADER);
          at += RECORD_HEADER + plain.length + RECORD_TAG;
        });
        aead.seal(batch, order, order.length);
        records.forEach(({ slot, header, plain }, i) => {
          const sealed = batch.bytes.slice(batch.offset[i]!, batch.offset[i]! + batch.length[i]!);
          const expected = oracle(slot === 0 ? 'aes-256-gcm' : 'chacha20-poly1305', KEY, header, plain);
          expect(Buffer.compare(sealed, expected)).toBe(0);
        });
        expect(aead.open(batch, order, order.length)).toBe(order.length);
        records.forEach(({ plain }, i) => {
          expect(batch.status[i]).toBe(1);
          expect(batch.length[i]).toBe(RECORD_HEADER + plain.length);
          const start = batch.offset[i]! + RECORD_HEADER;
          expect(Buffer.compare(batch.bytes.subarray(start, start + plain.length), plain)).toBe(0);
        });
      }),
      { numRuns: 60 },
    );
  });

  it.each(['aes-256-gcm', 'chacha20-poly1305'] as const)(
    '%s: a record with any bit flipped is not opened, and nothing of it can be read',
    (cipher) => {
      const aead = loadNative().createAead(1);
      aead.setKey(0, cipher, KEY);
      const size = RECORD_HEADER + 40 + RECORD_TAG;
      for (let bit = 0; bit < size * 8; bit++) {
        const batch = createBatch(size, 1);
        batch.length[0] = size - RECORD_TAG;
        batch.bytes.fill(0x5a);
        aead.seal(batch, Int32Array.of(0), 1);
        batch.bytes[bit >> 3]! ^= 1 << (bit & 7);
        expect(aead.open(batch, Int32Array.of(0), 1)).toBe(0);
        expect(batch.status[0]).toBe(0);
        expect(batch.bytes.subarray(RECORD_HEADER, -RECORD_TAG).every((byte) => byte === 0)).toBe(true);
      }
    },
  );

  it('a record without a key is not sealed and cannot be sent by mistake; nor is one opened', () => {
    const aead = loadNative().createAead(2);
    aead.setKey(1, 'aes-256-gcm', KEY);
    aead.clearKey(1);
    for (const slot of [0, 1, 2, -1]) {
      const batch = createBatch(128, 1);
      batch.key[0] = slot;
      batch.length[0] = 50;
      batch.status[0] = 7;
      aead.seal(batch, Int32Array.of(0), 1);
      expect([batch.status[0], batch.length[0]]).toEqual([0, 0]);
      batch.length[0] = 66;
      expect(aead.open(batch, Int32Array.of(0), 1)).toBe(0);
      expect(batch.status[0]).toBe(0);
    }
  });

  it('touches no byte outside the arena, whatever the table says', () => {
    const aead = loadNative().createAead(1);
    aead.setKey(0, 'aes-256-gcm', KEY);
    const number = fc.oneof(fc.integer(), fc.integer({ min: -50, max: 300 }));
    fc.assert(
      fc.property(fc.array(fc.tuple(number, number), { minLength: 4, maxLength: 4 }), (rows) => {
        const whole = new Uint8Array(768).fill(0xee);
        const batch = { ...createBatch(256, 4), bytes: whole.subarray(256, 512) };
        rows.forEach(([offset, length], i) => {
          batch.offset[i] = offset;
          batch.length[i] = length;
        });
        aead.seal(batch, Int32Array.of(0, 1, 2, 3), 4);
        rows.forEach(([, length], i) => (batch.length[i] = length));
        aead.open(batch, Int32Array.of(0, 1, 2, 3), 4);
        const outside = [...whole.subarray(0, 256), ...whole.subarray(512)];
        expect(outside.every((byte) => byte === 0xee)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it('refuses slots and keys that cannot be', () => {
    const aead = loadNative().createAead(1);
    const range = expect.objectContaining({ name: 'IoError', code: 'ERANGE' });
    expect(() => aead.setKey(1, 'aes-256-gcm', KEY)).toThrow(range);
    expect(() => aead.setKey(0, 'aes-256-gcm', KEY.subarray(1))).toThrow(range);
    expect(() => aead.clearKey(-1)).toThrow(range);
  });
});
