/**
 * The primitives that Noise, the handshake and the lanes are built on, over `node:crypto`. All of them are functions of their arguments:
 * who needs a fresh key passes random bytes in.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  timingSafeEqual,
  verify,
} from 'node:crypto';
import type { KeyObject } from 'node:crypto';

/** An X25519 key pair. The private half stays with OpenSSL, which erases it when the last reference to it is collected. */
export interface KeyPair {
  /** Raw, 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly privateKey: KeyObject;
}

/** The functions of Noise revision 34, section 4, for one choice of algorithms. Results are fresh arrays that the caller owns. */
export interface NoiseCrypto {
  /** The last three parts of the protocol's name, such as "25519_ChaChaPoly_BLAKE2s". */
  readonly name: string;
  readonly DHLEN: number;
  readonly HASHLEN: number;
  /** DH (4.1). Undefined where the public key is of low order, so that the result would be zero. */
  dh(keyPair: KeyPair, publicKey: Uint8Array): Uint8Array | undefined;
  /** ENCRYPT (4.2): the ciphertext is 16 bytes longer. `n` is a nonce below 2^53. */
  encrypt(k: Uint8Array, n: number, ad: Uint8Array, plaintext: Uint8Array): Uint8Array;
  /** DECRYPT (4.2). Undefined where the ciphertext is not authentic. */
  decrypt(k: Uint8Array, n: number, ad: Uint8Array, ciphertext: Uint8Array): Uint8Array | undefined;
  /** HASH (4.3) over the parts as one string. */
  hash(...parts: Uint8Array[]): Uint8Array;
  /** HMAC-HASH (4.3) over the parts as one string. */
  hmacHash(key: Uint8Array, ...parts: Uint8Array[]): Uint8Array;
}

const KEY_BYTES = 32;
const TAG_BYTES = 16;
/** RFC 8410: everything of the DER encoding in front of the 32 raw bytes. */
const X25519_PRIVATE_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex');

export const noiseCrypto: NoiseCrypto = {
  name: '25519_ChaChaPoly_BLAKE2s',
  DHLEN: KEY_BYTES,
  HASHLEN: 32,
  dh(keyPair, publicKey) {
    try {
      return Uint8Array.from(
        diffieHellman({ privateKey: keyPair.privateKey, publicKey: publicKeyObject('X25519', publicKey) }),
      );
    } catch {
      return undefined; // OpenSSL refuses a result of all zeros
    }
  },
  encrypt(k, n, ad, plaintext) {
    const cipher = createCipheriv('chacha20-poly1305', k, nonceOf(n), { authTagLength: TAG_BYTES });
    cipher.setAAD(ad, { plaintextLength: plaintext.length });
    const out = new Uint8Array(plaintext.length + TAG_BYTES);
    out.set(cipher.update(plaintext));
    cipher.final();
    out.set(cipher.getAuthTag(), plaintext.length);
    return out;
  },
  decrypt(k, n, ad, ciphertext) {
    const length = ciphertext.length - TAG_BYTES;
    if (length < 0) return undefined;
    const decipher = createDecipheriv('chacha20-poly1305', k, nonceOf(n), { authTagLength: TAG_BYTES });
    decipher.setAAD(ad, { plaintextLength: length });
    decipher.setAuthTag(ciphertext.subarray(length));
    const plaintext = Uint8Array.from(decipher.update(ciphertext.subarray(0, length)));
    try {
      decipher.final();
      return plaintext;
    } catch {
      plaintext.fill(0);
      return undefined;
    }
  },
  hash(...parts) {
    const hash = createHash('blake2s256');
    for (const part of parts) hash.update(part);
    return Uint8Array.from(hash.digest());
  },
  hmacHash(key, ...parts) {
    const hmac = createHmac('blake2s256', key);
    for (const part of parts) hmac.update(part);
    return Uint8Array.from(hmac.digest());
  },
};

/** The key pair of an X25519 private key, such as `generateKeyPairSync('x25519').privateKey`. */
export function keyPairFrom(privateKey: KeyObject): KeyPair {
  const { x } = createPublicKey(privateKey).export({ format: 'jwk' });
  return { privateKey, publicKey: Uint8Array.from(Buffer.from(x!, 'base64url')) };
}

/**
 * The key pair of any 32 random bytes (RFC 7748, 5; clamping is part of the function), which it erases. Ten times slower than a generated
 * key with `keyPairFrom`.
 */
export function keyPairOf(raw: Uint8Array): KeyPair {
  const der = Buffer.concat([X25519_PRIVATE_PREFIX, raw]);
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  der.fill(0);
  raw.fill(0);
  return keyPairFrom(privateKey);
}

/** Whether `signature` (64 bytes) is the Ed25519 signature of `message` by the raw public key. A key or signature of the wrong form is false. */
export function verifyEd25519(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== KEY_BYTES || signature.length !== 64) return false;
  try {
    return verify(null, message, publicKeyObject('Ed25519', publicKey), signature);
  } catch {
    return false;
  }
}

/** Whether two byte strings are equal, in a time that depends on their lengths only. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

/** HKDF-Expand (RFC 5869, 2.3) with HMAC-BLAKE2s, for exactly one block of output: 32 bytes. `key` is already pseudorandom. */
export function expand(crypto: NoiseCrypto, key: Uint8Array, ...info: Uint8Array[]): Uint8Array {
  return crypto.hmacHash(key, ...info, Uint8Array.of(1));
}

/** Noise 12.2: 32 zero bits, then the counter in little-endian order. */
function nonceOf(n: number): Uint8Array {
  const nonce = new Uint8Array(12);
  const view = new DataView(nonce.buffer);
  view.setUint32(4, n % 0x1_0000_0000, true);
  view.setUint32(8, Math.floor(n / 0x1_0000_0000), true);
  return nonce;
}

/** As a JWK, because OpenSSL 3 takes sixty times longer to decode DER. */
function publicKeyObject(crv: 'X25519' | 'Ed25519', raw: Uint8Array): KeyObject {
  const x = Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength).toString('base64url');
  return createPublicKey({ key: { kty: 'OKP', crv, x }, format: 'jwk' });
}
