/**
 * What an agent answers over its control socket. `AgentApi` is implemented by src/agent; `ControlServer` carries it as JSON over HTTP on
 * the UNIX socket, `ControlClient` implements it again for the CLI. Everything here is JSON: no bigint, no Date.
 */

/** A value, now or later. */
export type Eventually<T> = T | Promise<T>;

export interface AgentApi {
  status(): Eventually<Status>;
  /** Every configured and every seen peer, sorted by name. */
  peers(): Eventually<PeerStatus[]>;
  /** Links that are up or were up since the start, sorted by peer. */
  links(): Eventually<LinkStatus[]>;
  routes(): Eventually<RouteStatus[]>;
  /**
   * Sends echo requests through the overlay and yields one event for each, in order of arrival. Stops when `signal` aborts.
   * Throws ApiError `not-found` when nothing in the mesh is called, or owns, `target`.
   */
  ping(request: PingRequest, signal: AbortSignal): AsyncIterable<PingEvent>;
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
  peers: { configured: number; connected: number };
  counters: Counters;
  /** One line each, with the remedy. */
  warnings: string[];
}

/** Totals since the start. Directions are seen from the agent: `tunIn` is what applications sent. */
export interface Counters {
  tunIn: Traffic;
  tunOut: Traffic;
  udpIn: Traffic;
  udpOut: Traffic;
  /** Packets of others that this node passed on. */
  relayed: Traffic;
  /** Packets by reason; only reasons that occurred. */
  drops: Record<string, number>;
}

export interface Traffic {
  packets: number;
  bytes: number;
}

export type PeerState = 'connected' | 'connecting' | 'waiting' | 'failed';

export interface PeerStatus {
  name: string;
  /** Null until it is known (an unreached peer's is derived from its name, so it is known from the start). */
  nodeId: number | null;
  /** False for one that called us without being configured. */
  configured: boolean;
  /** `waiting`: no endpoints configured, it has to call us. `failed`: last try failed, another follows. */
  state: PeerState;
  /** Why not connected, and the remedy; null when connected. */
  reason: string | null;
  endpoint: string | null;
  /** Seconds in this state. */
  sinceSeconds: number;
  rttMicros: number | null;
}

export type LinkState = 'up' | 'down';

export interface LinkStatus {
  peer: string;
  state: LinkState;
  endpoint: string;
  rttMicros: number | null;
  /** Least round-trip time of late, the path's own without queues. */
  rttBaseMicros: number | null;
  sinceSeconds: number;
  sent: Traffic;
  received: Traffic;
  /** Since the newest key exchange. */
  sessionAgeSeconds: number | null;
  cipher: string | null;
}

export interface RouteStatus {
  /** `10.77.0.5/32` */
  prefix: string;
  /** Node that owns it. */
  owner: string;
  /** Next hop's name, null for this node's own, and where there is no way (then `hops` is null too). */
  via: string | null;
  hops: number | null;
  costMicros: number | null;
}

export interface PingRequest {
  /** Node name or overlay address. */
  target: string;
  /** 0: until aborted. */
  count: number;
  intervalMs: number;
  timeoutMs: number;
}

export type PingEvent =
  | { type: 'start'; target: string; node: string; nodeId: number }
  | {
      type: 'reply';
      number: number;
      rttMicros: number;
      /** Names of the nodes passed after this one: there, then back (this node last). A node without a known name as `#id`. */
      pathThere: string[];
      pathBack: string[];
    }
  /** `reason`: `timeout`, or what a node on the way answered, such as `no route (from b)`. */
  | { type: 'lost'; number: number; reason: string };

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

export type ApiErrorCode = 'not-found' | 'bad-request' | 'unavailable' | 'failed';

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
