import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodePayload } from '../../src/crypto/handshake/payload.js';
import { keyPairOf, noiseCrypto } from '../../src/crypto/primitives.js';
import { HandshakeState, XX } from '../../src/crypto/noise/handshake-state.js';
import { networkKey, encodeDatagram, encodeInit, prologue } from '../../src/crypto/handshake/datagram.js';
import { twoNodes, typeOf } from '../unit/crypto/pair.js';
import type { Flight, TestNode } from '../unit/crypto/pair.js';

const SECOND = 1_000_000;
const handshakeByte = fc.constantFrom(0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x10, 0x21);

/** A datagram of any size whose head looks right. */
const junk = fc
  .tuple(handshakeByte, fc.oneof(fc.constantFrom(7, 8, 64, 104, 1199, 1200, 1201), fc.nat(1500)), fc.nat())
  .map(([first, length, seed]) => {
    const bytes = Uint8Array.from({ length }, (_, i) => (seed * 31 + i * 17 + (i >> 3)) & 255);
    if (length > 0) bytes[0] = first;
    return bytes;
  });

/** What a mutation does to a datagram: where, and how. */
const mutation = fc.record({
  how: fc.constantFrom('flip', 'cut', 'grow', 'zero', 'retype', 'reindex'),
  at: fc.nat(1300),
  bit: fc.nat(7),
});

function mutate(bytes: Uint8Array, { how, at, bit }: { how: string; at: number; bit: number }): Uint8Array {
  const out = bytes.slice();
  const i = at % out.length;
  if (how === 'flip') out[i]! ^= 1 << bit;
  if (how === 'cut') return out.subarray(0, i);
  if (how === 'grow') return Uint8Array.from([...out, ...new Uint8Array(1 + (at % 40))]);
  if (how === 'zero') out.fill(0, i);
  if (how === 'retype') out[0] = 0x10 | (at % 16);
  if (how === 'reindex') out[4 + (at % 4)]! ^= 1 << bit;
  return out;
}

const established = (node: TestNode) => node.of('established').length;

/** Everything that a whole handshake sends. */
function record(): Flight[] {
  const { network, a, toB } = twoNodes();
  network.connect(a, toB);
  network.run(SECOND);
  return network.log;
}

describe('the handshake machine', () => {
  it('survives any datagrams, in any state, and establishes nothing by them', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(junk, fc.boolean(), fc.nat(4)), { maxLength: 25 }), (datagrams) => {
        const { network, a, b, toB } = twoNodes();
        network.filter = (flight) => (typeOf(flight) === 3 ? [] : [10_000]); // for ever half-open
        network.connect(a, toB);
        network.run(0.05 * SECOND);
        const before = [established(a), established(b)];
        for (const [bytes, toA, index] of datagrams) {
          const node = toA ? a : b;
          const known = [...node.indexes][index];
          if (known !== undefined && bytes.length >= 8) new DataView(bytes.buffer).setUint32(4, known);
          network.inject('192.0.2.9:9', node.address, bytes);
        }
        network.run(0.05 * SECOND);
        expect([established(a), established(b)]).toEqual(before);
      }),
      { numRuns: 150 },
    );
  });

  it('is not led astray by mutated copies of true datagrams', () => {
    fc.assert(
      fc.property(fc.array(mutation, { minLength: 4, maxLength: 24 }), (mutations) => {
        const { network, a, b, toB } = twoNodes();
        let i = 0;
        network.filter = (flight) => {
          for (let k = 0; k < 3; k++) {
            const bytes = mutate(flight.bytes, mutations[i++ % mutations.length]!);
            // what differs in the cookie's MAC only is the same init, and so is what a mutation left alone
            const same = Buffer.compare(bytes.subarray(0, 1184), flight.bytes.subarray(0, 1184)) === 0;
            if (!same) network.inject(flight.from, flight.to, bytes);
          }
          return [10_000];
        };
        network.connect(a, toB);
        network.run(SECOND);
        expect([established(a), established(b)]).toEqual([1, 1]);
        expect([...a.reasons(), ...b.reasons()]).toEqual([]);
        expect(a.of('established')[0]!.send).toEqual(b.of('established')[0]!.receive);
      }),
      { numRuns: 60 },
    );
  });

  it('takes nothing from another handshake’s recording', () => {
    const old = record();
    const { network, a, b, toB } = twoNodes({ staticSeed: 'new start' });
    network.filter = () => {
      for (const past of old) network.inject(past.from, past.to, past.bytes);
      return [10_000];
    };
    network.connect(a, toB);
    network.run(SECOND);
    expect([established(a), established(b)]).toEqual([1, 1]);
    expect(a.of('established')[0]!.send).toEqual(b.of('established')[0]!.receive);
  });

  it('refuses by name any payload of an insider who knows the network but has no certificate', () => {
    const payload = fc.oneof(fc.uint8Array({ maxLength: 400 }), fields());
    fc.assert(
      fc.property(payload, (bytes) => {
        const { network, b } = twoNodes();
        const reasons = intrude(network, b, bytes);
        expect(established(b)).toBe(0);
        expect(reasons).toHaveLength(1);
      }),
      { numRuns: 120 },
    );
  });
});

