// Segmentation: what the kernel's TSO and USO would have done, from one batch into another.
//
// For each packet of the order:
//   1. check its offload columns against its bytes (JavaScript wrote the table)
//   2. find room for all of its segments, or stop
//   3. copy headers and payload segment by segment, back to back (segment) or each into a slot (scatter)
//   4. make lengths, IPv4 id, TCP sequence and flags, and checksums right for each segment
#include "segment.hh"

#include "packet.hh"

namespace causeway {
namespace {

/** One checked packet and how it is to be cut. */
struct Cut {
  const uint8_t* ip;
  int length;
  int header;    // bytes copied in front of each segment's payload
  int size;      // payload per segment
  int segments;
  bool offload;  // headers differ between segments
  bool complete; // segments leave with whole checksums
  // Where `offload` or `complete` is set:
  int start;     // transport header
  int field;     // offset of the checksum in it
  uint8_t protocol;
  bool direct;   // so that a reader needs no csumStart
  // Where `offload` is set, of the source's headers:
  bool checksummed;       // the transport has one
  uint64_t ipSum;         // ipv4Common
  uint64_t transportSum;  // the pseudo-header's without its length
};

bool locate(const Batch& from, int i, Cut* cut) {
  Location where;
  if (!locateTransport(cut->ip, cut->length, &where) || where.start != from.cell(kCsumStart, i)) return false;
  cut->start = where.start;
  cut->protocol = where.protocol;
  cut->direct = where.direct;
  cut->field = checksumField(where.protocol);
  return cut->field != 0;
}

bool checkWhole(const Batch& from, int i, Cut* cut) {
  cut->header = cut->length;
  cut->segments = 1;
  if ((from.cell(kFlags, i) & kPacketPartial) == 0) return true;
  if (!locate(from, i, cut) || cut->start + cut->field + 2 > cut->length) return false;
  cut->complete = !cut->direct;
  return true;
}

bool typeMatches(int type, const Cut& cut) {
  const int version = cut.ip[0] >> 4;
  if (type == kGsoTcp4) return version == 4 && cut.protocol == kTcp;
  if (type == kGsoTcp6) return version == 6 && cut.protocol == kTcp;
  return type == kGsoUdpL4 && cut.protocol == kUdp;
}

/** Whether IP and transport headers take `header` bytes, and leave some for a payload. */
bool headerMatches(const Cut& cut, int header) {
  if (header >= cut.length) return false;
  if (cut.protocol == kUdp) return header == cut.start + 8;
  return header >= cut.start + 20 && header == cut.start + (cut.ip[cut.start + 12] >> 4) * 4;
}

/** The sum of a pseudo-header without its length, behind an IP header with no extensions. */
uint64_t pseudoSum(const Cut& cut) {
  return htons(cut.protocol) + (cut.ip[0] >> 4 == 4 ? addBytes(0, cut.ip + 12, 8) : addBytes(0, cut.ip + 8, 32));
}

bool checkOffload(const Batch& from, int i, int type, Cut* cut) {
  const int size = from.cell(kGsoSize, i), header = from.cell(kHeaderLength, i);
  if (size <= 0 || !locate(from, i, cut) || !typeMatches(type, *cut) || !headerMatches(*cut, header)) return false;
  const bool partial = (from.cell(kFlags, i) & kPacketPartial) != 0;
  const uint8_t* field = cut->ip + cut->start + cut->field;
  cut->checksummed = partial || cut->protocol == kTcp || load16(field) != 0;  // UDP without a checksum stays so
  if (!partial && !cut->direct && cut->checksummed) return false;             // a pseudo-header that we can't rebuild
  cut->complete = cut->checksummed && !(partial && cut->direct);
  cut->header = header;
  cut->size = size;
  cut->segments = (cut->length - header - 1) / size + 1;
  cut->offload = true;
  if (cut->ip[0] >> 4 == 4) cut->ipSum = ipv4Common(cut->ip, static_cast<size_t>(cut->start));
  cut->transportSum = partial ? withoutLength(field, static_cast<unsigned>(cut->length - cut->start)) : pseudoSum(*cut);
  return true;
}

bool check(const Batch& from, int i, Cut* cut) {
  *cut = {};
  cut->ip = from.bytesAt(i, &cut->length);
  if (cut->ip == nullptr) return false;
  const int type = from.cell(kGsoType, i);
  return type == kGsoNone ? checkWhole(from, i, cut) : checkOffload(from, i, type, cut);
}

/** Step 4 for segment `k`, whose bytes are already copied. Takes what it needs from the source, whose bytes are not being written. */
void fixHeaders(const Cut& cut, uint8_t* ip, int length, int k) {
  if (cut.ip[0] >> 4 == 4) {
    putIpv4Fields(ip, cut.ipSum, static_cast<unsigned>(length), static_cast<unsigned>(get16(cut.ip + 4) + k));
  } else {
    put16(ip + 4, static_cast<unsigned>(length - 40));
  }
  const uint8_t* source = cut.ip + cut.start;
  uint8_t* transport = ip + cut.start;
  const auto bytes = static_cast<unsigned>(length - cut.start);
  if (cut.protocol == kTcp) {
    put32(transport + 4, get32(source + 4) + static_cast<uint32_t>(k) * static_cast<uint32_t>(cut.size));
    const int drop = (k > 0 ? kCwr : 0) | (k < cut.segments - 1 ? kFin | kPsh : 0);
    transport[13] = static_cast<uint8_t>(source[13] & ~drop);
  } else {
    put16(transport + 4, bytes);
  }
  if (cut.checksummed) putPartial(transport + cut.field, cut.transportSum, bytes);
}

/** Writes segment `k` of packet `i`, with its payload, at `position`; returns its length. Its row gets source and flags. */
int writeSegment(const Batch& from, int i, const Cut& cut, int k, const Batch& into, size_t position, int row) {
  uint8_t* ip = into.bytes + position;
  const int before = k * cut.size;
  const int left = cut.length - cut.header - before;
  const int payload = k < cut.segments - 1 ? cut.size : left;
  const int length = cut.header + payload;
  memcpy(ip, cut.ip, static_cast<size_t>(cut.header));
  memcpy(ip + cut.header, cut.ip + cut.header + before, static_cast<size_t>(payload));
  if (cut.offload) fixHeaders(cut, ip, length, k);
  if (cut.complete) completeChecksum(ip + cut.start, static_cast<size_t>(length - cut.start), static_cast<size_t>(cut.field));
  into.cell(kSource, row) = i;
  into.cell(kFlags, row) = from.cell(kFlags, i) & ~(cut.complete ? kPacketPartial : 0);
  return length;
}

}  // namespace

SegmentResult segment(const Batch& from, const Order& order, const Batch& into, int headroom, int tailroom) {
  SegmentResult result = {};
  size_t position = 0;
  const size_t around = static_cast<size_t>(headroom) + static_cast<size_t>(tailroom), capacity = static_cast<size_t>(into.capacity);
  for (; result.consumed < order.count; result.consumed++) {
    const int i = order.index[result.consumed];
    Cut cut;
    const bool sound = check(from, i, &cut);
    const size_t segments = static_cast<size_t>(cut.segments), header = static_cast<size_t>(cut.header);
    const size_t room = segments * (around + header) + static_cast<size_t>(cut.length) - header;
    if (!sound || segments > capacity || room > into.size) {
      result.refused++;
      continue;
    }
    if (result.produced + segments > capacity || position + room > into.size) break;
    for (int k = 0; k < cut.segments; k++) {
      const int row = static_cast<int>(result.produced++);
      const int length = writeSegment(from, i, cut, k, into, position + static_cast<size_t>(headroom), row);
      into.cell(kOffset, row) = static_cast<int32_t>(position);
      into.cell(kLength, row) = headroom + length;
      position += around + static_cast<size_t>(length);
    }
  }
  return result;
}

SegmentResult scatter(const Batch& from, const Order& order, const Batch& into, const Order& slots, int at) {
  SegmentResult result = {};
  if (slots.count == 0) return result;  // a batch without rows has no slot size
  const size_t slotSize = into.size / static_cast<size_t>(into.capacity), start = static_cast<size_t>(at);
  for (; result.consumed < order.count; result.consumed++) {
    const int i = order.index[result.consumed];
    Cut cut;
    const bool sound = check(from, i, &cut);
    const int largest = cut.segments > 1 ? cut.header + cut.size : cut.length;
    if (!sound || start + static_cast<size_t>(largest) > slotSize) {
      result.refused++;
      continue;
    }
    if (result.produced + static_cast<size_t>(cut.segments) > static_cast<size_t>(slots.count)) break;
    for (int k = 0; k < cut.segments; k++) {
      const int slot = slots.index[result.produced++];
      const size_t position = static_cast<size_t>(slot) * slotSize + start;
      into.cell(kLength, slot) = writeSegment(from, i, cut, k, into, position, slot);
      into.cell(kOffset, slot) = static_cast<int32_t>(position);
    }
  }
  return result;
}

}  // namespace causeway
