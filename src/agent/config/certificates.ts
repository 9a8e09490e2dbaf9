/** Certificates of other nodes that lie in files. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type NodeCertificate, parseCertificate } from '../../crypto/identity/index.js';
import { ConfigError } from './errors.js';
import type { Identity } from './preflight.js';

/**
 * Those in a file or in the files of a folder. What isn't a node's, or what no trusted root signed, is passed over in a folder; a file that is named has to be
 * one. Throws ConfigError.
 */
export function certificatesAt(
  path: string,
  { trust }: Pick<Identity, 'trust'>,
  wall: number,
): NodeCertificate[] {
  const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  const files = isFolder
    ? readdirSync(path)
        .filter((name) => /\.(crt|pem|cer|der)$/.test(name))
        .map((name) => join(path, name))
    : [path];
  return files.flatMap((file) => {
    const verdict = verified(file, trust, wall);
    if (typeof verdict !== 'string') return [verdict];
    if (isFolder) return [];
    throw new ConfigError([{ file, key: '', message: verdict }]);
  });
}

/** The certificate in a file, or why it counts for nothing. */
function verified(file: string, trust: Identity['trust'], wall: number): NodeCertificate | string {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    return `can't be read (${(error as NodeJS.ErrnoException).code})`;
  }
  const parsed = parseCertificate(bytes);
  if (!parsed.ok) return parsed.text;
  const verdict = trust.verify(parsed.certificate.der, wall);
  return verdict.ok ? verdict.certificate : verdict.text;
}
