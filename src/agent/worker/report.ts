/** What the worker tells of its links and flows. */
import type { ArrivedFlows } from '../../overlay/egress/arrived-flows.js';
import type { FlowOrder } from '../../overlay/egress/flow-order.js';
import type { Hop } from '../../overlay/forward/hops.js';
import type { Inbound } from '../../overlay/link/inbound.js';
import type { Outbound } from '../../overlay/link/outbound.js';
import { SERVICE_RELIABLE } from '../../overlay/wire/routed.js';
import { readEndpoint } from '../endpoint.js';
import type { IncomingFlowReport, LinkRecovery, LinkReport, LossReport } from '../messages.js';
import type { NeighbourEntry } from './neighbours.js';

/** `endpoints`: the socket's. */
export function linkReport(now: number, neighbour: NeighbourEntry, endpoints: Uint32Array): LinkReport {
  const { nodeId, name, up, slot, link, since, cipher, sessionSince, hop, quality } = neighbour;
  return {
    peer: nodeId,
    name,
    state: up ? 'up' : 'down',
    endpoint: readEndpoint(endpoints, slot),
    paths: neighbour.paths.report(now),
    rttMicros: link.rtt,
    baseRttMicros: link.baseRtt,
    sinceMicros: now - since,
    datagramMax: link.isBlocked ? null : link.datagramMax,
    health: quality.health.state,
    healthMicros: now - quality.health.since,
    lossOut: quality.loss,
    lossIn: quality.lossFromPeer,
    cipher,
    sessionAgeMicros: now - sessionSince,
    packetsSent: neighbour.packetsSent,
    bytesSent: neighbour.bytesSent,
    packetsReceived: neighbour.packetsReceived,
    bytesReceived: neighbour.bytesReceived,
    ...(hop && { recovery: linkRecovery(hop) }),
  };
}

function linkRecovery({ outbound, inbound }: Hop): LinkRecovery {
  const { stats, congestion, queue } = outbound;
  return {
    out: outgoingLoss(outbound),
    in: incomingLoss(inbound),
    lost: stats.lost,
    retransmissions: stats.retransmitted,
    spurious: stats.spurious,
    copies: stats.copies,
    parity: stats.parity,
    repaired: inbound.realtime.repairedCount,
    marks: stats.marked,
    drops: stats.dropped,
    expired: stats.expired,
    acksRefused: stats.acksRejected,
    queueMicros: queue.lastSojourn,
    queuePackets: queue.packets,
    queueBytes: queue.bytes,
    underlayQueueMicros: congestion.queueDelay,
    windowBytes: congestion.window,
    inFlightBytes: outbound.bytesInFlight,
    bytesPerSecond: congestion.rate * 1e6,
    mode: congestion.mode,
  };
}

/** As the peer reports it, of the class that fares worse. */
function outgoingLoss({ stats, reliableLoss, realtimeLoss }: Outbound): LossReport {
  const { loss, burst } = reliableLoss.loss > realtimeLoss.loss ? reliableLoss : realtimeLoss;
  const frames = stats.sent + stats.expired;
  return { before: loss, after: frames === 0 ? 0 : stats.expired / frames, burst: loss === 0 ? 0 : burst };
}

/** As this end counted it, since its peer's numbers began. What never came in the end only the peer knows. */
function incomingLoss({ reliable, realtime }: Inbound): LossReport {
  const expected = reliable.meter.expected + realtime.meter.expected;
  const lost = reliable.meter.lost + realtime.meter.lost;
  const runs = reliable.meter.runs + realtime.meter.runs;
  return { before: expected === 0 ? 0 : lost / expected, after: null, burst: runs === 0 ? 0 : lost / runs };
}

/** `limit` of the flows that had a packet in the last `idle` µs, the newest first. Of reliable ones `order` knows more. */
export function incomingFlows(
  now: number,
  order: FlowOrder,
  arrived: ArrivedFlows,
  idle: number,
  limit: number,
): IncomingFlowReport[] {
  const ordered = order.flows().map((flow) => ({
    ...flow,
    label: flow.flow,
    service: SERVICE_RELIABLE,
    tuple: arrived.tuple(flow.source, flow.flow),
  }));
  const others = arrived
    .list()
    .filter(({ service }) => service !== SERVICE_RELIABLE)
    .map((flow) => ({ ...flow, reordered: 0, skipped: 0, held: 0 }));
  return [...ordered, ...others]
    .filter(({ lastAt }) => now - lastAt <= idle)
    .sort((a, b) => b.lastAt - a.lastAt)
    .slice(0, limit)
    .map(({ source, label, service, tuple, delivered, reordered, skipped, duplicates, held, lastAt }) => ({
      node: source,
      label,
      service,
      ...(tuple && { tuple }),
      delivered,
      reordered,
      skipped,
      duplicates,
      held,
      idleMicros: now - lastAt,
    }));
}
