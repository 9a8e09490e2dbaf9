/** The numbers of `status`, `peers` and `links` for Prometheus, read at each scrape. Nothing here can change the agent. */
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { Counter, Gauge, Registry } from 'prom-client';
import type { AgentApi, Counters, LinkRecovery, LinkStatus, PeerStatus, Status, Traffic } from './api.js';
import { ControlError } from './errors.js';

const DIRECTIONS = [
  'tunIn',
  'tunOut',
  'udpIn',
  'udpOut',
  'direct',
  'relayed',
] as const satisfies readonly (keyof Counters)[];
const DIRECTION_LABELS = {
  tunIn: 'tun_in',
  tunOut: 'tun_out',
  udpIn: 'udp_in',
  udpOut: 'udp_out',
  direct: 'direct',
  relayed: 'relayed',
};

const HEALTHS = ['good', 'lossy', 'slow', 'mtu', 'down'] as const;

export class MetricsServer {
  private readonly server: Server;

  constructor(
    private readonly api: Pick<AgentApi, 'status' | 'peers' | 'links'>,
    private readonly endpoint: { host: string; port: number; text: string },
  ) {
    this.server = createServer((request, response) => void this.answer(request, response));
  }

  /** Resolves with the port. Throws ControlError EIO if the port is taken. */
  listen(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.server.once('error', (error: NodeJS.ErrnoException) => {
        const message = `control.metrics can't listen at ${this.endpoint.text} (${error.code}); name another port`;
        reject(new ControlError('EIO', message, { cause: error }));
      });
      this.server.listen(this.endpoint.port, this.endpoint.host, () => {
        const address = this.server.address();
        resolve(typeof address === 'object' && address !== null ? address.port : this.endpoint.port);
      });
    });
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.server.close(() => resolve());
      this.server.closeAllConnections();
    });
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      if (!isHostAllowed(request.headers.host)) return refuse(response, 403, 'name this host by its address');
      if (request.url !== '/metrics') return refuse(response, 404, 'see /metrics');
      if (request.method !== 'GET') return refuse(response, 405, 'use GET');
      const [status, peers, links] = await Promise.all([
        this.api.status(),
        this.api.peers(),
        this.api.links(),
      ]);
      const { text, contentType } = await renderMetrics(status, peers, links);
      response.writeHead(200, { 'content-type': contentType }).end(text);
    } catch {
      refuse(response, 500, 'the agent has no numbers now');
    }
  }
}

function refuse(response: ServerResponse, status: number, message: string): void {
  response.writeHead(status, { 'content-type': 'text/plain' }).end(`${message}\n`);
}

/**
 * A page in a browser may have its own name point to our address (DNS rebinding); its requests then carry that name. Addresses, localhost
 * and this host's own name are no such names.
 */
