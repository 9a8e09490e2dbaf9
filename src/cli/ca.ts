/** `causeway ca init|sign|show`: the network's certificates. What a certificate may say is decided in src/crypto/identity. */
import { randomBytes } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join, parse } from 'node:path';
import type { Command } from 'commander';
import {
  authorityProblem,
  checkKeyMatches,
  conflictWith,
  emptyIndex,
  formatNodeId,
  isoTime,
  issueAuthority,
  issueNode,
  parseAddress,
  parseAuthority,
  parsePrefix,
  parsePrivateKey,
  privateKeyFromSeed,
  rawPublicKey,
  readPublicKey,
  readRequestKey,
  requestProblem,
  SEED_LENGTH,
  SERIAL_LENGTH,
  span,
  TrustStore,
  withIssued,
  writePem,
} from '../crypto/identity/index.js';
import type {
  CaCertificate,
  NodeCertificate,
  NodeRequest,
  OverlayAddress,
  OverlayPrefix,
  Reject,
  Term,
} from '../crypto/identity/index.js';
import {
  indexFile,
  indexPathOf,
  loadIndex,
  PRIVATE_MODE,
  PUBLIC_MODE,
  readInput,
  refuseExisting,
  samePlace,
  saveIndex,
  withIndexLock,
  writeOutputs,
} from './ca-files.js';
import type { OutputFile } from './ca-files.js';
import { authorityJson, nodeJson, printerOf, registerShow, texts } from './ca-show.js';
import { json, withJson } from './context.js';
import { CliError, EXIT } from './errors.js';

const DAY_MS = 86_400_000;
const CA_DAYS = 3650;
const NODE_DAYS = 365;
const MAX_DAYS = 36_500;
/** Certificates begin this much before they are made, for hosts whose clocks are behind. */
const BACKDATE_MS = 3_600_000;
const DEFAULT_CA_NAME = 'Causeway CA';

export function registerCa(program: Command): void {
  const ca = program.command('ca').description('make and inspect certificates of the network');
  registerInit(ca);
  registerSign(ca);
  registerShow(ca);
}

interface InitOptions {
  overlay: string[];
  name: string;
  days: string;
  outDir: string;
  ca: string;
  key: string;
  force?: boolean;
  json?: boolean;
}

function registerInit(ca: Command): void {
  const command = withJson(ca.command('init'))
    .description('make a certificate authority for an overlay of these prefixes')
    .option('--overlay <prefixes>', 'prefixes of the overlay, such as 10.77.0.0/16,fd77::/48', list, [])
    .option('--name <name>', 'common name of the CA', DEFAULT_CA_NAME)
    .option('--days <n>', 'validity in days', String(CA_DAYS))
    .option('--out-dir <dir>', 'where the files go', '.')
    .option('--ca <file>', 'certificate to write, in --out-dir', 'ca.crt')
    .option('--key <file>', 'private key to write, in --out-dir', 'ca.key')
    .option('--force', 'replace files that exist');
  command.action(async (options: InitOptions) => {
    const print = printerOf(command);
    const made = await initAuthority(options);
    print.out(options.json ? json(made.json) : made.text);
  });
}

async function initAuthority(options: InitOptions): Promise<{ json: object; text: string }> {
  const overlay = prefixesOf(options.overlay, 'overlay');
  const days = daysOf(options.days);
  const request = { name: options.name, overlay };
  wrongUsage(authorityProblem(request));
  const files = {
    certificate: inDirectory(options.outDir, options.ca),
    key: inDirectory(options.outDir, options.key),
  };
  distinct([files.certificate, files.key, indexPathOf(files.certificate)]);
  refuseExisting([files.certificate, files.key, indexPathOf(files.certificate)], options.force === true);

  const { key, pem } = newKey();
  const now = Date.now();
  const certificate = demand(
    await issueAuthority(
      request,
      { ...serial(), notBefore: now - BACKDATE_MS, notAfter: now + days * DAY_MS },
      key,
    ),
  );
  makeDirectory(options.outDir);
  writeOutputs(
    [
      { path: files.key, data: pem, mode: PRIVATE_MODE },
      { path: files.certificate, data: writePem('CERTIFICATE', certificate.der), mode: PUBLIC_MODE },
      indexFile(files.certificate, emptyIndex(certificate)),
    ],
    options.force === true,
  );
  return {
    json: { ...authorityJson(certificate), files },
    text: `${files.certificate}: CA for ${texts(overlay)}, valid for ${span(certificate.notAfter - now)}\n${files.key}: its key; keep it off the nodes`,
  };
}

interface SignOptions {
  name?: string;
  address: string[];
  real: string[];
  route: string[];
  group: string[];
  role: string[];
  days?: string;
  ca: string;
  caKey?: string;
  out?: string;
  key?: string;
  publicKey?: string;
  csr?: string;
  force?: boolean;
  json?: boolean;
}

