/** An agent of fixed answers, for what talks to agents. */
import type {
  AgentApi,
  CaptureRequest,
  FlowSetRequest,
  FlowsRequest,
  FlowStatus,
  LinkRecovery,
  PingEvent,
  PingRequest,
  Status,
} from '../../../src/control/index.js';
import {
  encodeInterface,
  encodePacket,
  encodeSection,
  encodeStatistics,
} from '../../../src/capture/pcapng.js';
import { ApiError } from '../../../src/control/index.js';

const traffic = (packets: number) => ({ packets, bytes: packets * 100 });

export const STATUS: Status = {
  ready: true,
  node: 'a',
  nodeId: 0x12,
  version: '0.1.0',
  pid: 0x7fff_ffff, // no process has it
  uptimeSeconds: 3725,
  configFile: '/etc/causeway/a.yaml',
  addresses: ['10.77.0.1', 'fd77::1'],
  overlay: ['10.77.0.0/16', 'fd77::/48'],
  tun: { name: 'cw0', mtu: 1380, features: { vnetHeader: true, tso: true, uso: false } },
  listen: { host: '::', port: 7100, features: { gso: true, receiveBuffer: 4096 } },
  io: { kind: 'native', engine: 'test' },
  certificate: { notAfter: '2027-01-01T00:00:00Z', secondsLeft: 86_400 * 20 },
  peers: { configured: 2, connected: 1 },
  counters: {
    tunIn: traffic(1),
    tunOut: traffic(2),
    udpIn: traffic(3),
    udpOut: traffic(4),
    direct: traffic(6),
    relayed: traffic(5),
    drops: { 'no-route': 7 },
  },
  names: { zone: 'causeway', port: 53, queries: { answered: 3, unknown: 1, refused: 0 } },
  refusals: [{ user: 'alice', what: 'overlay', count: 3 }],
  warnings: ['peer c: no answer'],
};

export const RECOVERY: LinkRecovery = {
  out: { before: 0.0123, after: 0.0001, burst: 1.5 },
  in: { before: 0, after: null, burst: 0 },
  lost: 14,
  retransmissions: 12,
  spurious: 1,
  copies: 3,
  parity: 4,
  repaired: 2,
  marks: 5,
  drops: 6,
  expired: 7,
  acksRefused: 9,
  queueMicros: 1500,
  queuePackets: 8,
  queueBytes: 9000,
  underlayQueueMicros: 2500,
  windowBytes: 64_000,
  inFlightBytes: 32_000,
  bytesPerSecond: 1_250_000,
  mode: 'delay',
};

export const FLOWS: FlowStatus[] = [
  {
    direction: 'out',
    protocol: 'tcp',
    source: '10.77.0.1',
    sourcePort: 40_000,
    destination: '10.77.0.3',
    destinationPort: 22,
    node: 'c',
    via: 'b',
    hops: 2,
    service: 'reliable',
    why: 'default',
    rule: null,
    packets: 100,
    bytes: 12_345,
    bytesPerSecond: 125_000,
    ageSeconds: 60,
    idleSeconds: 0.25,
    retransmissions: 3,
    copies: 4,
    redundancy: null,
  },
  {
    direction: 'out',
    protocol: 'icmp',
    source: 'fd77::1',
    sourcePort: null,
    destination: 'fd77::2',
    destinationPort: null,
    node: 'b',
    via: 'b',
    hops: 1,
    service: 'dropped',
    why: 'rule',
    rule: 2,
    packets: 1,
    bytes: 84,
    bytesPerSecond: 0,
    ageSeconds: 61,
    idleSeconds: 61,
    retransmissions: 0,
    copies: 0,
    redundancy: null,
  },
  {
    direction: 'in',
    protocol: null,
    source: null,
    sourcePort: null,
    destination: null,
    destinationPort: null,
    node: 'c',
    service: 'realtime',
    delivered: 50,
    reordered: 5,
    skipped: 1,
    duplicates: 2,
    held: 0,
    idleSeconds: 0,
  },
];

export class FakeAgent implements AgentApi {
  stopped = 0;
  asked: FlowsRequest | FlowSetRequest | undefined;
  captured: CaptureRequest | undefined;
  aborted = 0;

