/** CPU of a shortest-path run with all that follows from it, for one node of a mesh of this shape. */
import type { Link } from '../../src/overlay/route/record.js';
import { certificateHash } from '../../src/overlay/route/identity.js';
import { LinkStateDatabase } from '../../src/overlay/route/lsdb.js';
import { clean } from '../../src/overlay/route/measure.js';
import { RoutingTable } from '../../src/overlay/route/routing-table.js';
import { cheapIdentities } from '../../test/support/sim/identities.js';
import { Random } from '../../test/support/sim/random.js';
import { addressOf, idOf } from '../../test/support/sim/router-mesh.js';
import type { Edge } from '../../test/support/sim/topology.js';

const WARM_UP = 50;
const RUNS = 200;

export interface RecomputeShape {
  readonly nodes: number;
  readonly edges: readonly Edge[];
  /** Share of links that lose, so that each service has a tree of its own. */
  readonly lossy: number;
  /** A certificate changes before each run. */
  readonly renew?: boolean;
}

/** ms of CPU a run, garbage collection included. */
export function recomputeCpu({ nodes, edges, lossy, renew = false }: RecomputeShape): number {
  const db = database(nodes, edges, lossy);
  const table = new RoutingTable(idOf(0), []);
  const own = db.records.get(idOf(0))!.record.links;
  const run = (): void => {
    if (renew) table.certificatesChanged();
    table.recompute(db, own);
  };
  for (let k = 0; k < WARM_UP; k++) run();
  const before = process.cpuUsage();
  for (let k = 0; k < RUNS; k++) run();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000 / RUNS;
}

function database(nodes: number, edges: readonly Edge[], lossy: number): LinkStateDatabase {
  const random = new Random(1);
  const { certificate, verifyCertificate } = cheapIdentities();
  const db = new LinkStateDatabase({ maxNodes: nodes, orphanMicros: Infinity });
  const linksOf = Array.from({ length: nodes }, (): Link[] => []);
  for (const { a, b, latency } of edges) {
    const loss = random.chance(lossy) ? 1000 + random.integer(100_000) : 0;
    linksOf[a].push({ neighbour: idOf(b), ...clean(2 * latency), loss });
    linksOf[b].push({ neighbour: idOf(a), ...clean(2 * latency), loss });
  }
  linksOf.forEach((links, index) => {
    const origin = idOf(index);
    const der = certificate({ nodeId: origin, name: `n${index}`, addresses: [addressOf(index)] });
    const check = verifyCertificate(der, 0);
    if (!check.ok) throw new Error(check.reason);
    db.installCertificate(0, check.certificate, der);
    links.sort((x, y) => x.neighbour - y.neighbour);
    const version = { origin, epoch: 1, sequence: 1, lifetime: 3600 };
    db.installRecord({
      record: { ...version, certificate: certificateHash(der), links },
      bytes: Uint8Array.of(1),
      signature: Uint8Array.of(1),
      originated: 0,
      expires: Infinity,
    });
  });
  return db;
}
