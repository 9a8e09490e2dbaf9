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

/** Sum of an IPv4 header without its length, identification and checksum: what the segments of one packet share. */
inline uint64_t ipv4Common(const uint8_t* ip, size_t headerLength) {
  const uint64_t sum = static_cast<uint64_t>(load16(ip)) + load16(ip + 6) + load16(ip + 8) + load32(ip + 12) + load32(ip + 16);
  return headerLength == 20 ? sum : addBytes(sum, ip + 20, headerLength - 20);
}

/**
 * Writes length, identification and checksum of an IPv4 header whose other fields sum to `common`. Reads nothing of it: a sum
 * over what was just written in other widths would wait for every store.
 */
inline void putIpv4Fields(uint8_t* ip, uint64_t common, unsigned length, unsigned identification) {
  const uint16_t total = htons(static_cast<uint16_t>(length)), id = htons(static_cast<uint16_t>(identification));
  store16(ip + 2, total);
  store16(ip + 4, id);
  store16(ip + 10, static_cast<uint16_t>(~fold(common + total + id)));
}

/** A partial transport checksum (pseudo-header sum, not complemented) without the `length` bytes of transport that it counts. */
inline uint64_t withoutLength(const uint8_t* field, unsigned length) {
  return static_cast<uint64_t>(load16(field)) + static_cast<uint16_t>(~htons(static_cast<uint16_t>(length)));
}

/** Writes the partial checksum for `length` bytes of transport; `sum` is all else of the pseudo-header. */
inline void putPartial(uint8_t* field, uint64_t sum, unsigned length) { store16(field, fold(sum + htons(static_cast<uint16_t>(length)))); }

/** Turns a partial checksum at transport + field into the whole one, 0 into 0xffff, as UDP asks (RFC 768) and TCP allows. */
void completeChecksum(uint8_t* transport, size_t length, size_t field);

}  // namespace causeway
