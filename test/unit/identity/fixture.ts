/** A CA and nodes made from fixed seeds, so that every run sees the same bytes. */
import { createHash } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import {
  issueAuthority,
  issueNode,
  parseAddress,
  parsePrefix,
  privateKeyFromSeed,
  rawPublicKey,
  writePem,
} from '../../../src/crypto/identity/index.js';
import type {
  CaCertificate,
  NodeCertificate,
  NodeRequest,
  OverlayAddress,
  OverlayPrefix,
  Term,
} from '../../../src/crypto/identity/index.js';

export const DAY = 86_400_000;
/** 2026-01-01T00:00:00Z */
export const NEW_YEAR = 1_767_225_600_000;

export function seeded(label: string, length = 32): Uint8Array {
  return Uint8Array.from(createHash('sha512').update(label).digest().subarray(0, length));
}

export function address(text: string): OverlayAddress {
  const read = parseAddress(text);
  if (read === undefined) throw new Error(`no address: ${text}`);
  return read;
}

export function prefix(text: string): OverlayPrefix {
  const read = parsePrefix(text);
  if (!read.ok) throw new Error(read.text);
  return read.prefix;
}

export function term(label: string, days = 365, notBefore = NEW_YEAR): Term {
  return { serial: seeded(`serial ${label}`, 16), notBefore, notAfter: notBefore + days * DAY };
}

export interface TestCa {
  key: KeyObject;
  certificate: CaCertificate;
  pem: string;
}

export async function makeCa(
  name = 'Test CA',
  overlay = ['10.77.0.0/16', 'fd77::/48'],
  validity = term(name, 3650),
  seed = name,
): Promise<TestCa> {
  const key = privateKeyFromSeed(seeded(`ca ${seed}`));
  const made = await issueAuthority({ name, overlay: overlay.map(prefix) }, validity, key);
  if (!made.ok) throw new Error(made.text);
  return { key, certificate: made.certificate, pem: writePem('CERTIFICATE', made.certificate.der) };
}

export function request(
  name: string,
  parts: Partial<Record<'addresses' | 'real' | 'routes' | 'groups' | 'roles', string[]>> = {},
): NodeRequest {
  return {
    name,
    addresses: (parts.addresses ?? ['10.77.0.1', 'fd77::1']).map(address),
    real: (parts.real ?? []).map(address),
    routes: (parts.routes ?? []).map(prefix),
    groups: parts.groups ?? [],
    roles: parts.roles ?? [],
  };
}

export interface TestNode {
  key: KeyObject;
  certificate: NodeCertificate;
}

export async function makeNode(
  ca: TestCa,
  node: NodeRequest = request('a'),
  validity = term(node.name),
): Promise<TestNode> {
  const key = privateKeyFromSeed(seeded(`node ${node.name}`));
  const made = await issueNode(node, validity, rawPublicKey(key), ca.certificate, ca.key);
  if (!made.ok) throw new Error(made.text);
  return { key, certificate: made.certificate };
}
