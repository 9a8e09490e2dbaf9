import { createHash } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { IdentityError, TrustStore, writePem } from '../../../src/crypto/identity/index.js';
import { DAY, makeCa, makeNode, NEW_YEAR, request, term } from './fixture.js';
import type { TestCa, TestNode } from './fixture.js';

const SPRING = NEW_YEAR + 90 * DAY;
let ca: TestCa;
let other: TestCa;
let node: TestNode;
let trust: TrustStore;

beforeAll(async () => {
  ca = await makeCa();
  other = await makeCa('Other CA', ['10.88.0.0/16', '10.77.0.0/16']);
  node = await makeNode(ca);
  trust = TrustStore.fromPem(ca.pem);
});

describe('a trust store', () => {
  it('takes a certificate that its root signed, and says which root', () => {
    const verdict = trust.verify(node.certificate.der, SPRING);
    expect(verdict).toMatchObject({ ok: true, certificate: { name: 'a' }, authority: { name: 'Test CA' } });
  });

  it('holds several roots of one file, each once, with all their prefixes and network keys', async () => {
    const both = TrustStore.fromPem(`${ca.pem}${other.pem}${ca.pem}`);
    expect(both.overlayPrefixes.map((prefix) => prefix.text)).toEqual([
      '10.77.0.0/16',
      'fd77::/48',
      '10.88.0.0/16',
    ]);
    const keys = [ca, other].map(({ certificate }) =>
      createHash('blake2s256').update(certificate.publicKey).digest(),
    );
    expect(both.networkKeys.map((key) => Buffer.from(key))).toEqual(keys);
    const theirs = await makeNode(other, request('x', { addresses: ['10.88.0.1'] }));
    expect(both.verify(theirs.certificate.der, SPRING).ok).toBe(true);
    expect(both.verify(node.certificate.der, SPRING).ok).toBe(true);
  });

  it("judges an address by the root that signed it, not by another's prefixes", async () => {
    const both = TrustStore.fromPem(ca.pem + other.pem);
    const stray = await makeNode(ca, request('x', { addresses: ['10.88.0.1'] }));
    const verdict = both.verify(stray.certificate.der, SPRING);
    expect(verdict).toMatchObject({
      ok: false,
      reason: 'outside-constraints',
      text: expect.stringContaining('10.88.0.1'),
    });
  });

  it("takes no real address inside any overlay's prefixes", async () => {
    const both = TrustStore.fromPem(ca.pem + other.pem);
    const sly = await makeNode(ca, request('x', { real: ['10.88.0.1'] }));
    expect(both.verify(sly.certificate.der, SPRING)).toMatchObject({
      ok: false,
      reason: 'outside-constraints',
    });
    const honest = await makeNode(ca, request('y', { real: ['192.0.2.1'] }));
    expect(both.verify(honest.certificate.der, SPRING).ok).toBe(true);
  });

  it('does not constrain routes', async () => {
    const gateway = await makeNode(ca, request('gw', { routes: ['192.168.0.0/16'] }));
    expect(trust.verify(gateway.certificate.der, SPRING).ok).toBe(true);
  });

  it('names the issuer it does not know', async () => {
    const theirs = await makeNode(other, request('x', { addresses: ['10.88.0.1'] }));
    const verdict = trust.verify(theirs.certificate.der, SPRING);
    expect(verdict).toMatchObject({
      ok: false,
      reason: 'unknown-ca',
      text: expect.stringContaining('CN=Other CA'),
    });
  });

  it('tells a namesake of its root by the signature', async () => {
    const namesake = await makeCa('Test CA', ['10.77.0.0/16'], term('x', 3650), 'another key');
    const theirs = await makeNode(namesake, request('x', { addresses: ['10.77.0.9'] }));
    expect(trust.verify(theirs.certificate.der, SPRING)).toMatchObject({
      ok: false,
      reason: 'bad-signature',
    });
  });

  it("refuses what its root's key signed in another CA's name", async () => {
    const alias = await makeCa('Alias CA', ['10.77.0.0/16'], term('alias', 3650), 'Test CA');
    const theirs = await makeNode(alias, request('x', { addresses: ['10.77.0.9'] }));
    const verdict = trust.verify(theirs.certificate.der, SPRING);
    expect(verdict).toMatchObject({
      ok: false,
      reason: 'unknown-ca',
      text: expect.stringMatching(/CN=Test CA.*CN=Alias CA/),
    });
  });

  it('refuses a certificate whose signature was altered', () => {
    const der = Uint8Array.from(node.certificate.der);
    der[der.length - 1] ^= 1;
    expect(trust.verify(der, SPRING)).toMatchObject({ ok: false, reason: 'bad-signature' });
  });

  it('refuses its own root in the place of a node', () => {
    expect(trust.verify(ca.certificate.der, SPRING)).toMatchObject({ ok: false, reason: 'not-a-node' });
  });

  it("writes no stranger's control characters into a reason", async () => {
    const evil = await makeCa('\u001b[2J\nok\u202e', ['10.77.0.0/16']);
    const theirs = await makeNode(evil, request('x', { addresses: ['10.77.0.9'] }));
    const verdict = trust.verify(theirs.certificate.der, SPRING);
    expect(verdict).toMatchObject({
      reason: 'unknown-ca',
      text: expect.stringContaining('CN=\ufffd[2J\\0Aok\ufffd'),
    });
    const text = verdict.ok ? '' : verdict.text;
    expect(text).not.toMatch(/[\u0000-\u001f\u202e]/);
  });

  it('takes DER only, not PEM', () => {
    const pem = Buffer.from(writePem('CERTIFICATE', node.certificate.der));
    expect(trust.verify(pem, SPRING)).toMatchObject({ ok: false, reason: 'malformed' });
  });
});

