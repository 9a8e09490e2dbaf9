/** An agent of fixed answers, for what talks to agents. */
import type { AgentApi, PingEvent, PingRequest, Status } from '../../../src/control/index.js';
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
    relayed: traffic(5),
    drops: { 'no-route': 7 },
  },
  warnings: ['peer c: no answer'],
};

export class FakeAgent implements AgentApi {
  stopped = 0;
  aborted = 0;

  status = (): Status => STATUS;
  peers = () => [
    {
      name: 'b',
      nodeId: 2,
      configured: true,
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
      state: 'failed' as const,
      reason: 'no answer; is the agent up there?',
      endpoint: '192.0.2.3:7100',
      sinceSeconds: 5,
      rttMicros: null,
    },
  ];
  links = () => [
    {
      peer: 'b',
      state: 'up' as const,
      endpoint: '192.0.2.2:7100',
      rttMicros: 20_400,
      rttBaseMicros: 20_000,
      sinceSeconds: 60,
      sent: traffic(10),
      received: traffic(11),
      sessionAgeSeconds: 42,
      cipher: 'aes-256-gcm',
    },
  ];
  routes = () => [
    { prefix: '10.77.0.1/32', owner: 'a', via: null, hops: 0, costMicros: 0 },
    { prefix: '10.77.0.3/32', owner: 'c', via: 'b', hops: 2, costMicros: 40_000 },
    { prefix: '10.77.0.4/32', owner: 'd', via: null, hops: null, costMicros: null },
  ];
  doctor = () => [{ level: 'error' as const, subject: 'peer c', message: 'no answer', remedy: 'start it' }];
  stop = () => void this.stopped++;
  reload = () => {
    throw new ApiError('bad-request', '/etc/causeway/a.yaml:3:1: tun.nam: unknown key; did you mean "name"?');
  };

  /** Answers `c`; loses every second request; breaks on `broken` after one reply. */
  async *ping({ target, count }: PingRequest, signal: AbortSignal): AsyncGenerator<PingEvent> {
    if (target !== 'c' && target !== 'broken' && target !== 'mute')
      throw new ApiError('not-found', `no node of the overlay is called ${target}`);
    signal.addEventListener('abort', () => this.aborted++);
    yield { type: 'start', target, node: target, nodeId: 3 };
    for (let number = 1; (count === 0 || number <= count) && !signal.aborted; number++) {
      if (number % 2 === 0 || target === 'mute') yield { type: 'lost', number, reason: 'timeout' };
      else
        yield {
          type: 'reply',
          number,
          rttMicros: 1000 * number,
          pathThere: ['b', 'c'],
          pathBack: ['b', 'a'],
        };
      if (target === 'broken') throw new Error('the floor gave way');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}
