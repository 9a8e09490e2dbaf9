/** Ed25519 keys and signatures. Every signature is made under a context string, so that none can serve for another purpose. */
import { createPrivateKey, createPublicKey, KeyObject, sign, verify } from 'node:crypto';
import { encodePkcs8, encodeSpki } from './der.js';
import type { NodeCertificate } from './certificate.js';
import { readPemOrDer } from './pem.js';
import { reject } from './reject.js';
import type { Reject } from './reject.js';

/** Bytes. */
export const PUBLIC_KEY_LENGTH = 32;
export const SEED_LENGTH = 32;
export const SIGNATURE_LENGTH = 64;

/** The private key of a 32-byte random seed (RFC 8032 §5.1.5). The caller clears the seed. */
export function privateKeyFromSeed(seed: Uint8Array): KeyObject {
  if (seed.length !== SEED_LENGTH) throw new RangeError(`an Ed25519 seed of ${seed.length} bytes`);
  const pkcs8 = Buffer.from(encodePkcs8(seed));
  const key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
  pkcs8.fill(0);
  return key;
}

/** Reads a PKCS#8 key in PEM or DER; refuses encrypted ones and other algorithms. Never throws. */
export function parsePrivateKey(pemOrDer: Uint8Array | string): { ok: true; key: KeyObject } | Reject {
  const text = typeof pemOrDer === 'string' ? pemOrDer : Buffer.from(pemOrDer).toString('latin1');
  if (/BEGIN ENCRYPTED|Proc-Type: 4,ENCRYPTED/.test(text)) {
    return reject('malformed', 'the key is encrypted; decrypt it with "openssl pkey -in KEY -out NEW"');
  }
  const [der] = readPemOrDer(pemOrDer, 'PRIVATE KEY');
  try {
    const key = createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' });
    if (key.asymmetricKeyType === 'ed25519') return { ok: true, key };
    return reject('not-ed25519', `the key is of type ${key.asymmetricKeyType}; only Ed25519 is taken`);
  } catch {
    return reject('malformed', 'no private key in PKCS#8 form (PEM "PRIVATE KEY" or DER)');
  }
}

/** A key object to verify with, for callers that verify often under one key. Any 32 bytes make one. */
export function publicKeyObject(raw: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.from(encodeSpki(raw)), format: 'der', type: 'spki' });
}

/** The raw 32 bytes of a private or public Ed25519 key object. */
export function rawPublicKey(key: KeyObject): Uint8Array {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  return Uint8Array.from(Buffer.from(publicKey.export({ format: 'jwk' }).x as string, 'base64url'));
}

/**
 * 64 bytes: Ed25519 over `context`, a zero byte, `message`. A context is a fixed string of the protocol without a zero
 * byte, such as "causeway link key v1"; it never begins with 0x30, so nothing signed here can pass for DER.
 */
export function signWithContext(key: KeyObject, context: string, message: Uint8Array): Uint8Array {
  return signRaw(key, underContext(context, message));
}

/** Whether `signature` is `message`'s under `context`. False, never an error, for wrong lengths and broken keys. */
export function verifyWithContext(
  publicKey: Uint8Array | KeyObject,
  context: string,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  return verifyRaw(publicKey, underContext(context, message), signature);
}

/** 64 bytes: plain Ed25519 over exactly `message`, which must begin with a context of its own. */
export function signRaw(key: KeyObject, message: Uint8Array): Uint8Array {
  return sign(null, message, key);
}

/** Plain Ed25519, for what brings its own framing or context. False, never an error, as above. */
export function verifyRaw(
  publicKey: Uint8Array | KeyObject,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (signature.length !== SIGNATURE_LENGTH) return false;
  if (!(publicKey instanceof KeyObject) && publicKey.length !== PUBLIC_KEY_LENGTH) return false;
  try {
    return verify(
      null,
      message,
      publicKey instanceof KeyObject ? publicKey : publicKeyObject(publicKey),
      signature,
    );
  } catch {
    return false;
  }
}

function underContext(context: string, message: Uint8Array): Uint8Array {
  if (!/^[a-z][\x20-\x7e]*$/.test(context))
    throw new RangeError(`signature context ${JSON.stringify(context)}`);
  return Buffer.concat([Buffer.from(`${context}\0`, 'latin1'), message]);
}

/** Whether `key` is the certificate's private key. */
export function checkKeyMatches(
  certificate: Pick<NodeCertificate, 'publicKey' | 'subject'>,
  key: KeyObject,
): { ok: true } | Reject {
  const raw = key.asymmetricKeyType === 'ed25519' ? rawPublicKey(key) : undefined;
  if (raw !== undefined && Buffer.compare(raw, certificate.publicKey) === 0) return { ok: true };
  return reject('key-mismatch', `the private key is not the one of certificate "${certificate.subject}"`);
}
