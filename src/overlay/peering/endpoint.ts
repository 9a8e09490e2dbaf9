/**
 * An endpoint that a node publishes in its record, or is told of:
 *
 * kind (1) · port (2) · address (4 bytes, or 16)
 *
 * In a message about one endpoint, where its kind is known, the kind is left out.
 */
import { ADDRESS_BYTES, formatAddress, isMappedIpv4, parseAddress } from '../../io/address.js';
import { concatBytes, readU16 } from '../route/bytes.js';

/** Of one of the host's own addresses. */
export const KIND_HOST = 1;
/** As peers see it: the outside of a NAT that keeps it for every destination. */
export const KIND_SEEN = 2;
/** Likewise, of a NAT that has another port for each destination. */
export const KIND_VARYING = 3;

/** Endpoints that a node publishes at most. */
export const MAX_ENDPOINTS = 8;

const KIND_SIZE = 1;
const PORT_SIZE = 2;
const V4_BYTES = 4;

/** `host` as `formatAddress` writes it, IPv4 dotted even if it came mapped into IPv6. */
export interface Place {
  readonly host: string;
  readonly port: number;
}

export interface PublishedEndpoint extends Place {
  readonly kind: number;
}

export function placeKey({ host, port }: Place): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Port and address. `host` is an address: our own fault where it isn't. */
export function encodePlace({ host, port }: Place): Uint8Array {
  const address = parseAddress(host)!;
  const short = isMappedIpv4(address) ? address.subarray(ADDRESS_BYTES - V4_BYTES) : address;
  return concatBytes(Uint8Array.of(port >>> 8, port), short);
}

/** Undefined where the bytes are none. Any address and port may come out, those without sense too. */
export function decodePlace(bytes: Uint8Array): Place | undefined {
  const size = bytes.length - PORT_SIZE;
  if (size !== V4_BYTES && size !== ADDRESS_BYTES) return undefined;
  const address = new Uint8Array(ADDRESS_BYTES);
  if (size === V4_BYTES) address.fill(0xff, ADDRESS_BYTES - V4_BYTES - 2);
  address.set(bytes.subarray(PORT_SIZE), ADDRESS_BYTES - size);
  return { host: formatAddress(address), port: readU16(bytes, 0) };
}

export function encodeEndpoint(endpoint: PublishedEndpoint): Uint8Array {
  return concatBytes(Uint8Array.of(endpoint.kind), encodePlace(endpoint));
}

export function decodeEndpoint(bytes: Uint8Array): PublishedEndpoint | undefined {
  const place = decodePlace(bytes.subarray(KIND_SIZE));
  return place && { kind: bytes[0], ...place };
}

export function sameEndpoints(a: readonly PublishedEndpoint[], b: readonly PublishedEndpoint[]): boolean {
  const same = (x: PublishedEndpoint, y: PublishedEndpoint) =>
    x.kind === y.kind && x.host === y.host && x.port === y.port;
  return a.length === b.length && a.every((endpoint, i) => same(endpoint, b[i]));
}
