/** `causeway status | peers | links | routes`, without arguments: what the agent says, as tables. */
import type { Command } from 'commander';
import type {
  Counters,
  LinkRecovery,
  LinkStatus,
  LossReport,
  PeerStatus,
  RouteStatus,
  Status,
  WayStatus,
} from '../control/api.js';
import { clientOf, json, withJson, withSocket } from './context.js';
import type { CommonOptions, Output } from './context.js';
import { bytes, duration, fields, millis, nodeIdText, percent, rate, table } from './format.js';

export function registerShow(program: Command, { out }: Output): void {
  const command = <T>(
    name: 'status' | 'peers' | 'links' | 'routes',
    description: string,
    render: (value: T) => string,
  ): void => {
    withSocket(withJson(program.command(name).description(description))).action(
      async (options: CommonOptions) => {
        const value = await clientOf(options)[name]();
        out(options.json === true ? json(value) : render(value as T));
      },
    );
  };
  command('status', 'show the agent, its addresses, counters and warnings', renderStatus);
  command('peers', 'show each peer, and why it is not connected', renderPeers);
  command('links', 'show each link: delay, traffic, loss and what was done about it', renderLinks);
  command('routes', 'show who owns which prefix, and the way there', renderRoutes);
}

export function renderStatus(status: Status): string {
  const { certificate, peers, tun, listen, io } = status;
  const state = status.ready ? 'ready' : 'starting';
  const validity =
    certificate.secondsLeft > 0
      ? `${duration(certificate.secondsLeft)} left`
      : 'expired; sign a new one with "causeway ca sign"';
  const sections = [
    fields([
      [
        'node',
        `${status.node} (${nodeIdText(status.nodeId)}), ${state}, up ${duration(status.uptimeSeconds)}`,
      ],
      ['version', `${status.version}, pid ${status.pid}, ${status.configFile}`],
      ['addresses', status.addresses.join(', ')],
      ['overlay', status.overlay.join(', ')],
      ['tun', `${tun.name}, mtu ${tun.mtu}${featureText(tun.features)}`],
      ['listen', `${endpointText(listen.host, listen.port)}${featureText(listen.features)}`],
      ['engine', `${io.kind}, ${io.engine}`],
      ['certificate', `until ${certificate.notAfter.slice(0, 10)}, ${validity}`],
      ...(status.names === null ? [] : [['names', namesText(status.names)] as const]),
      ['peers', `${peers.configured} configured, ${peers.connected} connected`],
    ]),
    renderTraffic(status.counters),
  ];
  const drops = Object.entries(status.counters.drops).sort(([, a], [, b]) => b - a);
  if (drops.length > 0) {
    sections.push(
      table(
        ['dropped because', 'packets'],
        drops.map(([reason, count]) => [reason, String(count)]),
        [1],
      ),
    );
  }
  if (status.refusals.length > 0) {
    const rows = status.refusals.map(({ user, what, count }) => [user, what, String(count)]);
    sections.push(table(['refused to', 'what', 'times'], rows, [2]));
  }
  if (status.warnings.length > 0) sections.push(status.warnings.map((line) => `warning: ${line}`).join('\n'));
  return sections.join('\n\n');
}

function renderTraffic(counters: Counters): string {
  const rows = (
    [
      ['from applications', counters.tunIn],
      ['to applications', counters.tunOut],
      ['from peers', counters.udpIn],
      ['to peers', counters.udpOut],
      ['direct', counters.direct],
      ['relayed', counters.relayed],
    ] as const
  ).map(([name, traffic]) => [name, String(traffic.packets), bytes(traffic.bytes)]);
  return table(['traffic', 'packets', 'bytes'], rows, [1, 2]);
}

function namesText({ zone, port, queries }: NonNullable<Status['names']>): string {
  const counts = Object.entries(queries).filter(([, count]) => count > 0);
  return `*.${zone} at port ${port}; ${counts.map(([what, count]) => `${count} ${what}`).join(', ') || 'not asked yet'}`;
}

function featureText(features: Record<string, boolean | number>): string {
  const on = Object.entries(features).filter(([, value]) => value === true);
  return on.length === 0 ? '' : ` (${on.map(([name]) => name).join(', ')})`;
}

