/**
 * What a certificate says. `parseCertificate` and `parseAuthority` read and check form and meaning; they know no trust:
 * a parsed certificate proves nothing until `TrustStore.verify` has seen it.
 *
 *     node:  SAN dNSName (one) · SAN iPAddress (addresses) · SAN URI causeway:real:… route:… group:… role:…
 *     CA:    basicConstraints CA · nameConstraints, permitted iPAddress (the overlay's prefixes)
 */
import 'reflect-metadata';
import { createHash } from 'node:crypto';
import { X509Certificate } from '@peculiar/x509';
import type { OverlayAddress, OverlayPrefix } from './address.js';
import { decodeSpki, ED25519_ALGORITHM, readSequence, sameBytes, splitSigned } from './der.js';
import type { Signed } from './der.js';
import {
  isAuthority,
  mayAuthenticate,
  maySignCertificates,
  OID,
  readExtensions,
  subjectKeyIdentifier,
  unknownCritical,
} from './extensions.js';
import type { Extensions } from './extensions.js';
import { nodeIdOf, printable } from './name.js';
import { readNodeNames } from './node-names.js';
import { readOverlayConstraints } from './constraints.js';
import { readPemOrDer } from './pem.js';
import { reject } from './reject.js';
import type { Reject } from './reject.js';

/** A certificate must fit a handshake message of 4096 bytes with all that goes beside it. */
export const MAX_CERTIFICATE_BYTES = 3072;

/** What node and CA certificates have in common. */
export interface CertificateFields {
  readonly der: Uint8Array;
  /** Raw Ed25519 key, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** Wall clock, ms since 1970. */
  readonly notBefore: number;
  /** Wall clock, ms since 1970; the last moment of validity. */
  readonly notAfter: number;
  /** Distinguished names as text, such as `CN=Causeway CA`; printable and bounded. */
  readonly subject: string;
  readonly issuer: string;
  /** Lower-case hex, without the sign byte of DER. */
  readonly serial: string;
  /** SHA-256 of the DER, lower-case hex. */
  readonly fingerprint: string;
  /** SHA-256 of the SubjectPublicKeyInfo, lower-case hex: the same for every certificate of this key. */
  readonly keyFingerprint: string;
}

export interface NodeCertificate extends CertificateFields {
  readonly name: string;
  /** `nodeIdOf(name)`. */
  readonly nodeId: number;
  readonly addresses: readonly OverlayAddress[];
  /** The host's own addresses outside the overlay. */
  readonly real: readonly OverlayAddress[];
  /** Prefixes behind the node, outside the overlay's own or inside. */
  readonly routes: readonly OverlayPrefix[];
  readonly groups: readonly string[];
  readonly roles: readonly string[];
}

export interface CaCertificate extends CertificateFields {
  /** The common name, or the whole subject where there is none. */
  readonly name: string;
  /** Permitted iPAddress name constraints: the overlay's prefixes. At least one. */
  readonly overlayPrefixes: readonly OverlayPrefix[];
  /** Excluded iPAddress name constraints. */
  readonly excludedPrefixes: readonly OverlayPrefix[];
  /** Subject key identifier, lower-case hex; empty where the certificate has none. */
  readonly keyIdentifier: string;
  /** BLAKE2s-256 of the raw public key, 32 bytes: the network's MAC key. */
  readonly networkKey: Uint8Array;
}

export interface Parsed<T = NodeCertificate> {
  readonly ok: true;
  readonly certificate: T;
}

const NODE_CRITICAL: readonly string[] = [
  OID.keyUsage,
  OID.subjectAltName,
  OID.basicConstraints,
  OID.extendedKeyUsage,
];
const CA_CRITICAL: readonly string[] = [...NODE_CRITICAL, OID.nameConstraints];
/** Reads a node's certificate from DER or from PEM text with exactly one certificate. Never throws. */
export function parseCertificate(pemOrDer: Uint8Array | string): Parsed | Reject {
  const opened = openOne(pemOrDer);
  return opened.ok ? parseOpened(opened, asNode) : opened;
}

/** Reads a CA's certificate from DER or from PEM text with exactly one certificate. Never throws. */
export function parseAuthority(pemOrDer: Uint8Array | string): Parsed<CaCertificate> | Reject {
  const opened = openOne(pemOrDer);
  return opened.ok ? parseOpened(opened, asAuthority) : opened;
}

interface Opened {
  readonly ok: true;
  readonly der: Uint8Array;
  readonly signed: Signed;
}

function openOne(input: Uint8Array | string): Opened | Reject {
  const found = readPemOrDer(input, 'CERTIFICATE');
  if (found.length === 0) return reject('malformed', 'no certificate in PEM or DER form');
  if (found.length > 1)
    return reject('malformed', `${found.length} certificates where one is expected; chains are not used`);
  return openDer(found[0]);
}