export function isHostAllowed(header: string | undefined): boolean {
  if (header === undefined) return false;
  const host = header
    .replace(/:\d+$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase();
  return isIP(host) !== 0 || host === 'localhost' || host === hostname().toLowerCase();
}

/** The text that Prometheus scrapes. Counters are the agent's own, so a registry is made anew for every scrape. */
export async function renderMetrics(
  status: Status,
  peers: readonly PeerStatus[],
  links: readonly LinkStatus[],
): Promise<{ text: string; contentType: string }> {
  const registry = new Registry();
  const gauge = (name: string, help: string, value: number, labels: Record<string, string> = {}): void => {
    const made = new Gauge({ name, help, labelNames: Object.keys(labels), registers: [registry] });
    made.set(labels, value);
  };
  gauge('causeway_info', 'Version and engine of the agent', 1, {
    node: status.node,
    version: status.version,
    io: status.io.kind,
    engine: status.io.engine,
  });
  gauge('causeway_ready', '1 when the agent carries packets', status.ready ? 1 : 0);
  gauge('causeway_uptime_seconds', 'Seconds since the agent started', status.uptimeSeconds);
  gauge(
    'causeway_certificate_seconds_left',
    'Seconds until the certificate expires',
    status.certificate.secondsLeft,
  );
  gauge('causeway_warnings', 'Warnings that status shows', status.warnings.length);
  addTraffic(registry, status.counters);
  addPeers(registry, peers);
  addLinks(registry, links);
  addRecovery(registry, links);
  return { text: await registry.metrics(), contentType: registry.contentType };
}

function addTraffic(registry: Registry, counters: Counters): void {
  const make = (name: string, help: string, labelNames: string[]): Counter =>
    new Counter({ name, help, labelNames, registers: [registry] });
  const packets = make('causeway_packets_total', 'Packets by direction, seen from the agent', ['direction']);
  const bytes = make('causeway_bytes_total', 'Bytes by direction, seen from the agent', ['direction']);
  for (const direction of DIRECTIONS) {
    packets.inc({ direction: DIRECTION_LABELS[direction] }, counters[direction].packets);
    bytes.inc({ direction: DIRECTION_LABELS[direction] }, counters[direction].bytes);
  }
  const drops = make('causeway_drops_total', 'Packets dropped, by reason', ['reason']);
  for (const [reason, count] of Object.entries(counters.drops)) drops.inc({ reason }, count);
}

function addPeers(registry: Registry, peers: readonly PeerStatus[]): void {
  const connected = new Gauge({
    name: 'causeway_peer_connected',
    help: '1 when the peer is connected',
    labelNames: ['peer'],
    registers: [registry],
  });
  for (const { name, state } of peers) connected.set({ peer: name }, state === 'connected' ? 1 : 0);
}

function addLinks(registry: Registry, links: readonly LinkStatus[]): void {
  const labelNames = ['peer'];
  const registers = [registry];
  const up = new Gauge({ name: 'causeway_link_up', help: '1 when the link is up', labelNames, registers });
  const rtt = new Gauge({
    name: 'causeway_link_rtt_seconds',
    help: 'Smoothed round-trip time of the link',
    labelNames,
    registers,
  });
  const bytes = new Counter({
    name: 'causeway_link_bytes_total',
    help: 'Bytes over the link',
    labelNames: ['peer', 'direction'],
    registers,
  });
  const count = (peer: string, direction: string, traffic: Traffic): void =>
    bytes.inc({ peer, direction }, traffic.bytes);
  const health = new Gauge({
    name: 'causeway_link_health',
    help: '1 for the health that the link has',
    labelNames: ['peer', 'health'],
    registers,
  });
  const records = new Gauge({
    name: 'causeway_link_record_loss_ratio',
    help: 'Share of all that was sent over the link that was lost of late',
    labelNames: ['peer', 'direction'],
    registers,
  });
  for (const link of links) {
    const { peer, state, rttMicros, sent, received } = link;
    for (const state of HEALTHS) health.set({ peer, health: state }, state === link.health ? 1 : 0);
    records.set({ peer, direction: 'out' }, link.lossOut);
    records.set({ peer, direction: 'in' }, link.lossIn);
    up.set({ peer }, state === 'up' ? 1 : 0);
    if (rttMicros !== null) rtt.set({ peer }, rttMicros / 1e6);
    count(peer, 'out', sent);
    count(peer, 'in', received);
  }
}

/** Gauges and counters of a link's recovery: name, help, value. */
const RECOVERY_GAUGES: readonly [string, string, (recovery: LinkRecovery) => number][] = [
  ['queue_seconds', 'Time that the newest packet waited in our queue', (r) => r.queueMicros / 1e6],
  ['underlay_queue_seconds', 'Standing queue of the network', (r) => r.underlayQueueMicros / 1e6],
  ['window_bytes', 'Congestion window', (r) => r.windowBytes],
  ['in_flight_bytes', 'Bytes sent and not yet acknowledged', (r) => r.inFlightBytes],
  ['rate_bytes_per_second', 'Rate that congestion control allows', (r) => r.bytesPerSecond],
];
const RECOVERY_COUNTERS: readonly [string, string, (recovery: LinkRecovery) => number][] = [
  ['lost', 'Transmissions found lost', (r) => r.lost],
  ['retransmissions', 'Frames sent again', (r) => r.retransmissions],
  ['spurious_retransmissions', 'Frames sent again that had arrived', (r) => r.spurious],
  ['copies', 'Copies sent ahead of loss', (r) => r.copies],
  ['parity', 'Parity packets sent', (r) => r.parity],
  ['repaired', 'Frames that parity gave', (r) => r.repaired],
  ['marks', 'Packets that our queue marked', (r) => r.marks],
  ['queue_drops', 'Packets that our queue dropped', (r) => r.drops],
  ['expired', 'Frames given up at their deadline', (r) => r.expired],
  ['acks_refused', 'Acknowledgements of the peer that made no sense', (r) => r.acksRefused],
];

function addRecovery(registry: Registry, links: readonly LinkStatus[]): void {
  const registers = [registry];
  const loss = new Gauge({
    name: 'causeway_link_loss_ratio',
    help: 'Share of frames lost of late, before and after recovery',
    labelNames: ['peer', 'direction', 'stage'],
    registers,
  });
  const labelNames = ['peer'];
  const gauges = RECOVERY_GAUGES.map(([name, help]) => {
    return new Gauge({ name: `causeway_link_${name}`, help, labelNames, registers });
  });
  const counters = RECOVERY_COUNTERS.map(([name, help]) => {
    return new Counter({ name: `causeway_link_${name}_total`, help, labelNames, registers });
  });
  for (const { peer, recovery } of links) {
    if (recovery === null) continue;
    for (const direction of ['out', 'in'] as const) {
      for (const stage of ['before', 'after'] as const) {
        const share = recovery[direction][stage];
        if (share !== null) loss.set({ peer, direction, stage }, share);
      }
    }
    gauges.forEach((gauge, i) => gauge.set({ peer }, RECOVERY_GAUGES[i][2](recovery)));
    counters.forEach((counter, i) => counter.inc({ peer }, RECOVERY_COUNTERS[i][2](recovery)));
  }
}
