import { FROM_SOURCE, readOnward, SOURCE_ROUTE_EDGES_MAX, type SourceRoute } from '../wire/source-route.js';
import type { Neighbour } from './neighbour.js';

/** µs between two wishes for one destination. */
const ASK_AGAIN = 30_000_000;

/** How this node's redundant packets for a destination begin. */
export interface OwnRoute extends SourceRoute {
  /** Node ids of the neighbours that they go to first. */
  readonly first: Uint32Array;
}

/** A source route for a destination. */
export interface RouteTo extends SourceRoute {
  readonly nodeId: number;
}

/**
 * The source routes of this node's redundant flows, by destination. They are made on the main thread for destinations that are asked for, so that a
 * destination's first packets find none.
 */
export class SourceRoutes {
  private routes = new Map<number, OwnRoute>();
  private readonly asked = new Map<number, number>();
  private readonly onward = new Uint32Array(SOURCE_ROUTE_EDGES_MAX);

  constructor(
    private readonly neighbours: ReadonlyMap<number, Neighbour>,
    private readonly ask: (nodeId: number) => void,
  ) {}

  /** Replaces all of them. */
  install(routes: readonly RouteTo[]): void {
    this.routes = new Map(
      routes.map(({ nodeId, counts, list }) => [
        nodeId,
        { counts, list, first: this.firstOf(list, counts, nodeId) },
      ]),
    );
  }

  /** The route to a node by which at least one neighbour can be reached, now or soon. */
  find(now: number, nodeId: number): OwnRoute | undefined {
    if (now - (this.asked.get(nodeId) ?? -Infinity) >= ASK_AGAIN) {
      this.asked.set(nodeId, now);
      this.ask(nodeId);
    }
    const route = this.routes.get(nodeId);
    return route && this.isOpen(route) ? route : undefined;
  }

  private isOpen({ first }: OwnRoute): boolean {
    for (const id of first) if (this.neighbours.get(id)?.up) return true;
    return false;
  }

  private firstOf(list: Uint8Array, counts: number, nodeId: number): Uint32Array {
    const view = new DataView(list.buffer, list.byteOffset, list.length);
    const n = readOnward(view, 0, counts, FROM_SOURCE, nodeId, this.onward);
    return this.onward.slice(0, n);
  }
}
