/** The IP and UDP headers around a datagram that a socket sent or received, as the wire had them, but for what a socket can't know: TTL and identification. Pure. */
import { addBytes, checksum, pseudoHeaderSum } from '../intercept/checksum.js';
import { PROTOCOL_UDP } from '../intercept/packet.js';
import { isMappedIpv4, isUnspecified } from '../io/address.js';

const IPV4_HEADER = 20;
const IPV6_HEADER = 40;
const UDP_HEADER = 8;
const TTL = 64;

export interface OuterEnd {
  /** 16 bytes, IPv4 as ::ffff:a.b.c.d; all zero where unknown. */
  readonly address: Uint8Array;
  readonly port: number;
}

/** An IP packet around `payload`, with true checksums. */
export function wrapDatagram(
  source: OuterEnd,
  destination: OuterEnd,
  trafficClass: number,
  payload: Uint8Array,
): Uint8Array {
  const isV4 = [source, destination].some(({ address }) => isMappedIpv4(address) && !isUnspecified(address));
  const header = isV4 ? IPV4_HEADER : IPV6_HEADER;
  const udpLength = UDP_HEADER + payload.length;
  const packet = new Uint8Array(header + udpLength);
  const view = new DataView(packet.buffer);
  if (isV4) {
    view.setUint16(0, 0x4500 | trafficClass);
    view.setUint16(2, packet.length);
    view.setUint16(8, (TTL << 8) | PROTOCOL_UDP);
    packet.set(source.address.subarray(12), 12);
    packet.set(destination.address.subarray(12), 16);
    view.setUint16(10, checksum(addBytes(view, 0, IPV4_HEADER, 0)));
  } else {
    view.setUint32(0, (6 << 28) | (trafficClass << 20));
    view.setUint16(4, udpLength);
    view.setUint16(6, (PROTOCOL_UDP << 8) | TTL);
    packet.set(source.address, 8);
    packet.set(destination.address, 24);
  }
  view.setUint16(header, source.port);
  view.setUint16(header + 2, destination.port);
  view.setUint16(header + 4, udpLength);
  packet.set(payload, header + UDP_HEADER);
  const sum = addBytes(view, header, udpLength, pseudoHeaderSum(view, 0, PROTOCOL_UDP, udpLength));
  view.setUint16(header + 6, checksum(sum) || 0xffff); // RFC 768: zero would say that there is none
  return packet;
}
