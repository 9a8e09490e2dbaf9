/**
 * What the main thread and the forwarding worker say to each other. Everything else they share is nothing: each owns its state.
 * Endpoints travel as `Endpoint` objects here; inside the worker they are ENDPOINT_WORDS words in a slot.
 */
import type { LinkRecovery, LossReport } from '../control/api.js';
import type { Cipher, TunFeatures, UdpFeatures } from '../io/ports.js';
import type { FlowMatch, FlowReport, FlowTuple } from '../intercept/flow-cache.js';
import type { AccessRules } from '../intercept/access.js';
import type { Refusal } from '../intercept/refusals.js';
import type { InboundRule } from '../intercept/inbound.js';
import type { NodeGroups, Rule, RulePrefix } from '../intercept/rules.js';
import type { ServiceDefaults } from '../intercept/services.js';
import type { Health } from '../overlay/link/quality/link-health.js';
import type { LinkMeasure } from '../overlay/route/measure.js';
import type { Outside } from '../overlay/forward/routes.js';
import type { RouteTo } from '../overlay/forward/source-routes.js';
import type { PathReport } from '../overlay/link/paths.js';
import type { CloseReason } from '../overlay/wire/frames.js';
import type { Endpoint } from './endpoint.js';

export type { LinkRecovery, LossReport };

/** One direction of one traffic class of a session. */
export interface LaneKey {
  index: number;
  key: Uint8Array;
}

export interface SessionGrant {
  peer: number;
  name: string;
  /** Names the session: the base receiver index. */
  index: number;
  endpoint: Endpoint;
  /** Of the peer's static key: another one is another process. */
  incarnation: string;
  initiator: boolean;
  cipher: Cipher;
  /** In lane order; receive[i].index is ours, send[i].index the peer's. */
  receive: LaneKey[];
  send: LaneKey[];
}

export interface WorkerOptions {
  self: number;
  epoch: number;
  /** `mtu` in bytes of the inner packet. */
  tun: { name: string; mtu: number };
  listen: { host: string; port: number };
  mark: number;
  /** Absent where only the overlay's prefixes lead into the device. */
  intercept?: InterceptOptions;
  plain: boolean;
}

/** What the worker may meet beside packets between overlay addresses. */
export interface InterceptOptions extends Outside {
  /** fwmark of packets that are sent on without the overlay. */
  resentMark: number;
  /** Whether a packet to another node's real address goes directly where the overlay has no way. */
  fallback: boolean;
  /** The overlay's own prefixes, where nothing is ever direct. */
  overlay: RulePrefix[];
}

/** The DSCP of datagrams that carry data: a fixed one, or OUTER_DSCP_COPY for that of the packet inside. */
export const OUTER_DSCP_COPY = -1;

/** Which flows a list is to hold. */
export interface FlowFilter {
  outgoing: boolean;
  incoming: boolean;
  /** Only outgoing flows to addresses in it. */
  to?: RulePrefix;
  /** µs since a flow's last packet, at most. */
  idleMicros: number;
  /** Flows of each direction, at most: the newest. */
  limit: number;
}

/** What a capture is to hold. */
export interface CaptureFilter {
  /** The packets inside instead of the datagrams around them. */
  decrypted: boolean;
  /** Only those of a node: a neighbour's datagrams, or packets from or to it. */
  node?: number;
  /** Only packets of such flows, in both directions; with `decrypted`. */
  flow?: FlowMatch;
  /** Bytes of each that are kept, at most. */
  snap: number;
}

export type ToWorker =
  | { type: 'datagram'; bytes: Uint8Array; endpoint: Endpoint }
  | { type: 'session'; grant: SessionGrant }
  | { type: 'message'; peer: number; bytes: Uint8Array }
  | { type: 'tables'; buffers: ArrayBuffer[] }
  /** The links that redundant packets take, whole: of all destinations that were wanted and have more than one way. */
  | { type: 'source-routes'; routes: readonly RouteTo[] }
  | { type: 'revoke-session'; index: number }
  /** `inbound`: absent where everything may enter. `groups`: who is in the groups of nodes that rules name. */
  | {
      type: 'rules';
      rules: readonly Rule[];
      inbound?: readonly InboundRule[];
      defaults: ServiceDefaults;
      groups: NodeGroups;
      access?: AccessRules;
      /** Netlink group where senders are logged; absent where nobody asks. */
      senderGroup?: number;
    }
  | { type: 'outer-dscp'; dscp: number }
  /** Whether what is too large for a link goes in pieces whatever its sender wants. */
  | { type: 'split'; splits: boolean }
  /** Of a `PrefixTable`: real addresses to which there is no way now. */
  | { type: 'withheld'; buffers: ArrayBuffer[] }
  | { type: 'flows'; id: number; filter: FlowFilter }
  /** Of the flows that run now; null leaves them to the rules again. */
  | { type: 'flow-set'; id: number; match: FlowMatch; service: number | null }
  | { type: 'forget'; peer: number; reason?: CloseReason }
  /** Where else the peer may be reached. */
  | { type: 'paths'; peer: number; endpoints: readonly Endpoint[] }
  /** Asks where data went since the last time. */
  | { type: 'usage' }
  /** The host's interfaces or addresses have changed. `running`: addresses of those that run, four words each. */
  | { type: 'host-changed'; running: Uint32Array[] }
  /** The link to this peer is in doubt. */
  | { type: 'suspect'; peer: number }
  | { type: 'echo'; id: number; number: number; destination: number; ttl: number }
  | { type: 'report'; id: number }
  /** `wallOffset`, µs: the wall clock's lead over the agent's. */
  | { type: 'capture'; id: number; filter: CaptureFilter; wallOffset: number }
  | { type: 'capture-end'; id: number }
  | { type: 'stop' };

