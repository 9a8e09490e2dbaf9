import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BlockCounter } from '../../../src/capture/block-counter.js';
import {
  encodeInterface,
  encodePacket,
  encodeSection,
  encodeStatistics,
  readPcapng,
} from '../../../src/capture/pcapng.js';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const file = (...blocks: Uint8Array[]): Uint8Array => Uint8Array.from(Buffer.concat(blocks));

describe('what is written', () => {
  test('an enhanced packet block, byte by byte', () => {
    const block = encodePacket(0x0001_2345_6789, Uint8Array.of(1, 2, 3), 9, 'out', 'no');
    expect(hex(block)).toBe(
      '06000000' + // type
        '38000000' + // 56 bytes
        '00000000' + // interface
        '01000000' + // time, upper half
        '89674523' +
        '03000000' + // captured
        '09000000' + // on the wire
        '01020300' + // data, padded
        '01000200' + // comment
        '6e6f0000' +
        '02000400' + // flags: outbound
        '02000000' +
        '00000000' + // end of options
        '38000000',
    );
  });

  test('is read back as it was', () => {
    const packet = fc.record({
      data: fc.uint8Array({ maxLength: 40 }),
      cut: fc.nat(1000),
      comment: fc.option(fc.string({ maxLength: 20, unit: 'grapheme' }), { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.array(packet, { maxLength: 5 }), (packets) => {
        const blocks = packets.map(({ data, cut, comment }) =>
          encodePacket(1e15, data, data.length + cut, 'in', comment),
        );
        const bytes = file(encodeSection('x'), encodeInterface('tun', 101, 99), ...blocks);
        expect(readPcapng(bytes)).toEqual({
          ok: true,
          packets: packets.map(({ data, cut, comment }) => ({
            linkType: 101,
            data,
            length: data.length + cut,
            ...(comment !== undefined && { comment }),
          })),
        });
      }),
    );
  });
});

describe('what others wrote', () => {
  test('is read in big-endian order, with simple packets and unknown blocks', () => {
    const section = '0a0d0d0a0000001c1a2b3c4d00010000ffffffffffffffff0000001c';
    const ethernet = '0000000100000014000100000000ffff00000014';
    const unknown = '00000bad000000100000000000000010';
    const simple = '0000000300000014000000020a0b000000000014';
    const bytes = Uint8Array.from(Buffer.from(section + ethernet + unknown + simple, 'hex'));
    expect(readPcapng(bytes)).toEqual({
      ok: true,
      packets: [{ linkType: 1, data: Uint8Array.of(10, 11), length: 2 }],
    });
  });

  const good = file(
    encodeSection('x'),
    encodeInterface('tun', 101, 99),
    encodePacket(0, Uint8Array.of(1), 1, 'in', 'c'),
  );
  test.each<[string, (bytes: Uint8Array) => Uint8Array, string]>([
    ['cut in a block', (bytes) => bytes.subarray(0, bytes.length - 4), 'the file is cut short'],
    ['cut in a head', (bytes) => bytes.subarray(0, bytes.length - 50), 'the file is cut short'],
    [
      'with lengths that differ',
      (bytes) => with8(bytes, bytes.length - 4, 0),
      "a block's two lengths differ",
    ],
    ['of an unknown byte order', (bytes) => with8(bytes, 8, 0), 'no byte order is known by this mark'],
    [
      'with a packet of no interface',
      (bytes) => with8(bytes, bytes.length - 48, 7),
      'a packet of no interface',
    ],
    [
      'with a packet longer than its block',
      (bytes) => with8(bytes, bytes.length - 36, 99),
      'a packet longer than its block',
    ],
  ])('%s is refused, and says where', (_, spoil, text) => {
    const read = readPcapng(spoil(good));
    expect(read).toMatchObject({ ok: false, text: expect.stringMatching(/^at byte \d+: /) as unknown });
    expect(read.ok ? '' : read.text).toContain(text);
  });
});

/** With another byte at `at`. */
function with8(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const changed = Uint8Array.from(bytes);
  changed[at] = value;
  return changed;
}

test('a stream is cut to whole blocks and to so many packets, however it comes', () => {
  const packet = encodePacket(1, Uint8Array.of(1), 1, 'in', undefined);
  const head = file(encodeSection('x'), encodeInterface('tun', 101, 99));
  const whole = file(head, packet, packet, encodeStatistics(1, 2, 5), packet);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 70 })), fc.integer({ min: 1, max: 4 }), (cuts, limit) => {
      const counter = new BlockCounter(limit);
      const got: Uint8Array[] = [];
      let from = 0;
      for (const cut of [...cuts, whole.length]) {
        got.push(Uint8Array.from(counter.take(whole.subarray(from, from + cut))));
        from += cut;
      }
      const packets = Math.min(limit, 3);
      expect(counter).toMatchObject({ packets, missed: limit > 2 ? 5 : 0, isFull: limit <= 3 });
      const read = readPcapng(file(...got));
      expect([read.ok, read.packets.length]).toEqual([true, packets]);
    }),
  );
});
