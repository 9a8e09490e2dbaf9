import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  checkKeyMatches,
  parsePrivateKey,
  privateKeyFromSeed,
  publicKeyObject,
  rawPublicKey,
  readPublicKey,
  signWithContext,
  verifyRaw,
  verifyWithContext,
} from '../../../src/crypto/identity/index.js';
import { makeCa, makeNode, seeded } from './fixture.js';

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));

describe('Ed25519 keys', () => {
  it('agree with RFC 8032 §7.1, test 2', () => {
    const key = privateKeyFromSeed(hex('4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb'));
    const publicKey = hex('3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c');
    const signature = hex(
      '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
    );
    expect(rawPublicKey(key)).toEqual(publicKey);
    expect(verifyRaw(publicKey, Uint8Array.of(0x72), signature)).toBe(true);
  });

  it('are read from PKCS#8 PEM and DER, as exported', () => {
    const key = privateKeyFromSeed(seeded('k'));
    const pem = key.export({ format: 'pem', type: 'pkcs8' });
    const der = key.export({ format: 'der', type: 'pkcs8' });
    for (const form of [pem, Buffer.from(pem), der]) {
      const read = parsePrivateKey(form);
      expect(read.ok && rawPublicKey(read.key)).toEqual(rawPublicKey(key));
    }
  });

  it('of another kind, encrypted ones and rubbish are refused with a reason', () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const ed = generateKeyPairSync('ed25519');
    const encrypted = ed.privateKey.export({
      format: 'pem',
      type: 'pkcs8',
      cipher: 'aes-256-cbc',
      passphrase: 'x',
    });
    expect(parsePrivateKey(privateKey.export({ format: 'pem', type: 'pkcs8' }))).toMatchObject({
      reason: 'not-ed25519',
    });
    expect(parsePrivateKey(encrypted)).toMatchObject({
      reason: 'malformed',
      text: expect.stringContaining('encrypted'),
    });
    expect(parsePrivateKey('')).toMatchObject({ reason: 'malformed' });
    expect(parsePrivateKey(Uint8Array.of(0x30, 0))).toMatchObject({ reason: 'malformed' });
    expect(readPublicKey(publicKey.export({ format: 'pem', type: 'spki' }))).toMatchObject({
      reason: 'not-ed25519',
    });
    const spki = ed.publicKey.export({ format: 'pem', type: 'spki' });
    expect(readPublicKey(spki)).toEqual({ ok: true, publicKey: rawPublicKey(ed.publicKey) });
  });

  it('match their certificate and no other', async () => {
    const { certificate, key } = await makeNode(await makeCa());
    expect(checkKeyMatches(certificate, key)).toEqual({ ok: true });
    const other = privateKeyFromSeed(seeded('other'));
    expect(checkKeyMatches(certificate, other)).toMatchObject({
      reason: 'key-mismatch',
      text: expect.stringContaining('CN=a'),
    });
  });
});

describe('signatures under a context', () => {
  const key = privateKeyFromSeed(seeded('signer'));
  const publicKey = rawPublicKey(key);

  it('hold for their context and message only', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.uint8Array({ maxLength: 100 }), (message, other) => {
        const signature = signWithContext(key, 'causeway test v1', message);
        expect(verifyWithContext(publicKey, 'causeway test v1', message, signature)).toBe(true);
        expect(verifyWithContext(publicKeyObject(publicKey), 'causeway test v1', message, signature)).toBe(
          true,
        );
        expect(verifyWithContext(publicKey, 'causeway test v2', message, signature)).toBe(false);
        const same = Buffer.compare(message, other) === 0;
        expect(verifyWithContext(publicKey, 'causeway test v1', other, signature)).toBe(same);
      }),
      { numRuns: 50 },
    );
  });

  it('cannot be moved between context and message', () => {
    const signature = signWithContext(key, 'causeway test', Buffer.from(' v1'));
    expect(verifyWithContext(publicKey, 'causeway test v1', new Uint8Array(0), signature)).toBe(false);
  });

  it('of a wrong length, or under a key that is none, are false and no error', () => {
    const signature = signWithContext(key, 'c', Uint8Array.of(1));
    expect(verifyWithContext(publicKey, 'c', Uint8Array.of(1), signature.subarray(1))).toBe(false);
    expect(verifyWithContext(publicKey.subarray(1), 'c', Uint8Array.of(1), signature)).toBe(false);
    expect(verifyWithContext(new Uint8Array(32).fill(0xff), 'c', Uint8Array.of(1), signature)).toBe(false);
  });

  it('under a context that could blur into the message are our bug', () => {
    expect(() => signWithContext(key, 'a\0b', Uint8Array.of(1))).toThrow(RangeError);
    expect(() => signWithContext(key, '', Uint8Array.of(1))).toThrow(RangeError);
  });
});
