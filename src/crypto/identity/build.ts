/**
 * Makes CA and node certificates. Pure: serial numbers, seeds and moments are arguments. Requests are checked before,
 * by `requestProblem` and `conflictWith`; what is built is parsed back by the same code that will judge it on a peer.
 */
import 'reflect-metadata';
import { createHash, webcrypto } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  Name,
  X509CertificateGenerator,
} from '@peculiar/x509';
import type { JsonGeneralName } from '@peculiar/x509';
import { isSpecialAddress } from './address.js';
import type { OverlayAddress, OverlayPrefix } from './address.js';
import { parseAuthority, parseCertificate } from './certificate.js';
import type { CaCertificate, Parsed } from './certificate.js';
import { addressOutside, realInside, writeOverlayConstraints } from './constraints.js';
import { decodeSpki, encodeSpki, readSequence, splitSigned } from './der.js';
import { rawPublicKey, verifyRaw } from './keys.js';
import { nodeNameProblem, tokenProblem } from './name.js';
import { realAddressProblem, URI_SCHEME } from './node-names.js';
import { readPemOrDer } from './pem.js';
import { reject } from './reject.js';
import type { Reject } from './reject.js';
import { momentOf } from './time.js';

const NAME_CONSTRAINTS = '2.5.29.30';
const MAX_COMMON_NAME = 64;
/** Bytes of a serial number to ask the random source for. */
export const SERIAL_LENGTH = 16;

export interface Term {
  /** 16 random bytes. */
  readonly serial: Uint8Array;
  /** Wall clock, ms since 1970; rounded down to whole seconds. */
  readonly notBefore: number;
  readonly notAfter: number;
}

export interface AuthorityRequest {
  /** Common name, 1..64 printable ASCII characters. */
  readonly name: string;
  readonly overlay: readonly OverlayPrefix[];
}

export interface NodeRequest {
  readonly name: string;
  readonly addresses: readonly OverlayAddress[];
  readonly real: readonly OverlayAddress[];
  readonly routes: readonly OverlayPrefix[];
  readonly groups: readonly string[];
  readonly roles: readonly string[];
}

/** What is wrong with a CA's request, in a line, or undefined. */
export function authorityProblem({ name, overlay }: AuthorityRequest): string | undefined {
  if (!/^[\x20-\x7e]+$/.test(name) || name.length > MAX_COMMON_NAME) {
    return `a CA name has 1 to ${MAX_COMMON_NAME} plain ASCII characters`;
  }
  if (overlay.length === 0) return 'an overlay needs at least one prefix, such as --overlay 10.77.0.0/16';
  const wide = overlay.find((prefix) => prefix.length === 0);
  if (wide !== undefined)
    return `overlay prefix ${wide.text} would take in every address; choose a private prefix`;
  const special = overlay.find((prefix) => isSpecialAddress(prefix));
  return (
    special &&
    `overlay prefix ${special.text} is loopback, link-local, multicast or unspecified; choose a private prefix`
  );
}

/** What is wrong with a node's request under this CA, in a line, or undefined. */
export function requestProblem(request: NodeRequest, authority: CaCertificate): string | undefined {
  const named =
    nodeNameProblem(request.name) ??
    request.groups.map((group) => tokenProblem('group', group)).find(Boolean) ??
    request.roles.map((role) => tokenProblem('role', role)).find(Boolean);
  if (named !== undefined) return named;
  const outside = addressOutside(authority, request.addresses);
  const prefixes = authority.overlayPrefixes.map((prefix) => prefix.text).join(', ');
  if (outside !== undefined)
    return `address ${outside.text} lies outside the overlay (${prefixes}); choose one inside`;
  const special = request.real.find(isSpecialAddress);
  if (special !== undefined) return realAddressProblem(special.text);
  const inside = realInside(authority.overlayPrefixes, request.real);
  return inside && `real address ${inside.text} lies in the overlay (${prefixes}); make it an --address`;
}

/** Makes a self-signed CA certificate of `key`, an Ed25519 private key. */
export async function issueAuthority(
  { name, overlay }: AuthorityRequest,
  term: Term,
  key: KeyObject,
): Promise<Parsed<CaCertificate> | Reject> {
  const publicKey = rawPublicKey(key);
  const subject = new Name([{ CN: [name] }]);
  const der = await build(subject, subject, term, publicKey, key, [
    new BasicConstraintsExtension(true, 0, true),
    new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    new Extension(NAME_CONSTRAINTS, true, writeOverlayConstraints(overlay)),
    new SubjectKeyIdentifierExtension(keyIdentifierOf(publicKey)),
  ]);
  return parseAuthority(der);
}

