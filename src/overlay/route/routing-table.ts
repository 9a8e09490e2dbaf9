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
import { METRICS } from './metric.js';
import { buildGraph, edgeCosts } from './spf.js';
import type { TableNode, TablesSnapshot } from './tables.js';
import { encodeTables } from './tables.js';
import type { MeasuredLinks } from './trouble.js';
import { rankWays } from './ways.js';

interface Owners {
  readonly certificates: readonly RouteCertificate[];
  readonly ids: Uint32Array;
  readonly prefixes: PrefixTable;
}

export class RoutingTable {
  /** Makes `nodes` of what the last run went by. */
  private list: () => TableNode[] = () => [];
  private asked: TableNode[] | undefined;
  /** What that was. */
  links: MeasuredLinks | undefined;
  private owners: Owners | undefined;
  private reachable = new Map<number, string>();
  private conflicts = new Map<string, string>();

  /** `overlay`: prefixes that belong to the overlay also where no node owns the address. */
  constructor(
    private readonly self: number,
    private readonly overlay: readonly Prefix[],
  ) {}

  /** By ascending node id, this node among them. Kept from run to run once somebody has asked. */
  get nodes(): readonly TableNode[] {
    return (this.asked ??= this.list());
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
    const { certificates, ids, prefixes } = this.owners;
    const own = certificates.findIndex(({ nodeId }) => nodeId === this.self);
    const linksOf = certificates.map(({ nodeId }) =>
      nodeId === this.self ? ownLinks : (db.records.get(nodeId)?.record.links ?? []),
    );
    const graph = buildGraph(ids, linksOf);
    this.links = { ids, ...graph };
    this.list = () => {
      const ways = METRICS.map((metric) => rankWays(graph, edgeCosts(graph, metric), ids, own));
      return certificates.map((certificate, i) => ({ certificate, ways: ways.map((way) => way[i]) }));
    };
    const nodes = this.list();
    if (this.asked) this.asked = nodes;
    this.noteReachable(nodes, notices);
    return { snapshot: encodeTables(nodes, own, prefixes), notices };
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
    return {
      certificates,
      ids: Uint32Array.from(certificates, ({ nodeId }) => nodeId),
      prefixes: PrefixTable.build([...nobodys, ...prefixes]),
    };
  }

  private noteReachable(nodes: readonly TableNode[], notices: RouterNotice[]): void {
    const before = this.reachable;
    this.reachable = new Map();
    for (const { certificate, ways } of nodes) {
      const { nodeId, name } = certificate;
      if (ways[0].nextHop === 0 || nodeId === this.self) continue;
      this.reachable.set(nodeId, name);
      if (!before.delete(nodeId)) notices.push({ kind: 'node-joined', nodeId, name });
    }
    for (const [nodeId, name] of before) notices.push({ kind: 'node-left', nodeId, name });
  }
}

function formatPrefix({ bytes, length }: Prefix): string {
  return `${bytes.length === 4 ? bytes.join('.') : formatAddress(bytes)}/${length}`;
}
