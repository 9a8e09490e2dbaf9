#include "packet.hh"

namespace causeway {

static bool locateInIpv6(const uint8_t* ip, int length, Location* out) {
  uint8_t protocol = ip[6];
  int start = 40;
  for (;;) {
    const bool authentication = protocol == 51;
    if (protocol == 44) return false;  // a fragment
    if (!authentication && protocol != 0 && protocol != 43 && protocol != 60 && protocol != 135) {
      *out = {start, protocol, start == 40};
      return true;
    }
    if (length - start < 8) return false;
    const int bytes = authentication ? (ip[start + 1] + 2) * 4 : (ip[start + 1] + 1) * 8;  // RFC 4302 §2.2, RFC 8200 §4
    if (length - start < bytes) return false;
    protocol = ip[start];
    start += bytes;
  }
}

bool locateTransport(const uint8_t* ip, int length, Location* out) {
  if (length < 20) return false;
  if (ip[0] >> 4 == 6) return length >= 40 && locateInIpv6(ip, length, out);
  const int start = (ip[0] & 15) * 4;
  const bool fragment = (get16(ip + 6) & 0x3fff) != 0;  // more fragments, or an offset
  if (ip[0] >> 4 != 4 || start < 20 || start > length || fragment) return false;
  *out = {start, ip[9], true};
  return true;
}

bool completeLocated(uint8_t* ip, int length) {
  Location where;
  if (!locateTransport(ip, length, &where)) return false;
  const int field = checksumField(where.protocol);
  if (field == 0 || where.start + field + 2 > length) return false;
  completeChecksum(ip + where.start, static_cast<size_t>(length - where.start), static_cast<size_t>(field));
  return true;
}

/** Offset of the transport header directly behind the IP header, or 0; the IP header must claim `length`. */
static int transportStart(const uint8_t* ip, int length, uint8_t* protocol) {
  if (length < 20) return 0;
  if (ip[0] >> 4 == 4) {
    const int ihl = (ip[0] & 15) * 4;
    const bool fragment = (get16(ip + 6) & 0x3fff) != 0;  // more fragments, or an offset
    if (ihl < 20 || fragment || get16(ip + 2) != length) return 0;
    *protocol = ip[9];
    return ihl;
  }
  if (ip[0] >> 4 != 6 || length < 40 || get16(ip + 4) + 40 != length) return 0;
  *protocol = ip[6];
  return 40;
}

bool parseTransport(uint8_t* ip, int length, Transport* out) {
  uint8_t protocol = 0;
  const int start = transportStart(ip, length, &protocol);
  if (start == 0) return false;
  int transport = 8;
  if (protocol == kTcp) {
    if (length < start + 20) return false;
    transport = (ip[start + 12] >> 4) * 4;
    if (transport < 20) return false;
  } else if (protocol != kUdp) {
    return false;
  }
  if (length < start + transport) return false;
  if (protocol == kUdp && get16(ip + start + 4) != length - start) return false;
  *out = {ip, length, start, start + transport, static_cast<uint8_t>(ip[0] >> 4), protocol};
  return true;
}

bool isUnclassifiable(const uint8_t* ip, int length) {
  uint8_t protocol = 0;
  if (transportStart(ip, length, &protocol) == 0) return true;
  // IPv6 extension headers hide the flow; every other protocol, ICMP first, is a flow that is never coalesced.
  const bool extension = protocol == 0 || protocol == 43 || protocol == 44 || protocol == 60;
  return protocol == kTcp || protocol == kUdp || (ip[0] >> 4 == 6 && extension);
}

}  // namespace causeway
