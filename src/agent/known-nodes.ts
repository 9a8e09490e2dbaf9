/**
 * Other nodes' certificates that outlive the links by which they came, so that what is meant for their real addresses doesn't leave in clear while no link says
 * who there is.
 *
 * 1. At the start: those that lie beside this node's own, and those that the last run wrote down. Each has to be signed and in force.
 * 2. Meanwhile: those that the routing database has, newer ones in place of older ones. A node that leaves is still known.
 * 3. What changed is written down, whole or not at all.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type NodeCertificate, readPem, writePem } from '../crypto/identity/index.js';
import type { TableNode } from '../overlay/route/tables.js';
import type { Config, Identity } from './config/index.js';
import { certificatesAt } from './config/certificates.js';

/** systemd's word for where a unit keeps what outlives it. */
const STATE_DIRECTORY = 'STATE_DIRECTORY';
const DEFAULT_DIRECTORY = '/var/lib/causeway';
/** Most nodes that are written down. */
const NODES_MAX = 4096;

/** Where node `name` writes them down. */
export function knownNodesFile(
  name: string,
  directory = process.env[STATE_DIRECTORY] ?? DEFAULT_DIRECTORY,
): string {
  return join(directory, `${name}.known.pem`);
}

/** Those in such a file that are signed and in force; none where it can't be read. */
export function writtenNodes(
  file: string,
  { trust }: Pick<Identity, 'trust'>,
  wall: number,
): NodeCertificate[] {
  try {
    return readPem(readFileSync(file, 'utf8')).flatMap(({ der }) => {
      const verdict = trust.verify(der, wall);
      return verdict.ok ? [verdict.certificate] : [];
    });
  } catch {
    return [];
  }
}

export class KnownNodes {
  private readonly known = new Map<number, NodeCertificate>();
  private readonly file: string;
  private readonly self: number;
  /** The file lacks something that is known. */
  private isStale = false;

  /** `warn`: of a file that can't be written. */
  constructor(
    config: Pick<Config, 'node' | 'pki'>,
    private readonly identity: Identity,
    private readonly wall: () => number,
    private readonly warn: (error: unknown) => void,
    directory?: string,
  ) {
    this.file = knownNodesFile(config.node, directory);
    this.self = identity.verified.certificate.nodeId;
    for (const certificate of writtenNodes(this.file, identity, wall())) this.learn(certificate);
    this.isStale = false;
    for (const certificate of this.besides(config.pki.cert)) this.learn(certificate);
  }

  /** Real addresses of nodes that are known, but not among `present`. Writes down what is new of those. */
  absent(present: readonly TableNode[]): string[] {
    for (const { certificate } of present)
      if ('der' in certificate) this.learn(certificate as NodeCertificate);
    if (this.isStale) this.write();
    const here = new Set(present.map(({ certificate }) => certificate.nodeId));
    const now = this.wall();
    return [...this.known.values()]
      .filter(({ nodeId, notAfter }) => !here.has(nodeId) && now <= notAfter)
      .flatMap(({ real }) => real.map(({ text }) => text));
  }

  /** Takes over what says anything new. */
  private learn(certificate: NodeCertificate): void {
    const { nodeId, notBefore } = certificate;
    const known = this.known.get(nodeId);
    if (nodeId === this.self || (known && known.notBefore >= notBefore)) return;
    if (known === undefined && (certificate.real.length === 0 || this.known.size >= NODES_MAX)) return;
    this.known.set(nodeId, certificate);
    this.isStale = true;
  }

  private besides(own: string): NodeCertificate[] {
    try {
      return certificatesAt(dirname(own), this.identity, this.wall());
    } catch {
      return [];
    }
  }

  private write(): void {
    this.isStale = false;
    const blocks = [...this.known.values()].map(({ der }) => writePem('CERTIFICATE', der));
    try {
      mkdirSync(dirname(this.file), { recursive: true, mode: 0o700 });
      writeFileSync(`${this.file}.new`, blocks.join(''), { mode: 0o600, flush: true });
      renameSync(`${this.file}.new`, this.file);
    } catch (error) {
      this.warn(error);
    }
  }
}
