import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createBatch } from '../../../src/io/batch.js';
import { fragmentIpv4 } from '../../../src/intercept/fragment.js';
import { addBytes, checksum } from '../../../src/intercept/checksum.js';

interface Asked {
  payload: number;
  optionWords?: readonly number[];
  field?: number;
}

function packet({ payload, optionWords = [], field = 0 }: Asked): Uint8Array {
  const header = 20 + 4 * optionWords.length;
  const bytes = new Uint8Array(header + payload).map((_, i) => (i * 7) & 0xff);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, 0x40 | (header / 4));
  view.setUint16(2, bytes.length);
  view.setUint16(4, 0xbeef);
  view.setUint16(6, field);
  optionWords.forEach((word, i) => view.setUint32(20 + 4 * i, word));
  return bytes;
}

/** What a receiver makes of the fragments (RFC 791 §3.2), each of which must be a sound packet of at most `mtu` bytes. */
function reassemble(
  batch: ReturnType<typeof createBatch>,
  mtu: number,
): { payload: number[]; headers: number[] } {
  const payload: number[] = [];
  const headers: number[] = [];
  for (let row = 0; row < batch.count; row++) {
    const at = batch.offset[row];
    const length = batch.length[row];
    const header = (batch.view.getUint8(at) & 15) * 4;
    expect(length).toBeLessThanOrEqual(mtu);
    expect(batch.view.getUint16(at + 2)).toBe(length);
    expect(batch.view.getUint16(at + 4)).toBe(0xbeef);
    expect(checksum(addBytes(batch.view, at, header, 0))).toBe(0);
    const field = batch.view.getUint16(at + 6);
    expect((field & 0x2000) !== 0).toBe(row < batch.count - 1);
    const offset = (field & 0x1fff) * 8;
    batch.bytes.subarray(at + header, at + length).forEach((byte, i) => (payload[offset + i] = byte));
    headers.push(header);
  }
  return { payload, headers };
}

describe('fragments of an IPv4 packet', () => {
  it('are of the size asked for at most, and make the packet again', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60_000 }), fc.integer({ min: 68, max: 9000 }), (payload, mtu) => {
        const batch = createBatch(1 << 17, 2000);
        const whole = packet({ payload });
        expect(fragmentIpv4(whole, mtu, batch)).toBe(true);
        expect(reassemble(batch, mtu).payload).toEqual([...whole.subarray(20)]);
      }),
      { numRuns: 60 },
    );
  });

  it('go on where the packet itself is a fragment', () => {
    const batch = createBatch(1 << 16, 8);
    expect(fragmentIpv4(packet({ payload: 1480, field: 0x2000 | 185 }), 1000, batch)).toBe(true);
    const fields = [...batch.offset.subarray(0, batch.count)].map((at) => batch.view.getUint16(at + 6));
    expect(fields).toEqual([0x2000 | 185, 0x2000 | (185 + 976 / 8)]);
  });

  it('carry behind the first one only the options that are to be copied', () => {
    const batch = createBatch(1 << 16, 8);
    // Record route (7, not copied) and router alert (148, copied).
    expect(fragmentIpv4(packet({ payload: 100, optionWords: [0x07040400, 0x94040000] }), 88, batch)).toBe(
      true,
    );
    const options = [...batch.offset.subarray(0, batch.count)].map((at) => [
      batch.view.getUint32(at + 20),
      batch.view.getUint32(at + 24),
    ]);
    expect(options).toEqual([
      [0x07040400, 0x94040000],
      [0x01010101, 0x94040000],
    ]);
  });

  it('are not made of what forbids them, of other versions, or beyond the room that there is', () => {
    const batch = createBatch(1 << 16, 2);
    expect(fragmentIpv4(packet({ payload: 100, field: 0x4000 }), 88, batch)).toBe(false);
    expect(fragmentIpv4(packet({ payload: 100 }).fill(0x60, 0, 1), 88, batch)).toBe(false);
    expect(fragmentIpv4(packet({ payload: 1000 }), 88, batch)).toBe(false);
  });
});
