import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { keyPairOf, noiseCrypto } from '../../../src/crypto/primitives.js';
import { CipherState, NoiseError } from '../../../src/crypto/noise/cipher-state.js';
import { HandshakeState, XX } from '../../../src/crypto/noise/handshake-state.js';

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));
const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const none: Uint8Array = new Uint8Array(0);

interface Vector {
  [field: string]: string;
}

function readVectors(): Vector[] {
  const url = new URL('../../fixtures/noise/xx-25519-chachapoly-blake2s.txt', import.meta.url);
  const vectors: Vector[] = [];
  for (const line of readFileSync(url, 'utf8').split('\n')) {
    if (line.startsWith('#') || line === '') continue;
    const at = line.indexOf('=');
    const [name, value] = [line.slice(0, at), line.slice(at + 1)];
    if (name === 'handshake') vectors.push({});
    vectors.at(-1)![name] = value;
  }
  return vectors;
}

function pair(prologue: Uint8Array = none, seed = 1) {
  const key = (n: number) => keyPairOf(new Uint8Array(32).fill(seed * 4 + n));
  const side = (initiator: boolean, n: number) =>
    new HandshakeState({
      crypto: noiseCrypto,
      pattern: XX,
      initiator,
      prologue,
      s: key(n),
      ephemeral: () => key(n + 1),
    });
  return { initiator: side(true, 0), responder: side(false, 2) };
}

function message(state: HandshakeState, payload: Uint8Array = none): Uint8Array {
  const result = state.writeMessage(payload);
  if (!result.ok) throw new Error(result.reason);
  return result.message;
}

describe('Noise_XX_25519_ChaChaPoly_BLAKE2s', () => {
  const vectors = readVectors();

  it('has the four published vectors to check against', () => {
    expect(vectors).toHaveLength(4);
  });

  it.each(vectors.map((vector, i) => [i, vector] as const))(
    'agrees with published vector %i',
    (_, vector) => {
      const prologue = hex(vector['prologue'] ?? '');
      const side = (initiator: boolean, s: string, e: string) =>
        new HandshakeState({
          crypto: noiseCrypto,
          pattern: XX,
          initiator,
          prologue,
          s: keyPairOf(hex(s)),
          ephemeral: () => keyPairOf(hex(e)),
        });
      const initiator = side(true, vector['init_static']!, vector['gen_init_ephemeral']!);
      const responder = side(false, vector['resp_static']!, vector['gen_resp_ephemeral']!);
      for (let i = 0; i < 3; i++) {
        const [writer, reader] = i % 2 === 0 ? [initiator, responder] : [responder, initiator];
        const bytes = message(writer, hex(vector[`msg_${i}_payload`]!));
        expect(toHex(bytes)).toBe(vector[`msg_${i}_ciphertext`]);
        const read = reader.readMessage(bytes);
        expect(read.ok && toHex(read.payload)).toBe(vector[`msg_${i}_payload`]);
      }
      const [a, b] = [initiator.split(), responder.split()];
      expect(toHex(a.handshakeHash)).toBe(toHex(b.handshakeHash));
      for (const [i, from, to] of [
        [3, a, b],
        [4, b, a],
      ] as const) {
        const payload = hex(vector[`msg_${i}_payload`]!);
        const sealed = from.send.encryptWithAd(none, payload);
        expect(toHex(sealed)).toBe(vector[`msg_${i}_ciphertext`]);
        expect(to.receive.decryptWithAd(none, sealed)).toEqual(payload);
      }
    },
  );
});

describe('a handshake state', () => {
  it('carries any payloads and agrees on the keys', () => {
    const bytes = fc.uint8Array({ maxLength: 300 });
    fc.assert(
      fc.property(bytes, bytes, bytes, bytes, (prologue, p1, p2, p3) => {
        const { initiator, responder } = pair(prologue);
        expect(responder.readMessage(message(initiator, p1))).toEqual({ ok: true, payload: p1 });
        expect(initiator.readMessage(message(responder, p2))).toEqual({ ok: true, payload: p2 });
        expect(responder.readMessage(message(initiator, p3))).toEqual({ ok: true, payload: p3 });
        expect(initiator.split().send.exportKey()).toEqual(responder.split().receive.exportKey());
      }),
      { numRuns: 20 },
    );
  });

  it('goes on with the true message after a forged one', () => {
    const { initiator, responder } = pair();
    responder.readMessage(message(initiator));
    const second = message(responder, hex('aa'));
    for (let i = 0; i < second.length; i += 7) {
      const forged = second.slice();
      forged[i]! ^= 1;
      expect(initiator.readMessage(forged)).toMatchObject({ ok: false, stateAdvanced: false });
    }
    expect(initiator.readMessage(second.subarray(0, 90))).toMatchObject({ ok: false });
    expect(initiator.readMessage(second.subarray(0, 20))).toMatchObject({ ok: false, reason: 'short' });
    expect(initiator.remoteStatic).toBeUndefined();
    expect(initiator.readMessage(second)).toEqual({ ok: true, payload: hex('aa') });
    expect(responder.readMessage(message(initiator)).ok).toBe(true);
  });

  it('refuses an ephemeral key of low order without throwing', () => {
    const { responder } = pair();
    expect(responder.readMessage(new Uint8Array(32)).ok).toBe(true);
    expect(responder.writeMessage(none)).toEqual({ ok: false, reason: 'weak-key', stateAdvanced: false });
  });

  it('fails where the prologues differ', () => {
    const { initiator } = pair(hex('01'));
    const { responder } = pair(hex('02'));
    responder.readMessage(message(initiator));
    expect(initiator.readMessage(message(responder))).toMatchObject({ reason: 'decrypt' });
  });

  it('throws when used out of turn or after its end', () => {
    const { initiator, responder } = pair();
    expect(() => responder.writeMessage(none)).toThrow(NoiseError);
    expect(() => initiator.split()).toThrow('has not finished');
    initiator.clear();
    expect(() => initiator.writeMessage(none)).toThrow('over');
  });

  it('holds no secret after its end', () => {
    const { initiator, responder } = pair();
    responder.readMessage(message(initiator));
    initiator.readMessage(message(responder));
    responder.readMessage(message(initiator));
    const symmetric = (initiator as unknown as { symmetric: { ck: Uint8Array; h: Uint8Array } }).symmetric;
    expect(symmetric.ck).not.toEqual(new Uint8Array(32));
    initiator.split();
    expect(symmetric.ck).toEqual(new Uint8Array(32));
    expect((initiator as unknown as { e: unknown }).e).toBeUndefined();
  });
});

describe('a cipher state', () => {
  it('keeps its nonce when a ciphertext is not authentic', () => {
    const [a, b] = [new CipherState(noiseCrypto), new CipherState(noiseCrypto)];
    a.initializeKey(new Uint8Array(32).fill(1));
    b.initializeKey(new Uint8Array(32).fill(1));
    const sealed = a.encryptWithAd(hex('01'), hex('beef'));
    expect(b.decryptWithAd(hex('02'), sealed)).toBeUndefined();
    expect(b.decryptWithAd(hex('01'), new Uint8Array(3))).toBeUndefined();
    expect(b.decryptWithAd(hex('01'), sealed)).toEqual(hex('beef'));
  });
});
