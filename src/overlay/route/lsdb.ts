/**
 * The link-state database: certificates and records by origin. Installing says whether anything changed; who installs has
 * verified signature and certificate before. Only `changed` calls for a shortest-path run.
 */
import { compareBytes, readU32, sameBytes } from './bytes.js';
import type { RouteCertificate } from './identity.js';
import { certificateHash } from './identity.js';
import type { DigestRow } from './messages.js';
import type { Link, LinkStateRecord } from './record.js';
import { compareVersions } from './record.js';

export interface CertificateEntry {
  readonly certificate: RouteCertificate;
  readonly der: Uint8Array;
  readonly hash: Uint8Array;
  /** µs when it was installed. */
  readonly since: number;
}

export interface RecordEntry {
  readonly record: LinkStateRecord;
  /** The signed bytes as they came. */
  readonly bytes: Uint8Array;
  readonly signature: Uint8Array;
  /** µs on this node's clock; negative for what is older than the clock. */
  readonly originated: number;
  /** µs when it is forgotten. */
  readonly expires: number;
}

export type CertificateInstall =
  /** Taken: new, or a renewal. A renewal with another key forgets the record that the old one signed. */
  | 'changed'
  | 'same'
  /** A newer one of the same name is held. */
  | 'older'
  /** Two names with one node id: the lower name stays or comes in. */
  | 'collision-refused'
  | 'collision-replaced'
  | 'full';

/** `conflict`: the same version with other content, where the lower bytes lose so that all nodes agree. */
export type RecordInstall = 'changed' | 'refreshed' | 'same' | 'older' | 'conflict';

export interface LsdbLimits {
  /** Origins held at most, this node included. */
  readonly maxNodes: number;
  /** µs that a certificate without a record is kept. */
  readonly orphanMicros: number;
}

export class LinkStateDatabase {
  readonly certificates = new Map<number, CertificateEntry>();
  readonly records = new Map<number, RecordEntry>();

  constructor(private readonly limits: LsdbLimits) {}

  /** `der` is kept, not copied. */
  installCertificate(now: number, certificate: RouteCertificate, der: Uint8Array): CertificateInstall {
    const entry = { certificate, der, hash: certificateHash(der), since: now };
    const held = this.certificates.get(certificate.nodeId);
    if (held === undefined) {
      if (this.certificates.size >= this.limits.maxNodes) return 'full';
      this.certificates.set(certificate.nodeId, entry);
      return 'changed';
    }
    if (sameBytes(held.hash, entry.hash)) return 'same';
    if (held.certificate.name !== certificate.name) {
      if (held.certificate.name < certificate.name) return 'collision-refused';
      this.certificates.set(certificate.nodeId, entry);
      this.records.delete(certificate.nodeId);
      return 'collision-replaced';
    }
    if (compareIssue(entry, held) < 0) return 'older';
    const sameKey = sameBytes(held.certificate.publicKey, certificate.publicKey);
    if (!sameKey) this.records.delete(certificate.nodeId);
    this.certificates.set(certificate.nodeId, entry);
    return 'changed';
  }

  /** Compares without installing: what `installRecord` would say of a version, with `changed` for any newer one. */
  judge(origin: number, version: { epoch: number; sequence: number }, bytes: Uint8Array): RecordInstall {
    const held = this.records.get(origin);
    if (held === undefined) return 'changed';
    const order = compareVersions(version, held.record);
    if (order !== 0) return order > 0 ? 'changed' : 'older';
    const content = compareBytes(bytes, held.bytes);
    if (content === 0) return 'same';
    return content > 0 ? 'changed' : 'conflict';
  }

  installRecord(entry: RecordEntry): RecordInstall {
    const { origin } = entry.record;
    const verdict = this.judge(origin, entry.record, entry.bytes);
    if (verdict !== 'changed') return verdict;
    const held = this.records.get(origin);
    this.records.set(origin, entry);
    return held !== undefined && sameLinks(held.record.links, entry.record.links) ? 'refreshed' : 'changed';
  }

  /** Forgets an origin altogether. Whether there was anything to forget. */
  remove(origin: number): boolean {
    const known = this.certificates.delete(origin);
    return this.records.delete(origin) || known;
  }

  /** Rows of every origin with a record, whose certificate is thus held too. */
  digest(): DigestRow[] {
    const rows: DigestRow[] = [];
    for (const [origin, { record }] of this.records) {
      const certificate = readU32(this.certificates.get(origin)!.hash, 0);
      rows.push({ origin, epoch: record.epoch, sequence: record.sequence, certificate });
    }
    return rows;
  }

  /** Forgets what is too old at `now` (µs) or expired at `wall` (ms since 1970), except `self`. Returns the origins that lost something. */
  expire(now: number, wall: number, self: number): number[] {
    const gone: number[] = [];
    for (const [origin, entry] of this.certificates) {
      if (origin === self) continue;
      const record = this.records.get(origin);
      const orphan = record === undefined && now - entry.since >= this.limits.orphanMicros;
      const aged = record !== undefined && record.expires <= now;
      if (!orphan && !aged && entry.certificate.notAfter > wall) continue;
      this.remove(origin);
      gone.push(origin);
    }
    return gone;
  }
}

/** Positive where `a` is the later issue: notBefore, then the greater hash. */
function compareIssue(a: CertificateEntry, b: CertificateEntry): number {
  return a.certificate.notBefore - b.certificate.notBefore || compareBytes(a.hash, b.hash);
}

export function sameLinks(a: readonly Link[], b: readonly Link[]): boolean {
  return a.length === b.length && a.every((link, i) => sameLink(link, b[i]));
}

function sameLink(a: Link, b: Link): boolean {
  return (
    a.neighbour === b.neighbour &&
    a.rtt === b.rtt &&
    a.loss === b.loss &&
    a.burst === b.burst &&
    a.price === b.price
  );
}