function endpointText(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

export function renderPeers(peers: PeerStatus[]): string {
  if (peers.length === 0)
    return 'no peers; add them under peers in the configuration, then "causeway reload"';
  const rows = peers.map((peer) => [
    peer.name,
    peer.state,
    peer.origin,
    peer.sinceSeconds === null ? '–' : duration(peer.sinceSeconds),
    peer.endpoint ?? '–',
    millis(peer.rttMicros),
    peer.reason ?? '',
  ]);
  return table(['peer', 'state', 'link', 'for', 'endpoint', 'rtt', 'why'], rows, [5]);
}

export function renderLinks(links: LinkStatus[]): string {
  if (links.length === 0) return 'no links; "causeway peers" says why';
  const rows = links.map((link) => [
    link.peer,
    link.health,
    duration(link.healthSinceSeconds),
    millis(link.rttMicros),
    millis(link.rttBaseMicros),
    link.pathMtu === null ? 'too small' : String(link.pathMtu),
    `${percent(link.lossOut)} / ${percent(link.lossIn)}`,
    `${link.sent.packets} / ${bytes(link.sent.bytes)}`,
    `${link.received.packets} / ${bytes(link.received.bytes)}`,
    link.sessionAgeSeconds === null ? '–' : duration(link.sessionAgeSeconds),
    link.cipher ?? '–',
    link.endpoint,
  ]);
  const names = ['peer', 'health', 'for', 'rtt', 'least', 'mtu', 'loss out / in'];
  const head = [...names, 'sent', 'received', 'key age', 'cipher', 'endpoint'];
  const recovered = links.filter(({ recovery }) => recovery !== null);
  const tables = [table(head, rows, [3, 4, 5, 6, 7, 8])];
  if (recovered.length > 0) tables.push(renderRecovery(recovered));
  const several = links.filter(({ paths }) => paths.length > 1);
  if (several.length > 0) tables.push(renderPaths(several));
  return tables.join('\n\n');
}

function renderPaths(links: LinkStatus[]): string {
  const rows = links.flatMap(({ peer, paths }) =>
    paths.map(({ endpoint, active, rttMicros, answeredSecondsAgo: ago }) => [
      peer,
      endpoint,
      active ? 'in use' : ago === null ? 'no answer' : 'ready',
      millis(rttMicros),
      ago === null ? '–' : duration(ago),
    ]),
  );
  return table(['peer', 'way', 'state', 'rtt', 'answered'], rows, [3, 4]);
}

/** Loss is what the network took, then what was missing in spite of recovery. */
function renderRecovery(links: LinkStatus[]): string {
  const head = ['peer', 'loss out → after', 'loss in', 'lost', 'sent again', 'copies', 'parity', 'repaired'];
  const queues = [
    'marked',
    'dropped',
    'expired',
    'acks refused',
    'queue',
    'underlay',
    'in flight / window',
    'rate',
    'mode',
  ];
  const rows = links.map(({ peer, recovery }) => [peer, ...recoveryCells(recovery!)]);
  return table([...head, ...queues], rows, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
}

function recoveryCells(recovery: LinkRecovery): string[] {
  const { lost, retransmissions, copies, parity, repaired, marks, drops, expired, acksRefused } = recovery;
  return [
    lossText(recovery.out),
    lossText(recovery.in),
    ...[lost, retransmissions, copies, parity, repaired, marks, drops, expired, acksRefused].map(String),
    millis(recovery.queueMicros),
    millis(recovery.underlayQueueMicros),
    `${bytes(recovery.inFlightBytes)} / ${bytes(recovery.windowBytes)}`,
    rate(recovery.bytesPerSecond),
    recovery.mode,
  ];
}

function lossText({ before, after }: LossReport): string {
  return after === null ? percent(before) : `${percent(before)} → ${percent(after)}`;
}

export function renderRoutes(routes: RouteStatus[]): string {
  if (routes.length === 0) return 'no routes yet; "causeway peers" says why';
  const rows = routes.map(({ prefix, owner, via, hops, costMicros }) => [
    prefix,
    owner,
    hops === 0 ? 'this node' : (via ?? 'no way there'),
    hops === null ? '–' : String(hops),
    millis(costMicros),
  ]);
  const tables = [table(['prefix', 'owner', 'via', 'hops', 'cost'], rows, [3, 4])];
  const owners = new Map(routes.filter(({ ways }) => ways.length > 0).map((route) => [route.owner, route]));
  if (owners.size > 0) tables.push(renderWays([...owners.values()]));
  return tables.join('\n\n');
}

/** The way to each owner by service; what a packet of it is expected to take is its cost. */
function renderWays(routes: readonly RouteStatus[]): string {
  const rows = routes.flatMap(({ owner, ways }) =>
    ways.map(({ service, second, why, ...way }) => [
      owner,
      service,
      ...wayCells(way),
      ...(second === null ? ['–', '–', '–', '–', '–'] : wayCells(second)),
      why,
    ]),
  );
  const head = ['to', 'service', 'via', 'hops', 'cost', 'rtt', 'loss'];
  const more = ['second best', 'hops', 'cost', 'rtt', 'loss', 'chosen because'];
  return table([...head, ...more], rows, [3, 4, 5, 6, 8, 9, 10, 11]);
}

function wayCells({ via, hops, costMicros, rttMicros, loss }: WayStatus): string[] {
  return [via, String(hops), millis(costMicros), millis(rttMicros), percent(loss)];
}
