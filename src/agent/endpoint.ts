import { ENDPOINT_INTERFACE, ENDPOINT_LOCAL, ENDPOINT_PORT, ENDPOINT_WORDS } from '../io/batch.js';
import { IPv4, IPv6 } from 'ip-num';
import { isIPv4, isIPv6 } from 'node:net';

/** Where datagrams go to and which of our addresses they leave from. */
export interface Endpoint {
  /** IPv4 dotted or IPv6 text. */
  host: string;
  port: number;
  /** The local address they were sent to, text; undefined lets the kernel choose. */
  local?: string;
  /** Interface index, for link-local addresses only; 0 otherwise. */
  interface?: number;
}

/** One string per remote address and port. */
export function endpointKey(endpoint: Endpoint): string {
  return endpoint.host.includes(':')
    ? `[${endpoint.host}]:${endpoint.port}`
    : `${endpoint.host}:${endpoint.port}`;
}

/** Whose datagram it is, for limits per source: an IPv4 address, or an IPv6 /64, all of which one host has. */
export function endpointHost({ host }: Endpoint): string {
  return host.includes(':') ? Buffer.from(addressBytes(host).subarray(0, 8)).toString('hex') : host;
}

/** "192.0.2.2:7100" or "[2001:db8::2]:7100"; undefined if it is neither. */
export function parseEndpoint(text: string): Endpoint | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/.exec(text);
  if (!match) return undefined;
  const host = match[1] ?? match[2] ?? '';
  const port = Number(match[3]);
  const valid = match[1] === undefined ? isIPv4(host) : isIPv6(host);
  return valid && port > 0 && port < 65536 ? { host, port } : undefined;
}

/** Sixteen raw bytes, IPv4 mapped into IPv6. */
export function addressBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(16);
  const value = isIPv4(text) ? (0xffffn << 32n) | new IPv4(text).getValue() : new IPv6(text).getValue();
  for (let i = 0; i < 16; i++) bytes[15 - i] = Number((value >> BigInt(8 * i)) & 0xffn);
  return bytes;
}

function isMapped(bytes: Uint8Array): boolean {
  return bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
}

/** Text of sixteen raw bytes; "10.0.0.1" for a mapped IPv4 address, RFC 5952 otherwise. */
export function addressText(bytes: Uint8Array): string {
  if (isMapped(bytes)) return bytes.subarray(12).join('.');
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i]! << 8) | bytes[2 * i + 1]!).toString(16));
  const zeros = /(?:^|:)0(?::0)+(?=:|$)/g;
  const text = groups.join(':');
  const longest = [...text.matchAll(zeros)].sort((a, b) => b[0].length - a[0].length)[0];
  if (!longest) return text;
  const head = text.slice(0, longest.index);
  const tail = text.slice(longest.index + longest[0].length).replace(/^:/, '');
  return `${head}::${tail}`;
}

const asBytes = (words: Uint32Array, at: number): Uint8Array =>
  new Uint8Array(words.buffer, words.byteOffset + 4 * at, 16);

/** Writes an endpoint into its slot of ENDPOINT_WORDS words. */
export function writeEndpoint(words: Uint32Array, slot: number, endpoint: Endpoint): void {
  const at = slot * ENDPOINT_WORDS;
  asBytes(words, at).set(addressBytes(endpoint.host));
  words[at + ENDPOINT_PORT] = endpoint.port;
  asBytes(words, at + ENDPOINT_LOCAL).set(endpoint.local ? addressBytes(endpoint.local) : new Uint8Array(16));
  words[at + ENDPOINT_INTERFACE] = endpoint.interface ?? 0;
}

/** Reads record `slot`; the interface is kept for link-local addresses only, so that routes may change under the others. */
export function readEndpoint(words: Uint32Array, slot: number): Endpoint {
  const at = slot * ENDPOINT_WORDS;
  const remote = asBytes(words, at);
  const local = asBytes(words, at + ENDPOINT_LOCAL);
  const linkLocal = remote[0] === 0xfe && (remote[1]! & 0xc0) === 0x80;
  return {
    host: addressText(remote),
    port: words[at + ENDPOINT_PORT]!,
    ...(local.some((byte) => byte !== 0) && { local: addressText(local) }),
    ...(linkLocal && { interface: words[at + ENDPOINT_INTERFACE]! }),
  };
}
