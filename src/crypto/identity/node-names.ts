/** Reads a node's names, addresses, real addresses, routes, groups and roles out of its subject alternative names (RFC 5280 §4.2.1.6). */
import { addressFromBytes, isSpecialAddress, parseAddress, parsePrefix } from './address.js';
import type { OverlayAddress, OverlayPrefix } from './address.js';
import { readSequence, TAG } from './der.js';
import { nodeNameProblem, printable, tokenProblem } from './name.js';
import { reject } from './reject.js';
import type { Reject } from './reject.js';

export interface NodeNames {
  readonly name: string;
  readonly addresses: readonly OverlayAddress[];
  /** The host's own addresses outside the overlay, by which programs know it. */
  readonly real: readonly OverlayAddress[];
  readonly routes: readonly OverlayPrefix[];
  readonly groups: readonly string[];
  readonly roles: readonly string[];
}

/** The URIs' kinds, `causeway:KIND:VALUE`. A later version's kinds are skipped. */
export const URI_SCHEME = 'causeway';

const DNS_NAME = TAG.context(2);
const URI = TAG.context(6);
const IP_ADDRESS = TAG.context(7);

interface Draft {
  names: string[];
  addresses: Map<string, OverlayAddress>;
  real: Map<string, OverlayAddress>;
  routes: Map<string, OverlayPrefix>;
  groups: Set<string>;
  roles: Set<string>;
}

/** `extension` is the DER of GeneralNames. Repeated entries count once; other kinds of name are skipped. */
export function readNodeNames(extension: Uint8Array): NodeNames | Reject {
  const draft: Draft = {
    names: [],
    addresses: new Map(),
    real: new Map(),
    routes: new Map(),
    groups: new Set(),
    roles: new Set(),
  };
  const entries = readSequence(extension);
  if (entries === undefined) return reject('malformed', 'its subject alternative names are not DER');
  for (const { tag, value } of entries) {
    const problem = readGeneralName(draft, tag, value);
    if (problem !== undefined) return reject('malformed', problem);
  }
  if (draft.names.length !== 1) {
    return reject('not-a-node', `${draft.names.length} DNS names where a node has exactly one, its name`);
  }
  return {
    name: draft.names[0],
    addresses: [...draft.addresses.values()],
    real: [...draft.real.values()],
    routes: [...draft.routes.values()],
    groups: [...draft.groups],
    roles: [...draft.roles],
  };
}

function readGeneralName(draft: Draft, tag: number, value: Uint8Array): string | undefined {
  if (tag === DNS_NAME) {
    const name = ascii(value);
    draft.names.push(name);
    return nodeNameProblem(name);
  }
  if (tag === IP_ADDRESS) {
    const address = addressFromBytes(value);
    if (address === undefined)
      return `an IP address name of ${value.length} bytes that is no IPv4 or IPv6 address`;
    draft.addresses.set(address.text, address);
  }
  return tag === URI ? readUri(draft, ascii(value)) : undefined;
}

function readUri(draft: Draft, uri: string): string | undefined {
  const [scheme, kind, ...rest] = uri.split(':');
  const value = rest.join(':');
  if (scheme !== URI_SCHEME) return undefined;
  switch (kind) {
    case 'route': {
      const read = parsePrefix(value);
      if (read.ok) draft.routes.set(read.prefix.text, read.prefix);
      return read.ok ? undefined : `route ${read.text}`;
    }
    case 'real': {
      const address = parseAddress(value);
      if (address === undefined || isSpecialAddress(address)) return realAddressProblem(value);
      draft.real.set(address.text, address);
      return undefined;
    }
    case 'group':
      draft.groups.add(value);
      return tokenProblem('group', value);
    case 'role':
      draft.roles.add(value);
      return tokenProblem('role', value);
    default:
      return undefined;
  }
}

/** Why `text` can't be a host's real address: no address, or one that isn't any single host's. */
export function realAddressProblem(text: string): string {
  return `real address "${text}" is no host's own; write it as 192.0.2.2 or 2001:db8::2, not loopback, link-local or multicast`;
}

/** IA5String. What is not ASCII becomes U+FFFD, which no rule allows and any terminal shows. */
function ascii(value: Uint8Array): string {
  return printable(
    Buffer.from(value)
      .toString('latin1')
      .replace(/[^\x20-\x7e]/g, '\u{fffd}'),
  );
}
