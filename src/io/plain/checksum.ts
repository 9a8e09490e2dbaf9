/** The Internet checksum (RFC 1071) and where a packet keeps its transport's. */

export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;

const IPV4_MIN_BYTES = 20;
export const IPV6_BYTES = 40;
const IPV6_FRAGMENT = 44;
const IPV6_AUTHENTICATION = 51;
/** Extension headers whose length byte counts units of 8 bytes beyond the first 8 (RFC 8200 §4). */
const IPV6_SKIPPABLE = new Set([0, 43, 60, 135]);

/** Adds the 16-bit words of bytes[start, end) to `initial`, unfolded. An odd last byte counts as its word's high half. */
export function sumWords(bytes: Uint8Array, start: number, end: number, initial = 0): number {
  let sum = initial;
  let i = start;
  for (; i + 1 < end; i += 2) sum += (bytes[i] << 8) | bytes[i + 1];
  return i < end ? sum + (bytes[i] << 8) : sum;
}

/** Folds a sum below 2³² to 16 bits. */
export function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16);
  return folded;
}

export interface Transport {
  protocol: number;
  /** Offset of the transport header from the packet's start, bytes. */
  start: number;
  /** Whether it follows the IP header directly: no IPv6 extension header between. */
  direct: boolean;
}

/** Finds the transport header of an unfragmented packet; undefined for fragments, truncated packets and other versions. */
export function locateTransport(bytes: Uint8Array, offset: number, length: number): Transport | undefined {
  if (length < IPV4_MIN_BYTES) return undefined;
  const version = bytes[offset] >> 4;
  if (version === 4) return locateInIpv4(bytes, offset, length);
  if (version === 6 && length >= IPV6_BYTES) return locateInIpv6(bytes, offset, length);
  return undefined;
}

function locateInIpv4(bytes: Uint8Array, offset: number, length: number): Transport | undefined {
  const start = (bytes[offset] & 0x0f) * 4;
  const fragment = ((bytes[offset + 6] & 0x3f) << 8) | bytes[offset + 7];
  if (start < IPV4_MIN_BYTES || start > length || fragment !== 0) return undefined;
  return { protocol: bytes[offset + 9], start, direct: true };
}

function locateInIpv6(bytes: Uint8Array, offset: number, length: number): Transport | undefined {
  let protocol = bytes[offset + 6];
  let start = IPV6_BYTES;
  for (;;) {
    const authentication = protocol === IPV6_AUTHENTICATION;
    if (protocol === IPV6_FRAGMENT) return undefined;
    if (!authentication && !IPV6_SKIPPABLE.has(protocol))
      return { protocol, start, direct: start === IPV6_BYTES };
    if (start + 8 > length) return undefined;
    const units = bytes[offset + start + 1];
    protocol = bytes[offset + start];
    start += authentication ? (units + 2) * 4 : (units + 1) * 8;
    if (start > length) return undefined;
  }
}

/** Offset of the checksum in a transport's header; undefined for a transport whose checksum is never partial. */
export function checksumField(protocol: number): number | undefined {
  if (protocol === PROTOCOL_TCP) return 16;
  return protocol === PROTOCOL_UDP ? 6 : undefined;
}

/**
 * Completes a partial TCP or UDP checksum in place. False, with the packet untouched, where there is none to complete.
 * A result of 0 is written as 0xffff, as UDP asks (RFC 768) and TCP allows.
 */
export function completeChecksum(bytes: Uint8Array, offset: number, length: number): boolean {
  const transport = locateTransport(bytes, offset, length);
  const field = transport && checksumField(transport.protocol);
  if (!transport || field === undefined || transport.start + field + 2 > length) return false;
  const sum = fold(sumWords(bytes, offset + transport.start, offset + length));
  write16(bytes, offset + transport.start + field, ~sum & 0xffff || 0xffff);
  return true;
}

/** Recomputes an IPv4 header's own checksum. */
export function refreshIpv4Header(bytes: Uint8Array, offset: number): void {
  write16(bytes, offset + 10, 0);
  write16(bytes, offset + 10, ~fold(sumWords(bytes, offset, offset + (bytes[offset] & 0x0f) * 4)) & 0xffff);
}

export function read16(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}

export function write16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}