  status = (): Status => STATUS;
  peers = () => [
    {
      name: 'b',
      nodeId: 2,
      configured: true,
      origin: 'configured' as const,
      state: 'connected' as const,
      reason: null,
      endpoint: '192.0.2.2:7100',
      sinceSeconds: 60,
      rttMicros: 20_400,
    },
    {
      name: 'c',
      nodeId: 3,
      configured: true,
      origin: 'configured' as const,
      state: 'failed' as const,
      reason: 'no answer; is the agent up there?',
      endpoint: '192.0.2.3:7100',
      sinceSeconds: 5,
      rttMicros: null,
    },
    {
      name: 'd',
      nodeId: 4,
      configured: false,
      origin: 'formed' as const,
      state: 'relayed' as const,
      reason: 'no answer to 2 tries; the next in 1 minute',
      endpoint: null,
      sinceSeconds: null,
      rttMicros: null,
    },
  ];
  links = () => [
    {
      peer: 'b',
      state: 'up' as const,
      endpoint: '192.0.2.2:7100',
      paths: [
        { endpoint: '192.0.2.2:7100', active: true, rttMicros: 20_400, answeredSecondsAgo: 2 },
        { endpoint: '[2001:db8::2]:7100', active: false, rttMicros: null, answeredSecondsAgo: null },
      ],
      rttMicros: 20_400,
      rttBaseMicros: 20_000,
      pathMtu: 1500,
      sinceSeconds: 60,
      health: 'lossy' as const,
      healthSinceSeconds: 20,
      lossOut: 0.03,
      lossIn: 0,
      sent: traffic(10),
      received: traffic(11),
      sessionAgeSeconds: 42,
      cipher: 'aes-256-gcm',
      recovery: RECOVERY,
    },
  ];
  flows = (request: FlowsRequest) => {
    this.asked = request;
    return FLOWS.filter(({ direction }) => request.direction === 'both' || direction === request.direction);
  };
  /** Two flows match `tcp`, none any other protocol. */
  setFlows = (request: FlowSetRequest) => {
    this.asked = request;
    if (request.protocol !== 'tcp') throw new ApiError('not-found', 'no flow that runs is such a one');
    return { flows: 2 };
  };
  routes = () => [
    { prefix: '10.77.0.1/32', owner: 'a', via: null, hops: 0, costMicros: 0, ways: [] },
    {
      ...{ prefix: '10.77.0.3/32', owner: 'c', via: 'b', hops: 2, costMicros: 40_000 },
      ways: [
        {
          ...{
            service: 'reliable' as const,
            via: 'b',
            hops: 2,
            costMicros: 40_000,
            rttMicros: 79_000,
            loss: 0,
            price: 0,
          },
          second: {
            via: 'd',
            hops: 1,
            costMicros: 55_000,
            rttMicros: 60_000,
            loss: 0.1,
            price: 0,
            loopFree: true,
          },
          why: 'the second loses 10.0 % instead of 0.0 %',
        },
      ],
    },
    { prefix: '10.77.0.4/32', owner: 'd', via: null, hops: null, costMicros: null, ways: [] },
  ];
  doctor = () => [{ level: 'error' as const, subject: 'peer c', message: 'no answer', remedy: 'start it' }];
  stop = () => void this.stopped++;
  reload = () => {
    throw new ApiError('bad-request', '/etc/causeway/a.yaml:3:1: tun.nam: unknown key; did you mean "name"?');
  };

  async *capture(request: CaptureRequest): AsyncGenerator<Uint8Array> {
    this.captured = request;
    if (request.node === 'nobody') throw new ApiError('not-found', 'no node of the overlay is called nobody');
    yield await Promise.resolve(
      Buffer.concat([encodeSection('test'), encodeInterface('wire', 101, request.snap)]),
    );
    const packet = encodePacket(1e15, Uint8Array.of(0x45), 1, 'in', 'dropped: forged');
    yield Buffer.concat([packet, packet, packet, encodeStatistics(1e15, 3, 2)]);
  }

  /**
   * Answers `c`, from the fifth request on by another way; b, on the way there, refuses what ends at it. Loses every second request; breaks on `broken` after one reply.
   */
  async *ping({ target, count, ttl }: PingRequest, signal: AbortSignal): AsyncGenerator<PingEvent> {
    if (target !== 'c' && target !== 'broken' && target !== 'mute')
      throw new ApiError('not-found', `no node of the overlay is called ${target}`);
    signal.addEventListener('abort', () => this.aborted++);
    yield { type: 'start', target, node: target, nodeId: 3, hops: 2 };
    for (let number = 1; (count === 0 || number <= count) && !signal.aborted; number++) {
      const rttMicros = 1000 * number;
      if (number % 2 === 0 || target === 'mute') yield { type: 'lost', number, reason: 'timeout' };
      else if (ttl === 1) {
        const refusal = { from: 'b', code: 'ttl-exceeded', rttMicros } as const;
        yield { type: 'lost', number, reason: 'TTL exceeded (from b)', refusal };
      } else
        yield {
          type: 'reply',
          number,
          rttMicros,
          pathThere: [number < 5 ? 'b' : 'd', 'c'],
          pathBack: ['b', 'a'],
        };
      if (target === 'broken') throw new Error('the floor gave way');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}
