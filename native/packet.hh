// Where the headers of one IP packet lie. Only what offloads need.
#pragma once

#include "checksum.hh"

namespace causeway {

constexpr uint8_t kTcp = 6, kUdp = 17;
constexpr int kTcpCsum = 16, kUdpCsum = 6;
constexpr uint8_t kFin = 0x01, kSyn = 0x02, kRst = 0x04, kPsh = 0x08, kAck = 0x10, kUrg = 0x20, kCwr = 0x80;

// virtio_net_hdr.gso_type (virtio 1.2, 5.1.6); older kernel headers lack the last.
constexpr uint8_t kGsoNone = 0, kGsoTcp4 = 1, kGsoTcp6 = 4, kGsoUdpL4 = 5, kGsoEcnBit = 0x80;

/** Where the transport header of an unfragmented packet lies. */
struct Location {
  int start;
  uint8_t protocol;
  bool direct;  // no IPv6 extension header between
};

/** False: a fragment, a truncated packet, or neither IPv4 nor IPv6. Lengths that the headers claim are not judged. */
bool locateTransport(const uint8_t* ip, int length, Location* out);

/** Offset of the checksum in a transport's header; 0 for a transport whose checksum is never partial. */
inline int checksumField(uint8_t protocol) { return protocol == kTcp ? kTcpCsum : protocol == kUdp ? kUdpCsum : 0; }

/** Completes a partial TCP or UDP checksum. False, with the packet untouched, where none can be found. */
bool completeLocated(uint8_t* ip, int length);

/** One IP packet with an unfragmented TCP or UDP header directly behind its IP header. */
struct Transport {
  uint8_t* ip;
  int length;        // bytes of the whole packet, equal to what the IP header says
  int start;         // offset of the TCP or UDP header
  int headerLength;  // IP and transport headers
  uint8_t version;
  uint8_t protocol;

  uint8_t* header() const { return ip + start; }
  uint8_t* checksum() const { return header() + checksumField(protocol); }
  int payload() const { return length - headerLength; }
};

/** False: the packet is something else, or its lengths disagree with `length`. */
bool parseTransport(uint8_t* ip, int length, Transport* out);

/** True if `ip` is a fragment, or too odd to say what flow it belongs to. */
bool isUnclassifiable(const uint8_t* ip, int length);

/** Writes the IP header's length (and IPv4 checksum) for a packet of `length` bytes. */
inline void setIpLength(uint8_t* ip, int version, int headerLength, int length) {
  if (version == 4) {
    putIpv4Fields(ip, ipv4Common(ip, static_cast<size_t>(headerLength)), static_cast<unsigned>(length), get16(ip + 4));
  } else {
    put16(ip + 4, static_cast<unsigned>(length - 40));
  }
}

}  // namespace causeway
