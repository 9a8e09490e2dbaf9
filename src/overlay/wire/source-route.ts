/**
 * The list of links that a source-routed frame is to take, which travels behind the routed header (flag 0x10). Runs per packet: fields are read
 * in place and nothing is allocated. Call `checkSourceRoute` once, with the frame; after that the readers need no check.
 *
 * The counts stand where other frames have their distance:
 * +---------------+---------------+
 * |   nodes (n)   |   edges (e)   |
 * +---------------+---------------+
 *
 * The list, behind the header:
 * +---------------------------------------------------------------+
 * |                node id, n of them (index 2 … n+1)             |
 * +-------+-------+-----------------------------------------------+
 * | from  |  to   |  e bytes, two indices each …
 * +-------+-------+
 *
 * Index 0 is the frame's source, 1 its destination. No edge leads to the source or leaves the destination.
 */

/** Fixed by the wire: the nodes that an index of four bits can name, less source and destination; and the design's limit. */
export const SOURCE_ROUTE_NODES_MAX = 14;
export const SOURCE_ROUTE_EDGES_MAX = 24;
const NODE_SIZE = 4;
/** Most bytes that the list takes. */
export const SOURCE_ROUTE_MAX = NODE_SIZE * SOURCE_ROUTE_NODES_MAX + SOURCE_ROUTE_EDGES_MAX;

const SOURCE_INDEX = 0;
const DESTINATION_INDEX = 1;
const FIRST_LISTED = 2;

/** A route as its source puts it in front of packets: `counts` into the header, `list` behind it. */
export interface SourceRoute {
  readonly counts: number;
  readonly list: Uint8Array;
}

/** Bytes of the list, given the header's counts. */
export function sourceRouteSize(counts: number): number {
  return NODE_SIZE * (counts >>> 8) + (counts & 0xff);
}

/** Whether `counts` and the list at `at`, with at most `room` bytes, are possible. */
export function checkSourceRoute(view: DataView, at: number, room: number, counts: number): boolean {
  const nodes = counts >>> 8;
  const edges = counts & 0xff;
  if (nodes > SOURCE_ROUTE_NODES_MAX || edges === 0 || edges > SOURCE_ROUTE_EDGES_MAX) return false;
  if (sourceRouteSize(counts) > room) return false;
  const first = at + NODE_SIZE * nodes;
  for (let k = 0; k < edges; k++) {
    const edge = view.getUint8(first + k);
    const from = edge >>> 4;
    const to = edge & 15;
    if (from === to || from === DESTINATION_INDEX || to === SOURCE_INDEX) return false;
    if (from >= FIRST_LISTED + nodes || to >= FIRST_LISTED + nodes) return false;
  }
  return true;
}

/** The index of a node that is neither source nor destination; -1: the list doesn't name it. */
export function findListed(view: DataView, at: number, counts: number, nodeId: number): number {
  const nodes = counts >>> 8;
  for (let k = 0; k < nodes; k++) {
    if (view.getUint32(at + NODE_SIZE * k) === nodeId) return FIRST_LISTED + k;
  }
  return -1;
}

/** The source's own index. */
export const FROM_SOURCE = SOURCE_INDEX;

/**
 * Writes the ids of the nodes that edges lead to from node `index` to `into`, which holds SOURCE_ROUTE_EDGES_MAX; returns how many. `destination`: the
 * frame's.
 */
export function readOnward(
  view: DataView,
  at: number,
  counts: number,
  index: number,
  destination: number,
  into: Uint32Array,
): number {
  const first = at + NODE_SIZE * (counts >>> 8);
  const edges = counts & 0xff;
  let n = 0;
  for (let k = 0; k < edges; k++) {
    const edge = view.getUint8(first + k);
    if (edge >>> 4 !== index) continue;
    const to = edge & 15;
    into[n++] = to === DESTINATION_INDEX ? destination : view.getUint32(at + NODE_SIZE * (to - FIRST_LISTED));
  }
  return n;
}

/**
 * Encodes edges, pairs of node ids; undefined where there are too many edges or nodes, or none. What `checkSourceRoute` refuses (an edge to the source, from the
 * destination, or from a node to itself) isn't to be asked for.
 */
export function encodeSourceRoute(
  source: number,
  destination: number,
  edges: readonly (readonly [number, number])[],
): SourceRoute | undefined {
  const index = new Map([
    [source, SOURCE_INDEX],
    [destination, DESTINATION_INDEX],
  ]);
  for (const id of edges.flat()) if (!index.has(id)) index.set(id, index.size);
  const nodes = index.size - FIRST_LISTED;
  const isPossible =
    edges.length > 0 && edges.length <= SOURCE_ROUTE_EDGES_MAX && nodes <= SOURCE_ROUTE_NODES_MAX;
  if (!isPossible) return undefined;
  const list = new Uint8Array(NODE_SIZE * nodes + edges.length);
  const view = new DataView(list.buffer);
  [...index.keys()].slice(FIRST_LISTED).forEach((id, k) => view.setUint32(NODE_SIZE * k, id));
  edges.forEach(([from, to], k) =>
    view.setUint8(NODE_SIZE * nodes + k, (index.get(from)! << 4) | index.get(to)!),
  );
  return { counts: (nodes << 8) | edges.length, list };
}

/** The edges of a route as pairs of node ids: for whoever shows them. Allocates. */
export function decodeSourceRoute(
  view: DataView,
  at: number,
  counts: number,
  source: number,
  destination: number,
): [number, number][] {
  const nodes = counts >>> 8;
  const ids = [source, destination];
  for (let k = 0; k < nodes; k++) ids.push(view.getUint32(at + NODE_SIZE * k));
  return Array.from({ length: counts & 0xff }, (_, k) => {
    const edge = view.getUint8(at + NODE_SIZE * nodes + k);
    return [ids[edge >>> 4]!, ids[edge & 15]!];
  });
}
