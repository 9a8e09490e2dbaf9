import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  isRecord,
  readCounter,
  readDatagramType,
  readReceiverIndex,
  readVersion,
  RECORD_MIN_SIZE,
  writeRecordHeader,
} from '../../../src/overlay/wire/record.js';
import * as routed from '../../../src/overlay/wire/routed.js';

const AT = 5;
const hex = (view: DataView, at: number, length: number): string =>
  Buffer.from(view.buffer, view.byteOffset + at, length).toString('hex');
const view = (size = 64): DataView => new DataView(new ArrayBuffer(size));

describe('record header', () => {
  it('lies as docs/wire-format.md draws it', () => {
    const v = view();
    writeRecordHeader(v, AT, 0xdeadbeef, 0x1_0000_0002);
    expect(hex(v, AT, 16)).toBe('15000000' + 'deadbeef' + '0000000100000002');
    expect(readVersion(v, AT)).toBe(1);
    expect(readDatagramType(v, AT)).toBe(5);
    expect(readReceiverIndex(v, AT)).toBe(0xdeadbeef);
    expect(isRecord(v, AT, RECORD_MIN_SIZE)).toBe(true);
    expect(isRecord(v, AT, RECORD_MIN_SIZE - 1)).toBe(false);
  });

  it('of another version or type is no record', () => {
    const v = view();
    for (const first of [0x25, 0x14, 0x05, 0x00, 0xff]) {
      v.setUint8(AT, first);
      expect(isRecord(v, AT, 40)).toBe(false);
    }
  });

  it('keeps every counter below 2^53 and never makes a greater one small', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), fc.bigInt({ min: 1n << 53n, max: (1n << 64n) - 1n }), (n, huge) => {
        const v = view();
        writeRecordHeader(v, AT, 1, Math.abs(n));
        expect(readCounter(v, AT)).toBe(Math.abs(n));
        v.setBigUint64(AT + 8, huge);
        expect(readCounter(v, AT)).toBeGreaterThanOrEqual(2 ** 53);
      }),
    );
  });
});

describe('routed header', () => {
  it('lies as docs/wire-format.md draws it', () => {
    const v = view();
    routed.writeRoutedHeader(
      v,
      AT,
      0x10,
      0x80,
      2,
      3,
      63,
      0xa0a1a2a3,
      0xb0b1b2b3,
      0xeeee,
      0xdddd,
      0xf0f1f2f3,
      0xffffffff,
    );
    expect(hex(v, AT, 24)).toBe('1080233f' + 'a0a1a2a3' + 'b0b1b2b3' + 'eeeedddd' + 'f0f1f2f3' + 'ffffffff');
    expect(hex(v, 0, AT)).toBe('0000000000');
    expect(hex(v, AT + 24, 8)).toBe('0000000000000000');
  });

  it('reads back every field as written, whatever the others hold', () => {
    const u = (bits: number): fc.Arbitrary<number> => fc.integer({ min: 0, max: 2 ** bits - 1 });
    const fields = fc.tuple(u(8), u(8), u(4), u(2), u(8), u(32), u(32), u(16), u(16), u(32), u(32));
    fc.assert(
      fc.property(fields, (f) => {
        const v = view();
        routed.writeRoutedHeader(v, AT, ...f);
        const readers = [
          routed.readRoutedType,
          routed.readFlags,
          routed.readService,
          routed.readEcn,
          routed.readTtl,
          routed.readSource,
          routed.readDestination,
          routed.readEpoch,
          routed.readDistance,
          routed.readSequence,
          routed.readFlow,
        ];
        expect(readers.map((read) => read(v, AT))).toEqual(f);
      }),
    );
  });

  it('lets a relay change TTL and ECN and nothing else', () => {
    const v = view();
    routed.writeRoutedHeader(v, AT, 0x10, 0, 1, 2, 64, 1, 2, 3, 4, 5, 6);
    const before = hex(v, AT, 24);
    routed.writeTtl(v, AT, 63);
    routed.writeEcn(v, AT, 3);
    expect(hex(v, AT, 24)).toBe(before.slice(0, 4) + '133f' + before.slice(8));
  });

  it('is refused when short, of an unknown type, or with flags that change its shape', () => {
    const v = view();
    const check = (type: number, flags: number, length = 24): string => {
      routed.writeRoutedHeader(v, AT, type, flags, 0, 0, 1, 1, 2, 3, 4, 5, 6);
      return routed.ROUTED_REJECTS[routed.checkRouted(v, AT, length)];
    };
    expect(check(0x10, 0xe8)).toBe('ok');
    expect(check(0x10, 0x10)).toBe('bad-route');
    expect(check(0x13, 0)).toBe('ok');
    expect(check(0x10, 0, 23)).toBe('short');
    expect(check(0x14, 0)).toBe('unknown-type');
    expect(check(0x0f, 0)).toBe('unknown-type');
    for (const flag of [4, 2, 1]) expect(check(0x10, flag)).toBe('unknown-flags');
  });

  it('is told from link frames by its first byte', () => {
    const kinds = Array.from({ length: 256 }, (_, byte) => routed.isRouted(byte));
    expect(kinds.flatMap((yes, byte) => (yes ? [byte] : []))).toEqual(
      Array.from({ length: 16 }, (_, i) => 0x10 + i),
    );
  });
});
