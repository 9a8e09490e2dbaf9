/**
 * Identities for simulated meshes. `cheapIdentities` costs next to nothing, for large meshes; `ed25519Identities` signs as the agent does.
 * Their certificates are JSON with a seal; only the simulation's own authority makes seals.
 */
import { createHash, createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';

import type { CertificateCheck, Prefix, RouteCertificate } from '../../../src/overlay/route/identity.js';

export interface Identities {
  certificate: (claims: Claims) => Uint8Array;
  verifyCertificate: (der: Uint8Array, wall: number) => CertificateCheck;
  /** As the node with this id would. */
  sign: (nodeId: number, message: Uint8Array) => Uint8Array;
  verifySignature: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean;
}

/** What a certificate is to say. Times in ms since 1970. */
export interface Claims {
  readonly nodeId: number;
  readonly name: string;
  readonly addresses?: readonly string[];
  readonly routes?: readonly string[];
  readonly notBefore?: number;
  readonly notAfter?: number;
  /** Whose key it has, by id; its own by default. */
  readonly keyOf?: number;
  /** Made by another authority: never verifies. */
  readonly foreign?: boolean;
}

interface Scheme {
  publicKey: (nodeId: number) => Uint8Array;
  sign: Identities['sign'];
  verifySignature: Identities['verifySignature'];
}

/** `10.0.0.0/8`, `10.0.0.1`; IPv6 as eight groups. */
export function prefixOf(text: string): Prefix {
  const [address, length] = text.split('/');
  const bytes = address.includes(':')
    ? Uint8Array.from(
        address.split(':').flatMap((group) => [parseInt(group, 16) >> 8, parseInt(group, 16) & 255]),
      )
    : Uint8Array.from(address.split('.').map(Number));
  return { bytes, length: length === undefined ? bytes.length * 8 : Number(length) };
}

export function cheapIdentities(): Identities {
  const publicKey = (nodeId: number): Uint8Array => {
    const key = new Uint8Array(32);
    new DataView(key.buffer).setUint32(0, nodeId);
    return key;
  };
  const mark = (key: Uint8Array, message: Uint8Array): number => {
    let hash = 0x811c9dc5;
    for (let i = 0; i < 4; i++) hash = Math.imul(hash ^ key[i], 0x01000193);
    for (const byte of message) hash = Math.imul(hash ^ byte, 0x01000193);
    return hash >>> 0;
  };
  return identities({
    publicKey,
    sign: (nodeId, message) => {
      const signature = new Uint8Array(64);
      new DataView(signature.buffer).setUint32(60, mark(publicKey(nodeId), message));
      return signature;
    },
    verifySignature: (key, message, signature) =>
      new DataView(signature.buffer, signature.byteOffset).getUint32(60) === mark(key, message),
  });
}

const PKCS8_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex');
const SPKI_HEAD = Buffer.from('302a300506032b6570032100', 'hex');

export function ed25519Identities(): Identities {
  const privateKey = (nodeId: number) => {
    const seed = createHash('sha256').update(`node ${nodeId}`).digest();
    return createPrivateKey({ key: Buffer.concat([PKCS8_HEAD, seed]), format: 'der', type: 'pkcs8' });
  };
  return identities({
    publicKey: (nodeId) =>
      createPublicKey(privateKey(nodeId)).export({ format: 'der', type: 'spki' }).subarray(SPKI_HEAD.length),
    sign: (nodeId, message) => sign(null, message, privateKey(nodeId)),
    verifySignature: (key, message, signature) => {
      const publicKey = createPublicKey({
        key: Buffer.concat([SPKI_HEAD, key]),
        format: 'der',
        type: 'spki',
      });
      return verify(null, message, publicKey, signature);
    },
  });
}

function identities(scheme: Scheme): Identities {
  return {
    certificate: (claims) => {
      const body = JSON.stringify({
        notBefore: 0,
        notAfter: 9e15,
        addresses: [],
        routes: [],
        ...claims,
        publicKey: Buffer.from(scheme.publicKey(claims.keyOf ?? claims.nodeId)).toString('hex'),
      });
      return new TextEncoder().encode(seal(body, claims.foreign === true ? 'foreign' : 'own') + body);
    },
    verifyCertificate,
    sign: scheme.sign,
    verifySignature: scheme.verifySignature,
  };
}

const SEAL = 16;

function seal(body: string, authority: string): string {
  return createHash('sha256').update(authority).update(body).digest('hex').slice(0, SEAL);
}

/** By their text: every node of a mesh reads the same ones. */
const read = new Map<string, RouteCertificate>();

function verifyCertificate(der: Uint8Array, wall: number): CertificateCheck {
  const text = Buffer.from(der.buffer, der.byteOffset, der.length).toString('latin1');
  const known = read.get(text);
  if (known !== undefined && known.notAfter > wall) return { ok: true, certificate: known };
  const body = text.slice(SEAL);
  if (text.slice(0, SEAL) !== seal(body, 'own')) return { ok: false, reason: 'unknown-ca' };
  const claims = JSON.parse(body) as Required<Claims> & { publicKey: string };
  if (claims.notAfter <= wall) return { ok: false, reason: 'expired' };
  const certificate: RouteCertificate = {
    ...claims,
    publicKey: Uint8Array.from(Buffer.from(claims.publicKey, 'hex')),
    addresses: claims.addresses.map(prefixOf),
    routes: claims.routes.map(prefixOf),
  };
  read.set(text, certificate);
  return { ok: true, certificate };
}
