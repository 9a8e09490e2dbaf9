/** A peer's bytes never throw and, once altered, never verify. */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  parseAuthority,
  parseCertificate,
  parsePrivateKey,
  readPublicKey,
  readRequestKey,
  TrustStore,
} from '../../src/crypto/identity/index.js';
import { readSequence, splitSigned, writeTlv } from '../../src/crypto/identity/der.js';
import { readExtensions } from '../../src/crypto/identity/extensions.js';
import { readNodeNames } from '../../src/crypto/identity/node-names.js';
import { readOverlayConstraints } from '../../src/crypto/identity/constraints.js';
import { DAY, makeCa, makeNode, NEW_YEAR, request } from '../unit/identity/fixture.js';
import type { TestCa } from '../unit/identity/fixture.js';

const NOW = NEW_YEAR + DAY;
let ca: TestCa;
let der: Uint8Array;
let trust: TrustStore;

beforeAll(async () => {
  ca = await makeCa();
  const wanted = request('a', { routes: ['10.20.0.0/16', 'fd99::/64'], groups: ['db'], roles: ['relay'] });
  der = (await makeNode(ca, wanted)).certificate.der;
  trust = TrustStore.fromPem(ca.pem);
});

type Edit = { at: number; kind: 'flip' | 'set' | 'cut' | 'insert' | 'swap'; byte: number; length: number };

const edits: fc.Arbitrary<Edit[]> = fc.array(
  fc.record({
    at: fc.nat(0xffff),
    kind: fc.constantFrom('flip', 'set', 'cut', 'insert', 'swap'),
    byte: fc.nat(255),
    length: fc.integer({ min: 1, max: 24 }),
  }),
  { minLength: 1, maxLength: 4 },
);

function mutate(source: Uint8Array, changes: readonly Edit[]): Uint8Array {
  let bytes = [...source];
  for (const { at: anywhere, kind, byte, length } of changes) {
    const at = bytes.length === 0 ? 0 : anywhere % bytes.length;
    if (kind === 'flip') bytes[at] ^= 1 << (byte & 7);
    else if (kind === 'set') bytes[at] = byte;
    else if (kind === 'cut') bytes.splice(at, length);
    else if (kind === 'insert') bytes.splice(at, 0, ...new Array<number>(length).fill(byte));
    else bytes = [...bytes.slice(at), ...bytes.slice(0, at)];
  }
  return Uint8Array.from(bytes);
}

describe('altered certificates', () => {
  it('never throw and never verify', () => {
    fc.assert(
      fc.property(edits, (changes) => {
        const altered = mutate(der, changes);
        fc.pre(Buffer.compare(altered, der) !== 0);
        const verdict = trust.verify(altered, NOW);
        expect(verdict.ok).toBe(false);
        expect(!verdict.ok && verdict.text).not.toMatch(/\n|undefined|NaN/);
        parseCertificate(altered);
        parseAuthority(altered);
      }),
      { numRuns: 3000 },
    );
  });

  it('do not verify after any change of one bit', () => {
    for (let bit = 0; bit < der.length * 8; bit++) {
      const altered = Uint8Array.from(der);
      altered[bit >> 3] ^= 1 << (bit & 7);
      expect(trust.verify(altered, NOW).ok, `bit ${bit}`).toBe(false);
    }
  });

  it('do not verify when the unsigned frame is encoded anew in BER', () => {
    const [body, algorithm, signature] = readSequence(der)!;
    const inner = Buffer.concat([body.raw, algorithm.raw, signature.raw]);
    expect(writeTlv(0x30, inner)).toEqual(Buffer.from(der));
    const long = Buffer.concat([Uint8Array.of(0x30, 0x83, 0, inner.length >> 8, inner.length & 0xff), inner]);
    const indefinite = Buffer.concat([Uint8Array.of(0x30, 0x80), inner, Uint8Array.of(0, 0)]);
    const withNull = writeTlv(0x30, body.raw, Buffer.from('300706032b65700500', 'hex'), signature.raw);
    const unusedBits = Uint8Array.from(signature.raw);
    unusedBits[2] = 1;
    const bits = writeTlv(0x30, body.raw, algorithm.raw, unusedBits);
    const extra = writeTlv(0x30, inner, Uint8Array.of(0x05, 0x00));
    for (const form of [long, indefinite, withNull, bits, extra])
      expect(trust.verify(form, NOW).ok).toBe(false);
    expect(trust.verify(der, NOW).ok).toBe(true);
  });
});

describe('bytes of any kind', () => {
  it('never throw in any decoder', () => {
    const sequence = fc.uint8Array({ maxLength: 400 }).map((bytes) => writeTlv(0x30, bytes));
    const anything = fc.oneof(fc.uint8Array({ maxLength: 5000 }), sequence);
    fc.assert(
      fc.property(anything, (bytes) => {
        expect(trust.verify(bytes, NOW).ok).toBe(false);
        for (const decode of [
          parseCertificate,
          parseAuthority,
          parsePrivateKey,
          readPublicKey,
          readRequestKey,
        ]) {
          expect(decode(bytes).ok).toBe(false);
        }
        splitSigned(bytes);
        readNodeNames(bytes);
        readOverlayConstraints(bytes, 'x');
        readExtensions(bytes);
      }),
      { numRuns: 2000 },
    );
  });

  it('nested to any depth are refused', () => {
    let nested: Uint8Array = new Uint8Array(0);
    for (let depth = 0; depth < 700; depth++) nested = writeTlv(0x30, nested);
    const signed = readSequence(der)!;
    const bomb = writeTlv(0x30, nested, signed[1].raw, signed[2].raw);
    expect(trust.verify(bomb, NOW)).toMatchObject({ ok: false, reason: 'malformed' });
  });

  it('as PEM text never throw', () => {
    const text = fc.array(
      fc.constantFrom(
        '-----BEGIN CERTIFICATE-----',
        '-----END CERTIFICATE-----',
        '\n',
        'MAA=',
        '=',
        'é',
        '-----BEGIN ',
      ),
    );
    fc.assert(
      fc.property(text, (parts) => {
        expect(parseCertificate(parts.join('')).ok).toBe(false);
        expect(parsePrivateKey(parts.join('')).ok).toBe(false);
      }),
    );
  });
});
