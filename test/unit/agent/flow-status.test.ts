import { describe, expect, test } from 'vitest';
import {
  incomingFlows,
  outgoingFlow,
  type RedundancyTo,
  type WayTo,
} from '../../../src/agent/flow-status.js';
import type { IncomingFlowReport } from '../../../src/agent/messages.js';
import {
  type FlowReport,
  type FlowTuple,
  SERVICE_DROPPED,
  SERVICE_UNDECIDED,
} from '../../../src/intercept/flow-cache.js';
import { flowHash, PacketInfo } from '../../../src/intercept/packet.js';
import {
  ORIGIN_DSCP,
  ORIGIN_RULE,
  SERVICE_REALTIME,
  SERVICE_REDUNDANT,
} from '../../../src/intercept/services.js';

const wayTo: WayTo = (id) => ({ name: `node${id}`, via: 'b', hops: 2 });

const redundancyTo: RedundancyTo = (id) => ({ kind: 'disjoint', edges: [['a', `node${id}`]] });

const TUPLE: FlowTuple = {
  version: 4,
  protocol: 17,
  source: [0, 0, 0xffff, 0xca4d_0001],
  destination: [0, 0, 0xffff, 0x0a4d_0003],
  sourcePort: 5004,
  destinationPort: 5005,
};

const REPORT: FlowReport = {
  tuple: TUPLE,
  label: 1,
  node: 3,
  service: SERVICE_REALTIME,
  origin: ORIGIN_DSCP,
  rule: -1,
  packets: 4,
  bytes: 4000,
  bytesPerSecond: 1000,
  ageMicros: 4_000_000,
  idleMicros: 500_000,
  detour: 0,
  retransmissions: 1,
  copies: 2,
};

describe('an outgoing flow', () => {
  test('has its ends as text and its node, way and service by name', () => {
    expect(outgoingFlow(REPORT, wayTo, redundancyTo)).toEqual({
      direction: 'out',
      protocol: 'udp',
      source: '202.77.0.1',
      sourcePort: 5004,
      destination: '10.77.0.3',
      destinationPort: 5005,
      node: 'node3',
      via: 'b',
      hops: 2,
      service: 'realtime',
      why: 'dscp',
      rule: null,
      packets: 4,
      bytes: 4000,
      bytesPerSecond: 1000,
      ageSeconds: 4,
      idleSeconds: 0.5,
      retransmissions: 1,
      copies: 2,
      redundancy: null,
    });
  });

  test('that is redundant says which links it takes', () => {
    expect(outgoingFlow({ ...REPORT, service: SERVICE_REDUNDANT }, wayTo, redundancyTo).redundancy).toEqual({
      kind: 'disjoint',
      edges: [['a', 'node3']],
    });
  });

  test('of a protocol without a name or ports has a number and none', () => {
    const tuple = { ...TUPLE, version: 6, protocol: 89, sourcePort: 0, destinationPort: 0 };
    const six = { ...tuple, source: [0xfd77_0000, 0, 0, 1], destination: [0xfd77_0000, 0, 0, 2] };
    expect(outgoingFlow({ ...REPORT, tuple: six }, wayTo, redundancyTo)).toMatchObject({
      protocol: '89',
      source: 'fd77::1',
      sourcePort: null,
      destination: 'fd77::2',
      destinationPort: null,
    });
  });

  test('that is dropped says by which rule, and one that is undecided says nothing', () => {
    const dropped = { ...REPORT, service: SERVICE_DROPPED, origin: ORIGIN_RULE, rule: 2 };
    expect(outgoingFlow(dropped, wayTo, redundancyTo)).toMatchObject({
      service: 'dropped',
      why: 'rule',
      rule: 2,
    });
    const undecided = { ...REPORT, service: SERVICE_UNDECIDED, origin: ORIGIN_RULE, rule: 2 };
    expect(outgoingFlow(undecided, wayTo, redundancyTo)).toMatchObject({
      service: null,
      why: null,
      rule: null,
    });
  });
});

describe('an incoming flow', () => {
  const incoming: IncomingFlowReport = {
    node: 3,
    label: 0,
    service: 1,
    delivered: 9,
    reordered: 3,
    skipped: 1,
    duplicates: 2,
    held: 0,
    idleMicros: 1000,
  };
  const back: FlowTuple = {
    ...TUPLE,
    source: TUPLE.destination,
    destination: TUPLE.source,
    sourcePort: TUPLE.destinationPort,
    destinationPort: TUPLE.sourcePort,
  };
  const label = flowHash(
    Object.assign(new PacketInfo(), {
      version: 4,
      protocol: 17,
      src2: 0xffff,
      src3: back.source[3],
      dst2: 0xffff,
      dst3: back.destination[3],
      sourcePort: back.sourcePort,
      destinationPort: back.destinationPort,
    }),
  );

  test('is named after the flow that this node sends back', () => {
    expect(incomingFlows([{ ...incoming, label }], [REPORT], wayTo)).toEqual([
      {
        direction: 'in',
        protocol: 'udp',
        source: '10.77.0.3',
        sourcePort: 5005,
        destination: '202.77.0.1',
        destinationPort: 5004,
        node: 'node3',
        service: 'reliable',
        delivered: 9,
        reordered: 3,
        skipped: 1,
        duplicates: 2,
        held: 0,
        idleSeconds: 0.001,
      },
    ]);
  });

  test('of another node, or of another label, is not', () => {
    for (const other of [
      { node: 4, label },
      { node: 3, label: label ^ 1 },
    ]) {
      const [flow] = incomingFlows([{ ...incoming, ...other }], [REPORT], wayTo);
      expect(flow).toMatchObject({ protocol: null, source: null, sourcePort: null, delivered: 9 });
    }
  });

  test('that the exit knows is what the exit says', () => {
    expect(incomingFlows([{ ...incoming, tuple: TUPLE }], [], wayTo)[0].source).toBe('202.77.0.1');
  });
});
