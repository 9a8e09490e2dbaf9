/**
 * The time between a node's farewell and its end: it goes on relaying until the others go round it. They need a flood and a shortest-path run for that, which in a large mesh
 * may have to wait for the one before; what is relayed says when they have done it.
 */

/** All in ms, tuned. The least that is waited, how long nothing must have been relayed, and the most. */
const LEAST = 150;
const QUIET = 50;
const MOST = 600;

export interface Relay {
  /** Packets relayed so far; rejects where nobody knows. */
  relayed: () => Promise<number>;
  sleep: (ms: number) => Promise<void>;
}

/** Resolves when nothing passes this node any more, or when it has been waited for long enough. */
export async function awaitDetours({ relayed, sleep }: Relay): Promise<void> {
  let before = await relayed();
  for (let waited = QUIET; waited <= MOST; waited += QUIET) {
    await sleep(QUIET);
    const now = await relayed();
    if (now === before && waited >= LEAST) return;
    before = now;
  }
}
