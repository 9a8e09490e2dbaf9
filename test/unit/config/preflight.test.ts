import { chmodSync, copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ConfigError, loadConfig, loadIdentity, preflight } from '../../../src/agent/config/index.js';
import type { Config } from '../../../src/agent/config/index.js';
import { lifetime, TestAuthority } from '../../support/pki/authority.js';

const NOW = Date.UTC(2026, 5, 1);
const DAY = 86_400_000;

let directory: string;
let authority: TestAuthority;
let config: Config;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'cw-preflight-'));
  authority = await TestAuthority.create(NOW);
  await authority.writeNode(directory, 'b', '10.77.0.2', lifetime(NOW));
  config = loadConfig(await authority.writeNode(directory, 'a', '10.77.0.1', lifetime(NOW)));
});
afterEach(() => rmSync(directory, { recursive: true }));

const lines = (at = NOW): string[] =>
  preflight(config, at).map(({ level, key, message }) => `${level} ${key}: ${message}`);
const inDirectory = (name: string): string => join(directory, name);

test('files that fit together are an identity', () => {
  expect(lines()).toEqual([]);
  const { verified, trust } = loadIdentity(config, NOW);
  expect(verified.certificate.name).toBe('a');
  expect(trust.overlayPrefixes.map(({ text }) => text)).toEqual(['10.77.0.0/16']);
});

test("another node's key is told apart from ours", () => {
  copyFileSync(inDirectory('b.key'), inDirectory('a.key'));
  expect(lines()).toEqual([
    expect.stringMatching(/^error pki\.key: .*a\.key: the private key is not the one of certificate/),
  ]);
  expect(() => loadIdentity(config, NOW)).toThrow(ConfigError);
});

test("another node's certificate is named with both names", () => {
  config.pki = { ...config.pki, cert: inDirectory('b.crt'), key: inDirectory('b.key') };
  expect(lines()).toEqual([expect.stringMatching(/^error node: is "a", but .*b\.crt is for "b"/)]);
});

test('an expired certificate and one not valid yet are refused', () => {
  expect(lines(NOW + 366 * DAY)[0]).toMatch(/^error pki\.cert: .*expired/);
  expect(lines(NOW - 2 * DAY)[0]).toMatch(/^error pki\.cert: /);
});

test('a certificate that expires soon earns a warning, and works', () => {
  const soon = NOW + 360 * DAY;
  expect(lines(soon)).toEqual([
    'warning pki.cert: expires in 5 days; sign a new one with "causeway ca sign"',
  ]);
  expect(loadIdentity(config, soon).verified.certificate.name).toBe('a');
});

test('a certificate of another CA is refused', async () => {
  const foreign = await TestAuthority.create(NOW, 'Foreign CA');
  await foreign.writeNode(join(directory, 'foreign'), 'a', '10.77.0.1', lifetime(NOW));
  config.pki = { ...config.pki, ca: inDirectory('foreign/ca.crt') };
  expect(lines()).toEqual([expect.stringMatching(/^error pki\.cert: /)]);
});

test('every file that is missing or no certificate or key is named', () => {
  rmSync(inDirectory('a.key'));
  writeFileSync(inDirectory('a.crt'), 'hello');
  writeFileSync(inDirectory('ca.crt'), '');
  const [ca, cert, key, ...rest] = lines();
  expect(ca).toMatch(/^error pki\.ca: .*ca\.crt: /);
  expect(cert).toMatch(/^error pki\.cert: .*a\.crt: /);
  expect(key).toMatch(/^error pki\.key: .*a\.key isn't there/);
  expect(rest).toEqual([]);
});

test('a key that others may read earns a warning with its remedy', () => {
  chmodSync(inDirectory('a.key'), 0o644);
  expect(lines()).toEqual([expect.stringMatching(/^warning pki\.key: .* \(mode 644\); run "chmod 600 /)]);
});
