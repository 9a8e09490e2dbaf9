/**
 * Which addresses are no single host's. Addresses are four u32 words as in `PacketInfo`, IPv4 as ::ffff:a.b.c.d.
 */
import type { PacketInfo } from './packet.js';

export function isIpv4(w0: number, w1: number, w2: number): boolean {
  return w0 === 0 && w1 === 0 && w2 === 0xffff;
}

/** 224.0.0.0/4, ff00::/8. */
export function isMulticast(w0: number, w1: number, w2: number, w3: number): boolean {
  return isIpv4(w0, w1, w2) ? w3 >>> 28 === 0xe : w0 >>> 24 === 0xff;
}

/** 255.255.255.255. */
export function isBroadcast(w0: number, w1: number, w2: number, w3: number): boolean {
  return isIpv4(w0, w1, w2) && w3 >>> 0 === 0xffffffff;
}

/** 0.0.0.0/8 ("this network", RFC 1122 §3.2.1.3), ::. */
export function isUnspecified(w0: number, w1: number, w2: number, w3: number): boolean {
  return isIpv4(w0, w1, w2) ? w3 >>> 24 === 0 : (w0 | w1 | w2 | w3) === 0;
}

/** 127.0.0.0/8, ::1. */
export function isLoopback(w0: number, w1: number, w2: number, w3: number): boolean {
  return isIpv4(w0, w1, w2) ? w3 >>> 24 === 127 : (w0 | w1 | w2) === 0 && w3 === 1;
}

/** 169.254.0.0/16, fe80::/10. */
export function isLinkLocal(w0: number, w1: number, w2: number, w3: number): boolean {
  return isIpv4(w0, w1, w2) ? w3 >>> 16 === 0xa9fe : w0 >>> 22 === 0x3fa;
}

/** 240.0.0.0/4: reserved, the limited broadcast among them. */
function isReserved(w0: number, w1: number, w2: number, w3: number): boolean {
  return isIpv4(w0, w1, w2) && w3 >>> 28 === 0xf;
}

/** Whether an address may be a single host's beyond this link and this host. */
export function isUnicast(w0: number, w1: number, w2: number, w3: number): boolean {
  return !(
    isMulticast(w0, w1, w2, w3) ||
    isUnspecified(w0, w1, w2, w3) ||
    isLoopback(w0, w1, w2, w3) ||
    isLinkLocal(w0, w1, w2, w3) ||
    isReserved(w0, w1, w2, w3)
  );
}

/** Whether a packet's source can't be a single host to answer to (RFC 1812 §5.3.7, RFC 4443 §2.4 e.6). */
export function hasMartianSource(info: PacketInfo): boolean {
  const { src0, src1, src2, src3 } = info;
  return (
    isMulticast(src0, src1, src2, src3) ||
    isUnspecified(src0, src1, src2, src3) ||
    isLoopback(src0, src1, src2, src3) ||
    isReserved(src0, src1, src2, src3)
  );
}

/** Whether a packet goes to many hosts: multicast or the limited broadcast. */
export function hasManyDestinations(info: PacketInfo): boolean {
  const { dst0, dst1, dst2, dst3 } = info;
  return isMulticast(dst0, dst1, dst2, dst3) || isBroadcast(dst0, dst1, dst2, dst3);
}
