/**
 * Endpoint records in text and in words. An address is 16 raw network bytes, IPv4 as ::ffff:a.b.c.d (see batch.ts).
 */
import { isIP, isIPv4, isIPv6 } from 'node:net';
import { ENDPOINT_INTERFACE, ENDPOINT_LOCAL, ENDPOINT_PORT, ENDPOINT_WORDS } from './batch.js';

export const ADDRESS_BYTES = 16;
const MAPPED_PREFIX_BYTES = 12;

export interface Endpoint {
  /** Remote address, 16 bytes. */
  remote: Uint8Array;
  port: number;
  /** Local address, 16 bytes, all zero where unknown. */
  local: Uint8Array;
  /** Interface index, 0 where unknown. */
  interfaceIndex: number;
}

/** The 16 bytes of an IPv4 or IPv6 address without a zone; undefined if `text` is neither. */
export function parseAddress(text: string): Uint8Array | undefined {
  if (isIPv4(text)) return mapIpv4(text);
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const [head = '', tail] = text.split('::');
  const before = groupsOf(head);
  const after = tail === undefined ? [] : groupsOf(tail);
  const zeros: number[] = Array.from({ length: ADDRESS_BYTES - before.length - after.length }, () => 0);
  return Uint8Array.from([...before, ...zeros, ...after]);
}

function mapIpv4(text: string): Uint8Array {
  const bytes = new Uint8Array(ADDRESS_BYTES);
  bytes.fill(0xff, MAPPED_PREFIX_BYTES - 2, MAPPED_PREFIX_BYTES);
  bytes.set(text.split('.').map(Number), MAPPED_PREFIX_BYTES);
  return bytes;
}

/** Bytes of "a:b:c", where the last group may be a dotted quad. */
function groupsOf(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (group.includes('.')) return group.split('.').map(Number);
    const value = parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });
}

export function isMappedIpv4(address: Uint8Array): boolean {
  for (let i = 0; i < MAPPED_PREFIX_BYTES - 2; i++) if (address[i] !== 0) return false;
  return address[10] === 0xff && address[11] === 0xff;
}

export function isLinkLocal(address: Uint8Array): boolean {
  return address[0] === 0xfe && (address[1] & 0xc0) === 0x80;
}

export function isUnspecified(address: Uint8Array): boolean {
  const from = isMappedIpv4(address) ? MAPPED_PREFIX_BYTES : 0;
  return address.subarray(from).every((byte) => byte === 0);
}

/** Dotted quad for a mapped address, else as RFC 5952 has it: the first of the longest runs of zero groups left out. */
export function formatAddress(address: Uint8Array): string {
  if (isMappedIpv4(address)) return address.subarray(MAPPED_PREFIX_BYTES).join('.');
  const groups: string[] = [];
  for (let i = 0; i < ADDRESS_BYTES; i += 2) groups.push(((address[i] << 8) | address[i + 1]).toString(16));
  const text = groups.join(':');
  const runs = [...text.matchAll(/(?:^|:)0(?::0)+(?=:|$)/g)];
  const longest = runs.sort((a, b) => b[0].length - a[0].length)[0];
  if (!longest) return text;
  const tail = text.slice(longest.index + longest[0].length).replace(/^:/, '');
  return `${text.slice(0, longest.index)}::${tail}`;
}

/** Writes an endpoint into slot `slot` of `words`. */
export function writeEndpoint(words: Uint32Array, slot: number, endpoint: Endpoint): void {
  const at = slot * ENDPOINT_WORDS;
  const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  bytes.set(endpoint.remote, at * 4);
  words[at + ENDPOINT_PORT] = endpoint.port;
  bytes.set(endpoint.local, (at + ENDPOINT_LOCAL) * 4);
  words[at + ENDPOINT_INTERFACE] = endpoint.interfaceIndex;
}

/** Reads slot `slot` of `words`; the addresses are copies. */
export function readEndpoint(words: Uint32Array, slot: number): Endpoint {
  const at = slot * ENDPOINT_WORDS;
  const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  const address = (word: number): Uint8Array => bytes.slice(word * 4, word * 4 + ADDRESS_BYTES);
  return {
    remote: address(at),
    port: words[at + ENDPOINT_PORT],
    local: address(at + ENDPOINT_LOCAL),
    interfaceIndex: words[at + ENDPOINT_INTERFACE],
  };
}

/** An endpoint from text, for callers that hold configuration. Undefined if an address isn't one. */
export function endpointOf(remote: string, port: number, local?: string): Endpoint | undefined {
  const remoteBytes = parseAddress(remote);
  const localBytes = local === undefined ? new Uint8Array(ADDRESS_BYTES) : parseAddress(local);
  if (!remoteBytes || !localBytes || isIP(remote) === 0) return undefined;
  return { remote: remoteBytes, port, local: localBytes, interfaceIndex: 0 };
}
