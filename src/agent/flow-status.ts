/** The worker's flows as the control socket shows them: addresses as text, nodes and services by name. */
import type { FlowEnds, FlowRedundancy, IncomingFlow, OutgoingFlow } from '../control/api.js';
import {
  type FlowReport,
  type FlowTuple,
  SERVICE_DROPPED,
  SERVICE_REJECTED,
  SERVICE_UNDECIDED,
} from '../intercept/flow-cache.js';
import { flowHash, PacketInfo } from '../intercept/packet.js';
import { ORIGIN_NAMES, SERVICE_NAMES, SERVICE_REDUNDANT } from '../intercept/services.js';
import { PROTOCOL_NAMES } from './config/protocols.js';
import { formatAddress } from '../io/address.js';
import type { IncomingFlowReport } from './messages.js';

/** A node's name and the way to it, by its id, for frames of a service. */
export type WayTo = (
  nodeId: number,
  service: number,
) => { name: string; via: string | null; hops: number | null };

const UNKNOWN: FlowEnds = {
  protocol: null,
  source: null,
  sourcePort: null,
  destination: null,
  destinationPort: null,
};

/** The links that redundant flows to a node take, where it is known. */
export type RedundancyTo = (nodeId: number) => FlowRedundancy;

export function outgoingFlow(report: FlowReport, wayTo: WayTo, redundancyTo: RedundancyTo): OutgoingFlow {
  const { service, origin, rule, packets, bytes, bytesPerSecond, retransmissions, copies } = report;
  const { name: node, via, hops } = wayTo(report.node, service);
  const undecided = service === SERVICE_UNDECIDED;
  const refused = service === SERVICE_DROPPED || service === SERVICE_REJECTED;
  return {
    direction: 'out',
    ...ends(report.tuple),
    node,
    via: report.detour === 0 || via === null ? via : wayTo(report.detour, service).name,
    hops,
    service: undecided ? null : refused ? 'dropped' : SERVICE_NAMES[service],
    why: undecided ? null : ORIGIN_NAMES[origin],
    rule: undecided || rule < 0 ? null : rule,
    packets,
    bytes,
    bytesPerSecond,
    ageSeconds: report.ageMicros / 1e6,
    idleSeconds: report.idleMicros / 1e6,
    retransmissions,
    copies,
    redundancy: service === SERVICE_REDUNDANT ? redundancyTo(report.node) : null,
  };
}

/**
 * An exit knows a flow by its source node and label alone. Where this node sends back, the label is that of the reverse of what
 * it sends.
 */
export function incomingFlows(
  reports: readonly IncomingFlowReport[],
  outgoing: readonly FlowReport[],
  wayTo: WayTo,
): IncomingFlow[] {
  const key = (node: number, label: number) => `${node} ${label}`;
  const known = new Map(outgoing.map(({ node, tuple }) => [key(node, labelOf(reverse(tuple))), tuple]));
  return reports.map((report) => {
    const back = known.get(key(report.node, report.label));
    const tuple = report.tuple ?? (back && reverse(back));
    const { delivered, reordered, skipped, duplicates, held } = report;
    return {
      direction: 'in',
      ...(tuple ? ends(tuple) : UNKNOWN),
      node: wayTo(report.node, report.service).name,
      service: SERVICE_NAMES[report.service],
      delivered,
      reordered,
      skipped,
      duplicates,
      held,
      idleSeconds: report.idleMicros / 1e6,
    };
  });
}

function ends({ protocol, source, sourcePort, destination, destinationPort }: FlowTuple): FlowEnds {
  const ported = sourcePort !== 0 || destinationPort !== 0;
  return {
    protocol: PROTOCOL_NAMES.get(protocol) ?? String(protocol),
    source: text(source),
    sourcePort: ported ? sourcePort : null,
    destination: text(destination),
    destinationPort: ported ? destinationPort : null,
  };
}

function text(words: readonly number[]): string {
  const view = new DataView(new ArrayBuffer(16));
  words.forEach((word, i) => view.setUint32(4 * i, word));
  return formatAddress(new Uint8Array(view.buffer));
}

function reverse({
  version,
  protocol,
  source,
  destination,
  sourcePort,
  destinationPort,
}: FlowTuple): FlowTuple {
  return {
    version,
    protocol,
    source: destination,
    destination: source,
    sourcePort: destinationPort,
    destinationPort: sourcePort,
  };
}

function labelOf(tuple: FlowTuple): number {
  const info = new PacketInfo();
  [info.src0, info.src1, info.src2, info.src3] = tuple.source;
  [info.dst0, info.dst1, info.dst2, info.dst3] = tuple.destination;
  const { version, protocol, sourcePort, destinationPort } = tuple;
  return flowHash(Object.assign(info, { version, protocol, sourcePort, destinationPort }));
}
