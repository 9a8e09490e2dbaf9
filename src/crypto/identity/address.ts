/**
 * Addresses and prefixes of both families, as certificates carry them: raw network bytes, with a canonical text
 * (IPv6 as in RFC 5952) for people, logs and comparison.
 */
import { IPv4, IPv6 } from 'ip-num';

export type Family = 4 | 6;

export interface OverlayAddress {
  readonly family: Family;
  /** 4 or 16 bytes, network order. */
  readonly bytes: Uint8Array;
  /** Canonical; equal texts mean equal addresses. */
  readonly text: string;
}

export interface OverlayPrefix extends OverlayAddress {
  /** Bits, 0..32 or 0..128; every bit of `bytes` behind them is zero. `text` is `address/length`. */
  readonly length: number;
}

/** Undefined unless `text` is one address without zone or port. IPv4-mapped IPv6 addresses are refused as ambiguous. */
export function parseAddress(text: string): OverlayAddress | undefined {
  try {
    if (/^[0-9.]+$/.test(text)) return addressFromBytes(bytesOf(IPv4.fromString(text).getValue(), 4));
    if (!/^[0-9a-fA-F:.]+$/.test(text)) return undefined;
    return addressFromBytes(bytesOf(IPv6.fromString(text).getValue(), 16));
  } catch {
    return undefined;
  }
}

/** Undefined unless there are 4 or 16 bytes. The bytes are copied. */
export function addressFromBytes(bytes: Uint8Array): OverlayAddress | undefined {
  if (bytes.length === 4) return { family: 4, bytes: Uint8Array.from(bytes), text: bytes.join('.') };
  if (bytes.length !== 16 || isMapped(bytes)) return undefined;
  return { family: 6, bytes: Uint8Array.from(bytes), text: formatIPv6(bytes) };
}

export type PrefixResult =
  { readonly ok: true; readonly prefix: OverlayPrefix } | { readonly ok: false; readonly text: string };

/** Reads `10.77.0.0/16` or `fd77::/48`. The refusal's text names the prefix and the remedy. */
export function parsePrefix(text: string): PrefixResult {
  const match = /^([^/]+)\/(\d{1,3})$/.exec(text);
  const address = match ? parseAddress(match[1]) : undefined;
  if (match === null || address === undefined) {
    return { ok: false, text: `"${text}" is no prefix; write it as 10.77.0.0/16 or fd77::/48` };
  }
  const length = Number(match[2]);
  const bits = address.bytes.length * 8;
  if (length > bits)
    return { ok: false, text: `${text}: an IPv${address.family} prefix has at most ${bits} bits` };
  const prefix = prefixOf(address, length);
  if (!prefix.bytes.every((byte, i) => byte === address.bytes[i])) {
    return { ok: false, text: `${text} has host bits set; did you mean ${prefix.text}?` };
  }
  return { ok: true, prefix };
}

/** The prefix of `length` bits that holds `address`. */
export function prefixOf(address: OverlayAddress, length: number): OverlayPrefix {
  const mask = maskBytes(address.bytes.length, length);
  const base = addressFromBytes(address.bytes.map((byte, i) => byte & mask[i]))!;
  return { ...base, length, text: `${base.text}/${length}` };
}

/**
 * Reads an iPAddress name constraint: address then mask, 8 or 32 bytes (RFC 5280 §4.2.1.10). Undefined for other
 * lengths, a mask with holes, or address bits outside the mask.
 */
export function prefixFromConstraint(bytes: Uint8Array): OverlayPrefix | undefined {
  const half = bytes.length / 2;
  const address = half === 4 || half === 16 ? addressFromBytes(bytes.subarray(0, half)) : undefined;
  if (address === undefined) return undefined;
  const mask = bytes.subarray(half);
  const length = mask.reduce((sum, byte) => sum + byte.toString(2).replaceAll('0', '').length, 0);
  if (!maskBytes(half, length).every((byte, i) => byte === mask[i])) return undefined;
  const prefix = prefixOf(address, length);
  return prefix.bytes.every((byte, i) => byte === address.bytes[i]) ? prefix : undefined;
}

/** Address then mask, the inverse of `prefixFromConstraint`. */
export function constraintOf(prefix: OverlayPrefix): Uint8Array {
  return Buffer.concat([prefix.bytes, maskBytes(prefix.bytes.length, prefix.length)]);
}

/** Loopback, link-local, multicast, limited broadcast and unspecified ranges, by their first bytes. */
export function isSpecialAddress({ family, bytes: [first, second] }: OverlayAddress): boolean {
  if (family === 4) return first === 0 || first === 127 || first >= 224 || (first === 169 && second === 254);
  return first === 0 || first === 0xff || (first === 0xfe && (second & 0xc0) === 0x80);
}

/** Whether `address` lies in `prefix`; addresses of the other family never do. */
export function prefixContains(prefix: OverlayPrefix, address: OverlayAddress): boolean {
  if (prefix.family !== address.family) return false;
  const mask = maskBytes(prefix.bytes.length, prefix.length);
  return prefix.bytes.every((byte, i) => byte === (address.bytes[i] & mask[i]));
}

function maskBytes(size: number, length: number): Uint8Array {
  return Uint8Array.from(
    { length: size },
    (_, i) => 0xff & ~(0xff >> Math.min(8, Math.max(0, length - i * 8))),
  );
}

function bytesOf(value: bigint, size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => Number((value >> BigInt(8 * (size - 1 - i))) & 0xffn));
}

/** ::ffff:0:0/96: the same host as an IPv4 address under another text. */
function isMapped(bytes: Uint8Array): boolean {
  return bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
}

/** RFC 5952 §4: lower case, no leading zeros, the first longest run of two or more zero groups as `::`. */
function formatIPv6(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => (bytes[2 * i] << 8) | bytes[2 * i + 1]);
  let best = { start: 0, length: 1 };
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && groups[i + length] === 0) length++;
    if (length > best.length) best = { start: i, length };
  }
  const hex = (part: number[]): string => part.map((group) => group.toString(16)).join(':');
  if (best.length === 1) return hex(groups);
  return `${hex(groups.slice(0, best.start))}::${hex(groups.slice(best.start + best.length))}`;
}
