/** A certificate authority for tests, and the files of its nodes. */
import { randomBytes } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  issueAuthority,
  issueNode,
  parseAddress,
  parsePrefix,
  privateKeyFromSeed,
  rawPublicKey,
  SERIAL_LENGTH,
  writePem,
} from '../../../src/crypto/identity/index.js';
import type { CaCertificate, OverlayPrefix } from '../../../src/crypto/identity/index.js';

const DAY_MS = 86_400_000;

export interface Lifetime {
  /** Ms since 1970. */
  notBefore: number;
  notAfter: number;
}

/** What a node's certificate says beside its overlay addresses. */
export interface NodeClaims {
  real?: readonly string[];
  routes?: readonly string[];
  groups?: readonly string[];
  roles?: readonly string[];
}

export const lifetime = (now: number, days = 365): Lifetime => ({
  notBefore: now - DAY_MS,
  notAfter: now + days * DAY_MS,
});

export class TestAuthority {
  private constructor(
    readonly certificate: CaCertificate,
    private readonly key: KeyObject,
  ) {}

  /** `overlay`: prefixes, with commas between them. */
  static async create(now: number, name = 'Test CA', overlay = '10.77.0.0/16'): Promise<TestAuthority> {
    const key = privateKeyFromSeed(randomBytes(32));
    const prefixes = overlay.split(',').map(readPrefix);
    const term = { serial: randomBytes(SERIAL_LENGTH), ...lifetime(now, 3650) };
    const made = await issueAuthority({ name, overlay: prefixes }, term, key);
    if (!made.ok) throw new Error(made.text);
    return new TestAuthority(made.certificate, key);
  }

  /**
   * Writes `ca.crt`, `NAME.crt`, `NAME.key` and `NAME.yaml` into the directory and returns the last one's path. `address`: one or more,
   * with commas between them; `groups`: those that the certificate names.
   */
  async writeNode(
    directory: string,
    name: string,
    address: string,
    life: Lifetime,
    claims: NodeClaims = {},
  ): Promise<string> {
    const key = privateKeyFromSeed(randomBytes(32));
    const addresses = address.split(',').map((text) => parseAddress(text)!);
    const { real = [], routes = [], groups = [], roles = [] } = claims;
    const request = {
      name,
      addresses,
      real: real.map((text) => parseAddress(text)!),
      routes: routes.map(readPrefix),
      groups,
      roles,
    };
    const term = { serial: randomBytes(SERIAL_LENGTH), ...life };
    const made = await issueNode(request, term, rawPublicKey(key), this.certificate, this.key);
    if (!made.ok) throw new Error(made.text);
    mkdirSync(directory, { recursive: true });
    const write = (file: string, text: string, mode = 0o644): void =>
      writeFileSync(join(directory, file), text, { mode });
    write('ca.crt', writePem('CERTIFICATE', this.certificate.der));
    write(`${name}.crt`, writePem('CERTIFICATE', made.certificate.der));
    write(`${name}.key`, key.export({ type: 'pkcs8', format: 'pem' }) as string, 0o600);
    const socket = join(directory, `${name}.sock`);
    write(
      `${name}.yaml`,
      `node: ${name}\npki: {ca: ca.crt, cert: ${name}.crt, key: ${name}.key}\ncontrol: {socket: ${socket}}\n`,
    );
    return join(directory, `${name}.yaml`);
  }
}

function readPrefix(text: string): OverlayPrefix {
  const result = parsePrefix(text);
  if (!result.ok) throw new Error(result.text);
  return result.prefix;
}
