/**
 * The links that this node's redundant flows take, by destination. One `Redundancy` per agent, on the main thread: sets are made for destinations that the
 * forwarding worker asked for, and made again when the links change. It opens nothing and reads no clock. All times in µs.
 *
 *   want ─┐
 *         ├─► run: trouble.ts ─► dissemination.ts ─► source routes, whole
 * update ─┘
 */
import { chooseSet, type LinkGraph, type SetKind } from './dissemination.js';
import { linkCost } from './metric.js';
import { reach, rowsOf } from './reach.js';
import { type LinkState, type MeasuredLinks, Troubles } from './trouble.js';
import { encodeSourceRoute, type SourceRoute } from '../wire/source-route.js';

export interface RedundantSet {
  readonly nodeId: number;
  readonly kind: SetKind;
  /** Pairs of node ids. */
  readonly edges: readonly (readonly [number, number])[];
  /** What goes in front of packets; absent where there are no two ways. */
  readonly route?: SourceRoute;
}

/** Fixed by the published scheme: one way, packets are to be there within so much, or twice the shortest path's time where that is longer. */
const DEADLINE = 65_000;
const DEADLINE_RATIO = 2;
/** Tuned. Destinations that sets are made for, and how long after the last wish. */
const DESTINATIONS_MAX = 256;
const KEEP = 90_000_000;
/** A run's time for a link and destination, at most; runs take no more than a tenth of the time. */
const RUN_COST = 1;
const RUN_SHARE = 10;

export class Redundancy {
  /** As of the last run, by destination. */
  readonly sets = new Map<number, RedundantSet>();
  private readonly wanted = new Map<number, number>();
  private readonly troubles = new Troubles();
  private known: MeasuredLinks | undefined;
  private dueAt = Infinity;
  private lastRun = -Infinity;
  private published = '';

  constructor(private readonly self: number) {}

  /** Packets of a redundant flow go to `nodeId`: to be said again while they do. */
  want(now: number, nodeId: number): void {
    if (nodeId === this.self) return;
    const isNew = !this.wanted.has(nodeId);
    if (isNew && this.wanted.size >= DESTINATIONS_MAX) return;
    this.wanted.set(nodeId, now);
    if (isNew) this.schedule(now);
  }

  /** The links changed. */
  update(now: number, known: MeasuredLinks): void {
    this.known = known;
    this.troubles.update(now, known);
    if (this.wanted.size > 0) this.schedule(now);
  }

  /** When `timeout` is to be called; Infinity for never. */
  nextTimeout(): number {
    return this.dueAt;
  }

  /** Makes the sets that are due. All of them where any changed; undefined where none did. Safe to call early. */
  timeout(now: number): RedundantSet[] | undefined {
    if (now < this.dueAt) return undefined;
    for (const [nodeId, at] of this.wanted) if (now - at > KEEP) this.wanted.delete(nodeId);
    if (this.known) this.run(now, this.known);
    this.lastRun = now;
    this.dueAt = this.wanted.size === 0 ? Infinity : Math.min(now + KEEP, this.troubles.nextEnd(now));
    const all = [...this.sets.values()];
    const key = JSON.stringify(all.map(({ nodeId, kind, edges }) => [nodeId, kind, edges]));
    if (key === this.published) return undefined;
    this.published = key;
    return all;
  }

  private schedule(now: number): void {
    const cost = RUN_COST * (this.known?.targets.length ?? 0) * this.wanted.size;
    this.dueAt = Math.min(this.dueAt, Math.max(now, this.lastRun + RUN_SHARE * cost));
  }

  private run(now: number, known: MeasuredLinks): void {
    const { ids } = known;
    this.troubles.update(now, known);
    this.sets.clear();
    const source = ids.indexOf(this.self);
    if (this.wanted.size === 0 || source < 0) return;
    const graph = graphOf(ids, this.troubles.states());
    const shortest = reach(graph, graph.base, new Map([[source, 0]])).distance;
    const sourceInTrouble = this.troubles.isInTrouble(now, this.self, 'source');
    for (const nodeId of this.wanted.keys()) {
      const destination = ids.indexOf(nodeId);
      if (destination < 0) continue;
      const { kind, edges } = chooseSet(graph, {
        source,
        destination,
        deadline: Math.max(DEADLINE, DEADLINE_RATIO * shortest[destination]),
        sourceInTrouble,
        destinationInTrouble: this.troubles.isInTrouble(now, nodeId, 'destination'),
      });
      const named = edges.map(([from, to]) => [ids[from], ids[to]] as const);
      const route = kind === 'single' ? undefined : encodeSourceRoute(this.self, nodeId, named);
      this.sets.set(nodeId, { nodeId, kind, edges: named, ...(route && { route }) });
    }
  }
}

/** Of links between nodes `ids`. */
function graphOf(ids: Uint32Array, states: readonly LinkState[]): LinkGraph {
  const index = new Map(Array.from(ids, (nodeId, i) => [nodeId, i]));
  const links = states.filter(({ from, to }) => index.has(from) && index.has(to));
  const { edges, order } = rowsOf(
    ids.length,
    links.map(({ from, to }) => [index.get(from)!, index.get(to)!] as const),
  );
  const each = Array.from(order, (i) => links[i]);
  return {
    ...edges,
    base: Float64Array.from(each, ({ base }) => linkCost('realtime', base / 2, 0)),
    expected: Float64Array.from(each, ({ rtt, loss, isGone }) =>
      isGone ? Infinity : linkCost('realtime', rtt / 2, loss),
    ),
  };
}
