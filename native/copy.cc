#include "copy.hh"

#include <cstring>

namespace causeway {

void copyPackets(const Batch& from, const Order& order, const Batch& into, const Order& slots, int at) {
  if (order.count == 0) return;  // a batch without rows has no slot size
  const size_t slotSize = into.size / static_cast<size_t>(into.capacity), start = static_cast<size_t>(at);
  for (int k = 0; k < order.count; k++) {
    const int i = order.index[k], slot = slots.index[k];
    const int32_t flags = from.cell(kFlags, i), trafficClass = from.cell(kTrafficClass, i);
    const size_t place = static_cast<size_t>(slot) * slotSize + start;
    int32_t length = 0;
    const uint8_t* packet = from.bytesAt(i, &length);
    if (packet == nullptr || start + static_cast<size_t>(length) > slotSize) length = 0;
    if (length > 0) memmove(into.bytes + place, packet, static_cast<size_t>(length));  // both may be one batch
    into.cell(kOffset, slot) = static_cast<int32_t>(place);
    into.cell(kLength, slot) = length;
    into.cell(kFlags, slot) = flags;
    into.cell(kTrafficClass, slot) = trafficClass;
  }
}

}  // namespace causeway
