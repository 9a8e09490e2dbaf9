/** What the agent runs on: the configuration file with every default filled in and every value parsed. */
import type { AccessRules, Allowed } from '../../intercept/access.js';
import type { InboundRule } from '../../intercept/inbound.js';
import type { Rule } from '../../intercept/rules.js';
import type { ServiceDefaults } from '../../intercept/services.js';

/** An endpoint and how the file writes it. `host` is an address without brackets. */
export interface NamedEndpoint {
  host: string;
  port: number;
  text: string;
}

export interface PeerConfig {
  /** Node name in the peer's certificate. */
  name: string;
  /** Where to try it; empty: wait until it calls. */
  endpoints: NamedEndpoint[];
}

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Which links an agent has: those configured, or also those that it forms by itself. */
export const MESH_MODES = ['configured', 'auto'] as const;
export type MeshMode = (typeof MESH_MODES)[number];

export interface Config {
  /** Absolute path of the file it came from. */
  file: string;
  /** Where rules stand in it: the line of each. Absent where a configuration was made without a file. */
  lines?: { rules: number[]; inbound: number[] };
  node: string;
  /** Absolute paths, credentials directory filled in. */
  pki: { ca: string; cert: string; key: string };
  listen: { host: string; port: number };
  /** `mtu` in bytes of the inner packet. */
  tun: { name: string; mtu: number };
  peers: PeerConfig[];
  mesh: MeshMode;
  intercept: {
    mode: 'split' | 'full';
    /** Whether packets to other nodes' real addresses go over the overlay. */
    participants: boolean;
    /** What becomes of them, and of the exit's traffic, where the overlay has no way. */
    fallback: 'direct' | 'refuse';
    /** Node that carries traffic to outside addresses. */
    exit?: string | undefined;
    rules: Rule[];
    /** Absent where everything may enter. */
    inbound?: InboundRule[] | undefined;
  };
  /** Whether this node forwards for the networks behind it, and for others as an exit. */
  forward?: { masquerade: boolean } | undefined;
  services: { default: ServiceDefaults };
  /** DSCP of datagrams that carry data; `copy`: that of the packet inside. Whether packets that a link can't carry whole go in pieces though their sender forbids it. */
  links: { outerDscp: 'copy' | number; split: boolean };
  /** Which of this host's users may use the overlay, and choose services. */
  access: AccessRules;
  /** Names of nodes, served at this node's addresses. `zone` is lower case, without a dot at its end. */
  names: { enabled: boolean; zone: string; port: number };
  control: { socket: string; metrics?: NamedEndpoint; read?: Allowed | undefined; all?: Allowed | undefined };
  log: { level: LogLevel };
}

export const DEFAULT_SOCKET = '/run/causeway/causeway.sock';
export const DEFAULT_PORT = 7100;
export const DEFAULT_TUN = 'cw0';
export const DEFAULT_ZONE = 'causeway';
export const DNS_PORT = 53;
export const DEFAULT_MTU = 1380;
/** IPv6 refuses less on any link (RFC 8200 §5). */
export const MIN_MTU = 1280;
/** A 9000-byte underlay less 40 of IPv6, 8 of UDP and 72 of ours. */
export const MAX_MTU = 8880;
