/**
 * What a node's record says for a mesh that forms itself: that it forms links, and where it may be tried.
 *
 * flags (1): 0x01 has enough links · endpoints, each: length (1) · endpoint (endpoint.ts)
 *
 * An endpoint of a size that this version doesn't know is skipped, as are unknown flags.
 */
import { concatBytes } from '../route/bytes.js';
import {
  decodeEndpoint,
  encodeEndpoint,
  MAX_ENDPOINTS,
  type PublishedEndpoint,
  sameEndpoints,
} from './endpoint.js';

const HAS_ENOUGH = 0x01;

export interface Forming {
  /** It wants no more links but for data. */
  readonly hasEnough: boolean;
  readonly endpoints: readonly PublishedEndpoint[];
}

/** At most MAX_ENDPOINTS. */
export function encodeForming({ hasEnough, endpoints }: Forming): Uint8Array {
  if (endpoints.length > MAX_ENDPOINTS) throw new RangeError('too many endpoints');
  const parts = endpoints.map((endpoint) => {
    const bytes = encodeEndpoint(endpoint);
    return concatBytes(Uint8Array.of(bytes.length), bytes);
  });
  return concatBytes(Uint8Array.of(hasEnough ? HAS_ENOUGH : 0), ...parts);
}

/** Undefined where the bytes make none, or name more than MAX_ENDPOINTS. */
export function decodeForming(bytes: Uint8Array): Forming | undefined {
  if (bytes.length < 1) return undefined;
  const endpoints: PublishedEndpoint[] = [];
  let listed = 0;
  let at = 1;
  while (at < bytes.length) {
    const end = at + 1 + bytes[at];
    if (end > bytes.length || ++listed > MAX_ENDPOINTS) return undefined;
    const endpoint = decodeEndpoint(bytes.subarray(at + 1, end));
    if (endpoint) endpoints.push(endpoint);
    at = end;
  }
  return { hasEnough: (bytes[0] & HAS_ENOUGH) !== 0, endpoints };
}

export function sameForming(a: Forming | undefined, b: Forming | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.hasEnough === b.hasEnough && sameEndpoints(a.endpoints, b.endpoints);
}