function registerSign(ca: Command): void {
  const command = withJson(ca.command('sign'))
    .description("make a node's certificate, and its key unless --public-key or --csr brings one")
    .option('--name <name>', 'name of the node')
    .option('--address <addresses>', 'overlay addresses, such as 10.77.0.1,fd77::1', list, [])
    .option('--real <addresses>', "the host's own addresses outside the overlay, such as 192.0.2.1", list, [])
    .option('--route <prefix>', 'prefix behind the node (repeatable)', list, [])
    .option('--group <name>', 'group the node belongs to (repeatable)', list, [])
    .option('--role <name>', 'role of the node, such as relay (repeatable)', list, [])
    .option('--days <n>', `validity in days, never past the CA's own (default: ${NODE_DAYS})`)
    .option('--ca <file>', 'certificate of the CA', 'ca.crt')
    .option('--ca-key <file>', 'key of the CA (default: beside --ca, ending in .key)')
    .option('--out <file>', 'certificate to write (default: NAME.crt)')
    .option('--key <file>', 'private key to write (default: NAME.key)')
    .option('--public-key <file>', 'sign this Ed25519 public key; no key is made')
    .option('--csr <file>', 'sign the key of this PKCS#10 request; no key is made')
    .option('--force', 'replace files that exist');
  command.action(async (options: SignOptions) => {
    const print = printerOf(command);
    const made = await signNode(options, print.warn);
    print.out(options.json ? json(made.json) : made.text);
  });
}

interface Authority {
  readonly path: string;
  readonly certificate: CaCertificate;
  readonly key: KeyObject;
}

async function signNode(
  options: SignOptions,
  warn: (line: string) => void,
): Promise<{ json: object; text: string }> {
  const request = nodeRequestOf(options);
  const days = options.days === undefined ? undefined : daysOf(options.days);
  const authority = openAuthority(options);
  wrongUsage(requestProblem(request, authority.certificate));
  const subject = subjectKeyOf(options);
  const files = signFilesOf(options, request.name, subject.pem !== undefined, authority);
  refuseExisting(Object.values(files), options.force === true);

  const now = Date.now();
  const term = nodeTerm(authority.certificate, now, days, warn);
  const certificate = await withIndexLock(authority.path, async () => {
    const index = loadIndex(authority.path, authority.certificate, warn);
    const conflict = conflictWith(index, request, now);
    if (conflict !== undefined) throw new CliError(conflict);
    const made = demand(
      await issueNode(request, term, subject.publicKey, authority.certificate, authority.key),
    );
    demand(TrustStore.fromPem(authority.certificate.der).verify(made.der, now));
    writeOutputs(signOutputs(files, made, subject.pem), options.force === true);
    saveIndex(authority.path, withIssued(index, made), warn);
    return made;
  });
  const written = Object.values(files).join(' and ');
  return {
    json: { ...nodeJson(certificate), files },
    text: `${written}: node ${certificate.name} (${formatNodeId(certificate.nodeId)}), ${texts(certificate.addresses) || 'no address'}, valid for ${span(certificate.notAfter - now)}`,
  };
}

function nodeRequestOf(options: SignOptions): NodeRequest {
  const { name } = options;
  if (name === undefined)
    throw new CliError('--name is missing; it names the node, such as --name a', EXIT.usage);
  if (options.address.length === 0 && !options.role.includes('relay')) {
    throw new CliError(
      '--address is missing, such as --address 10.77.0.1; only a node with --role relay can do without',
      EXIT.usage,
    );
  }
  return {
    name,
    addresses: addressesOf(options.address, '10.77.0.1 or fd77::1'),
    real: addressesOf(options.real, '192.0.2.1 or 2001:db8::1'),
    routes: prefixesOf(options.route, 'route'),
    groups: options.group,
    roles: options.role,
  };
}

function addressesOf(items: readonly string[], example: string): OverlayAddress[] {
  return items.map((text) => {
    const address = parseAddress(text);
    if (address !== undefined) return address;
    throw new CliError(`"${text}" is no IP address; write it as ${example}`, EXIT.usage);
  });
}

function openAuthority(options: SignOptions): Authority {
  const keyPath = options.caKey ?? join(parse(options.ca).dir, `${parse(options.ca).name}.key`);
  const certificate = demand(
    parseAuthority(
      readInput(options.ca, 'the CA certificate', 'make one with "causeway ca init", or name it with --ca'),
    ),
    options.ca,
  );
  const key = readKey(keyPath);
  const matches = checkKeyMatches(certificate, key);
  if (!matches.ok) throw refusal(matches, keyPath);
  return { path: options.ca, certificate, key };
}

function readKey(path: string): KeyObject {
  const read = parsePrivateKey(readInput(path, 'the CA key', 'name it with --ca-key'));
  if (!read.ok) throw refusal(read, path);
  return read.key;
}

