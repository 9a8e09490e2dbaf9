/**
 * What routing needs to know of certificates and keys. The agent supplies them from `src/crypto/identity`; simulations
 * of a thousand nodes supply cheap ones.
 */
import { createHash } from 'node:crypto';

export interface Prefix {
  /** 4 or 16 bytes, network order. */
  readonly bytes: Uint8Array;
  /** Bits, 0..32 or 0..128. */
  readonly length: number;
}

/** The part of a node's certificate that routing reads. */
export interface RouteCertificate {
  readonly name: string;
  /** 1 .. 2³²-1. */
  readonly nodeId: number;
  /** Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** Overlay addresses, 4 or 16 bytes each, network order. */
  readonly addresses: readonly { readonly bytes: Uint8Array }[];
  /** The host's own addresses outside the overlay, likewise. */
  readonly real?: readonly { readonly bytes: Uint8Array }[];
  readonly routes: readonly Prefix[];
  /** Such as `exit`. */
  readonly roles?: readonly string[];
  /** Groups that the node is in; simulations may do without. */
  readonly groups?: readonly string[];
  /** ms of wall-clock time since 1970. */
  readonly notBefore: number;
  readonly notAfter: number;
}

export type CertificateCheck =
  | { readonly ok: true; readonly certificate: RouteCertificate }
  | { readonly ok: false; readonly reason: string };

export interface RouterSelf {
  readonly nodeId: number;
  /** DER of this node's own certificate. */
  readonly certificate: Uint8Array;
  /** Ed25519 over exactly `message`, which already begins with its context string. 64 bytes. */
  readonly sign: (message: Uint8Array) => Uint8Array;
}

/** Bytes of the SHA-256 of a certificate's DER by which a record names it. */
export const CERTIFICATE_HASH = 8;

/** Head of SHA-256 of the DER, CERTIFICATE_HASH bytes. */
export function certificateHash(der: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(der).digest().subarray(0, CERTIFICATE_HASH));
}
