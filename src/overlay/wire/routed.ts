/**
 * The 24-byte header of a routed frame. Everything here runs per packet: it reads and writes fields in place and
 * allocates nothing. Call `checkRouted` once; after that the readers need no check. A source-routed frame has counts for a distance, a list of
 * links behind the header (`source-route.ts`), and a sequence per source.
 *
 *  0                   1                   2                   3
 * +---------------+---------------+-------+---+---+---------------+
 * |     type      |     flags     |service| 0 |ECN|      TTL      |
 * +---------------+---------------+-------+---+---+---------------+
 * |                        source node id                         |
 * +---------------------------------------------------------------+
 * |                 destination node id, or group id              |
 * +-------------------------------+-------------------------------+
 * |     source's boot epoch       |           distance            |
 * +-------------------------------+-------------------------------+
 * |              sequence per source and destination              |
 * +---------------------------------------------------------------+
 * |                          flow label                           |
 * +---------------------------------------------------------------+
 */

import { checkSourceRoute, sourceRouteSize } from './source-route.js';

export const ROUTED_TYPE = 0;
export const ROUTED_FLAGS = 1;
export const ROUTED_SERVICE = 2;
export const ROUTED_TTL = 3;
export const ROUTED_SOURCE = 4;
export const ROUTED_DESTINATION = 8;
export const ROUTED_EPOCH = 12;
export const ROUTED_DISTANCE = 14;
/** What stands further back isn't waited for. */
export const DISTANCE_MAX = 0xffff;
export const ROUTED_SEQUENCE = 16;
export const ROUTED_FLOW = 20;
export const ROUTED_HEADER_SIZE = 24;

export const FRAME_DATA = 0x10;
export const FRAME_ERROR = 0x11;
export const FRAME_ECHO_REQUEST = 0x12;
export const FRAME_ECHO_REPLY = 0x13;

/** The inner transport checksum holds only the pseudo-header's sum. */
export const FLAG_PARTIAL = 0x80;
export const FLAG_GROUP = 0x40;
export const FLAG_SEALED = 0x20;
/** A list of links follows the header: only data frames have one. */
export const FLAG_SOURCE_ROUTED = 0x10;
/** A node on the way dropped the payload: the header goes on alone, so that the exit doesn't wait for the packet. */
export const FLAG_VOID = 0x08;
/** Flags that may change a frame's shape in a way this version can't read. */
const FLAGS_UNKNOWN = 0x07;

export const SERVICE_BEST_EFFORT = 0;
export const SERVICE_RELIABLE = 1;
export const SERVICE_REALTIME = 2;
export const SERVICE_REDUNDANT = 3;
export const SERVICE_INTRUSION_TOLERANT = 4;

/** Of the two ECN bits, of an inner packet as of an outer header (RFC 3168 §5): capable, and congestion experienced. */
export const ECN_ECT0 = 2;
export const ECN_CE = 3;

/** What `checkRouted` answers; an index into ROUTED_REJECTS. */
export const ROUTED_OK = 0;
export const ROUTED_SHORT = 1;
export const ROUTED_UNKNOWN_TYPE = 2;
export const ROUTED_UNKNOWN_FLAGS = 3;
export const ROUTED_BAD_ROUTE = 4;
export const ROUTED_REJECTS = ['ok', 'short', 'unknown-type', 'unknown-flags', 'bad-route'] as const;

/** Whether a record's body (of at least one byte) is one routed frame; otherwise it is link frames. */
export function isRouted(firstByte: number): boolean {
  return firstByte >>> 4 === 1;
}

