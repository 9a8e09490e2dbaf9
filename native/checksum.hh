// RFC 1071 sums. A sum is kept unfolded in 64 bits, in the machine's byte order of 16-bit loads; one's complement addition
// commutes with byte swapping (RFC 1071 §2 B), so values go to and from the packet with plain 16-bit copies.
#pragma once

#include <arpa/inet.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace causeway {

inline uint16_t load16(const uint8_t* p) {
  uint16_t v;
  memcpy(&v, p, 2);
  return v;
}
inline uint32_t load32(const uint8_t* p) {
  uint32_t v;
  memcpy(&v, p, 4);
  return v;
}
inline uint64_t load64(const uint8_t* p) {
  uint64_t v;
  memcpy(&v, p, 8);
  return v;
}
inline void store16(uint8_t* p, uint16_t v) { memcpy(p, &v, 2); }
inline void store32(uint8_t* p, uint32_t v) { memcpy(p, &v, 4); }
inline uint16_t get16(const uint8_t* p) { return ntohs(load16(p)); }
inline uint32_t get32(const uint8_t* p) { return ntohl(load32(p)); }
inline void put16(uint8_t* p, unsigned v) { store16(p, htons(static_cast<uint16_t>(v))); }
inline void put32(uint8_t* p, uint32_t v) { store32(p, htonl(v)); }

/** Adds `length` bytes at `data`, an odd last byte padded with zero. */
uint64_t addBytes(uint64_t sum, const uint8_t* data, size_t length);

inline uint16_t fold(uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

/** Writes the checksum of a 20–60 byte IPv4 header into it. */
void setIpv4Checksum(uint8_t* ip, size_t headerLength);

/** A partial transport checksum (pseudo-header sum, not complemented) for `to` bytes of transport where it held `from`. */
inline void relengthPartial(uint8_t* field, unsigned from, unsigned to) {
  const uint64_t sum = static_cast<uint64_t>(load16(field)) + static_cast<uint16_t>(~htons(static_cast<uint16_t>(from))) +
                       htons(static_cast<uint16_t>(to));
  store16(field, fold(sum));
}

/** Turns a partial checksum at transport + field into the whole one. `zeroIsNone`: UDP sends 0 as 0xffff. */
void completeChecksum(uint8_t* transport, size_t length, size_t field, bool zeroIsNone);

}  // namespace causeway
