/** The routing table as the control socket shows it: each owner's prefixes, the way there by each service, and what the second best would be. */
import type { RouteStatus, RouteWay, WayStatus } from '../control/api.js';
import { METRICS } from '../overlay/route/metric.js';
import type { TableNode } from '../overlay/route/tables.js';
import type { RankedWay, Way } from '../overlay/route/ways.js';

/** By more than so much a path is longer, or loses more, than another: µs, share. */
const LONGER = 500;
const LOSES_MORE = 0.001;

/** `prefixes` gives a node's prefixes as texts. */
export function routeStatus(
  nodes: readonly TableNode[],
  self: number,
  prefixes: (node: TableNode) => readonly string[],
): RouteStatus[] {
  const names = new Map(nodes.map(({ certificate }) => [certificate.nodeId, certificate.name]));
  const nameOf = (id: number): string => names.get(id) ?? `#${id}`;
  return nodes.flatMap((node) => {
    const own = node.certificate.nodeId === self;
    const reached = own || node.ways[0].nextHop !== 0;
    const { nextHop, hops, cost } = node.ways[0];
    const rest = {
      owner: node.certificate.name,
      via: own || !reached ? null : nameOf(nextHop),
      hops: reached ? hops : null,
      costMicros: reached ? cost : null,
      ways: own || !reached ? [] : node.ways.map((way, metric) => routeWay(way, METRICS[metric], nameOf)),
    };
    return prefixes(node).map((prefix) => ({ prefix, ...rest }));
  });
}

function routeWay(way: RankedWay, service: RouteWay['service'], nameOf: (id: number) => string): RouteWay {
  const { second, isLoopFree } = way;
  return {
    service,
    ...wayStatus(way, nameOf),
    second: second === undefined ? null : { ...wayStatus(second, nameOf), loopFree: isLoopFree },
    why: reasonFor(way),
  };
}

function wayStatus(
  { nextHop, hops, cost, rtt, loss, price }: Way,
  nameOf: (id: number) => string,
): WayStatus {
  return { via: nameOf(nextHop), hops, costMicros: cost, rttMicros: rtt, loss, price };
}

/** What is worse about the second best. */
function reasonFor({ second, cost, rtt, loss, hops }: RankedWay): string {
  if (second === undefined) return 'the only way';
  const reasons: string[] = [];
  const longer = second.rtt - rtt;
  if (second.loss - loss > LOSES_MORE)
    reasons.push(`loses ${percent(second.loss)} instead of ${percent(loss)}`);
  if (longer > LONGER) reasons.push(`is ${(longer / 1000).toFixed(1)} ms longer`);
  if (second.hops > hops)
    reasons.push(`has ${second.hops - hops} more ${second.hops - hops === 1 ? 'hop' : 'hops'}`);
  if (reasons.length === 0)
    return second.cost === cost ? 'as good as the second' : 'a little better than the second';
  return `the second ${reasons.join(', ')}`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
