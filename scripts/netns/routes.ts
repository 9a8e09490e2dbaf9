/** Shortest paths over the underlay: least delay first, then fewest links, then the order of the file. */

export interface Edge {
  readonly ends: readonly [string, string];
  readonly delayMs: number;
}

interface Reached {
  readonly delayMs: number;
  readonly hops: number;
  readonly path: readonly string[];
}

/** The paths from `from`, its own name first, to every node that it can reach through nodes that `relays` allows. */
export function shortestPaths(
  from: string,
  edges: readonly Edge[],
  relays: (node: string) => boolean,
): ReadonlyMap<string, readonly string[]> {
  const open = new Map<string, Reached>([[from, { delayMs: 0, hops: 0, path: [from] }]]);
  const done = new Map<string, readonly string[]>();
  for (let next = nearest(open); next !== undefined; next = nearest(open)) {
    const [name, reached] = next;
    open.delete(name);
    done.set(name, reached.path);
    if (name !== from && !relays(name)) continue;
    for (const edge of edges) {
      const [a, b] = edge.ends;
      if (a !== name && b !== name) continue;
      const far = a === name ? b : a;
      const step = {
        delayMs: reached.delayMs + edge.delayMs,
        hops: reached.hops + 1,
        path: [...reached.path, far],
      };
      const known = open.get(far);
      if (!done.has(far) && (known === undefined || shorter(step, known))) open.set(far, step);
    }
  }
  return done;
}

function nearest(open: ReadonlyMap<string, Reached>): [string, Reached] | undefined {
  let best: [string, Reached] | undefined;
  for (const entry of open) if (best === undefined || shorter(entry[1], best[1])) best = entry;
  return best;
}

const shorter = (a: Reached, b: Reached): boolean =>
  a.delayMs !== b.delayMs ? a.delayMs < b.delayMs : a.hops < b.hops;
