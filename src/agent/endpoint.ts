import { isIPv4, isIPv6 } from 'node:net';
import {
  ADDRESS_BYTES,
  formatAddress,
  isLinkLocal,
  parseAddress,
  readEndpoint as readRecord,
  writeEndpoint as writeRecord,
} from '../io/address.js';

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

/** Sixteen raw bytes, IPv4 mapped into IPv6. Throws for what is no address. */
export function addressBytes(text: string): Uint8Array {
  const bytes = parseAddress(text);
  if (!bytes) throw new TypeError(`${text} is no address`);
  return bytes;
}

/** Writes an endpoint into its slot of ENDPOINT_WORDS words. */
export function writeEndpoint(words: Uint32Array, slot: number, endpoint: Endpoint): void {
  const { host, port, local, interface: interfaceIndex = 0 } = endpoint;
  const localBytes = local ? addressBytes(local) : new Uint8Array(ADDRESS_BYTES);
  writeRecord(words, slot, { remote: addressBytes(host), port, local: localBytes, interfaceIndex });
}

/** Reads record `slot`; the interface is kept for link-local addresses only, so that routes may change under the others. */
export function readEndpoint(words: Uint32Array, slot: number): Endpoint {
  const { remote, port, local, interfaceIndex } = readRecord(words, slot);
  return {
    host: formatAddress(remote),
    port,
    ...(local.some((byte) => byte !== 0) && { local: formatAddress(local) }),
    ...(isLinkLocal(remote) && { interface: interfaceIndex }),
  };
}