describe('a payload', () => {
  it('of any bytes decodes to a value or is malformed', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 600 }), fields()), (bytes) => {
        expect(['identity', 'verdict', 'malformed']).toContain(decodePayload(bytes).kind);
      }),
      { numRuns: 2000 },
    );
  });

  it('may hold fields that only a later version knows', () => {
    const later = [200, 0, 3, 1, 2, 3];
    expect(decodePayload(Uint8Array.from([...later, 9, 0, 2, 1, 65, ...later]))).toEqual({
      kind: 'verdict',
      reason: 'unknown-ca',
      detail: 'A',
    });
  });
});

/** Well-formed fields of mostly known types with any values. */
function fields(): fc.Arbitrary<Uint8Array> {
  const size = fc.oneof(fc.constantFrom(1, 4, 8, 64), fc.nat(80));
  const field = fc
    .tuple(fc.integer({ min: 1, max: 11 }), size, fc.nat(255))
    .map(([type, length, fill]) => [
      type,
      length >> 8,
      length & 255,
      ...new Array<number>(length).fill(fill),
    ]);
  return fc.array(field, { maxLength: 10 }).map((all) => Uint8Array.from(all.flat()));
}

/** Runs a whole Noise handshake against a node, by hand, with that payload in message 3. Returns the reasons it logged. */
function intrude(
  network: ReturnType<typeof twoNodes>['network'],
  b: TestNode,
  payload: Uint8Array,
): string[] {
  let seed = 1;
  const key = () => keyPairOf(new Uint8Array(32).fill(seed++));
  const header = encodeDatagram(1, 77, new Uint8Array(0));
  const noise = new HandshakeState({
    crypto: noiseCrypto,
    pattern: XX,
    initiator: true,
    prologue: prologue(header),
    s: key(),
    ephemeral: key,
  });
  const first = noise.writeMessage(new Uint8Array(1128));
  if (!first.ok) throw new Error(first.reason);
  const init = encodeInit(noiseCrypto, networkKey(noiseCrypto, Buffer.from('root')), 77, first.message);
  network.inject('192.0.2.9:9', b.address, init);
  network.run(1);
  const read = noise.readMessage(network.log.at(-1)!.bytes.subarray(8));
  const theirs = decodePayload(read.ok ? read.payload : new Uint8Array(0));
  if (theirs.kind !== 'identity') throw new Error(theirs.kind);
  const third = noise.writeMessage(payload);
  if (!third.ok) throw new Error(third.reason);
  network.inject('192.0.2.9:9', b.address, encodeDatagram(3, theirs.index, third.message));
  network.run(1);
  return b.reasons();
}
