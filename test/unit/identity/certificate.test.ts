import { createHash } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  authorityProblem,
  issueNode,
  MAX_CERTIFICATE_BYTES,
  nodeIdOf,
  nodeNameProblem,
  parseAuthority,
  parseCertificate,
  rawPublicKey,
  requestProblem,
  tokenProblem,
  writePem,
} from '../../../src/crypto/identity/index.js';
import { address, DAY, makeCa, makeNode, NEW_YEAR, prefix, request, seeded, term } from './fixture.js';
import type { TestCa } from './fixture.js';

let ca: TestCa;
beforeAll(async () => {
  ca = await makeCa();
});

describe('node ids', () => {
  it('are the first four bytes of SHA-256 of the name', () => {
    expect(nodeIdOf('a')).toBe(0xca978112);
    expect(nodeIdOf('db1.example.com')).toBe(
      createHash('sha256').update('db1.example.com').digest().readUInt32BE(0),
    );
  });
});

describe('names', () => {
  it.each(['a', 'db1', 'db1.example.com', 'a-b', '9', 'x'.repeat(63)])('%j names a node', (name) => {
    expect(nodeNameProblem(name)).toBeUndefined();
  });
  it.each(['', 'A', 'a_b', '-a', 'a-', 'a..b', '.a', 'a.', 'a b', 'ä', 'a/b', 'x'.repeat(64), 'a\n'])(
    '%j names no node',
    (name) => {
      expect(nodeNameProblem(name)).toBeTypeOf('string');
    },
  );
  it('groups and roles may also hold dots and underscores inside', () => {
    expect(tokenProblem('group', 'web_1.eu')).toBeUndefined();
    expect(tokenProblem('role', 'relay:x')).toContain('relay:x');
    expect(tokenProblem('group', '')).toBeTypeOf('string');
  });
});

describe('a node certificate', () => {
  it('says what was asked for', async () => {
    const wanted = request('db1', {
      real: ['192.0.2.1', '2001:db8::1'],
      routes: ['10.20.0.0/16', 'fd99::/64'],
      groups: ['db', 'eu'],
      roles: ['relay'],
    });
    const { certificate, key } = await makeNode(ca, wanted);
    expect(certificate).toMatchObject({
      name: 'db1',
      nodeId: nodeIdOf('db1'),
      addresses: [address('10.77.0.1'), address('fd77::1')],
      real: [address('192.0.2.1'), address('2001:db8::1')],
      routes: [prefix('10.20.0.0/16'), prefix('fd99::/64')],
      groups: ['db', 'eu'],
      roles: ['relay'],
      publicKey: rawPublicKey(key),
      notBefore: NEW_YEAR,
      notAfter: NEW_YEAR + 365 * DAY,
      subject: 'CN=db1',
      issuer: 'CN=Test CA',
    });
    expect(certificate.fingerprint).toBe(createHash('sha256').update(certificate.der).digest('hex'));
    expect(certificate.serial).toMatch(/^[4-7][0-9a-f]{31}$/);
  });

  it('reads the same from PEM, from PEM bytes with text around, and from DER', async () => {
    const { certificate } = await makeNode(ca);
    const pem = writePem('CERTIFICATE', certificate.der);
    const read = parseCertificate(certificate.der);
    expect(read).toMatchObject({ ok: true, certificate: { name: 'a' } });
    expect(parseCertificate(pem)).toEqual(read);
    expect(parseCertificate(Buffer.from(`Certificate:\n  Data: …\n${pem}`))).toEqual(read);
  });

  it('with validity past 2050 reads back', async () => {
    const { certificate } = await makeNode(ca, request('a'), term('long', 12_000));
    expect(certificate.notAfter).toBe(NEW_YEAR + 12_000 * DAY);
  });

  it('that would not fit a handshake message is refused', async () => {
    const routes = Array.from({ length: 120 }, (_, i) => `10.${i}.0.0/16`);
    const made = await issueNode(
      request('a', { routes }),
      term('big'),
      seeded('key'),
      ca.certificate,
      ca.key,
    );
    expect(made).toEqual({
      ok: false,
      reason: 'malformed',
      text: expect.stringContaining(String(MAX_CERTIFICATE_BYTES)),
    });
  });

  it('is not mistaken for a CA, nor a CA for a node', async () => {
    const { certificate } = await makeNode(ca);
    expect(parseAuthority(certificate.der)).toMatchObject({ ok: false, reason: 'not-a-ca' });
    expect(parseCertificate(ca.pem)).toMatchObject({ ok: false, reason: 'not-a-node' });
  });

  it('is refused with bytes behind it, in a chain, or when there is none', async () => {
    const { certificate } = await makeNode(ca);
    expect(parseCertificate(Buffer.concat([certificate.der, Uint8Array.of(0)]))).toMatchObject({
      reason: 'malformed',
    });
    expect(parseCertificate(writePem('CERTIFICATE', certificate.der) + ca.pem)).toMatchObject({
      reason: 'malformed',
    });
    expect(parseCertificate('')).toMatchObject({ reason: 'malformed' });
    expect(parseCertificate(new Uint8Array(0))).toMatchObject({ reason: 'malformed' });
  });
});

describe('a CA certificate', () => {
  it('carries the overlay prefixes and gives the network key', () => {
    expect(ca.certificate).toMatchObject({
      name: 'Test CA',
      overlayPrefixes: [prefix('10.77.0.0/16'), prefix('fd77::/48')],
      excludedPrefixes: [],
      networkKey: Uint8Array.from(createHash('blake2s256').update(ca.certificate.publicKey).digest()),
    });
    expect(ca.certificate.keyIdentifier).toMatch(/^[0-9a-f]{40}$/);
  });

  it.each(['0.0.0.0/0', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/4', 'fe80::/10', 'ff00::/8', '::/64'])(
    'is not made for %s',
    (overlay) => {
      expect(authorityProblem({ name: 'x', overlay: [prefix(overlay)] })).toContain(overlay);
    },
  );

  it('signs no address outside its prefixes', () => {
    expect(requestProblem(request('a'), ca.certificate)).toBeUndefined();
    expect(requestProblem(request('a', { addresses: ['10.78.0.1'] }), ca.certificate)).toContain('10.78.0.1');
    expect(requestProblem(request('a', { real: ['10.77.9.9'] }), ca.certificate)).toContain(
      '10.77.9.9 lies in the overlay',
    );
    expect(requestProblem(request('a', { real: ['127.0.0.1'] }), ca.certificate)).toContain('127.0.0.1');
    expect(requestProblem(request('A'), ca.certificate)).toContain('"a"');
    expect(requestProblem(request('a', { groups: ['D B'] }), ca.certificate)).toContain('D B');
  });
});