describe('validity', () => {
  const end = NEW_YEAR + 365 * DAY;

  it('includes both its ends', () => {
    expect(trust.verify(node.certificate.der, NEW_YEAR).ok).toBe(true);
    expect(trust.verify(node.certificate.der, end).ok).toBe(true);
    expect(trust.verify(node.certificate.der, end + 1)).toMatchObject({ reason: 'expired' });
    expect(trust.verify(node.certificate.der, NEW_YEAR - 1)).toMatchObject({ reason: 'not-yet-valid' });
  });

  it('that has ended says for how long, and asks about the clock', () => {
    const verdict = trust.verify(node.certificate.der, end + 3 * DAY + 5);
    expect(verdict).toMatchObject({
      ok: false,
      reason: 'expired',
      text: expect.stringMatching(/a's certificate expired 3 days ago.*clock/),
    });
  });

  it('that is still to come says in how long', () => {
    const verdict = trust.verify(node.certificate.der, NEW_YEAR - 2 * 3_600_000);
    expect(verdict).toMatchObject({
      ok: false,
      reason: 'not-yet-valid',
      text: expect.stringMatching(/in 2 hours.*clock/),
    });
  });

  it('of the root counts too', async () => {
    const short = await makeCa('Short CA', ['10.77.0.0/16'], term('short', 10));
    const long = await makeNode(short, request('a', { addresses: ['10.77.0.1'] }));
    const store = TrustStore.fromPem(short.pem);
    expect(store.verify(long.certificate.der, NEW_YEAR + DAY).ok).toBe(true);
    expect(store.verify(long.certificate.der, NEW_YEAR + 11 * DAY)).toMatchObject({
      ok: false,
      reason: 'ca-expired',
    });
  });
});

describe('the cache of verified certificates', () => {
  it('returns the same object again, and still asks the clock', () => {
    const first = trust.verify(node.certificate.der, SPRING);
    expect(trust.verify(Uint8Array.from(node.certificate.der), SPRING)).toBe(first);
    expect(trust.verify(node.certificate.der, SPRING + 1000 * DAY)).toMatchObject({ reason: 'expired' });
    expect(trust.verify(node.certificate.der, SPRING)).toBe(first);
  });

  it('drops the certificate used longest ago when it is full', async () => {
    const small = TrustStore.fromPem(ca.pem, 2);
    const [a, b, c] = await Promise.all(
      ['a', 'b', 'c'].map(async (name) => (await makeNode(ca, request(name))).certificate.der),
    );
    const firstA = small.verify(a, SPRING);
    const firstB = small.verify(b, SPRING);
    small.verify(a, SPRING);
    small.verify(c, SPRING);
    expect(small.verify(a, SPRING)).toBe(firstA);
    const again = small.verify(b, SPRING);
    expect(again).not.toBe(firstB);
    expect(again).toEqual(firstB);
  });

  it('does not follow its caller when the buffer is reused', () => {
    const buffer = Uint8Array.from(node.certificate.der);
    const store = TrustStore.fromPem(ca.pem);
    const verdict = store.verify(buffer, SPRING);
    buffer.fill(0);
    expect(verdict.ok && verdict.certificate.der).toEqual(node.certificate.der);
    expect(verdict.ok && verdict.certificate.publicKey).toEqual(node.certificate.publicKey);
  });
});

describe('a CA file', () => {
  const refusal = (pem: string): string => {
    try {
      TrustStore.fromPem(pem);
    } catch (error) {
      if (error instanceof IdentityError) return `${error.code}: ${error.message}`;
      throw error;
    }
    return 'taken';
  };

  it('without a certificate, with a node among the roots, or damaged is refused as a whole', () => {
    expect(refusal('')).toMatch(/^malformed: .*no certificate/);
    expect(refusal(ca.pem + writePem('CERTIFICATE', node.certificate.der))).toMatch(/^not-a-ca: "CN=a"/);
    const damaged = Uint8Array.from(ca.certificate.der);
    damaged[damaged.length - 1] ^= 1;
    expect(refusal(writePem('CERTIFICATE', damaged))).toMatch(/^bad-signature: /);
  });
});
