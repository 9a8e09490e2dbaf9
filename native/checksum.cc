#include "checksum.hh"

namespace causeway {

uint64_t addBytes(uint64_t sum, const uint8_t* data, size_t length) {
  // Four independent sums of 32-bit words: no carries to chase, and the compiler makes vectors of them.
  uint64_t a = 0, b = 0, c = 0, d = 0;
  while (length >= 16) {
    a += load32(data);
    b += load32(data + 4);
    c += load32(data + 8);
    d += load32(data + 12);
    data += 16;
    length -= 16;
  }
  while (length >= 4) {
    a += load32(data);
    data += 4;
    length -= 4;
  }
  uint8_t rest[4] = {};
  if (length > 0) memcpy(rest, data, length);
  return sum + a + b + c + d + load32(rest);
}

void completeChecksum(uint8_t* transport, size_t length, size_t field) {
  const auto value = static_cast<uint16_t>(~fold(addBytes(0, transport, length)));
  store16(transport + field, value == 0 ? 0xffff : value);
}

}  // namespace causeway
