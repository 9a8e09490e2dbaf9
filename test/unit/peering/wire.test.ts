import { describe, expect, it } from 'vitest';
import {
  decodeEndpoint,
  decodePlace,
  encodeEndpoint,
  encodePlace,
  KIND_HOST,
  KIND_SEEN,
} from '../../../src/overlay/peering/endpoint.js';
import { decodeForming, encodeForming } from '../../../src/overlay/peering/forming.js';
import {
  decodeSignal,
  encodeCall,
  encodeSeen,
  isSignal,
  passCall,
} from '../../../src/overlay/peering/signals.js';
import { clean } from '../../../src/overlay/route/measure.js';
import { decodeRecord, encodeRecord } from '../../../src/overlay/route/record.js';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const raw = (text: string) => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'));

describe('endpoints in bytes', () => {
  it.each([
    ['192.0.2.1', 7100, '1bbc c0000201'],
    ['2001:db8::1', 65_535, 'ffff 20010db8000000000000000000000001'],
  ])('%s %i', (host, port, text) => {
    expect(hex(encodePlace({ host, port }))).toBe(text.replace(' ', ''));
    expect(decodePlace(raw(text))).toEqual({ host, port });
    expect(decodeEndpoint(encodeEndpoint({ kind: KIND_SEEN, host, port }))).toEqual({
      kind: KIND_SEEN,
      host,
      port,
    });
  });

  it('are IPv4 even where they come mapped, and none of another size', () => {
    expect(decodePlace(raw('0001 00000000000000000000ffff c0000201'))).toEqual({
      host: '192.0.2.1',
      port: 1,
    });
    for (const size of [0, 1, 2, 5, 7, 17, 19]) expect(decodePlace(new Uint8Array(size))).toBeUndefined();
  });
});

describe('what a record says of forming links', () => {
  const endpoint = { kind: KIND_HOST, host: '192.0.2.1', port: 7100 };
  const forming = {
    hasEnough: true,
    endpoints: [endpoint, { kind: KIND_SEEN, host: '2001:db8::1', port: 9 }],
  };

  it('comes back as it went', () => {
    expect(hex(encodeForming({ ...forming, endpoints: [endpoint] }))).toBe('0107011bbcc0000201');
    expect(decodeForming(encodeForming(forming))).toEqual(forming);
    expect(decodeForming(raw('00'))).toEqual({ hasEnough: false, endpoints: [] });
  });

  it('skips endpoints of another size, and flags that it does not know', () => {
    expect(decodeForming(raw('fe 03 010203 07011bbcc0000201'))).toEqual({
      hasEnough: false,
      endpoints: [endpoint],
    });
  });

  it('is refused where it is cut off, or names more than eight', () => {
    for (const text of ['', '0007011bbcc00002', '0001']) expect(decodeForming(raw(text))).toBeUndefined();
    const nine = raw(`00${'07011bbcc0000201'.repeat(9)}`);
    expect(decodeForming(nine)).toBeUndefined();
    expect(() => encodeForming({ hasEnough: false, endpoints: new Array(9).fill(endpoint) })).toThrow(
      RangeError,
    );
  });

  it('is a field of the record, once', () => {
    const record = {
      origin: 1,
      epoch: 2,
      sequence: 3,
      lifetime: 60,
      certificate: new Uint8Array(8),
      links: [{ neighbour: 2, ...clean(10) }],
    };
    const bytes = encodeRecord({ ...record, forming });
    expect(decodeRecord(bytes)).toEqual({ ok: true, value: { ...record, forming } });
    expect(decodeRecord(encodeRecord(record))).toEqual({ ok: true, value: record });
    const field = bytes.subarray(encodeRecord(record).length);
    expect(decodeRecord(encodeRecord({ ...record, forming }, field))).toEqual({
      ok: false,
      reason: 'record-forming',
    });
    expect(decodeRecord(encodeRecord(record, raw('02 0000')))).toEqual({
      ok: false,
      reason: 'record-forming',
    });
  });
});

describe('signals', () => {
  it('come back as they went', () => {
    expect(hex(encodeSeen({ host: '192.0.2.1', port: 7100 }))).toBe('101bbcc0000201');
    expect(decodeSignal(raw('101bbcc0000201'))).toEqual({
      type: 'seen',
      place: { host: '192.0.2.1', port: 7100 },
    });
    expect(hex(encodeCall(1, 0xfffffffe))).toBe('111000000001fffffffe');
    expect(decodeSignal(encodeCall(1, 0xfffffffe))).toEqual({
      type: 'call',
      hops: 16,
      from: 1,
      to: 0xfffffffe,
    });
  });

  it('lose a hop where they are passed on, and nothing else', () => {
    const call = raw('111000000001fffffffe abcdef');
    expect(hex(passCall(call))).toBe('110f00000001fffffffeabcdef');
    expect(decodeSignal(passCall(call))).toMatchObject({ hops: 15 });
  });

  it('are refused where they make no sense', () => {
    const size = { type: 'reject', reason: 'signal-size' };
    for (const text of ['10', '101bbc', '11', '1110000000010000'])
      expect(decodeSignal(raw(text))).toEqual(size);
    expect(decodeSignal(new Uint8Array(65).fill(0x11))).toEqual(size);
    for (const [from, to] of [
      [0, 1],
      [1, 0],
      [7, 7],
    ])
      expect(decodeSignal(encodeCall(from, to))).toEqual({ type: 'reject', reason: 'signal-node' });
  });

  it('are told from what is routing’s', () => {
    expect([0, 1, 4, 0x10, 0x11, 0x12].map((type) => isSignal(Uint8Array.of(type)))).toEqual([
      false,
      false,
      false,
      true,
      true,
      false,
    ]);
    expect(isSignal(new Uint8Array(0))).toBe(false);
  });
});
