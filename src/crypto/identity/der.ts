/**
 * The little of DER (X.690) that @peculiar/x509 does not give: the exact frame of a signed structure, the raw bytes of
 * iPAddress names, name constraints, and extensions without waste. Strict: definite, minimal lengths, one-byte tags;
 * anything else is undefined.
 */

export const TAG = {
  boolean: 0x01,
  bitString: 0x03,
  octetString: 0x04,
  objectIdentifier: 0x06,
  sequence: 0x30,
  /** [n], primitive: GeneralName's choices. */
  context: (n: number): number => 0x80 | n,
  /** [n], constructed. */
  contextConstructed: (n: number): number => 0xa0 | n,
} as const;

export interface Tlv {
  readonly tag: number;
  readonly value: Uint8Array;
  /** Tag, length and value as they stand in the input. */
  readonly raw: Uint8Array;
}

/** AlgorithmIdentifier of Ed25519 (RFC 8410 §3): its OID and no parameters. */
export const ED25519_ALGORITHM = Uint8Array.of(0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70);
const SPKI_HEAD = Uint8Array.of(0x30, 0x2a, ...ED25519_ALGORITHM, 0x03, 0x21, 0x00);
const PKCS8_HEAD = Uint8Array.of(0x30, 0x2e, 0x02, 0x01, 0x00, ...ED25519_ALGORITHM, 0x04, 0x22, 0x04, 0x20);
const SIGNATURE_BYTES = 64;
const MAX_LENGTH = 0xffff;

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** The TLV that starts at `at`, or undefined where none lies wholly inside `bytes`. */
export function readTlv(bytes: Uint8Array, at = 0): Tlv | undefined {
  if (at + 2 > bytes.length || (bytes[at] & 0x1f) === 0x1f) return undefined;
  const head = readLength(bytes, at + 1);
  if (head === undefined || head.start + head.length > bytes.length) return undefined;
  const end = head.start + head.length;
  return { tag: bytes[at], value: bytes.subarray(head.start, end), raw: bytes.subarray(at, end) };
}

function readLength(bytes: Uint8Array, at: number): { length: number; start: number } | undefined {
  const first = bytes[at];
  if (first < 0x80) return { length: first, start: at + 1 };
  const size = first & 0x7f;
  if (size < 1 || size > 2 || at + 1 + size > bytes.length) return undefined;
  const length = size === 1 ? bytes[at + 1] : (bytes[at + 1] << 8) | bytes[at + 2];
  const minimal = size === 1 ? length >= 0x80 : length > 0xff;
  return minimal ? { length, start: at + 1 + size } : undefined;
}

/** The TLVs that fill `value` exactly. */
export function readAll(value: Uint8Array): Tlv[] | undefined {
  const found: Tlv[] = [];
  for (let at = 0; at < value.length;) {
    const next = readTlv(value, at);
    if (next === undefined) return undefined;
    found.push(next);
    at += next.raw.length;
  }
  return found;
}

/** The members of the one SEQUENCE that fills `bytes` exactly. */
export function readSequence(bytes: Uint8Array): Tlv[] | undefined {
  const outer = readTlv(bytes);
  if (outer?.tag !== TAG.sequence || outer.raw.length !== bytes.length) return undefined;
  return readAll(outer.value);
}

/** Encodes one TLV; throws RangeError past 65535 bytes, which is our bug. */
export function writeTlv(tag: number, ...parts: Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  if (length > MAX_LENGTH) throw new RangeError(`a DER value of ${length} bytes`);
  const head =
    length < 0x80
      ? [tag, length]
      : length <= 0xff
        ? [tag, 0x81, length]
        : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Uint8Array.from(head), ...parts]);
}

export interface Signed {
  /** What is signed, header included: TBSCertificate, CertificationRequestInfo or TBSCertList. */
  readonly body: Uint8Array;
  /** 64 bytes. */
  readonly signature: Uint8Array;
}

/**
 * Splits SEQUENCE {body, AlgorithmIdentifier, BIT STRING}, the frame of certificates, requests and CRLs (RFC 5280 §4.1).
 * Only the one canonical encoding around an Ed25519 signature is taken, so that nobody can re-encode the unsigned part
 * and get a second valid form of the same certificate.
 */
export function splitSigned(der: Uint8Array): Signed | 'malformed' | 'not-ed25519' {
  const [body, algorithm, bits, ...rest] = readSequence(der) ?? [];
  if (bits === undefined || rest.length > 0 || body.tag !== TAG.sequence) return 'malformed';
  if (algorithm.tag !== TAG.sequence || bits.tag !== TAG.bitString) return 'malformed';
  if (!sameBytes(algorithm.raw, ED25519_ALGORITHM)) return 'not-ed25519';
  if (bits.value.length !== 1 + SIGNATURE_BYTES || bits.value[0] !== 0) return 'malformed';
  return { body: body.raw, signature: bits.value.subarray(1) };
}

/** SubjectPublicKeyInfo of a raw 32-byte Ed25519 key (RFC 8410 §4). */
export function encodeSpki(publicKey: Uint8Array): Uint8Array {
  return Buffer.concat([SPKI_HEAD, publicKey]);
}

/** The raw 32 bytes of an Ed25519 SubjectPublicKeyInfo; undefined for any other key. */
export function decodeSpki(spki: Uint8Array): Uint8Array | undefined {
  if (spki.length !== SPKI_HEAD.length + 32 || !sameBytes(spki.subarray(0, SPKI_HEAD.length), SPKI_HEAD))
    return undefined;
  return Uint8Array.from(spki.subarray(SPKI_HEAD.length));
}

/** PKCS#8 of a 32-byte Ed25519 seed (RFC 8410 §7). The caller clears it. */
export function encodePkcs8(seed: Uint8Array): Uint8Array {
  return Buffer.concat([PKCS8_HEAD, seed]);
}
