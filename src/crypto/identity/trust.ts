/**
 * Which certificates this node believes: those that one of its roots has signed, directly, within the root's constraints
 * and for this moment. The steps of `verify`, in order:
 *
 *   1. seen before: form, signature and constraints hold still; only the clock is asked again
 *   2. size and frame
 *   3. signature by a root, over the bytes as they came
 *   4. fields and names; for one that no root signed, only to say whose it seems to be
 *   5. issuer's name, constraints
 *   6. validity of the certificate and of its root
 */
import { createHash } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import type { OverlayPrefix } from './address.js';
import { openDer, parseAuthority, parseCertificate } from './certificate.js';
import type { CaCertificate, CertificateFields, NodeCertificate } from './certificate.js';
import { addressOutside, realInside } from './constraints.js';
import type { Signed } from './der.js';
import { publicKeyObject, verifyRaw } from './keys.js';
import { readPemOrDer } from './pem.js';
import { IdentityError, reject } from './reject.js';
import type { Reject } from './reject.js';
import { isoTime, span } from './time.js';

/** Certificates kept as verified; a mesh of this size verifies each of them once. */
const DEFAULT_CACHE_ENTRIES = 4096;

export interface Verified {
  readonly ok: true;
  readonly certificate: NodeCertificate;
  /** The root that signed it. */
  readonly authority: CaCertificate;
}

interface Root {
  readonly authority: CaCertificate;
  readonly key: KeyObject;
}

export class TrustStore {
  readonly roots: readonly CaCertificate[];
  /** All roots' overlay prefixes, each once. */
  readonly overlayPrefixes: readonly OverlayPrefix[];
  /** BLAKE2s-256 of each root's raw public key, 32 bytes each, in the file's order. */
  readonly networkKeys: readonly Uint8Array[];
  readonly #keyed: readonly Root[];
  /** By SHA-256 of the DER; the one used longest ago comes first. */
  readonly #verified = new Map<string, Verified>();
  readonly #cacheEntries: number;

  private constructor(roots: readonly CaCertificate[], cacheEntries: number) {
    this.roots = roots;
    this.#keyed = roots.map((authority) => ({ authority, key: publicKeyObject(authority.publicKey) }));
    this.#cacheEntries = cacheEntries;
    this.networkKeys = roots.map((root) => root.networkKey);
    const prefixes = roots.flatMap((root) => root.overlayPrefixes);
    this.overlayPrefixes = [...new Map(prefixes.map((prefix) => [prefix.text, prefix])).values()];
  }

  /**
   * Reads one or more self-signed roots from PEM text, or one from DER. Throws IdentityError naming the first that can't
   * be a root: the whole file is refused, since a root silently left out would look like a broken peer.
   */
  static fromPem(caPem: Uint8Array | string, cacheEntries = DEFAULT_CACHE_ENTRIES): TrustStore {
    const found = readPemOrDer(caPem, 'CERTIFICATE');
    if (found.length === 0) throw new IdentityError('the CA file holds no certificate', 'malformed');
    const roots = new Map(found.map(readRoot).map((root) => [root.fingerprint, root]));
    return new TrustStore([...roots.values()], cacheEntries);
  }

  /** Judges a peer's certificate, DER, at `wallClockMs` (ms since 1970). Never throws. */
  verify(der: Uint8Array, wallClockMs: number): Verified | Reject {
    const digest = createHash('sha256').update(der).digest('base64');
    const known = this.#recall(digest) ?? this.#judge(der, digest);
    if (!known.ok) return known;
    return outsideValidity(known, wallClockMs) ?? known;
  }

