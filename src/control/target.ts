/** Finds whom a user means by a node name or an overlay address. */
import { nearest } from '../agent/config/nearest.js';
import { parseAddress, parsePrefix, prefixContains } from '../crypto/identity/address.js';
import type { OverlayAddress } from '../crypto/identity/address.js';
import { ApiError } from './api.js';

export interface NamedNode {
  name: string;
  nodeId: number;
  /** Addresses and prefixes that its certificate gives it. */
  prefixes: readonly string[];
}

/** The node called `target`, else the one with the longest prefix around it. Throws ApiError `not-found`. */
export function findNode<T extends NamedNode>(target: string, nodes: readonly T[]): T {
  const named = nodes.find(({ name }) => name === target.toLowerCase());
  if (named !== undefined) return named;
  const address = parseAddress(target);
  if (address === undefined) throw new ApiError('not-found', unknownName(target, nodes));
  let best: T | undefined;
  let bestBits = -1;
  for (const node of nodes) {
    const bits = Math.max(-1, ...node.prefixes.map((prefix) => matchLength(prefix, address)));
    if (bits > bestBits) [best, bestBits] = [node, bits];
  }
  if (best !== undefined) return best;
  throw new ApiError(
    'not-found',
    `no node of the overlay has the address ${target}; "causeway routes" lists them`,
  );
}

/** Bits of the prefix if it holds the address, else -1. */
function matchLength(text: string, address: OverlayAddress): number {
  const parsed = parsePrefix(text);
  return parsed.ok && prefixContains(parsed.prefix, address) ? parsed.prefix.length : -1;
}

function unknownName(target: string, nodes: readonly NamedNode[]): string {
  const names = nodes.map(({ name }) => name);
  const near = nearest(target, names);
  const hint = near === null ? '"causeway routes" lists the nodes' : `did you mean ${near}?`;
  return `no node of the overlay is called ${target}; ${hint}`;
}
