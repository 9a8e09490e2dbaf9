/**
 * What a CA has signed so far, kept beside it as JSON, so that two nodes never share an address or an id. Pure: the CLI
 * reads and writes the file.
 */
import { z } from 'zod';
import type { CaCertificate, NodeCertificate } from './certificate.js';
import type { NodeRequest } from './build.js';
import { nodeIdOf } from './name.js';

const Entry = z.object({
  name: z.string(),
  nodeId: z.number().int(),
  /** Overlay addresses and real ones. */
  addresses: z.array(z.string()),
  serial: z.string(),
  keyFingerprint: z.string(),
  /** ms since 1970. */
  notAfter: z.number(),
});

const Index = z.object({
  version: z.literal(1),
  /** SHA-256 of the CA's SubjectPublicKeyInfo: a renewed CA keeps its index. */
  ca: z.string(),
  issued: z.array(Entry),
});

export type IssuedIndex = z.infer<typeof Index>;

export function emptyIndex(authority: CaCertificate): IssuedIndex {
  return { version: 1, ca: authority.keyFingerprint, issued: [] };
}

/** The index in `json`, or in a line why it is none of this CA's. */
export function parseIndex(json: string, authority: CaCertificate): IssuedIndex | string {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return 'is not JSON';
  }
  const read = Index.safeParse(value);
  if (!read.success)
    return `is not an index of issued certificates (${z.prettifyError(read.error).split('\n')[0]})`;
  return read.data.ca === authority.keyFingerprint ? read.data : 'belongs to another CA';
}

/**
 * Why a request may not be signed beside what was signed before, in a line, or undefined. A name's own earlier certificates never
 * stand in its way (renewal); an address falls free when its certificate has expired, a node id never does.
 */
export function conflictWith(
  index: IssuedIndex,
  request: NodeRequest,
  wallClockMs: number,
): string | undefined {
  const nodeId = nodeIdOf(request.name);
  const others = index.issued.filter((entry) => entry.name !== request.name);
  const twin = others.find((entry) => entry.nodeId === nodeId);
  if (twin !== undefined) {
    return `node id ${formatNodeId(nodeId)} of "${request.name}" is already that of "${twin.name}"; choose another name`;
  }
  const wanted = [...request.addresses, ...request.real].map((address) => address.text);
  const holder = others.find(
    (entry) => entry.notAfter >= wallClockMs && entry.addresses.some((text) => wanted.includes(text)),
  );
  if (holder === undefined) return undefined;
  const address = holder.addresses.find((text) => wanted.includes(text));
  return `address ${address} already belongs to "${holder.name}"; choose another`;
}

/** The index with `certificate` added; of one name and key only the newest certificate stays. */
export function withIssued(index: IssuedIndex, certificate: NodeCertificate): IssuedIndex {
  const { name, nodeId, serial, keyFingerprint, notAfter } = certificate;
  const kept = index.issued.filter((entry) => entry.name !== name || entry.keyFingerprint !== keyFingerprint);
  const addresses = [...certificate.addresses, ...certificate.real].map((address) => address.text);
  return { ...index, issued: [...kept, { name, nodeId, addresses, serial, keyFingerprint, notAfter }] };
}

/** Eight hex digits. */
export function formatNodeId(nodeId: number): string {
  return nodeId.toString(16).padStart(8, '0');
}
