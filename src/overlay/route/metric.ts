/**
 * What a link costs, by service: µs that a packet is expected to take over it. All nodes count alike, since every relay chooses the next hop by
 * the frame's service; every metric counts loss, and is never less than the link's delay.
 */

/** Services by their numbers on the wire; those that the list doesn't hold go by the first metric. */
export const METRICS = ['best-effort', 'reliable', 'realtime'] as const;
export type Metric = (typeof METRICS)[number];
/** Which metric a service goes by: redundant goes by realtime's. */
const METRIC_OF_SERVICE = [0, 1, 2, 2] as const;

/** What a relay adds to a path, µs. Tuned. */
export const HOP_COST = 100;
/** A loss that nobody on the way repairs costs the application so much, µs: about what TCP waits at least before it sends again. Tuned. */
const UNREPAIRED = 500_000;
/** From a loss to the request for what is missing, µs (references: realtime recovery). */
const REQUEST_GAP = 10_000;
/** A packet lost for good counts as this late, µs (likewise). */
const LOST = 600_000;
/** Packets of a flow that come while one is recovered, and wait for it. Tuned. */
const WAITING = 16;

/** Index into METRICS. */
export function metricOf(service: number): number {
  return METRIC_OF_SERVICE[service] ?? 0;
}

/** `delay`: one way, µs. `loss`: 0 … 1. */
export function linkCost(metric: Metric, delay: number, loss: number): number {
  return HOP_COST + COSTS[metric](delay, loss);
}

const COSTS: Record<Metric, (delay: number, loss: number) => number> = {
  'best-effort': (delay, loss) => delay + loss * UNREPAIRED,
  reliable: reliableCost,
  realtime: realtimeCost,
};

/**
 * A lost packet comes one recovery later, or two …; those behind it in the same flow wait for it, half a recovery in the mean. Packets pass relays
 * out of order, so a hop's recovery delays the flow once, at the exit.
 */
function reliableCost(delay: number, loss: number): number {
  const arrives = Math.max(1 - loss, 0.001);
  const recovery = (2 * delay + REQUEST_GAP) / arrives;
  const behind = 1 - arrives ** WAITING;
  return delay + recovery * (loss + (arrives * behind) / 2);
}

/** Expected latency with one request and one retransmission: (1−p)·T + (p−2p²+p³)·(3T+Δ) + (2p²−p³)·Tmax. */
function realtimeCost(delay: number, loss: number): number {
  const late = 3 * delay + REQUEST_GAP;
  const square = loss * loss;
  const cube = square * loss;
  return (1 - loss) * delay + (loss - 2 * square + cube) * late + (2 * square - cube) * Math.max(LOST, late);
}
