import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addBytes,
  checksum,
  completeChecksum,
  fold,
  pseudoHeaderSum,
} from '../../../src/intercept/checksum.js';
import { PacketInfo, PARSE_OK, parsePacket } from '../../../src/intercept/packet.js';
import { bytesOf, ipv4, ipv6, naiveChecksum, placed, udp } from './packets.js';

const AT = 3;
const random = fc.uint8Array({ minLength: 0, maxLength: 300 });

describe('the Internet checksum', () => {
  it('agrees with one computed a word and a carry at a time, at any offset and odd length', () => {
    fc.assert(
      fc.property(random, fc.integer({ min: 0, max: 5 }), (bytes, at) => {
        expect(checksum(addBytes(placed(bytes, at), at, bytes.length, 0))).toBe(naiveChecksum(bytes));
      }),
    );
  });

  it('folds sums beyond 32 bits', () => {
    expect(fold(0xffff)).toBe(0xffff);
    expect(fold(0x1_0000)).toBe(1);
    expect(fold(0xffff * 0x1_0000_0000)).toBe(0xffff);
  });
});

describe('completing a partial checksum', () => {
  /** What a receiver checks: pseudo-header, then the whole transport part, must come to zero. */
  function verify(packet: Uint8Array): number {
    const six = packet[0] >> 4 === 6;
    const start = six ? 40 : 20;
    const length = packet.length - start;
    const addresses = six ? packet.slice(8, 40) : packet.slice(12, 20);
    const protocol = six ? packet[6] : packet[9];
    const pseudo = [...addresses, 0, 0, length >> 8, length & 255, 0, protocol];
    return naiveChecksum(Uint8Array.from([...pseudo, ...packet.slice(start)]));
  }

  it('yields packets that a receiver accepts, TCP and UDP, IPv4 and IPv6', () => {
    fc.assert(
      fc.property(random, fc.boolean(), fc.boolean(), (data, six, tcp) => {
        const protocol = tcp ? 6 : 17;
        const payload = tcp ? [0, 1, 0, 2, ...Array<number>(16).fill(9), ...data] : udp(7, 9, [...data]);
        const packet = six ? ipv6({ next: protocol, payload }) : ipv4({ protocol, payload });
        const view = placed(packet, AT);
        const info = new PacketInfo();
        expect(parsePacket(view, AT, packet.length, info)).toBe(PARSE_OK);
        const field = info.transportOffset + (tcp ? 16 : 6);
        view.setUint16(field, fold(pseudoHeaderSum(view, AT, protocol, info.transportLength)));
        expect(completeChecksum(view, info)).toBe(true);
        expect(verify(bytesOf(view, AT, packet.length))).toBe(0);
        expect(view.getUint16(field) !== 0 || tcp).toBe(true);
      }),
    );
  });

  it('is refused for other protocols, fragments and headers cut short', () => {
    for (const packet of [
      ipv4({ protocol: 1, payload: [8, 0, 0, 0, 0, 0, 0, 0] }),
      ipv4({ fragment: 0x2000, payload: udp(1, 2) }),
      ipv4({ protocol: 6, payload: Array<number>(17).fill(0) }),
    ]) {
      const view = placed(packet, AT);
      const info = new PacketInfo();
      parsePacket(view, AT, packet.length, info);
      expect(completeChecksum(view, info)).toBe(false);
      expect(bytesOf(view, AT, packet.length)).toEqual(packet);
    }
  });
});
