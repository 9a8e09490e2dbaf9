/**
 * Who is who: X.509 certificates of nodes, the roots that vouch for them, and Ed25519 keys (design §3, docs/identity.md).
 *
 *     bytes ─► pem, der ─► certificate (form: node-names, constraints) ─► trust (a root's word, the clock) ─► agent
 *     request ─► issued (conflicts) ─► build ─► certificate               used by `causeway ca`
 *
 * Peers' bytes never throw: decoders return the value or a `Reject` whose text an operator can act on. Nothing here reads a
 * file, a clock or a random source. Nothing parsed is believed before `TrustStore.verify` has said ok.
 */
export { addressFromBytes, parseAddress, parsePrefix, prefixContains, prefixOf } from './address.js';
export type { Family, OverlayAddress, OverlayPrefix, PrefixResult } from './address.js';
export {
  authorityProblem,
  issueAuthority,
  issueNode,
  readPublicKey,
  readRequestKey,
  requestProblem,
  SERIAL_LENGTH,
} from './build.js';
export type { AuthorityRequest, NodeRequest, Term } from './build.js';
export { MAX_CERTIFICATE_BYTES, parseAuthority, parseCertificate } from './certificate.js';
export type { CaCertificate, CertificateFields, NodeCertificate, Parsed } from './certificate.js';
export { conflictWith, emptyIndex, formatNodeId, parseIndex, withIssued } from './issued.js';
export type { IssuedIndex } from './issued.js';
export {
  checkKeyMatches,
  parsePrivateKey,
  privateKeyFromSeed,
  publicKeyObject,
  rawPublicKey,
  SEED_LENGTH,
  SIGNATURE_LENGTH,
  signRaw,
  signWithContext,
  verifyRaw,
  verifyWithContext,
} from './keys.js';
export { nodeIdOf, nodeNameProblem, tokenProblem } from './name.js';
export { readPem, writePem } from './pem.js';
export { IdentityError } from './reject.js';
export type { Reject, RejectReason } from './reject.js';
export { isoTime, span } from './time.js';
export { TrustStore } from './trust.js';
export type { Verified } from './trust.js';
