/** The services that a flow may have, and which one it gets where no rule names one. */
import {
  SERVICE_BEST_EFFORT,
  SERVICE_REALTIME,
  SERVICE_REDUNDANT,
  SERVICE_RELIABLE,
} from '../overlay/wire/routed.js';
import { PROTOCOL_TCP, PROTOCOL_UDP } from './packet.js';

export { SERVICE_BEST_EFFORT, SERVICE_REALTIME, SERVICE_REDUNDANT, SERVICE_RELIABLE };

/** By service number. */
export const SERVICE_NAMES = ['best-effort', 'reliable', 'realtime', 'redundant'] as const;
export type ServiceName = (typeof SERVICE_NAMES)[number];

/** What decided a flow's service; an index into ORIGIN_NAMES. Lower ones go first. */
export const ORIGIN_SET = 0;
export const ORIGIN_RULE = 1;
export const ORIGIN_DSCP = 2;
export const ORIGIN_DEFAULT = 3;
export const ORIGIN_NAMES = ['set', 'rule', 'dscp', 'default'] as const;

/** Service number by protocol, where nothing else chose one. */
export interface ServiceDefaults {
  tcp: number;
  udp: number;
  other: number;
}

export const DEFAULT_SERVICES: Readonly<ServiceDefaults> = Object.freeze({
  tcp: SERVICE_RELIABLE,
  udp: SERVICE_BEST_EFFORT,
  other: SERVICE_BEST_EFFORT,
});

/** What a socket may ask for by setsockopt(IP_TOS, IPV6_TCLASS). */
const DSCP_RELIABLE = 11;
const DSCP_REDUNDANT = 15;
/** Expedited forwarding (RFC 3246). */
const DSCP_REALTIME = 46;

/** The service that a DSCP (0..63) asks for; -1 for none. */
export function serviceOfDscp(dscp: number): number {
  if (dscp === DSCP_RELIABLE) return SERVICE_RELIABLE;
  if (dscp === DSCP_REDUNDANT) return SERVICE_REDUNDANT;
  return dscp === DSCP_REALTIME ? SERVICE_REALTIME : -1;
}

export function defaultService(protocol: number, defaults: ServiceDefaults): number {
  if (protocol === PROTOCOL_TCP) return defaults.tcp;
  return protocol === PROTOCOL_UDP ? defaults.udp : defaults.other;
}
