import { describe, expect, it } from 'vitest';

import { clampMss } from '../../../src/intercept/mss.js';
import { PacketInfo, PARSE_OK, parsePacket } from '../../../src/intercept/packet.js';
import { ACK, MSS_1460, segment, SYN, transportChecksum } from '../../support/intercept/syn.js';

/** A packet of `segment`, parsed; and where its transport header begins. */
function tcp(version: 4 | 6, flags: number, options: readonly number[]) {
  const bytes = segment(version, flags, options);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const info = new PacketInfo();
  expect(parsePacket(view, 0, bytes.length, info)).toBe(PARSE_OK);
  return { bytes, view, info, head: version === 4 ? 20 : 40 };
}

describe.each([4, 6] as const)('the segment size that a SYN asks for, IPv%i', (version) => {
  const headers = version === 4 ? 40 : 60;

  it.each([
    ['alone', MSS_1460, 0],
    ['behind other options', [4, 2, 1, 1, ...MSS_1460], 4],
    ['at an odd place', [1, ...MSS_1460, 1, 1, 1], 1],
  ])('is lowered to what the path carries, %s, with a true checksum', (_where, options, at) => {
    for (const flags of [SYN, SYN | ACK]) {
      const { bytes, view, info, head } = tcp(version, flags, options);
      expect(clampMss(view, info, 1200, false)).toBe(true);
      expect(view.getUint16(head + 20 + at + 2)).toBe(1200 - headers);
      expect(transportChecksum(bytes, version)).toBe(0);
    }
  });

  it('leaves a checksum alone that the kernel has still to complete', () => {
    const { view, info, head } = tcp(version, SYN, MSS_1460);
    const before = view.getUint16(head + 16);
    expect(clampMss(view, info, 1200, true)).toBe(true);
    expect(view.getUint16(head + 16)).toBe(before);
  });

  it.each([
    ['is no SYN', ACK, MSS_1460, 1200],
    ['asks for less', SYN, [2, 4, 2, 0], 1200],
    ['names no size', SYN, [1, 1, 1, 0], 1200],
    ['has options that make no sense', SYN, [8, 0, 2, 4], 1200],
    ['has an option beyond its end', SYN, [1, 1, 1, 2], 1200],
    ['takes a path that carries all', SYN, MSS_1460, Infinity],
  ])('stays where the packet %s', (_what, flags, options, room) => {
    const { bytes, view, info } = tcp(version, flags, options);
    const before = bytes.slice();
    expect(clampMss(view, info, room, false)).toBe(false);
    expect(bytes).toEqual(before);
  });
});
