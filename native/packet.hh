// Where the headers of one IP packet lie. Only what offloads need: TCP or UDP directly behind the IP header.
#pragma once

#include "checksum.hh"

namespace causeway {

constexpr uint8_t kTcp = 6, kUdp = 17;
constexpr int kTcpCsum = 16, kUdpCsum = 6;
constexpr uint8_t kFin = 0x01, kSyn = 0x02, kRst = 0x04, kPsh = 0x08, kAck = 0x10, kUrg = 0x20, kCwr = 0x80;

// virtio_net_hdr.gso_type (virtio 1.2, 5.1.6); older kernel headers lack the last.
constexpr uint8_t kGsoNone = 0, kGsoTcp4 = 1, kGsoTcp6 = 4, kGsoUdpL4 = 5, kGsoEcnBit = 0x80;

/** One IP packet with an unfragmented TCP or UDP header directly behind its IP header. */
struct Transport {
  uint8_t* ip;
  int length;        // bytes of the whole packet, equal to what the IP header says
  int start;         // offset of the TCP or UDP header
  int headerLength;  // IP and transport headers
  uint8_t version;
  uint8_t protocol;

  uint8_t* header() const { return ip + start; }
  uint8_t* checksum() const { return header() + (protocol == kTcp ? kTcpCsum : kUdpCsum); }
  int payload() const { return length - headerLength; }
};

/** False: the packet is something else, or its lengths disagree with `length`. */
bool parseTransport(uint8_t* ip, int length, Transport* out);

/** True if `ip` is a fragment, or too odd to say what flow it belongs to. */
bool isUnclassifiable(const uint8_t* ip, int length);

/** Writes the IP header's length (and IPv4 checksum) for a packet of `length` bytes. */
inline void setIpLength(uint8_t* ip, int version, int headerLength, int length) {
  if (version == 4) {
    put16(ip + 2, static_cast<unsigned>(length));
    setIpv4Checksum(ip, static_cast<size_t>(headerLength));
  } else {
    put16(ip + 4, static_cast<unsigned>(length - 40));
  }
}

}  // namespace causeway
