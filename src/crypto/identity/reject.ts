/** Why a certificate is not taken. Identity's decoders return these; they never throw on a peer's bytes. */

export type RejectReason =
  /** Not DER of a certificate, too large, or a field that contradicts its own rules. */
  | 'malformed'
  /** Its key or signature is of another algorithm than Ed25519. */
  | 'not-ed25519'
  /** A critical extension that we do not know (RFC 5280 §4.2). */
  | 'unknown-critical'
  /** A CA's certificate, or one without the names that make a node. */
  | 'not-a-node'
  /** A node's certificate, or another that cannot sign nodes, where a CA's was asked for. */
  | 'not-a-ca'
  /** Issued by none of the trusted roots. */
  | 'unknown-ca'
  /** Names a trusted root as issuer, but that root did not sign it. */
  | 'bad-signature'
  | 'expired'
  | 'not-yet-valid'
  /** Its root's own validity does not cover the moment. */
  | 'ca-expired'
  /** Claims an address outside its CA's name constraints. */
  | 'outside-constraints'
  /** A private key that is not the certificate's. */
  | 'key-mismatch';

export interface Reject {
  readonly ok: false;
  readonly reason: RejectReason;
  /** One line for an operator that names what is wrong and, where there is one, the remedy. */
  readonly text: string;
}

export function reject(reason: RejectReason, text: string): Reject {
  return { ok: false, reason, text };
}

/** A fault of this host's own files: thrown by `TrustStore.fromPem`. */
export class IdentityError extends Error {
  override readonly name = 'IdentityError';
  constructor(
    message: string,
    readonly code: RejectReason,
  ) {
    super(message);
  }
}
