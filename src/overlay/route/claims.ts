/** Who owns which prefix: a pure function of the certificates. */
import { compareBytes } from './bytes.js';
import type { Prefix, RouteCertificate } from './identity.js';
import type { OwnedPrefix } from './prefix-table.js';

export interface Conflict {
  readonly prefix: Prefix;
  /** Node ids. */
  readonly winner: number;
  readonly loser: number;
}

export interface Claims {
  /** `owner` is the index into the certificates given. Each prefix is there once. */
  readonly prefixes: readonly OwnedPrefix[];
  readonly conflicts: readonly Conflict[];
}

interface Claim extends OwnedPrefix {
  readonly certificate: RouteCertificate;
}

/** Of two claims of one prefix the older certificate's (notBefore) counts, then the lower node id's. */
export function resolveClaims(certificates: readonly RouteCertificate[]): Claims {
  const claims = certificates.flatMap((certificate, owner) => claimsOf(certificate, owner));
  claims.sort((a, b) => byPrefix(a, b) || byAge(a.certificate, b.certificate));
  const prefixes: Claim[] = [];
  const conflicts: Conflict[] = [];
  for (const claim of claims) {
    const winner = prefixes[prefixes.length - 1];
    if (winner === undefined || byPrefix(winner, claim) !== 0) {
      prefixes.push(claim);
    } else if (winner.owner !== claim.owner) {
      const { bytes, length } = claim;
      conflicts.push({
        prefix: { bytes, length },
        winner: winner.certificate.nodeId,
        loser: claim.certificate.nodeId,
      });
    }
  }
  return { prefixes, conflicts };
}

function claimsOf(certificate: RouteCertificate, owner: number): Claim[] {
  const { addresses, real = [], routes } = certificate;
  const hosts = [...addresses, ...real].map(({ bytes }) => ({
    bytes,
    length: bytes.length * 8,
    owner,
    certificate,
  }));
  return hosts.concat(
    routes.map(({ bytes, length }) => ({ bytes: masked(bytes, length), length, owner, certificate })),
  );
}

function masked(bytes: Uint8Array, length: number): Uint8Array {
  return bytes.map((byte, i) => byte & ~(0xff >> Math.min(8, Math.max(0, length - i * 8))));
}

function byPrefix(a: Prefix, b: Prefix): number {
  return a.bytes.length - b.bytes.length || compareBytes(a.bytes, b.bytes) || a.length - b.length;
}

function byAge(a: RouteCertificate, b: RouteCertificate): number {
  return a.notBefore - b.notBefore || a.nodeId - b.nodeId;
}
