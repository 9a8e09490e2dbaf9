/**
 * From the database to forwarding tables: who owns what, shortest paths, and who came and went since the last time.
 */
import { formatAddress } from '../../io/address.js';
import type { RouterNotice } from './actions.js';
import { resolveClaims } from './claims.js';
import type { Prefix, RouteCertificate } from './identity.js';
import type { LinkStateDatabase } from './lsdb.js';
import { NOBODY, PrefixTable } from './prefix-table.js';
import type { Link } from './record.js';
import { buildGraph, indexOf } from './spf.js';
import type { TableNode, TablesSnapshot } from './tables.js';
import { TableFrame } from './tables.js';
import type { MeasuredLinks } from './trouble.js';
import type { RankedWay, Ways } from './ways.js';
import { rankAll } from './ways.js';

/** What certificates alone say. */
interface Owners {
  readonly certificates: readonly RouteCertificate[];
  readonly ids: Uint32Array;
  readonly index: ReadonlyMap<number, number>;
  readonly own: number;
  readonly frame: TableFrame;
}

export class RoutingTable {
  /** Of the last run. */
  private last: { certificates: readonly RouteCertificate[]; ways: readonly Ways[] } = NOTHING;
  private asked: TableNode[] | undefined;
  /** What it went by. */
  links: MeasuredLinks | undefined;
  private owners: Owners | undefined;
  private readonly reachable = new Map<number, string>();
  private conflicts = new Map<string, string>();

  /** `overlay`: prefixes that belong to the overlay also where no node owns the address. */
  constructor(
    private readonly self: number,
    private readonly overlay: readonly Prefix[],
  ) {}

  /** By ascending node id, this node among them; the same list until the next run. */
  get nodes(): readonly TableNode[] {
    const { certificates, ways } = this.last;
    return (this.asked ??= certificates.map((certificate, i) => new RankedNode(certificate, ways, i)));
  }

  /** Whether there was a way to the node at the last run. */
  reaches(nodeId: number): boolean {
    return this.reachable.has(nodeId);
  }

  /** A line for each prefix that two certificates claim. */
  get troubles(): readonly string[] {
    return [...this.conflicts.values()];
  }

  /** To be called when a certificate came or went. */
  certificatesChanged(): void {
    this.owners = undefined;
  }

  /**
   * A shortest-path run. `ownLinks` are what this node knows now, whatever its last record says. Notices: nodes that became reachable or
   * unreachable, and new conflicts over prefixes.
   */
  recompute(
    db: LinkStateDatabase,
    ownLinks: readonly Link[],
  ): { snapshot: TablesSnapshot; notices: RouterNotice[] } {
    const notices: RouterNotice[] = [];
    this.owners ??= this.resolveOwners(db, notices);
    const { certificates, ids, index, own, frame } = this.owners;
    const linksOf = certificates.map(({ nodeId }) =>
      nodeId === this.self ? ownLinks : (db.records.get(nodeId)?.record.links ?? []),
    );
    const graph = buildGraph(ids, linksOf, index);
    this.links = { ids, ...graph };
    const ways = rankAll(graph, ids, own);
    this.last = { certificates, ways };
    this.asked = undefined;
    this.noteReachable(this.owners, ways[0], notices);
    return { snapshot: frame.fill(ways), notices };
  }

  private resolveOwners(db: LinkStateDatabase, notices: RouterNotice[]): Owners {
    const certificates = [...db.certificates.values()].map(({ certificate }) => certificate);
    certificates.sort((a, b) => a.nodeId - b.nodeId);
    const { prefixes, conflicts } = resolveClaims(certificates);
    const before = this.conflicts;
    this.conflicts = new Map();
    const nameOf = (nodeId: number): string => db.certificates.get(nodeId)!.certificate.name;
    for (const { prefix, winner, loser } of conflicts) {
      const key = `${prefix.bytes.join('.')}/${prefix.length} ${winner} ${loser}`;
      const [kept, ignored] = [nameOf(winner), nameOf(loser)];
      const text = `${formatPrefix(prefix)} is in the certificates of ${kept} and ${ignored}; the older counts, ${kept}'s`;
      this.conflicts.set(key, text);
      if (before.has(key)) continue;
      notices.push({ kind: 'prefix-conflict', prefix, winner: kept, loser: ignored });
    }
    const nobodys = this.overlay.map(({ bytes, length }) => ({ bytes, length, owner: NOBODY }));
    const ids = Uint32Array.from(certificates, ({ nodeId }) => nodeId);
    const index = indexOf(ids);
    const own = index.get(this.self)!;
    const frame = new TableFrame(certificates, own, PrefixTable.build([...nobodys, ...prefixes]));
    return { certificates, ids, index, own, frame };
  }

  private noteReachable({ certificates, index, own }: Owners, ways: Ways, notices: RouterNotice[]): void {
    const { reachable } = this;
    const left: RouterNotice[] = [];
    for (const [nodeId, name] of reachable) {
      const at = index.get(nodeId);
      if (at !== undefined && ways.nextHop[at] !== 0) continue;
      reachable.delete(nodeId);
      left.push({ kind: 'node-left', nodeId, name });
    }
    certificates.forEach(({ nodeId, name }, i) => {
      if (i === own || ways.nextHop[i] === 0) return;
      if (!reachable.has(nodeId)) notices.push({ kind: 'node-joined', nodeId, name });
      reachable.set(nodeId, name);
    });
    notices.push(...left);
  }
}

const NOTHING = { certificates: [], ways: [] };

/** A row of the tables. */
class RankedNode implements TableNode {
  constructor(
    readonly certificate: RouteCertificate,
    private readonly tables: readonly Ways[],
    private readonly index: number,
  ) {}

  get ways(): readonly RankedWay[] {
    return this.tables.map((table) => table.at(this.index));
  }
}

function formatPrefix({ bytes, length }: Prefix): string {
  return `${bytes.length === 4 ? bytes.join('.') : formatAddress(bytes)}/${length}`;
}