export interface LinkReport {
  peer: number;
  name: string;
  state: 'up' | 'down';
  endpoint: Endpoint;
  /** All ways to the peer, the endpoint's among them. */
  paths: PathReport<Endpoint>[];
  rttMicros: number;
  baseRttMicros: number;
  /** µs in this state. */
  sinceMicros: number;
  /** Bytes of UDP payload that pass whole; null: less than the least. */
  datagramMax: number | null;
  health: Health;
  /** µs in this health. */
  healthMicros: number;
  /** Share of records of all kinds lost of late, 0 … 1. */
  lossOut: number;
  lossIn: number;
  cipher: Cipher;
  sessionAgeMicros: number;
  packetsSent: number;
  bytesSent: number;
  packetsReceived: number;
  bytesReceived: number;
  /** Absent until numbered frames were sent or received. */
  recovery?: LinkRecovery;
}

/** A flow that ends at this node, as its exit knows it. */
export interface IncomingFlowReport {
  /** Node id that it comes from. */
  node: number;
  /** The flow's label, which its source made by `flowHash`. */
  label: number;
  /** Where the exit knows it. */
  tuple?: FlowTuple;
  service: number;
  delivered: number;
  /** Packets put in order. */
  reordered: number;
  /** Gaps that were no longer waited for. */
  skipped: number;
  duplicates: number;
  held: number;
  idleMicros: number;
}

export interface WorkerReport {
  links: LinkReport[];
  counters: Record<string, number>;
  drops: Record<string, number>;
  refusals: Refusal[];
}

export interface EchoReply {
  id: number;
  number: number;
  from: number;
  rttMicros: number;
  forward: number[];
  back: number[];
  ttl: number;
}

export type FromWorker =
  | {
      type: 'ready';
      port: number;
      kind: 'native' | 'plain';
      engine: string;
      tun: TunFeatures;
      udp: UdpFeatures;
    }
  /** To be logged. */
  | { type: 'refused'; refusal: Refusal }
  /** It can't be known who sends. */
  | { type: 'senders-unknown'; message: string }
  | { type: 'fatal'; code: string; message: string; syscall: string }
  | { type: 'datagram'; bytes: Uint8Array; endpoint: Endpoint }
  | { type: 'up'; peer: number; rttMicros: number }
  | { type: 'down'; peer: number; reason: string }
  | { type: 'measured'; peer: number; measure: LinkMeasure }
  /** A neighbour's datagrams come from there; before 'up', and again after a change. */
  | { type: 'moved'; peer: number; endpoint: Endpoint }
  /** Node ids that data of this host went to since the last time, and neighbours whose links carry data. */
  | { type: 'usage'; destinations: number[]; neighbours: number[] }
  | { type: 'message'; peer: number; bytes: Uint8Array }
  /** The peer's stream, or ours to it, began anew: synchronise again. */
  | { type: 'stream-lost'; peer: number }
  | { type: 'confirmed'; index: number }
  /** A session's receiver indexes are free again. */
  | { type: 'released'; index: number }
  | { type: 'closed'; peer: number; reason: CloseReason }
  /** The session to this peer wants a successor, or is gone. */
  | { type: 'rekey'; peer: number; endpoint: Endpoint }
  /** Redundant packets go to this node. */
  | { type: 'route-wanted'; node: number }
  | { type: 'echo-reply'; reply: EchoReply }
  /** A node refused an echo, `rttMicros` after it went. */
  | { type: 'echo-error'; id: number; number: number; from: number; code: number; rttMicros: number }
  | { type: 'report'; id: number; report: WorkerReport }
  | { type: 'flows'; id: number; outgoing: FlowReport[]; incoming: IncomingFlowReport[] }
  /** How many flows matched. */
  | { type: 'flow-set'; id: number; flows: number }
  /** Whole pcapng blocks; what couldn't be kept is only counted. */
  | { type: 'captured'; id: number; bytes: Uint8Array; packets: number; missed: number }
  | { type: 'stopped' };
