/**
 * From the database to forwarding tables: who owns what, shortest paths, and who came and went since the last time.
 */
import type { RouterNotice } from './actions.js';
import { resolveClaims } from './claims.js';
import type { Prefix, RouteCertificate } from './identity.js';
import type { LinkStateDatabase } from './lsdb.js';
import { NOBODY, PrefixTable } from './prefix-table.js';
import type { Link } from './record.js';
import { METRICS } from './metric.js';
import { buildGraph, edgeCosts, type Graph, shortestPaths, totalsOf } from './spf.js';
import type { TableNode, TablesSnapshot, Way } from './tables.js';
import { encodeTables } from './tables.js';
import type { MeasuredLinks } from './trouble.js';

interface Owners {
  readonly certificates: readonly RouteCertificate[];
  readonly ids: Uint32Array;
  readonly prefixes: PrefixTable;
}

export class RoutingTable {
  /** By ascending node id, this node among them. */
  nodes: readonly TableNode[] = [];
  /** What that run went by. */
  links: MeasuredLinks | undefined;
  private owners: Owners | undefined;
  private reachable = new Map<number, string>();
  private conflicts = new Set<string>();

  /** `overlay`: prefixes that belong to the overlay also where no node owns the address. */
  constructor(
    private readonly self: number,
    private readonly overlay: readonly Prefix[],
  ) {}

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
    const ways = METRICS.map((metric) => this.waysBy(edgeCosts(graph, metric), graph, ids, own));
    this.nodes = certificates.map((certificate, i) => ({ certificate, ways: ways.map((way) => way[i]) }));
    this.noteReachable(notices);
    return { snapshot: encodeTables(this.nodes, own, prefixes), notices };
  }

  private waysBy(costs: Float64Array, graph: Graph, ids: Uint32Array, own: number): Way[] {
    const paths = shortestPaths(graph, costs, own);
    const { rtt, loss } = totalsOf(graph, paths);
    return Array.from(ids, (_, i) => ({
      nextHop: i === own ? this.self : paths.firstHop[i] === -1 ? 0 : ids[paths.firstHop[i]],
      cost: paths.cost[i],
      hops: paths.hops[i],
      rtt: rtt[i],
      loss: loss[i],
    }));
  }

  private resolveOwners(db: LinkStateDatabase, notices: RouterNotice[]): Owners {
    const certificates = [...db.certificates.values()].map(({ certificate }) => certificate);
    certificates.sort((a, b) => a.nodeId - b.nodeId);
    const { prefixes, conflicts } = resolveClaims(certificates);
    const before = this.conflicts;
    this.conflicts = new Set();
    const nameOf = (nodeId: number): string => db.certificates.get(nodeId)!.certificate.name;
    for (const { prefix, winner, loser } of conflicts) {
      const key = `${prefix.bytes.join('.')}/${prefix.length} ${winner} ${loser}`;
      this.conflicts.add(key);
      if (before.has(key)) continue;
      notices.push({ kind: 'prefix-conflict', prefix, winner: nameOf(winner), loser: nameOf(loser) });
    }
    const nobodys = this.overlay.map(({ bytes, length }) => ({ bytes, length, owner: NOBODY }));
    return {
      certificates,
      ids: Uint32Array.from(certificates, ({ nodeId }) => nodeId),
      prefixes: PrefixTable.build([...nobodys, ...prefixes]),
    };
  }

  private noteReachable(notices: RouterNotice[]): void {
    const before = this.reachable;
    this.reachable = new Map();
    for (const { certificate, ways } of this.nodes) {
      const { nodeId, name } = certificate;
      if (ways[0].nextHop === 0 || nodeId === this.self) continue;
      this.reachable.set(nodeId, name);
      if (!before.delete(nodeId)) notices.push({ kind: 'node-joined', nodeId, name });
    }
    for (const [nodeId, name] of before) notices.push({ kind: 'node-left', nodeId, name });
  }
}