/** Makes a node's certificate for `publicKey` (raw, 32 bytes), signed by the CA's private key. Refused: one too large to carry. */
export async function issueNode(
  request: NodeRequest,
  term: Term,
  publicKey: Uint8Array,
  authority: CaCertificate,
  authorityKey: KeyObject,
): Promise<Parsed | Reject> {
  const issuer = new Name(Buffer.from(subjectOf(authority.der)));
  const der = await build(new Name([{ CN: [request.name] }]), issuer, term, publicKey, authorityKey, [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new SubjectAlternativeNameExtension(alternativeNames(request)),
    new SubjectKeyIdentifierExtension(keyIdentifierOf(publicKey)),
    ...(authority.keyIdentifier === '' ? [] : [new AuthorityKeyIdentifierExtension(authority.keyIdentifier)]),
  ]);
  return parseCertificate(der);
}

function alternativeNames({ name, addresses, real, routes, groups, roles }: NodeRequest): JsonGeneralName[] {
  const uri = (kind: string, value: string): JsonGeneralName => ({
    type: 'url',
    value: `${URI_SCHEME}:${kind}:${value}`,
  });
  return [
    { type: 'dns', value: name },
    ...addresses.map(({ text }): JsonGeneralName => ({ type: 'ip', value: text })),
    ...real.map(({ text }) => uri('real', text)),
    ...routes.map(({ text }) => uri('route', text)),
    ...groups.map((group) => uri('group', group)),
    ...roles.map((role) => uri('role', role)),
  ];
}

async function build(
  subject: Name,
  issuer: Name,
  { serial, notBefore, notAfter }: Term,
  publicKey: Uint8Array,
  signer: KeyObject,
  extensions: Extension[],
): Promise<Uint8Array> {
  const pkcs8 = signer.export({ format: 'der', type: 'pkcs8' });
  const signingKey = await webcrypto.subtle.importKey('pkcs8', pkcs8, { name: 'Ed25519' }, false, ['sign']);
  pkcs8.fill(0);
  const certificate = await X509CertificateGenerator.create(
    {
      serialNumber: Buffer.from(positive(serial)).toString('hex'),
      subject,
      issuer,
      notBefore: momentOf(wholeSeconds(notBefore)),
      notAfter: momentOf(wholeSeconds(notAfter)),
      signingAlgorithm: { name: 'Ed25519' },
      publicKey: Buffer.from(encodeSpki(publicKey)),
      signingKey,
      extensions,
    },
    webcrypto,
  );
  return new Uint8Array(certificate.rawData);
}

/** A serial number's first byte is kept in 0x40..0x7f: positive, and of full length in DER (RFC 5280 §4.1.2.2). */
function positive(serial: Uint8Array): Uint8Array {
  if (serial.length !== SERIAL_LENGTH) throw new RangeError(`a serial number of ${serial.length} bytes`);
  return serial.map((byte, i) => (i === 0 ? (byte & 0x7f) | 0x40 : byte));
}

function wholeSeconds(ms: number): number {
  return Math.floor(ms / 1000) * 1000;
}

/** The first 20 bytes of SHA-256 of the key, in hex (RFC 7093 §2, method 1). */
function keyIdentifierOf(publicKey: Uint8Array): string {
  return createHash('sha256').update(publicKey).digest('hex').slice(0, 40);
}

/** The DER of a certificate's subject. TBSCertificate: version, serial, signature, issuer, validity, subject, … */
function subjectOf(der: Uint8Array): Uint8Array {
  const signed = splitSigned(der);
  const subject = typeof signed === 'string' ? undefined : readSequence(signed.body)?.[5];
  if (subject === undefined) throw new RangeError('not a certificate');
  return subject.raw;
}

/**
 * Reads the key out of a PKCS#10 request (RFC 2986), PEM or DER, once its signature proves possession. Its subject and attributes
 * are ignored: what a node may claim is the CA's to say. Never throws.
 */
export function readRequestKey(pemOrDer: Uint8Array | string): { ok: true; publicKey: Uint8Array } | Reject {
  const [der] = [
    ...readPemOrDer(pemOrDer, 'CERTIFICATE REQUEST'),
    ...(typeof pemOrDer === 'string' || pemOrDer[0] !== 0x30
      ? readPemOrDer(pemOrDer, 'NEW CERTIFICATE REQUEST')
      : []),
  ];
  const signed = der === undefined ? 'malformed' : splitSigned(der);
  if (typeof signed === 'string')
    return reject(signed, 'no certificate request (PKCS#10) of an Ed25519 key in PEM or DER form');
  const spki = readSequence(signed.body)?.[2];
  const publicKey = spki && decodeSpki(spki.raw);
  if (publicKey === undefined) return reject('not-ed25519', "the request's key is not an Ed25519 key");
  if (verifyRaw(publicKey, signed.body, signed.signature)) return { ok: true, publicKey };
  return reject('bad-signature', 'the request is not signed by its own key');
}

/** Reads a SubjectPublicKeyInfo in PEM or DER: a raw Ed25519 key. Never throws. */
export function readPublicKey(pemOrDer: Uint8Array | string): { ok: true; publicKey: Uint8Array } | Reject {
  const [der] = readPemOrDer(pemOrDer, 'PUBLIC KEY');
  const publicKey = der && decodeSpki(der);
  if (publicKey !== undefined) return { ok: true, publicKey };
  return reject('not-ed25519', 'no Ed25519 public key in PEM ("PUBLIC KEY") or DER form');
}
