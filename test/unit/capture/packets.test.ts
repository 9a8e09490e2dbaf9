import { expect, test } from 'vitest';
import { PacketFilter } from '../../../src/capture/filter.js';
import { wrapDatagram } from '../../../src/capture/outer.js';
import { parseFlowMatch } from '../../../src/control/flow-match.js';
import { addBytes, fold, pseudoHeaderSum } from '../../../src/intercept/checksum.js';
import { PacketInfo, PARSE_OK, parsePacket } from '../../../src/intercept/packet.js';
import { parseAddress } from '../../../src/io/address.js';

const end = (address: string, port: number) => ({ address: parseAddress(address)!, port });

test.each([
  ['192.0.2.1', '192.0.2.2', 4],
  ['2001:db8::1', '2001:db8::2', 6],
  ['::', '192.0.2.2', 4],
  ['::', '2001:db8::2', 6],
])('a datagram from %s to %s becomes a packet with true checksums', (from, to, version) => {
  const packet = wrapDatagram(end(from, 7100), end(to, 9), 0xb9, Uint8Array.of(1, 2, 3));
  const view = new DataView(packet.buffer);
  const info = new PacketInfo();
  expect(parsePacket(view, 0, packet.length, info)).toBe(PARSE_OK);
  expect(info).toMatchObject({
    version,
    protocol: 17,
    sourcePort: 7100,
    destinationPort: 9,
    trafficClass: 0xb9,
  });
  const udp = info.transportOffset;
  expect(fold(addBytes(view, udp, 11, pseudoHeaderSum(view, 0, 17, 11)))).toBe(0xffff);
  if (version === 4) expect(fold(addBytes(view, 0, 20, 0))).toBe(0xffff);
});

test('a flow is meant in both directions, and no other', () => {
  const packet = (from: [string, number], to: [string, number]) =>
    wrapDatagram(end(...from), end(...to), 0, new Uint8Array(4));
  const filter = new PacketFilter(
    parseFlowMatch({ protocol: 'udp', source: '*', destination: '10.77.0.3:5432' }),
  );
  const passes = (bytes: Uint8Array) => filter.passes(new DataView(bytes.buffer), 0, bytes.length);
  expect(passes(packet(['10.77.0.1', 40_000], ['10.77.0.3', 5432]))).toBe(true);
  expect(passes(packet(['10.77.0.3', 5432], ['10.77.0.1', 40_000]))).toBe(true);
  expect(passes(packet(['10.77.0.1', 5432], ['10.77.0.3', 40_000]))).toBe(false);
  expect(passes(packet(['10.77.0.1', 40_000], ['10.77.0.4', 5432]))).toBe(false);
  expect(passes(new Uint8Array(30))).toBe(false);
  const tcp = new PacketFilter(parseFlowMatch({ protocol: 'tcp', source: '*', destination: '*' }));
  const udp = packet(['10.77.0.1', 1], ['10.77.0.3', 2]);
  expect(tcp.passes(new DataView(udp.buffer), 0, udp.length)).toBe(false);
});
