/**
 * Whether the files that a configuration names make an identity:
 *   1. the CA's certificates can be read and can be roots;
 *   2. the certificate is a node's, one of the roots signed it, and it is valid now;
 *   3. the key can be read and is the certificate's;
 *   4. the certificate is for the configured node.
 * `causeway check` reports every problem; the agent takes `loadIdentity`, which throws them.
 */
import { readFileSync, statSync } from 'node:fs';
import type { KeyObject } from 'node:crypto';
import {
  checkKeyMatches,
  IdentityError,
  parseCertificate,
  parsePrivateKey,
  span,
  TrustStore,
} from '../../crypto/identity/index.js';
import type { NodeCertificate, Verified } from '../../crypto/identity/index.js';
import type { Config } from './config.js';
import { ConfigError } from './errors.js';
import type { ConfigProblem } from './errors.js';

/** A certificate with less than this left, in ms, earns a warning. */
export const EXPIRY_WARNING = 14 * 86_400_000;

export interface PreflightProblem extends ConfigProblem {
  level: 'error' | 'warning';
}

export interface Identity {
  trust: TrustStore;
  /** This node's certificate, with the root that signed it. */
  verified: Verified;
  key: KeyObject;
}

/** Throws ConfigError with every problem of the identity's files. `wallMs` is ms since 1970. */
export function loadIdentity(config: Config, wallMs: number): Identity {
  const { identity, problems } = examine(config, wallMs);
  const errors = problems.filter(({ level }) => level === 'error');
  if (identity === undefined || errors.length > 0) throw new ConfigError(errors);
  return identity;
}

/** Everything wrong or doubtful, in the order of the steps above; empty when all is good. */
export function preflight(config: Config, wallMs: number): PreflightProblem[] {
  return examine(config, wallMs).problems;
}

type PkiKey = keyof Config['pki'];

/** Collects problems, so that one run shows them all. */
class Report {
  readonly problems: PreflightProblem[] = [];

  constructor(private readonly config: Config) {}

  add(key: PkiKey | 'node', message: string, level: PreflightProblem['level'] = 'error'): undefined {
    const path = key === 'node' ? key : `pki.${key}`;
    this.problems.push({ file: this.config.file, key: path, message, level });
    return undefined;
  }

  read(key: PkiKey): Buffer | undefined {
    const path = this.config.pki[key];
    try {
      return readFileSync(path);
    } catch (error) {
      return this.add(key, unreadable(path, (error as NodeJS.ErrnoException).code));
    }
  }
}

/** Both: the identity, where the files make one, and everything wrong or doubtful. */
export function examine(
  config: Config,
  wallMs: number,
): { identity?: Identity; problems: PreflightProblem[] } {
  const report = new Report(config);
  const trust = readTrust(report, config.pki.ca);
  const certificate = readCertificate(report, config.pki.cert);
  const key = readKey(report, config, certificate);
  const verified = trust && certificate && verifyNow(report, trust, certificate, wallMs);
  if (certificate !== undefined && certificate.name !== config.node) {
    report.add(
      'node',
      `is "${config.node}", but ${config.pki.cert} is for "${certificate.name}"; name one or sign the other`,
    );
  }
  const { problems } = report;
  return trust && key && verified ? { identity: { trust, verified, key }, problems } : { problems };
}

function readTrust(report: Report, path: string): TrustStore | undefined {
  const text = report.read('ca');
  if (text === undefined) return undefined;
  try {
    return TrustStore.fromPem(text);
  } catch (error) {
    if (error instanceof IdentityError) return report.add('ca', `${path}: ${error.message}`);
    throw error;
  }
}

function readCertificate(report: Report, path: string): NodeCertificate | undefined {
  const text = report.read('cert');
  if (text === undefined) return undefined;
  const parsed = parseCertificate(text);
  return parsed.ok ? parsed.certificate : report.add('cert', `${path}: ${parsed.text}`);
}

function readKey(
  report: Report,
  config: Config,
  certificate: NodeCertificate | undefined,
): KeyObject | undefined {
  const path = config.pki.key;
  const text = report.read('key');
  if (text === undefined) return undefined;
  const mode = statSync(path).mode & 0o777;
  // A systemd credential is 0400 and its owner's; group and others never have anything to look for in a key.
  if ((mode & 0o077) !== 0) {
    report.add(
      'key',
      `${path} is open to others (mode ${mode.toString(8)}); run "chmod 600 ${path}"`,
      'warning',
    );
  }
  const parsed = parsePrivateKey(text);
  text.fill(0);
  if (!parsed.ok) return report.add('key', `${path}: ${parsed.text}`);
  const matches = certificate === undefined ? undefined : checkKeyMatches(certificate, parsed.key);
  if (matches?.ok === false)
    return report.add('key', `${path}: ${matches.text}; name the key it was signed with`);
  return parsed.key;
}

function verifyNow(
  report: Report,
  trust: TrustStore,
  certificate: NodeCertificate,
  wallMs: number,
): Verified | undefined {
  const verified = trust.verify(certificate.der, wallMs);
  if (!verified.ok) {
    const foreign = verified.reason === 'unknown-ca' || verified.reason === 'bad-signature';
    const remedy = foreign ? 'name the CA that signed it in pki.ca, or' : 'else';
    return report.add('cert', `${verified.text}; ${remedy} sign a new one with "causeway ca sign"`);
  }
  const left = certificate.notAfter - wallMs;
  if (left < EXPIRY_WARNING) {
    report.add('cert', `expires in ${span(left)}; sign a new one with "causeway ca sign"`, 'warning');
  }
  return verified;
}

function unreadable(path: string, code: string | undefined): string {
  if (code === 'ENOENT') return `${path} isn't there; make it with "causeway ca", or name another file`;
  if (code === 'EACCES') return `no permission to read ${path}; run as root`;
  return `${path} can't be read (${code ?? 'unknown error'})`;
}