/** The key to certify; `pem` is its private half where it was made here. */
function subjectKeyOf(options: SignOptions): { publicKey: Uint8Array; pem?: string } {
  const { publicKey, csr } = options;
  if (publicKey === undefined && csr === undefined) {
    const { key, pem } = newKey();
    return { publicKey: rawPublicKey(key), pem };
  }
  if (publicKey !== undefined && csr !== undefined)
    throw new CliError('--public-key and --csr exclude each other', EXIT.usage);
  if (options.key !== undefined)
    throw new CliError('--key names a key to make; with --public-key or --csr none is made', EXIT.usage);
  const path = csr ?? publicKey!;
  const bytes = readInput(path, csr === undefined ? 'the public key' : 'the request');
  const read = csr === undefined ? readPublicKey(bytes) : readRequestKey(bytes);
  if (!read.ok) throw refusal(read, path);
  return { publicKey: read.publicKey };
}

type SignFiles = { certificate: string; key?: string };

function signFilesOf(options: SignOptions, name: string, makesKey: boolean, authority: Authority): SignFiles {
  const certificate = options.out ?? `${name}.crt`;
  const files: SignFiles = makesKey ? { certificate, key: options.key ?? `${name}.key` } : { certificate };
  distinct(Object.values(files));
  const own = [
    authority.path,
    options.caKey ?? `${authority.path.replace(/\.[^./]*$/, '')}.key`,
    indexPathOf(authority.path),
  ];
  const hit = Object.values(files).find((path) => own.some((mine) => samePlace(path, mine)));
  if (hit !== undefined)
    throw new CliError(`${hit} belongs to the CA; choose another output with --out and --key`, EXIT.usage);
  return files;
}

function signOutputs(
  files: SignFiles,
  certificate: NodeCertificate,
  keyPem: string | undefined,
): OutputFile[] {
  const outputs = [
    { path: files.certificate, data: writePem('CERTIFICATE', certificate.der), mode: PUBLIC_MODE },
  ];
  if (files.key !== undefined && keyPem !== undefined)
    outputs.unshift({ path: files.key, data: keyPem, mode: PRIVATE_MODE });
  return outputs;
}

/** Validity from now on, cut to the CA's own. */
function nodeTerm(
  ca: CaCertificate,
  now: number,
  days: number | undefined,
  warn: (line: string) => void,
): Term {
  if (now > ca.notAfter)
    throw new CliError(
      `the CA expired ${span(now - ca.notAfter)} ago; make a new one with "causeway ca init"`,
    );
  const wanted = now + (days ?? NODE_DAYS) * DAY_MS;
  if (days !== undefined && wanted > ca.notAfter)
    warn(`the CA itself ends at ${isoTime(ca.notAfter)}; so does this certificate`);
  return {
    ...serial(),
    notBefore: Math.max(now - BACKDATE_MS, ca.notBefore),
    notAfter: Math.min(wanted, ca.notAfter),
  };
}

function newKey(): { key: KeyObject; pem: string } {
  const seed = randomBytes(SEED_LENGTH);
  const key = privateKeyFromSeed(seed);
  seed.fill(0);
  return { key, pem: key.export({ format: 'pem', type: 'pkcs8' }) as string };
}

function serial(): { serial: Uint8Array } {
  return { serial: randomBytes(SERIAL_LENGTH) };
}

/** Commander's collector of repeated options, each of which may hold a comma-separated list. */
function list(text: string, before: string[]): string[] {
  return [
    ...before,
    ...text
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== ''),
  ];
}

function prefixesOf(items: readonly string[], what: string): OverlayPrefix[] {
  return items.map((text) => {
    const read = parsePrefix(text);
    if (!read.ok) throw new CliError(`${what} ${read.text}`, EXIT.usage);
    return read.prefix;
  });
}

function daysOf(text: string): number {
  const days = Number(text);
  if (/^\d+$/.test(text) && days >= 1 && days <= MAX_DAYS) return days;
  throw new CliError(`--days ${text}: give whole days, 1 to ${MAX_DAYS}`, EXIT.usage);
}

function wrongUsage(problem: string | undefined): void {
  if (problem !== undefined) throw new CliError(problem, EXIT.usage);
}

function distinct(paths: readonly string[]): void {
  if (new Set(paths).size < paths.length)
    throw new CliError(`${paths[0]}: certificate and key need files of their own`, EXIT.usage);
}

/** A file name goes into the directory; a path of its own stays. */
function inDirectory(directory: string, file: string): string {
  return file.includes('/') ? file : join(directory, file);
}

function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true });
  } catch (error) {
    throw new CliError(`can't make ${directory}: ${(error as NodeJS.ErrnoException).code}`);
  }
}

/** The certificate, or the refusal as one line. */
function demand<T>(read: { ok: true; certificate: T } | Reject, file?: string): T {
  if (!read.ok) throw refusal(read, file);
  return read.certificate;
}

function refusal(read: Reject, file?: string): CliError {
  return new CliError(file === undefined ? read.text : `${file}: ${read.text}`);
}
