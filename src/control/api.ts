/**
 * What an agent answers over its control socket. `AgentApi` is implemented by src/agent; `ControlServer` carries it as JSON over HTTP on
 * the UNIX socket, `ControlClient` implements it again for the CLI. Everything here is JSON: no bigint, no Date.
 */

/** A value, now or later. */
export type Eventually<T> = T | Promise<T>;

export interface AgentApi {
  status(): Eventually<Status>;
  /** Every configured and every seen peer, and every node that a link may be formed with; sorted by name. */
  peers(): Eventually<PeerStatus[]>;
  /** Links that are up or were up since the start, sorted by peer. */
  links(): Eventually<LinkStatus[]>;
  routes(): Eventually<RouteStatus[]>;
  /** Flows of the last two minutes, the newest 1000 of each direction, newest first. Throws ApiError `bad-request` for no prefix. */
  flows(request: FlowsRequest): Eventually<FlowStatus[]>;
  /**
   * Chooses the service of flows that run now. Throws ApiError `bad-request` for what is no protocol, address or port, `not-found` when no
   * flow matches.
   */
  setFlows(request: FlowSetRequest): Eventually<FlowSetResult>;
  /**
   * Sends echo requests through the overlay and yields one event for each, in order of arrival. Stops when `signal` aborts.
   * Throws ApiError `not-found` when nothing in the mesh is called, or owns, `target`.
   */
  ping(request: PingRequest, signal: AbortSignal): AsyncIterable<PingEvent>;
  /**
   * A pcapng file, block by block, until `signal` aborts. Throws ApiError `not-found` for an unknown node, `bad-request` for a flow that is
   * none, or one that is asked of sealed datagrams, `unavailable` when too many capture already.
   */
  capture(request: CaptureRequest, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** Reads the configuration file again. Throws ApiError `bad-request` with its problems and changes nothing if it is wrong. */
  reload(): Eventually<ReloadResult>;
  /** Begins to stop; the answer goes out before the process ends. */
  stop(): Eventually<void>;
  /** What the running agent knows that a look from outside can't. */
  doctor(): Eventually<Finding[]>;
}

export interface Status {
  ready: boolean;
  node: string;
  /** Unsigned 32 bits. */
  nodeId: number;
  version: string;
  pid: number;
  uptimeSeconds: number;
  configFile: string;
  /** This node's overlay addresses, IPv4 first. */
  addresses: string[];
  /** The overlay's prefixes, from the CA certificate. */
  overlay: string[];
  tun: { name: string; mtu: number; features: Record<string, boolean> };
  listen: { host: string; port: number; features: Record<string, boolean | number> };
  io: { kind: 'native' | 'plain'; engine: string };
  certificate: { notAfter: string; secondsLeft: number };
  /** Null where names aren't served. Queries by what became of them. */
  names: { zone: string; port: number; queries: Record<string, number> } | null;
  peers: { configured: number; connected: number };
  counters: Counters;
  /** What users of this host were refused; only what occurred. */
  refusals: Refused[];
  /** One line each, with the remedy. */
  warnings: string[];
}

export interface Refused {
  /** Name, or number where it has none. */
  user: string;
  /** `overlay`, a service, `control`, or `control: change`. */
  what: string;
  count: number;
}

/** Totals since the start. Directions are seen from the agent: `tunIn` is what applications sent. */
export interface Counters {
  tunIn: Traffic;
  tunOut: Traffic;
  udpIn: Traffic;
  udpOut: Traffic;
  /** Packets that came by the device and were sent on by the host's own routes. */
  direct: Traffic;
  /** Packets of others that this node passed on. */
  relayed: Traffic;
  /** Packets by reason; only reasons that occurred. */
  drops: Record<string, number>;
}

export interface Traffic {
  packets: number;
  bytes: number;
}

/**
 * `waiting`: no endpoints configured, it has to call us. `failed`: last try failed, another follows. `relayed`: reached through others, and
 * the reason says why no link was formed.
 */
export type PeerState = 'connected' | 'connecting' | 'waiting' | 'failed' | 'relayed';

/** `called`: it called us without being configured. `formed`: a link that the mesh formed by itself, or may form (`mesh: auto`). */
export type PeerOrigin = 'configured' | 'called' | 'formed';

export interface PeerStatus {
  name: string;
  /** Null until it is known (an unreached peer's is derived from its name, so it is known from the start). */
  nodeId: number | null;
  /** `origin` is `configured`. */
  configured: boolean;
  origin: PeerOrigin;
  state: PeerState;
  /** Why not connected, and the remedy; null when connected. */
  reason: string | null;
  endpoint: string | null;
  /** Seconds in this state; null where there was no link yet. */
  sinceSeconds: number | null;
  rttMicros: number | null;
}

export type LinkState = 'up' | 'down';
export type LinkHealth = 'good' | 'lossy' | 'slow' | 'mtu' | 'down';

/** One of the ways to a peer. */
export interface PathStatus {
  endpoint: string;
  /** What is sent goes there. */
  active: boolean;
  rttMicros: number | null;
  /** Since it answered a probe; null: it never did, or there is nothing to compare it with. */
  answeredSecondsAgo: number | null;
}

export interface LinkStatus {
  peer: string;
  state: LinkState;
  endpoint: string;
  /** The endpoint, and where else the peer may be reached. */
  paths: PathStatus[];
  rttMicros: number | null;
  /** Least round-trip time of late, the path's own without queues. */
  rttBaseMicros: number | null;
  sinceSeconds: number;
  /**
   * Largest packet of the network beneath, bytes with its IP header, that was seen to get there whole, as far as larger ones aren't wanted; what
   * is larger goes in pieces. Null: none of 1280 bytes gets there, so only small packets pass.
   */
  pathMtu: number | null;
  /** `lossy`: over 2 %; `slow`: round trips 25 % and 5 ms over the least; `mtu`: only small packets pass. */
  health: LinkHealth;
  healthSinceSeconds: number;
  /** Shares of all that was sent, to the peer and by it, that was lost of late. */
  lossOut: number;
  lossIn: number;
  sent: Traffic;
  received: Traffic;
  /** Since the newest key exchange. */
  sessionAgeSeconds: number | null;
  cipher: string | null;
  /** Null until a packet of a recovered service crossed the link. */
  recovery: LinkRecovery | null;
}

/** Shares of transmissions, 0..1, of late. */
export interface LossReport {
  /** What the link lost. */
  before: number;
  /** What was still missing when recovery had done its part; null where this end can't know. */
  after: number | null;
  /** Mean run of losses, at least 1; 0 while nothing was lost. */
  burst: number;
}

/** What hop-by-hop recovery and congestion control do on a link. Counts are totals since the session's peer was first seen. */
export interface LinkRecovery {
  /** From us to the peer. */
  out: LossReport;
  /** From the peer to us. */
  in: LossReport;
  /** Transmissions found lost. */
  lost: number;
  retransmissions: number;
  /** Retransmissions of what had arrived after all. */
  spurious: number;
  copies: number;
  /** Parity packets sent. */
  parity: number;
  /** Frames that parity of the peer gave us. */
  repaired: number;
  /** By our queue: packets marked with congestion experienced, packets dropped. */
  marks: number;
  drops: number;
  /** Frames given up at their deadline. */
  expired: number;
  /** Acknowledgements of the peer that made no sense. */
  acksRefused: number;
  /** Of the newest packet that left our queue. */
  queueMicros: number;
  queuePackets: number;
  queueBytes: number;
  /** Standing queue of the underlay, as the congestion controller sees it. */
  underlayQueueMicros: number;
  windowBytes: number;
  inFlightBytes: number;
  bytesPerSecond: number;
  mode: 'start' | 'delay' | 'competing';
}

export interface RouteStatus {
  /** `10.77.0.5/32` */
  prefix: string;
  /** Node that owns it. */
  owner: string;
  /** Next hop's name for best-effort packets, null for this node's own, and where there is no way (then `hops` is null too). */
  via: string | null;
  hops: number | null;
  costMicros: number | null;
  /** By service; empty for this node's own, and where there is no way. */
  ways: RouteWay[];
}

/** A path from here to an owner. */
export interface WayStatus {
  via: string;
  hops: number;
  /** Time that a packet of the service is expected to take. */
  costMicros: number;
  /** There and back, without queues of our own. */
  rttMicros: number;
  /** Share lost on the way there, if no hop repaired any. */
  loss: number;
  /** Of the queues behind the first link, in hops: what bulk also pays. */
  price: number;
}

export interface RouteWay extends WayStatus {
  service: ServiceName;
  /** The best that begins with another neighbour. `loopFree`: bulk may take it when the best is full. */
  second: (WayStatus & { loopFree: boolean }) | null;
  /** Why this one was chosen. */
  why: string;
}

export interface FlowsRequest {
  direction: 'out' | 'in' | 'both';
  /** Only flows that leave, and for this address or prefix. */
  to?: string;
}

export type ServiceName = 'best-effort' | 'reliable' | 'realtime' | 'redundant';

/** Null where unknown, ports also where the protocol has none. */
export interface FlowEnds {
  /** `tcp`, or a number. */
  protocol: string | null;
  source: string | null;
  sourcePort: number | null;
  destination: string | null;
  destinationPort: number | null;
}

/** A flow that enters the overlay at this node. */
export interface OutgoingFlow extends FlowEnds {
  direction: 'out';
  /** Node that it goes to. */
  node: string;
  /** Next hop; null where there is no way, or none is needed. */
  via: string | null;
  hops: number | null;
  /** Null: chosen anew at its next packet. */
  service: ServiceName | 'dropped' | null;
  /** What chose it; null as above. */
  why: 'set' | 'rule' | 'dscp' | 'default' | null;
  /** Index in `intercept.rules` of the rule that matched. */
  rule: number | null;
  packets: number;
  bytes: number;
  bytesPerSecond: number;
  ageSeconds: number;
  idleSeconds: number;
  /** What this node sent again, and ahead of loss or by another way, to its neighbours. */
  retransmissions: number;
  copies: number;
  /** The links that it takes; null for other services. */
  redundancy: FlowRedundancy | null;
}

/**
 * Of a redundant flow. `disjoint`: two paths without a common relay. `shared`: two with common links, while
 * those are sound and disjoint ones would cost too much. `source`, `destination`, `both`: more links around that end, which is in trouble.
 * `single`: there is no second path, so that it is carried as realtime. `none`: no path, or not known yet.
 */
export interface FlowRedundancy {
  kind: 'none' | 'single' | 'shared' | 'disjoint' | 'source' | 'destination' | 'both';
  /** Nodes' names, from and to. */
  edges: [string, string][];
}

/** A flow that leaves the overlay at this node. Its ends are known if this node also sends back. */
export interface IncomingFlow extends FlowEnds {
  direction: 'in';
  /** Node that it comes from. */
  node: string;
  service: ServiceName;
  delivered: number;
  /** Packets put in order. */
  reordered: number;
  /** Gaps that were no longer waited for. */
  skipped: number;
  duplicates: number;
  /** Packets that wait for one before them. */
  held: number;
  idleSeconds: number;
}

export type FlowStatus = OutgoingFlow | IncomingFlow;

/**
 * Ends are `*`, an address or a prefix, with a port behind a colon if one is meant: `10.77.0.1:22`, `[fd77::1]:22`, `*:22`. `protocol` is a
 * name as in rules, a number or `*`.
 */
export interface FlowSetRequest {
  protocol: string;
  source: string;
  destination: string;
  /** Null leaves the flows to the rules again. */
  service: ServiceName | null;
}

export interface FlowSetResult {
  /** How many matched. */
  flows: number;
}

export interface CaptureRequest {
  /** The packets inside instead of the sealed datagrams around them. */
  decrypted: boolean;
  /** Name or address: only a neighbour's datagrams, or packets from or to a node. */
  node?: string;
  /** Only packets of such flows, in both directions; with `decrypted`. Ends as of FlowSetRequest. */
  flow?: { protocol: string; source: string; destination: string };
  /** Bytes of each packet that are kept, at most. */
  snap: number;
}

export interface PingRequest {
  /** Node name or overlay address. */
  target: string;
  /** 0: until aborted. */
  count: number;
  intervalMs: number;
  timeoutMs: number;
  /** Of the requests: the node that the last hop of so many ends at answers with a refusal. As many as there may be by default. */
  ttl?: number;
}

export type PingEvent =
  /** `hops`: links of the way there as routing knows it; null where there is none. */
  | { type: 'start'; target: string; node: string; nodeId: number; hops: number | null }
  | {
      type: 'reply';
      number: number;
      rttMicros: number;
      /** Names of the nodes passed after this one: there, then back (this node last). A node without a known name as `#id`. */
      pathThere: string[];
      pathBack: string[];
    }
  /** `reason`: `timeout`, or what a node on the way answered, such as `no route (from b)`; then `refusal` says who, and after how long. */
  | { type: 'lost'; number: number; reason: string; refusal?: PingRefusal };

export interface PingRefusal {
  from: string;
  code: 'no-route' | 'ttl-exceeded' | 'other';
  rttMicros: number;
}

export interface ReloadResult {
  /** Keys that changed and are in force now. */
  applied: string[];
  /** Keys that changed and take a restart. */
  restart: string[];
}

export type FindingLevel = 'ok' | 'warning' | 'error';

/** One line of `causeway doctor`. */
export interface Finding {
  level: FindingLevel;
  /** What was looked at: `kernel`, `tun`, `peer b` … */
  subject: string;
  message: string;
  /** What to do, for a warning or an error. */
  remedy?: string;
}

export type ApiErrorCode = 'not-found' | 'forbidden' | 'bad-request' | 'unavailable' | 'failed';

/** An answer that is a refusal. Its message is one line for the user. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  constructor(
    readonly code: ApiErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