/** Checks length, type, flags and list of links of the routed frame that fills `length` bytes at `at`: ROUTED_OK or a reason. */
export function checkRouted(view: DataView, at: number, length: number): number {
  if (length < ROUTED_HEADER_SIZE) return ROUTED_SHORT;
  const head = view.getUint16(at);
  if (head >>> 8 < FRAME_DATA || head >>> 8 > FRAME_ECHO_REPLY) return ROUTED_UNKNOWN_TYPE;
  if ((head & FLAGS_UNKNOWN) !== 0) return ROUTED_UNKNOWN_FLAGS;
  if ((head & FLAG_SOURCE_ROUTED) === 0) return ROUTED_OK;
  const list = at + ROUTED_HEADER_SIZE;
  const isListed =
    head >>> 8 === FRAME_DATA &&
    checkSourceRoute(view, list, length - ROUTED_HEADER_SIZE, readDistance(view, at));
  return isListed ? ROUTED_OK : ROUTED_BAD_ROUTE;
}

/** Bytes in front of the inner packet: the header, and the list of links where there is one. */
export function readHeadSize(view: DataView, at: number): number {
  const listed = (readFlags(view, at) & FLAG_SOURCE_ROUTED) !== 0;
  return ROUTED_HEADER_SIZE + (listed ? sourceRouteSize(readDistance(view, at)) : 0);
}

export function readRoutedType(view: DataView, at: number): number {
  return view.getUint8(at);
}

export function readFlags(view: DataView, at: number): number {
  return view.getUint8(at + ROUTED_FLAGS);
}

export function readService(view: DataView, at: number): number {
  return view.getUint8(at + ROUTED_SERVICE) >>> 4;
}

export function readEcn(view: DataView, at: number): number {
  return view.getUint8(at + ROUTED_SERVICE) & 3;
}

export function readTtl(view: DataView, at: number): number {
  return view.getUint8(at + ROUTED_TTL);
}

export function readSource(view: DataView, at: number): number {
  return view.getUint32(at + ROUTED_SOURCE);
}

export function readDestination(view: DataView, at: number): number {
  return view.getUint32(at + ROUTED_DESTINATION);
}

export function readEpoch(view: DataView, at: number): number {
  return view.getUint16(at + ROUTED_EPOCH);
}

export function readDistance(view: DataView, at: number): number {
  return view.getUint16(at + ROUTED_DISTANCE);
}

export function readSequence(view: DataView, at: number): number {
  return view.getUint32(at + ROUTED_SEQUENCE);
}

export function readFlow(view: DataView, at: number): number {
  return view.getUint32(at + ROUTED_FLOW);
}

/** Sets one of the flags. */
export function setFlag(view: DataView, at: number, flag: number): void {
  view.setUint8(at + ROUTED_FLAGS, view.getUint8(at + ROUTED_FLAGS) | flag);
}

/** Overwrites the distance: what it named was dropped. */
export function writeDistance(view: DataView, at: number, distance: number): void {
  view.setUint16(at + ROUTED_DISTANCE, distance);
}

/** Overwrites the TTL; a relay's only change but for ECN. */
export function writeTtl(view: DataView, at: number, ttl: number): void {
  view.setUint8(at + ROUTED_TTL, ttl);
}

/** Overwrites the ECN bits (0 not capable, 1 ECT(1), 2 ECT(0), 3 congestion experienced). */
export function writeEcn(view: DataView, at: number, ecn: number): void {
  view.setUint8(at + ROUTED_SERVICE, (view.getUint8(at + ROUTED_SERVICE) & 0xfc) | ecn);
}

/** Writes all 24 bytes. Fields are taken modulo their width, except that `ecn` must be 0…3. */
export function writeRoutedHeader(
  view: DataView,
  at: number,
  type: number,
  flags: number,
  service: number,
  ecn: number,
  ttl: number,
  source: number,
  destination: number,
  epoch: number,
  distance: number,
  sequence: number,
  flow: number,
): void {
  view.setUint16(at, (type << 8) | flags);
  view.setUint16(at + ROUTED_SERVICE, (service << 12) | (ecn << 8) | ttl);
  view.setUint32(at + ROUTED_SOURCE, source);
  view.setUint32(at + ROUTED_DESTINATION, destination);
  view.setUint32(at + ROUTED_EPOCH, (epoch << 16) | (distance & 0xffff));
  view.setUint32(at + ROUTED_SEQUENCE, sequence);
  view.setUint32(at + ROUTED_FLOW, flow);
}
