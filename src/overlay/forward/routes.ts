import { type ForwardingTables, NO_COST } from '../route/tables.js';
import type { Neighbour } from './neighbour.js';

/** Services that a frame can name. */
const SERVICES = 16;
/** What becomes of traffic between the overlay and addresses that are nobody's in it. */
export interface Outside {
  /** Node id of the exit that carries this node's; 0: none does. */
  readonly through: number;
  /** Whether this node carries that of others. */
  readonly forOthers: boolean;
}

const NOTHING_OUTSIDE: Outside = { through: 0, forOthers: false };

/** Where packets for one node go now, and the sequence that numbers ours to it. Survives a change of tables. */
export interface Destination {
  readonly nodeId: number;
  /** The next hop by service (all that four bits can name); undefined while there is no path. */
  readonly next: (Neighbour | undefined)[];
  /** Another neighbour that reliable frames may be given, without a loop. */
  alternate: Neighbour | undefined;
  /** What bulk pays for either way behind its first link, and for the hops, in hops. */
  bulk: number;
  alternateBulk: number;
  /** µs, there and back by the reliable service's path; NO_COST where there is no path. */
  rtt: number;
  sequence: number;
  /** `sequence` when `takeUsed` last looked. */
  usedSequence: number;
}

/**
 * The forwarding tables of the day with next hops resolved to neighbours, so that a packet costs one prefix lookup.
 * Replaced as a whole by `install`; `resolve` again after a neighbour came or went.
 */
export class Routes {
  private tables: ForwardingTables | undefined;
  private byIndex: Destination[] = [];
  private readonly byId = new Map<number, Destination>();

  constructor(
    private readonly neighbours: ReadonlyMap<number, Neighbour>,
    readonly outside: Outside = NOTHING_OUTSIDE,
  ) {}

  install(tables: ForwardingTables): void {
    this.tables = tables;
    this.byIndex = Array.from({ length: tables.size }, (_, i) => this.destinationOf(tables.nodeId(i)));
    this.resolve();
  }

  /** Looks every next hop up anew. */
  resolve(): void {
    const { tables } = this;
    if (!tables) return;
    for (const destination of this.byId.values()) {
      destination.next.fill(undefined);
      destination.alternate = undefined;
    }
    this.byIndex.forEach((destination, i) => {
      for (let service = 0; service < SERVICES; service++)
        destination.next[service] = this.neighbours.get(tables.nextHop(i, service));
      destination.alternate = this.neighbours.get(tables.alternate(i));
      destination.bulk = tables.bulk(i);
      destination.alternateBulk = tables.alternateBulk(i);
      destination.rtt = tables.rtt(i);
    });
  }

  /** Index of the node that owns an IPv4 address; -1: nobody's, -2: within the overlay, but nobody's. */
  owner4(address: number): number {
    return this.tables ? this.tables.owner4(address) : -1;
  }

  owner6(w0: number, w1: number, w2: number, w3: number): number {
    return this.tables ? this.tables.owner6(w0, w1, w2, w3) : -1;
  }

  destination(nodeIndex: number): Destination {
    return this.byIndex[nodeIndex]!;
  }

  /** Node ids that frames of this node went to since the last call. */
  takeUsed(): number[] {
    const used: number[] = [];
    for (const destination of this.byId.values()) {
      if (destination.sequence === destination.usedSequence) continue;
      destination.usedSequence = destination.sequence;
      used.push(destination.nodeId);
    }
    return used;
  }

  /** The exit that carries this node's traffic to outside addresses; undefined unless its certificate lets it. */
  exit(): Destination | undefined {
    const { tables, outside } = this;
    const index = tables && outside.through !== 0 ? tables.indexOf(outside.through) : -1;
    return index >= 0 && tables!.isExit(index) ? this.byIndex[index] : undefined;
  }

  /** undefined for a node that the tables don't hold. */
  byNode(nodeId: number): Destination | undefined {
    const index = this.tables ? this.tables.indexOf(nodeId) : -1;
    return index < 0 ? undefined : this.byIndex[index];
  }

  /** A node's first overlay address of a family, four u32 words; undefined if it has none. */
  address(nodeId: number, version: number): ArrayLike<number> | undefined {
    const { tables } = this;
    const index = tables ? tables.indexOf(nodeId) : -1;
    if (!tables || index < 0) return undefined;
    if (version === 4) return tables.hasAddress4(index) ? [0, 0, 0xffff, tables.address4(index)] : undefined;
    if (!tables.hasAddress6(index)) return undefined;
    return ([0, 1, 2, 3] as const).map((word) => tables.address6(index, word));
  }

  /** Allocates; undefined for a node that the tables don't hold. */
  name(nodeId: number): string | undefined {
    const index = this.tables ? this.tables.indexOf(nodeId) : -1;
    return index < 0 ? undefined : this.tables!.name(index);
  }

  private destinationOf(nodeId: number): Destination {
    let destination = this.byId.get(nodeId);
    if (!destination) {
      const next = new Array<Neighbour | undefined>(SERVICES).fill(undefined);
      destination = {
        ...{ nodeId, next, alternate: undefined, bulk: 0, alternateBulk: 0 },
        ...{ rtt: NO_COST, sequence: 0, usedSequence: 0 },
      };
      this.byId.set(nodeId, destination);
    }
    return destination;
  }
}