/** Checks size and outer frame; nothing deeper is read. */
export function openDer(der: Uint8Array): Opened | Reject {
  if (der.length > MAX_CERTIFICATE_BYTES) {
    return reject(
      'malformed',
      `a certificate of ${der.length} bytes; at most ${MAX_CERTIFICATE_BYTES} are carried`,
    );
  }
  const signed = splitSigned(der);
  if (signed === 'malformed') return reject('malformed', 'not the DER of one certificate');
  if (signed === 'not-ed25519')
    return reject('not-ed25519', 'not signed with Ed25519, the only algorithm taken');
  return { ok: true, der, signed };
}

function parseOpened<T extends CertificateFields>(
  opened: Opened,
  interpret: (fields: CertificateFields, extensions: Extensions, x509: X509Certificate) => T | Reject,
): Parsed<T> | Reject {
  try {
    const x509 = new X509Certificate(opened.der);
    const fields = readFields(opened, x509);
    if ('reason' in fields) return fields;
    const extensions = readExtensions(opened.signed.body);
    if ('reason' in extensions) return extensions;
    const certificate = interpret(fields, extensions, x509);
    return 'reason' in certificate ? certificate : { ok: true, certificate };
  } catch {
    // The library throws on structures it cannot read, some of them only when a field is first asked for.
    return reject('malformed', 'not the DER of one certificate');
  }
}

function readFields({ der, signed }: Opened, x509: X509Certificate): CertificateFields | Reject {
  const publicKey = decodeSpki(new Uint8Array(x509.publicKey.rawData));
  if (publicKey === undefined)
    return reject('not-ed25519', 'its key is not an Ed25519 key, the only kind taken');
  const notBefore = x509.notBefore.getTime();
  const notAfter = x509.notAfter.getTime();
  if (!(notBefore <= notAfter)) return reject('malformed', 'its validity ends before it begins');
  if (!innerAlgorithmAgrees(signed)) return reject('malformed', 'its two signature algorithms differ');
  return {
    der: Uint8Array.from(der),
    publicKey,
    notBefore,
    notAfter,
    subject: printable(x509.subject),
    issuer: printable(x509.issuer),
    serial: x509.serialNumber.toLowerCase(),
    fingerprint: createHash('sha256').update(der).digest('hex'),
    keyFingerprint: createHash('sha256').update(new Uint8Array(x509.publicKey.rawData)).digest('hex'),
  };
}

/** RFC 5280 §4.1.2.3; the outer one is Ed25519 already. TBSCertificate is version [0], serial, signature, … */
function innerAlgorithmAgrees(signed: Signed): boolean {
  const inner = readSequence(signed.body)?.[2];
  return inner !== undefined && sameBytes(inner.raw, ED25519_ALGORITHM);
}

function asNode(fields: CertificateFields, extensions: Extensions): NodeCertificate | Reject {
  const ca = isAuthority(extensions);
  if (ca === undefined) return reject('malformed', 'its basic constraints are not DER');
  if (ca) return reject('not-a-node', `"${fields.subject}" is a CA's certificate, not a node's`);
  const unknown = unknownCritical(extensions, NODE_CRITICAL);
  if (unknown !== undefined) return unknown;
  if (!mayAuthenticate(extensions)) {
    return reject('not-a-node', `"${fields.subject}" may not be used to sign or to authenticate`);
  }
  const names = extensions.get(OID.subjectAltName);
  if (names === undefined)
    return reject('not-a-node', `"${fields.subject}" has no subject alternative names`);
  const read = readNodeNames(names.value);
  if ('reason' in read) return read;
  const nodeId = nodeIdOf(read.name);
  // Records use 0 for "no node"; one name in four thousand million has it.
  return nodeId === 0
    ? reject('not-a-node', `name "${read.name}" has node id 0`)
    : { ...fields, ...read, nodeId };
}

function asAuthority(
  fields: CertificateFields,
  extensions: Extensions,
  x509: X509Certificate,
): CaCertificate | Reject {
  const { subject, publicKey } = fields;
  if (isAuthority(extensions) !== true) return reject('not-a-ca', `"${subject}" is no CA's certificate`);
  const unknown = unknownCritical(extensions, CA_CRITICAL);
  if (unknown !== undefined) return unknown;
  if (!maySignCertificates(extensions)) {
    return reject('not-a-ca', `"${subject}" may not sign certificates (keyUsage lacks keyCertSign)`);
  }
  const constraints = readOverlayConstraints(extensions.get(OID.nameConstraints)?.value, subject);
  if ('reason' in constraints) return constraints;
  return {
    ...fields,
    ...constraints,
    name: printable(x509.subjectName.getField('CN')[0] ?? subject),
    keyIdentifier: subjectKeyIdentifier(extensions),
    networkKey: Uint8Array.from(createHash('blake2s256').update(publicKey).digest()),
  };
}
