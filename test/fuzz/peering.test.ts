import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatAddress } from '../../src/io/address.js';
import { decodeEndpoint, encodeEndpoint, MAX_ENDPOINTS } from '../../src/overlay/peering/endpoint.js';
import { decodeForming, encodeForming } from '../../src/overlay/peering/forming.js';
import { reachOf } from '../../src/overlay/peering/reach.js';
import { decodeSignal, isSignal } from '../../src/overlay/peering/signals.js';
import { Sightings } from '../../src/overlay/peering/sightings.js';
import { decodePath, PATH_FRAME_SIZE } from '../../src/overlay/wire/frames.js';

const bytes = fc.uint8Array({ maxLength: 80 });
const address = fc.oneof(
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
  fc
    .uint8Array({ minLength: 4, maxLength: 4 })
    .map((v4) => Uint8Array.of(...new Array<number>(10).fill(0), 255, 255, ...v4)),
);
const endpoint = fc.record({
  kind: fc.integer({ min: 0, max: 255 }),
  host: address.map(formatAddress),
  port: fc.integer({ min: 0, max: 65_535 }),
});
const endpoints = fc.array(endpoint, { maxLength: MAX_ENDPOINTS });

describe('whatever comes', () => {
  it('as an endpoint, is one or none, and what is one is written as it was, IPv4 at its shortest', () => {
    fc.assert(
      fc.property(endpoint, (value) => {
        expect(decodeEndpoint(encodeEndpoint(value))).toEqual(value);
      }),
    );
    fc.assert(
      fc.property(bytes, (value) => {
        const decoded = decodeEndpoint(value);
        if (decoded) expect(decodeEndpoint(encodeEndpoint(decoded))).toEqual(decoded);
      }),
    );
  });

  it('in a record, is refused or bounded', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (value) => {
        expect(decodeForming(value)?.endpoints.length ?? 0).toBeLessThanOrEqual(MAX_ENDPOINTS);
      }),
    );
    fc.assert(
      fc.property(fc.boolean(), endpoints, (hasEnough, all) => {
        const forming = { hasEnough, endpoints: all };
        expect(decodeForming(encodeForming(forming))).toEqual(forming);
      }),
    );
  });

  it('as a signal, is one or refused', () => {
    fc.assert(
      fc.property(fc.constantFrom(0x10, 0x11), bytes, (type, rest) => {
        const message = Uint8Array.of(type, ...rest);
        expect(isSignal(message)).toBe(true);
        expect(['seen', 'call', 'reject']).toContain(decodeSignal(message).type);
      }),
    );
  });

  it('as a probe of a way, is one or too short', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 3, maxLength: 40 }), fc.nat(40), (value, length) => {
        const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
        const frame = decodePath(view, 0, Math.min(length, value.length));
        if (Math.min(length, value.length) < PATH_FRAME_SIZE)
          expect(frame).toEqual({ type: 'reject', reason: 'short' });
      }),
    );
  });

  it('is published, nothing is tried that is without sense, and never twice', () => {
    fc.assert(
      fc.property(endpoints, endpoints, (self, node) => {
        const reach = reachOf(self, node, () => false);
        if (reach.type === 'none') return;
        const keys = reach.places.map(({ host, port }) => `${host} ${port}`);
        expect(new Set(keys).size).toBe(keys.length);
        for (const { host, port } of reach.places) {
          expect(port).toBeGreaterThanOrEqual(1024);
          expect(host).not.toMatch(/^(0|127|22[4-9]|23\d|24\d|25\d)\.|^(::|ff|fe[89ab])/);
        }
      }),
    );
  });

  it('is told as seen, no more than eight endpoints are published', () => {
    fc.assert(
      fc.property(fc.array(endpoint, { maxLength: 50 }), endpoints, (told, own) => {
        const sightings = new Sightings();
        told.forEach((place, peer) => sightings.note(peer, place));
        expect(sightings.publish(own).length).toBeLessThanOrEqual(MAX_ENDPOINTS);
      }),
    );
  });
});
