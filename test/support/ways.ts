import { clean } from '../../src/overlay/route/measure.js';
import { METRICS } from '../../src/overlay/route/metric.js';
import type { Link } from '../../src/overlay/route/record.js';
import type { RankedWay } from '../../src/overlay/route/ways.js';

/** The same way by every metric, over links that lose nothing. */
export function sameWays(nextHop: number, cost: number, hops: number, rtt = 2 * cost): RankedWay[] {
  const way = { nextHop, cost, hops, rtt, loss: 0, price: 0, second: undefined, isLoopFree: false };
  return METRICS.map(() => way);
}

export function cleanLink(neighbour: number, rtt: number): Link {
  return { neighbour, ...clean(rtt) };
}
