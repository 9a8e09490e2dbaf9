import { clean } from '../../src/overlay/route/measure.js';
import { METRICS } from '../../src/overlay/route/metric.js';
import type { Link } from '../../src/overlay/route/record.js';
import type { Way } from '../../src/overlay/route/tables.js';

/** The same way by every metric, over links that lose nothing. */
export function sameWays(nextHop: number, cost: number, hops: number, rtt = 2 * cost): Way[] {
  return METRICS.map(() => ({ nextHop, cost, hops, rtt, loss: 0 }));
}

export function cleanLink(neighbour: number, rtt: number): Link {
  return { neighbour, ...clean(rtt) };
}
