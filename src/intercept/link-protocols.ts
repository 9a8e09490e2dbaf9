/** What a link's hosts live by: neighbour discovery, group membership, DHCP. No rule sees any of it. */
import { PROTOCOL_UDP } from './packet.js';

/** IGMP, RFC 3376 §4. */
export const PROTOCOL_IGMP = 2;

/**
 * ICMPv6 types: MLD (130 to 132, RFC 2710; 143, RFC 3810), neighbour discovery (133 to 137, RFC 4861; 141 and 142, RFC 3122; 148 and 149,
 * RFC 3971), multicast router discovery (151 to 153, RFC 4286).
 */
export const LINK_ICMPV6_TYPES = [
  130, 131, 132, 133, 134, 135, 136, 137, 141, 142, 143, 148, 149, 151, 152, 153,
] as const;

/** Destination ports, RFC 2131 §4.1, RFC 8415 §7.2. */
export const DHCP_PORTS = { 4: [67, 68], 6: [546, 547] } as const;

/** As far as protocol and port say: the type of an ICMPv6 message isn't asked. */
export function isLinkProtocol(version: number, protocol: number, destinationPort: number): boolean {
  const ports: readonly number[] = DHCP_PORTS[version === 6 ? 6 : 4];
  if (protocol === PROTOCOL_UDP) return ports.includes(destinationPort);
  return version === 4 && protocol === PROTOCOL_IGMP;
}
