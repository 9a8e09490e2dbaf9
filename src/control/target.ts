/** Finds whom a user means by a node name or an overlay address. */
import { parseAddress, parsePrefix } from '../agent/config/address.js';
import { nearest } from '../agent/config/nearest.js';
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
  if (address === null) throw new ApiError('not-found', unknownName(target, nodes));
  let best: T | undefined;
  let bestBits = -1;
  for (const node of nodes) {
    const bits = Math.max(-1, ...node.prefixes.map((prefix) => matchLength(prefix, address.value)));
    if (bits > bestBits) [best, bestBits] = [node, bits];
  }
  if (best !== undefined) return best;
  throw new ApiError(
    'not-found',
    `no node of the overlay has the address ${target}; "causeway routes" lists them`,
  );
}

/** Bits of the prefix if it holds the address, else -1. */
function matchLength(text: string, value: bigint): number {
  const prefix = parsePrefix(text);
  if (typeof prefix !== 'object') return -1;
  const shift = BigInt(128 - prefix.bits);
  const start = prefix.words.reduce((sum, word) => (sum << 32n) | BigInt(word >>> 0), 0n);
  return value >> shift === start >> shift ? prefix.bits : -1;
}

function unknownName(target: string, nodes: readonly NamedNode[]): string {
  const names = nodes.map(({ name }) => name);
  const near = nearest(target, names);
  const hint = near === null ? '"causeway routes" lists the nodes' : `did you mean ${near}?`;
  return `no node of the overlay is called ${target}; ${hint}`;
}