  #recall(digest: string): Verified | undefined {
    const known = this.#verified.get(digest);
    if (known === undefined) return undefined;
    this.#verified.delete(digest);
    this.#verified.set(digest, known);
    return known;
  }

  #judge(der: Uint8Array, digest: string): Verified | Reject {
    const opened = openDer(der);
    if (!opened.ok) return opened;
    const signer = this.#signerOf(opened.signed);
    const parsed = parseCertificate(der);
    if (!parsed.ok) return parsed;
    const { certificate } = parsed;
    if (signer === undefined) return this.#explainStranger(certificate);
    if (certificate.issuer !== signer.subject) {
      return reject(
        'unknown-ca',
        `signed by "${signer.subject}" but issued in the name of "${certificate.issuer}"`,
      );
    }
    const outside = addressOutside(signer, certificate.addresses);
    if (outside !== undefined) {
      const prefixes = signer.overlayPrefixes.map((prefix) => prefix.text).join(', ');
      return reject(
        'outside-constraints',
        `${certificate.name} claims ${outside.text}, outside its CA's ${prefixes}`,
      );
    }
    const inside = realInside(this.overlayPrefixes, certificate.real);
    if (inside !== undefined) {
      return reject(
        'outside-constraints',
        `${certificate.name} claims ${inside.text} as a real address, which lies in the overlay`,
      );
    }
    return this.#remember(digest, { ok: true, certificate, authority: signer });
  }

  #signerOf({ body, signature }: Signed): CaCertificate | undefined {
    return this.#keyed.find(({ key }) => verifyRaw(key, body, signature))?.authority;
  }

  #explainStranger(certificate: NodeCertificate): Reject {
    const { name, issuer, subject } = certificate;
    if (issuer === subject)
      return reject('unknown-ca', `${name} signed its certificate itself; no trusted CA did`);
    if (this.roots.some((root) => root.subject === issuer)) {
      return reject(
        'bad-signature',
        `${name}'s certificate names "${issuer}" but is not signed by the key trusted here under that name (altered, or another CA of the same name)`,
      );
    }
    return reject(
      'unknown-ca',
      `${name}'s certificate is issued by "${issuer}", no root trusted here (intermediate CAs are not used)`,
    );
  }

  #remember(digest: string, verified: Verified): Verified {
    this.#verified.set(digest, verified);
    if (this.#verified.size > this.#cacheEntries) {
      const [oldest] = this.#verified.keys();
      this.#verified.delete(oldest);
    }
    return verified;
  }
}

function readRoot(der: Uint8Array): CaCertificate {
  const parsed = parseAuthority(der);
  if (!parsed.ok) throw new IdentityError(parsed.text, parsed.reason);
  const { certificate } = parsed;
  if (certificate.issuer !== certificate.subject) {
    throw new IdentityError(
      `CA "${certificate.subject}" is an intermediate of "${certificate.issuer}"; only self-signed roots are taken`,
      'not-a-ca',
    );
  }
  const opened = openDer(der);
  if (!opened.ok || !verifyRaw(certificate.publicKey, opened.signed.body, opened.signed.signature)) {
    throw new IdentityError(
      `CA "${certificate.subject}": its own signature is wrong; the file is damaged`,
      'bad-signature',
    );
  }
  return certificate;
}

function outsideValidity({ certificate, authority }: Verified, wallClockMs: number): Reject | undefined {
  const clock = `is a clock off? here it is ${isoTime(wallClockMs)}`;
  if (wallClockMs < certificate.notBefore) {
    return reject(
      'not-yet-valid',
      `${certificate.name}'s certificate is not valid before ${isoTime(certificate.notBefore)}, in ${span(certificate.notBefore - wallClockMs)}; ${clock}`,
    );
  }
  if (wallClockMs > certificate.notAfter) {
    return reject(
      'expired',
      `${certificate.name}'s certificate expired ${span(wallClockMs - certificate.notAfter)} ago, at ${isoTime(certificate.notAfter)}; ${clock}`,
    );
  }
  return caOutsideValidity(authority, wallClockMs, clock);
}

function caOutsideValidity(
  authority: CertificateFields,
  wallClockMs: number,
  clock: string,
): Reject | undefined {
  const { subject, notBefore, notAfter } = authority;
  if (wallClockMs < notBefore) {
    return reject(
      'ca-expired',
      `CA "${subject}" is not valid before ${isoTime(notBefore)}, in ${span(notBefore - wallClockMs)}; ${clock}`,
    );
  }
  if (wallClockMs <= notAfter) return undefined;
  return reject(
    'ca-expired',
    `CA "${subject}" expired ${span(wallClockMs - notAfter)} ago, at ${isoTime(notAfter)}; ${clock}`,
  );
}
