/** Addresses, prefixes and endpoints as users write them. Every function returns null for what it can't read. */
import { isIPv4, isIPv6 } from 'node:net';
import ipnum from 'ip-num';
import type { RulePrefix } from '../../intercept/rules.js';
import type { Endpoint } from './config.js';

const MAPPED_PREFIX = 0xffff_0000_0000n;

/** The address's 128 bits, IPv4 as ::ffff:a.b.c.d. */
export function parseAddress(text: string): { version: 4 | 6; value: bigint } | null {
  if (isIPv4(text)) return { version: 4, value: MAPPED_PREFIX | new ipnum.IPv4(text).value };
  // Zones (fe80::1%eth0) name an interface of this host and mean nothing in an overlay.
  if (isIPv6(text) && !text.includes('%')) return { version: 6, value: new ipnum.IPv6(text).value };
  return null;
}

export type PrefixError = 'not an address' | 'bad length' | 'host bits set';

/** `10.77.0.0/16`, `fd77::/48`, or one address. A prefix with host bits set is refused rather than guessed at. */
export function parsePrefix(text: string): RulePrefix | PrefixError {
  const [addressText, lengthText, ...rest] = text.split('/');
  const address = parseAddress(addressText);
  if (address === null) return 'not an address';
  const width = address.version === 4 ? 32 : 128;
  if (rest.length > 0 || (lengthText !== undefined && !/^\d{1,3}$/.test(lengthText))) return 'bad length';
  const length = lengthText === undefined ? width : Number(lengthText);
  if (length > width) return 'bad length';
  const hostBits = (1n << BigInt(width - length)) - 1n;
  if ((address.value & hostBits) !== 0n) return 'host bits set';
  return { version: address.version, words: toWords(address.value), bits: 128 - width + length };
}

function toWords(value: bigint): [number, number, number, number] {
  const word = (shift: bigint): number => Number((value >> shift) & 0xffff_ffffn);
  return [word(96n), word(64n), word(32n), word(0n)];
}

/** `192.0.2.2:7100` or `[2001:db8::2]:7100`, and `localhost:9478` where `names` allows it. Ports 1..65535. */
export function parseEndpoint(text: string, names = false): Endpoint | null {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  if (match === null) return null;
  const [, bracketed, bare, portText] = match;
  const port = Number(portText);
  if (port < 1 || port > 65535) return null;
  if (bracketed !== undefined) {
    if (!isIPv6(bracketed) || bracketed.includes('%')) return null;
  } else if (!isIPv4(bare) && !(names && bare === 'localhost')) {
    return null;
  }
  return { host: bracketed ?? bare, port, text };
}
