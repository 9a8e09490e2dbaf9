/**
 * What an address that somebody else names may be used for. Nobody's word makes this node send to itself, to everyone, or to whatever
 * happens to have the same private address here.
 */
import { parseAddress } from '../../io/address.js';

export type AddressClass =
  /** Unspecified, loopback, link-local, multicast, broadcast, reserved. */
  | { readonly name: 'never' }
  /** Means something within one site only. Two of one block may be of one site. */
  | { readonly name: 'private'; readonly block: string }
  | { readonly name: 'public' };

const NEVER: AddressClass = { name: 'never' };
const PUBLIC: AddressClass = { name: 'public' };

/** `host`: text of an address. */
export function classify(host: string): AddressClass {
  const address = parseAddress(host);
  if (!address) return NEVER;
  return host.includes(':') ? classifyV6(address) : classifyV4(address[12], address[13]);
}

function classifyV4(a: number, b: number): AddressClass {
  if (a === 0 || a === 127 || a >= 224) return NEVER;
  if (a === 169 && b === 254) return NEVER;
  if (a === 10) return { name: 'private', block: '10/8' };
  if (a === 172 && (b & 0xf0) === 16) return { name: 'private', block: '172.16/12' };
  if (a === 192 && b === 168) return { name: 'private', block: '192.168/16' };
  if (a === 100 && (b & 0xc0) === 64) return { name: 'private', block: '100.64/10' };
  return PUBLIC;
}

/** The unspecified and the loopback address lie in ::/8, which is reserved as a whole (RFC 4291 §2.4). */
function classifyV6(address: Uint8Array): AddressClass {
  const [a, b] = address;
  if (a === 0 || a === 0xff) return NEVER;
  if (a === 0xfe && b >= 0x80) return NEVER;
  return (a & 0xfe) === 0xfc ? { name: 'private', block: 'fc00::/7' } : PUBLIC;
}
