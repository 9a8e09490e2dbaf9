/** Finds the IP packet in a frame of a capture, by the link types of tcpdump's registry that meet on Linux and in captures of tunnels. Pure. */

const LINK = {
  null: 0,
  ethernet: 1,
  raw: 101,
  loop: 108,
  linuxSll: 113,
  ipv4: 228,
  ipv6: 229,
  linuxSll2: 276,
} as const;

/** That of packets without any header in front. */
export const LINK_RAW = LINK.raw;

const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
/** 802.1Q and 802.1ad tags, four bytes each. */
const TAGS: readonly number[] = [0x8100, 0x88a8];

export type Found =
  | { readonly kind: 'ip'; readonly packet: Uint8Array }
  /** ARP, LLDP … */
  | { readonly kind: 'other'; readonly etherType: number }
  | { readonly kind: 'short' }
  | { readonly kind: 'unknown-link' };

/** The packet is a view into `frame`. */
export function findPacket(linkType: number, frame: Uint8Array): Found {
  switch (linkType) {
    case LINK.raw:
    case LINK.ipv4:
    case LINK.ipv6:
      return frame.length > 0 ? { kind: 'ip', packet: frame } : { kind: 'short' };
    case LINK.null: // the family's number is the system's own: what follows says by itself what it is
    case LINK.loop:
      return frame.length > 4 ? { kind: 'ip', packet: frame.subarray(4) } : { kind: 'short' };
    case LINK.ethernet:
      return afterEtherType(frame, 12);
    case LINK.linuxSll:
      return afterEtherType(frame, 14);
    case LINK.linuxSll2:
      return frame.length > 20 ? byEtherType(u16(frame, 0), frame, 20) : { kind: 'short' };
    default:
      return { kind: 'unknown-link' };
  }
}

function afterEtherType(frame: Uint8Array, first: number): Found {
  let at = first;
  while (frame.length > at + 2) {
    const type = u16(frame, at);
    if (!TAGS.includes(type)) return byEtherType(type, frame, at + 2);
    at += 4;
  }
  return { kind: 'short' };
}

function byEtherType(etherType: number, frame: Uint8Array, at: number): Found {
  const isIp = etherType === ETHERTYPE_IPV4 || etherType === ETHERTYPE_IPV6;
  return isIp ? { kind: 'ip', packet: frame.subarray(at) } : { kind: 'other', etherType };
}

function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}
