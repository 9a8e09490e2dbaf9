/**
 * A certificate's extensions (RFC 5280 §4.2), read with `der` alone: @peculiar/x509 parses each three times over, which
 * would be two thirds of a verification.
 */
import { readAll, readSequence, readTlv, TAG } from './der.js';
import type { Tlv } from './der.js';
import { reject } from './reject.js';
import type { Reject } from './reject.js';

export const OID = {
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  extendedKeyUsage: '2.5.29.37',
} as const;

/** Bits of keyUsage, in its first byte. */
const DIGITAL_SIGNATURE = 0x80;
const KEY_CERT_SIGN = 0x04;

/** serverAuth, clientAuth and anyExtendedKeyUsage (RFC 5280 §4.2.1.12). */
const NODE_PURPOSES: readonly string[] = ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2', '2.5.29.37.0'];

const TRUE = 0xff;

interface Extension {
  readonly critical: boolean;
  /** DER of the extension's own structure. */
  readonly value: Uint8Array;
}

export type Extensions = ReadonlyMap<string, Extension>;

/** By object identifier, from the DER of a TBSCertificate; none of them may appear twice. */
export function readExtensions(body: Uint8Array): Extensions | Reject {
  const last = readSequence(body)?.at(-1);
  if (last?.tag !== TAG.contextConstructed(3)) return new Map();
  const found = new Map<string, Extension>();
  for (const { raw } of readSequence(last.value) ?? []) {
    const read = readExtension(raw);
    if (read === undefined) return reject('malformed', 'an extension is not DER');
    if (found.has(read.oid)) return reject('malformed', `extension ${read.oid} appears twice`);
    found.set(read.oid, read);
  }
  // RFC 5280 §4.1: the field, where present, holds at least one.
  return found.size > 0 ? found : reject('malformed', 'its extensions are not DER');
}

function readExtension(raw: Uint8Array): (Extension & { oid: string }) | undefined {
  const parts = readSequence(raw);
  const [id, ...rest] = parts ?? [];
  const value = rest.pop();
  if (id?.tag !== TAG.objectIdentifier || value?.tag !== TAG.octetString || rest.length > 1) return undefined;
  const oid = readObjectIdentifier(id.value);
  if (oid === undefined) return undefined;
  if (rest.length === 0) return { oid, critical: false, value: value.value };
  const critical = readBoolean(rest[0]);
  return critical === undefined ? undefined : { oid, critical, value: value.value };
}

/** An explicit FALSE, which DER leaves out where it is the default, is taken too: some tools write it. */
function readBoolean({ tag, value }: Tlv): boolean | undefined {
  if (tag !== TAG.boolean || value.length !== 1) return undefined;
  return value[0] === TRUE ? true : value[0] === 0 ? false : undefined;
}

/** Dotted decimal; undefined where bytes are missing or an arc passes 2³². */
function readObjectIdentifier(bytes: Uint8Array): string | undefined {
  const arcs: number[] = [];
  let arc = 0;
  for (const byte of bytes) {
    arc = arc * 128 + (byte & 0x7f);
    if (arc > 0xffffffff) return undefined;
    if (byte < 0x80) {
      arcs.push(arc);
      arc = 0;
    }
  }
  if (arcs.length === 0 || bytes[bytes.length - 1] >= 0x80) return undefined;
  const root = Math.min(2, Math.floor(arcs[0] / 40));
  return [root, arcs[0] - 40 * root, ...arcs.slice(1)].join('.');
}

export function unknownCritical(extensions: Extensions, known: readonly string[]): Reject | undefined {
  const unknown = [...extensions].find(([oid, { critical }]) => critical && !known.includes(oid));
  return unknown && reject('unknown-critical', `critical extension ${unknown[0]} is not known here`);
}

/** basicConstraints' cA; false where the extension is absent, undefined where it is malformed. */
export function isAuthority(extensions: Extensions): boolean | undefined {
  const value = extensions.get(OID.basicConstraints)?.value;
  if (value === undefined) return false;
  const parts = readSequence(value);
  const flag = parts?.[0];
  if (parts === undefined || flag?.tag !== TAG.boolean) return parts && false;
  return readBoolean(flag);
}

/** Whether keyUsage lets the key sign certificates; an absent one does. */
export function maySignCertificates(extensions: Extensions): boolean {
  return keyMay(extensions, KEY_CERT_SIGN);
}

/** Whether keyUsage and extendedKeyUsage let the key sign handshakes; absent ones do, malformed ones don't. */
export function mayAuthenticate(extensions: Extensions): boolean {
  if (!keyMay(extensions, DIGITAL_SIGNATURE)) return false;
  const purposes = extensions.get(OID.extendedKeyUsage)?.value;
  if (purposes === undefined) return true;
  const listed = readSequence(purposes)?.map(({ value }) => readObjectIdentifier(value));
  return listed?.some((oid) => oid !== undefined && NODE_PURPOSES.includes(oid)) ?? false;
}

function keyMay(extensions: Extensions, bit: number): boolean {
  const value = extensions.get(OID.keyUsage)?.value;
  if (value === undefined) return true;
  const [bits, ...rest] = readAll(value) ?? [];
  return bits?.tag === TAG.bitString && rest.length === 0 && ((bits.value[1] ?? 0) & bit) !== 0;
}

/** Lower-case hex; empty where there is none. */
export function subjectKeyIdentifier(extensions: Extensions): string {
  const value = extensions.get(OID.subjectKeyIdentifier)?.value;
  return Buffer.from((value && readTlv(value)?.value) ?? []).toString('hex');
}
