/** `causeway ca show`, and how certificates look as text and as JSON. */
import type { Command } from 'commander';
import {
  formatNodeId,
  isoTime,
  parseAuthority,
  parseCertificate,
  readPem,
  span,
} from '../crypto/identity/index.js';
import type { CaCertificate, NodeCertificate } from '../crypto/identity/index.js';
import { readInput } from './ca-files.js';
import { json, withJson } from './context.js';
import { CliError } from './errors.js';
import { fields } from './format.js';

const DAY_MS = 86_400_000;

export function registerShow(ca: Command): void {
  const command = withJson(ca.command('show'))
    .description('show what a certificate says (PEM or DER)')
    .argument('<file>', 'certificate of a node or of a CA');
  command.action((file: string, options: { json?: boolean }) => {
    const print = printerOf(command);
    const shown = certificatesIn(file).map((bytes) => describe(bytes, file));
    if (options.json) print.out(json(shown.length === 1 ? shown[0].json : shown.map((one) => one.json)));
    else print.out(shown.map((one) => one.text).join('\n\n'));
  });
}

/** Each certificate of the file by itself. */
function certificatesIn(file: string): Uint8Array[] {
  const bytes = readInput(file, 'the certificate');
  if (bytes[0] === 0x30) return [bytes];
  const blocks = readPem(bytes.toString('latin1'));
  const found = blocks.filter((block) => block.label === 'CERTIFICATE').map((block) => block.der);
  if (found.length > 0) return found;
  const label = blocks[0]?.label ?? /-----BEGIN ([A-Z0-9 ]+)-----/.exec(bytes.toString('latin1'))?.[1];
  throw new CliError(
    `${file} holds ${label === undefined ? 'no certificate in PEM or DER form' : `a ${label.toLowerCase()}, no certificate`}`,
  );
}

function describe(bytes: Uint8Array, file: string): { json: object; text: string } {
  const node = parseCertificate(bytes);
  if (node.ok) return { json: nodeJson(node.certificate), text: fields(nodeFields(node.certificate)) };
  const authority = parseAuthority(bytes);
  if (authority.ok)
    return {
      json: authorityJson(authority.certificate),
      text: fields(authorityFields(authority.certificate)),
    };
  throw new CliError(
    `${file}: ${node.reason === 'not-a-node' && authority.reason !== 'not-a-ca' ? authority.text : node.text}`,
  );
}

type Row = [string, string];

function nodeFields(certificate: NodeCertificate): Row[] {
  const { name, nodeId, addresses, real, routes, groups, roles } = certificate;
  return [
    ['node', name],
    ['node id', formatNodeId(nodeId)],
    ['addresses', texts(addresses) || 'none'],
    ['real addresses', texts(real) || 'none'],
    ['routes', texts(routes) || 'none'],
    ['groups', groups.join(', ') || 'none'],
    ['roles', roles.join(', ') || 'none'],
    ...commonFields(certificate),
  ];
}

function authorityFields(certificate: CaCertificate): Row[] {
  const { name, overlayPrefixes, excludedPrefixes } = certificate;
  return [
    ['CA', name],
    ['overlay', texts(overlayPrefixes)],
    ...(excludedPrefixes.length > 0 ? [['except', texts(excludedPrefixes)] as Row] : []),
    ...commonFields(certificate),
  ];
}

function commonFields(certificate: NodeCertificate | CaCertificate): Row[] {
  const { notBefore, notAfter, issuer, serial: number, fingerprint, keyFingerprint } = certificate;
  return [
    ['valid', `${isoTime(notBefore)} to ${isoTime(notAfter)} (${remaining(certificate, Date.now())})`],
    ['issuer', issuer],
    ['serial', number],
    ['SHA-256', fingerprint],
    ['key SHA-256', keyFingerprint],
  ];
}

function remaining({ notBefore, notAfter }: NodeCertificate | CaCertificate, now: number): string {
  if (now < notBefore) return `begins in ${span(notBefore - now)}`;
  return now > notAfter ? `expired ${span(now - notAfter)} ago` : `${span(notAfter - now)} left`;
}

export function nodeJson(certificate: NodeCertificate): object {
  const { name, nodeId, addresses, real, routes, groups, roles } = certificate;
  return {
    kind: 'node',
    name,
    nodeId,
    addresses: addresses.map(({ text }) => text),
    real: real.map(({ text }) => text),
    routes: routes.map(({ text }) => text),
    groups,
    roles,
    ...commonJson(certificate),
  };
}

export function authorityJson(certificate: CaCertificate): object {
  return {
    kind: 'ca',
    name: certificate.name,
    overlay: certificate.overlayPrefixes.map(({ text }) => text),
    excluded: certificate.excludedPrefixes.map(({ text }) => text),
    ...commonJson(certificate),
  };
}

function commonJson({
  notBefore,
  notAfter,
  issuer,
  serial: number,
  fingerprint,
  keyFingerprint,
}: NodeCertificate | CaCertificate): object {
  return {
    notBefore: isoTime(notBefore),
    notAfter: isoTime(notAfter),
    daysLeft: Math.floor((notAfter - Date.now()) / DAY_MS),
    issuer,
    serial: number,
    fingerprint,
    keyFingerprint,
  };
}

export function texts(items: readonly { readonly text: string }[]): string {
  return items.map(({ text }) => text).join(', ');
}

/** Where the program prints: commander's own output, which the caller may have redirected. */
export function printerOf(command: Command): { out: (text: string) => void; warn: (text: string) => void } {
  const { writeOut, writeErr } = command.configureOutput();
  return {
    out: (text) => writeOut?.(`${text}\n`),
    warn: (text) => writeErr?.(`causeway: ${text}\n`),
  };
}
