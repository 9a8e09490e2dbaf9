import { describe, expect, test } from 'vitest';
import { findPacket } from '../../../src/capture/link-layer.js';
import { readCapture } from '../../../src/capture/read.js';

/** A classic pcap file of one packet. */
function pcap(magic: string, linkType: number, data: Uint8Array, claimed = data.length): Uint8Array {
  const bytes = Buffer.alloc(40 + data.length);
  bytes.write(magic, 'hex');
  const little = magic.startsWith('d4') || magic.startsWith('4d');
  const u32 = (value: number, at: number) =>
    little ? bytes.writeUInt32LE(value, at) : bytes.writeUInt32BE(value, at);
  const u16 = (value: number, at: number) =>
    little ? bytes.writeUInt16LE(value, at) : bytes.writeUInt16BE(value, at);
  u16(2, 4);
  u16(4, 6);
  u32(262_144, 16);
  u32(linkType, 20);
  u32(claimed, 32);
  u32(1500, 36);
  bytes.set(data, 40);
  return bytes;
}

describe('a classic pcap file', () => {
  test.each(['a1b2c3d4', 'd4c3b2a1', 'a1b23c4d', '4d3cb2a1'])('of magic %s is read', async (magic) => {
    const read = await readCapture(pcap(magic, 1, Uint8Array.of(7, 8)));
    expect(read.ok).toBe(true);
    expect(read.packets.map(({ linkType, data, length }) => [linkType, [...data], length])).toEqual([
      [1, [7, 8], 1500],
    ]);
  });

  test.each<[string, Uint8Array, string]>([
    [
      'that is none',
      Uint8Array.from(Buffer.from('Hello, I am no capture file at all')),
      'unknown magic number',
    ],
    ['that is empty', new Uint8Array(0), 'the file is cut short'],
    ['with half a packet', pcap('d4c3b2a1', 1, Uint8Array.of(7), 9), 'after packet 0: the file is cut short'],
    ['with an absurd packet', pcap('d4c3b2a1', 1, Uint8Array.of(7), 1 << 30), 'packet 1: 1073741824 bytes'],
  ])('%s is refused', async (_, bytes, text) => {
    const read = await readCapture(bytes);
    expect(read.ok ? '' : read.text).toContain(text);
  });
});

describe('the IP packet in a frame', () => {
  const ip = [0x45, 0, 0, 20];
  test.each<[string, number, number[]]>([
    ['raw', 101, ip],
    ['raw IPv6', 229, ip],
    ['Ethernet', 1, [...zeros(12), 8, 0, ...ip]],
    ['Ethernet with two VLAN tags', 1, [...zeros(12), 0x88, 0xa8, 0, 1, 0x81, 0, 0, 2, 0x86, 0xdd, ...ip]],
    ['Linux cooked', 113, [...zeros(14), 8, 0, ...ip]],
    ['Linux cooked 2', 276, [8, 0, ...zeros(18), ...ip]],
    ['loopback of BSD', 0, [2, 0, 0, 0, ...ip]],
  ])('is found: %s', (_, linkType, frame) => {
    const found = findPacket(linkType, Uint8Array.from(frame));
    expect(found.kind === 'ip' ? [...found.packet] : found).toEqual(ip);
  });

  test('ARP is something else; a stub and an unknown link are told', () => {
    expect(findPacket(1, Uint8Array.of(...zeros(12), 8, 6, 0))).toEqual({ kind: 'other', etherType: 0x0806 });
    expect(findPacket(1, new Uint8Array(13))).toEqual({ kind: 'short' });
    expect(findPacket(147, new Uint8Array(40))).toEqual({ kind: 'unknown-link' });
  });
});

function zeros(length: number): number[] {
  return Array.from({ length }, () => 0);
}
