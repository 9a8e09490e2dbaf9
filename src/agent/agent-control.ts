/** The agent behind its control socket: answers from the peer book, the router and the worker's reports. */
import { readFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import type {
  AgentApi,
  CaptureRequest,
  Finding,
  FlowSetRequest,
  FlowSetResult,
  FlowsRequest,
  FlowStatus,
  LinkStatus,
  PeerStatus,
  PingEvent,
  PingRefusal,
  PingRequest,
  Refused,
  ReloadResult,
  RouteStatus,
  Status,
} from '../control/api.js';
import { ApiError } from '../control/api.js';
import { parseFlowMatch, parseFlowPrefix } from '../control/flow-match.js';
import { findNode, type NamedNode } from '../control/target.js';
import type { NameServer } from '../names/index.js';
import { span } from '../crypto/identity/index.js';
import { type Refusal, Refusals } from '../intercept/refusals.js';
import { SERVICE_NAMES } from '../intercept/services.js';
import type { Io } from '../io/ports.js';
import { metricOf } from '../overlay/route/metric.js';
import { ERROR_NO_ROUTE, ERROR_TTL_EXCEEDED } from '../overlay/wire/error.js';
import type { Router } from '../overlay/route/router.js';
import { SERVICE_BEST_EFFORT } from '../overlay/wire/routed.js';
import { captureFilter, Captures } from './captures.js';
import { type Agent, type Clock, REFUSED_LINE } from './agent.js';
import { userName } from './config/accounts.js';
import {
  type Config,
  ConfigError,
  diffConfig,
  EXPIRY_WARNING,
  type Identity,
  loadConfig,
} from './config/index.js';
import { endpointKey } from './endpoint.js';
import { incomingFlows, outgoingFlow, type RedundancyTo, type WayTo } from './flow-status.js';
import type { HostKeeper } from './host-keeper.js';
import type { FromWorker, WorkerReport } from './messages.js';
import { routeStatus } from './route-status.js';
import type { Ready, WorkerPort } from './worker/port.js';

interface Attached {
  agent: Agent;
  port: WorkerPort;
  ready: Ready;
  identity: Identity;
  clock: Clock;
  warnings: string[];
  /** Where names are served. */
  names: NameServer | undefined;
  keeper: Pick<HostKeeper, 'finding' | 'droppedToMany'>;
  log: Logger;
}

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

/** µs since the last packet of a flow that is still shown, and how many are, of each direction. */
const FLOW_IDLE_MICROS = 120_000_000;
const FLOWS_SHOWN = 1000;
/** TTL of echo requests. */
const ECHO_TTL = 64;
const REFUSALS: Readonly<Record<number, PingRefusal['code']>> = {
  [ERROR_NO_ROUTE]: 'no-route',
  [ERROR_TTL_EXCEEDED]: 'ttl-exceeded',
};
const PING_TTL_REASON: Readonly<Record<number, string>> = {
  [ERROR_NO_ROUTE]: 'no route',
  [ERROR_TTL_EXCEEDED]: 'TTL exceeded',
};

export class AgentControl implements AgentApi {
  ready = false;
  private readonly captures = new Captures(`causeway ${version}`);
  private attached: Attached | undefined;
  private readonly refusals = new Refusals();
  private readonly started: number;

  constructor(
    private config: Config,
    private readonly io: Io,
    private readonly onStop: () => void,
  ) {
    this.started = io.now();
  }

  /** From now on there is an agent to ask. */
  attach(attached: Attached): void {
    this.attached = attached;
  }

  /** Resolves when the worker has answered. */
  probeWorker(): Promise<WorkerReport> {
    return this.parts().port.report();
  }

  async status(): Promise<Status> {
    const { agent, ready, identity, warnings, clock, port, names, keeper } = this.parts();
    const { node } = agent;
    const peers = agent.peers.all();
    const [report, toMany] = await Promise.all([port.report(), keeper.droppedToMany()]);
    const secondsLeft = Math.floor((node.notAfter - clock.wall()) / 1000);
    return {
      ready: this.ready,
      node: node.name,
      nodeId: node.nodeId,
      version,
      pid: process.pid,
      uptimeSeconds: (this.io.now() - this.started) / 1e6,
      configFile: this.config.file,
      addresses: node.addresses.map(({ text }) => text),
      overlay: identity.trust.overlayPrefixes.map(({ text }) => text),
      tun: { name: this.config.tun.name, mtu: this.config.tun.mtu, features: { ...ready.tun } },
      listen: { host: this.config.listen.host, port: ready.port, features: { ...ready.udp } },
      io: { kind: ready.kind, engine: ready.engine },
      certificate: { notAfter: new Date(node.notAfter).toISOString(), secondsLeft },
      names: names
        ? { zone: this.config.names.zone, port: this.config.names.port, queries: { ...names.counters } }
        : null,
      peers: {
        configured: peers.filter(({ configured }) => configured).length,
        connected: peers.filter(({ state }) => state === 'connected').length,
      },
      counters: counted(report, agent, toMany),
      refusals: this.refused(report.refusals),
      warnings: [...warnings, ...expiryWarning(secondsLeft), ...agent.router.troubles],
    };
  }

  peers(): PeerStatus[] {
    return this.parts().agent.peerStatus();
  }

  async links(): Promise<LinkStatus[]> {
    const { links } = await this.parts().port.report();
    return links
      .map((link) => ({
        peer: link.name,
        state: link.state,
        endpoint: endpointKey(link.endpoint),
        paths: link.paths.map(({ endpoint, active, rtt, answeredAgo }) => ({
          endpoint: endpointKey(endpoint),
          active,
          rttMicros: rtt || null,
          answeredSecondsAgo: answeredAgo === Infinity ? null : answeredAgo / 1e6,
        })),
        rttMicros: link.rttMicros || null,
        rttBaseMicros: link.baseRttMicros || null,
        sinceSeconds: link.sinceMicros / 1e6,
        pathMtu: link.datagramMax === null ? null : link.datagramMax + headersOf(link.endpoint.host),
        health: link.health,
        healthSinceSeconds: link.healthMicros / 1e6,
        lossOut: link.lossOut,
        lossIn: link.lossIn,
        sent: { packets: link.packetsSent, bytes: link.bytesSent },
        received: { packets: link.packetsReceived, bytes: link.bytesReceived },
        sessionAgeSeconds: link.sessionAgeMicros / 1e6,
        cipher: link.cipher,
        recovery: link.recovery ?? null,
      }))
      .sort((a, b) => (a.peer < b.peer ? -1 : 1));
  }

  routes(): RouteStatus[] {
    const { agent } = this.parts();
    return routeStatus(agent.router.nodes, agent.node.nodeId, ({ certificate }) => prefixTexts(certificate));
  }

  async flows({ direction, to }: FlowsRequest): Promise<FlowStatus[]> {
    const { port } = this.parts();
    const prefix = to === undefined ? undefined : parseFlowPrefix(to);
    const { outgoing, incoming } = await port.flows({
      outgoing: true, // incoming flows are named after those that answer them
      incoming: direction !== 'out' && prefix === undefined,
      ...(prefix && { to: prefix }),
      idleMicros: FLOW_IDLE_MICROS,
      limit: FLOWS_SHOWN,
    });
    const way = this.ways();
    const shown = direction === 'in' ? [] : outgoing;
    return [
      ...shown.map((flow) => outgoingFlow(flow, way, this.redundancies())),
      ...incomingFlows(incoming, outgoing, way),
    ];
  }

  async setFlows(request: FlowSetRequest): Promise<FlowSetResult> {
    const { port, log } = this.parts();
    const match = parseFlowMatch(request);
    const service = request.service === null ? null : SERVICE_NAMES.indexOf(request.service);
    const flows = await port.setFlows(match, service);
    if (flows === 0) {
      throw new ApiError('not-found', 'no flow that runs is such a one; "causeway flows" lists them');
    }
    log.info({ ...request, flows }, 'service of flows set');
    return { flows };
  }

  async *ping(request: PingRequest, signal: AbortSignal): AsyncIterable<PingEvent> {
    const { agent, port } = this.parts();
    const target = findNode(request.target, namedNodes(agent.router));
    const { hops } = this.ways()(target.nodeId, SERVICE_BEST_EFFORT);
    yield { type: 'start', target: request.target, node: target.name, nodeId: target.nodeId, hops };
    const id = randomBytes(4).readUInt32LE();
    const names = (ids: readonly number[]) =>
      ids.map(
        (nodeId) =>
          agent.router.nodes.find(({ certificate }) => certificate.nodeId === nodeId)?.certificate.name ??
          `#${nodeId}`,
      );
    const queue = new EventQueue<PingEvent>();
    const waiting = new Map<number, NodeJS.Timeout>();
    const settle = (number: number, event: PingEvent) => {
      const timer = waiting.get(number);
      if (timer === undefined) return;
      clearTimeout(timer);
      waiting.delete(number);
      queue.push(event);
    };
    const unlisten = agent.listenEchoes(id, (message) => {
      const { number } = message.type === 'echo-reply' ? message.reply : message;
      settle(number, pingEvent(message, names));
    });
    const send = (number: number) => {
      waiting.set(
        number,
        setTimeout(() => settle(number, { type: 'lost', number, reason: 'timeout' }), request.timeoutMs),
      );
      port.post({ type: 'echo', id, number, destination: target.nodeId, ttl: request.ttl ?? ECHO_TTL });
    };
    const onAbort = () => queue.end();
    signal.addEventListener('abort', onAbort);
    let sent = 0;
    send(sent++);
    const ticker = setInterval(() => {
      if (request.count === 0 || sent < request.count) send(sent++);
    }, request.intervalMs);
    try {
      for (let done = 0; !signal.aborted && (request.count === 0 || done < request.count); done++) {
        const event = await queue.next();
        if (event === undefined) break;
        yield event;
      }
    } finally {
      clearInterval(ticker);
      for (const timer of waiting.values()) clearTimeout(timer);
      unlisten();
      signal.removeEventListener('abort', onAbort);
    }
  }

  capture(request: CaptureRequest, signal: AbortSignal): AsyncIterable<Uint8Array> {
    const { agent, port, clock } = this.parts();
    const filter = captureFilter(request, (target) => findNode(target, namedNodes(agent.router)).nodeId);
    const name = request.decrypted ? this.config.tun.name : 'wire';
    return this.captures.run({ port, filter, name, clock, signal });
  }

  reload(): ReloadResult {
    const { agent, log } = this.parts();
    let next: Config;
    try {
      next = loadConfig(this.config.file);
    } catch (error) {
      if (error instanceof ConfigError) throw new ApiError('bad-request', error.message, { cause: error });
      throw error;
    }
    const result = diffConfig(this.config, next);
    this.config = {
      ...this.config,
      peers: next.peers,
      intercept: { ...this.config.intercept, rules: next.intercept.rules, inbound: next.intercept.inbound },
      access: next.access,
      services: next.services,
      links: next.links,
      mesh: next.mesh,
      log: next.log,
    };
    log.level = next.log.level;
    agent.reconfigure(this.config);
    log.info(result, 'configuration read again');
    return result;
  }

  stop(): void {
    this.onStop();
  }

  doctor(): Finding[] {
    const { agent, ready, keeper } = this.parts();
    const rival = keeper.finding();
    const offloads: Finding[] = Object.entries({ ...ready.tun, gso: ready.udp.gso, gro: ready.udp.gro })
      .filter(([, on]) => !on)
      .map(([name]) => ({
        level: 'warning',
        subject: 'offloads',
        message: `${name} is off, which costs throughput`,
        remedy: 'a kernel from 6.2 on has them all; so does the native addon',
      }));
    return [
      { level: 'ok', subject: 'engine', message: `${ready.kind}, ciphers by ${ready.engine}` },
      ...offloads,
      ...agent.peerStatus().map(peerFinding),
      ...(rival ? [rival] : []),
    ];
  }

  /** A user was refused something of the control socket. */
  noteRefused(user: number, what: string): void {
    const refusal = this.refusals.note(this.io.now(), user, what);
    if (refusal) this.attached?.log.warn({ ...refusal, user: userName(user) }, REFUSED_LINE);
  }

  private refused(worker: readonly Refusal[]): Refused[] {
    return [...worker, ...this.refusals.list()].map((each) => ({ ...each, user: userName(each.user) }));
  }

  /** Names nodes and the way to them. */
  private ways(): WayTo {
    const { agent } = this.parts();
    const nodes = new Map(agent.router.nodes.map((node) => [node.certificate.nodeId, node]));
    const name = (id: number) => nodes.get(id)?.certificate.name ?? `#${id}`;
    return (id, service) => {
      const way = nodes.get(id)?.ways[metricOf(service)];
      const reached = way !== undefined && way.nextHop !== 0;
      return {
        name: name(id),
        via: reached ? name(way.nextHop) : null,
        hops: reached ? way.hops : null,
      };
    };
  }

  /** Names the links that redundant flows take. */
  private redundancies(): RedundancyTo {
    const { agent } = this.parts();
    const names = new Map(
      agent.router.nodes.map(({ certificate }) => [certificate.nodeId, certificate.name]),
    );
    const name = (id: number) => names.get(id) ?? `#${id}`;
    return (id) => {
      const { kind, edges } = agent.redundancy.sets.get(id) ?? { kind: 'none', edges: [] };
      return { kind, edges: edges.map(([from, to]) => [name(from), name(to)]) };
    };
  }

  private parts(): Attached {
    if (!this.attached)
      throw new ApiError('unavailable', 'the agent is still starting; try again in a moment');
    return this.attached;
  }
}

function peerFinding({ name, state, reason, endpoint }: PeerStatus): Finding {
  const subject = `peer ${name}`;
  if (state === 'connected') return { level: 'ok', subject, message: `reached at ${endpoint}` };
  if (state === 'relayed') return { level: 'ok', subject, message: `reached through others; ${reason}` };
  return {
    level: state === 'failed' ? 'error' : 'warning',
    subject,
    message: reason ?? 'not reached yet',
    remedy: 'see the peer\'s own "causeway doctor"',
  };
}

function expiryWarning(secondsLeft: number): string[] {
  if (secondsLeft * 1000 > EXPIRY_WARNING) return [];
  const when = secondsLeft > 0 ? `expires in ${span(secondsLeft * 1000)}` : 'has expired';
  return [`the certificate ${when}; renew it with "causeway ca sign" and restart the agent`];
}

function namedNodes({ nodes }: Router): NamedNode[] {
  return nodes.map(({ certificate }) => ({
    name: certificate.name,
    nodeId: certificate.nodeId,
    prefixes: prefixTexts(certificate),
  }));
}

/** Addresses as host prefixes, then routes; the router's certificates are the identity's, which have texts. */
function prefixTexts(certificate: { addresses: readonly object[]; routes: readonly object[] }): string[] {
  const { addresses, routes } = certificate as {
    addresses: readonly { text: string; family: 4 | 6 }[];
    routes: readonly { text: string }[];
  };
  return [
    ...addresses.map(({ text, family }) => `${text}/${family === 4 ? 32 : 128}`),
    ...routes.map(({ text }) => text),
  ];
}

function counted({ counters: c, drops }: WorkerReport, agent: Agent, toMany: number): Status['counters'] {
  const occurred = Object.entries({ ...drops, ...agent.drops, 'rule-many': toMany }).filter(([, n]) => n > 0);
  return {
    tunIn: { packets: c['tunReadPackets'], bytes: c['tunReadBytes'] },
    tunOut: { packets: c['tunWrittenPackets'], bytes: c['tunWrittenBytes'] },
    udpIn: { packets: c['receivedRecords'], bytes: c['receivedBytes'] },
    udpOut: { packets: c['sentRecords'], bytes: c['sentBytes'] },
    direct: { packets: c['directPackets'], bytes: c['directBytes'] },
    relayed: { packets: c['relayedPackets'], bytes: c['relayedBytes'] },
    drops: Object.fromEntries(occurred),
  };
}

function pingEvent(
  message: Extract<FromWorker, { type: 'echo-reply' | 'echo-error' }>,
  names: (ids: readonly number[]) => string[],
): PingEvent {
  if (message.type === 'echo-error') {
    const { number, code, rttMicros } = message;
    const [from = ''] = names([message.from]);
    const reason = `${PING_TTL_REASON[code] ?? `error ${code}`} (from ${from})`;
    return { type: 'lost', number, reason, refusal: { from, code: REFUSALS[code] ?? 'other', rttMicros } };
  }
  const { number, rttMicros, forward, back } = message.reply;
  return { type: 'reply', number, rttMicros, pathThere: names(forward), pathBack: names(back) };
}

/** Events in order of arrival, for one reader. */
class EventQueue<T> {
  private readonly events: T[] = [];
  private wake: (() => void) | undefined;
  private over = false;

  push(event: T): void {
    this.events.push(event);
    this.wake?.();
  }

  end(): void {
    this.over = true;
    this.wake?.();
  }

  /** undefined at the end. */
  async next(): Promise<T | undefined> {
    while (this.events.length === 0 && !this.over)
      await new Promise<void>((resolve) => (this.wake = resolve));
    return this.events.shift();
  }
}

/** Bytes of IP and UDP header in front of a datagram to this address. */
function headersOf(host: string): number {
  return (host.includes(':') ? 40 : 20) + 8;
}
