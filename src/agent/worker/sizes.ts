/** How large the worker's batches and tables are. Tuned with `make bench`; all in bytes or packets, as named. */

import type { RecoveryLimits } from '../../overlay/forward/recovery.js';
import { RECORD_MIN_SIZE } from '../../overlay/wire/record.js';
import { REPAIR_OVERHEAD_MAX } from '../../overlay/wire/repair.js';
import { LANES } from '../../overlay/wire/lanes.js';
import { ROUTED_HEADER_SIZE } from '../../overlay/wire/routed.js';
import { SOURCE_ROUTE_MAX } from '../../overlay/wire/source-route.js';

/** Room for several segmentation-offload reads of up to 64 KiB each, small enough to stay in the cache. */
export const TUN_ARENA = 256 * 1024;
export const TUN_CAPACITY = 256;
/** Every segment grows by its headers; a full read of small segments must fit. */
export const OUT_ARENA = 512 * 1024;
export const OUT_CAPACITY = 1024;
/**
 * Each message of a receive call may be 64 KiB of coalesced datagrams, at most 128 of them; the bytes beyond keep the messages' starts out of
 * the same few cache sets.
 */
export const UDP_MESSAGES = 16;
/** Messages at once, but in a flood of junk: more only add delay, as what arrived first is written out with what arrived last. */
export const UDP_MESSAGES_FEW = 4;
export const UDP_ARENA = UDP_MESSAGES * (65_536 + 320);
export const UDP_CAPACITY = UDP_MESSAGES * 128;

/** Largest datagram of a handshake (docs/wire-format.md). */
export const HANDSHAKE_MAX = 4096;

export const MAX_NEIGHBOURS = 1024;
/** Endpoint slot for datagrams to whoever. */
export const SLOT_ADHOC = 0;
/** A neighbour has up to four sessions, and a fifth while the oldest makes room, each with its lanes in two directions. */
export const KEY_SLOTS = MAX_NEIGHBOURS * 5 * LANES * 2;

/** Largest routed frame that is recovered, given this node's own inner MTU; a relay may meet greater ones, which go best-effort. */
export function frameMax(mtu: number): number {
  return ROUTED_HEADER_SIZE + SOURCE_ROUTE_MAX + Math.max(mtu, 1500);
}

/** Largest datagram that a node with this inner MTU sends: parity over full packets. */
export function datagramMax(mtu: number): number {
  return RECORD_MIN_SIZE + ROUTED_HEADER_SIZE + mtu + REPAIR_OVERHEAD_MAX;
}

/** What grows with traffic; memory is used only as far as traffic needs it. */
export interface Limits extends Omit<RecoveryLimits, 'frameMax'> {
  /** Outgoing flows remembered. */
  flows: number;
  /** Flows from outside whose admission is remembered. */
  inboundFlows: number;
}

export const LIMITS: Limits = {
  flows: 131_072,
  inboundFlows: 65_536,
  stored: 8192,
  orderedFlows: 8192,
  held: 4096,
  heldPerFlow: 2048,
  duplicateSources: 256,
  routedSources: 256,
  routedWindow: 8192,
  realtimeDeadline: 100_000,
};

/** For workers that only warm up. */
export const LIMITS_SMALL: Limits = {
  ...LIMITS,
  flows: 16,
  inboundFlows: 16,
  stored: 256,
  orderedFlows: 16,
  held: 16,
  heldPerFlow: 16,
  duplicateSources: 16,
  routedSources: 16,
};

/**
 * µs of CPU at a time. Short, so that a packet doesn't wait for another program's slice, and so that whoever receives our bursts gets to
 * read them before its socket's buffer is full (`bench/datapath.mjs`: UDP at full speed, ping beside TCP).
 */
export const SCHEDULING_SLICE = 300;

export const ECHOES_KEPT = 4096;
/** Batches read, at most, before a link's silence is judged: a flood must not postpone that for ever. */
export const DRAIN_READS = 64;

/**
 * Bytes. Deep enough for a burst of small packets while the worker is not scheduled, shallow enough that a full one adds about a
 * millisecond at full rate.
 */
export const SOCKET_RECEIVE_BUFFER = 2 * 1024 * 1024;
export const SOCKET_SEND_BUFFER = 4 * 1024 * 1024;
