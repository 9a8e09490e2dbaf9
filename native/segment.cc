// Segmentation: what the kernel's TSO and USO would have done, from one batch into another.
//
// For each packet of the order:
//   1. check its offload columns against its bytes (JavaScript wrote the table)
//   2. find room for all of its segments, or stop
//   3. copy headers and payload segment by segment, back to back
//   4. make lengths, IPv4 id, TCP sequence and flags, and checksums right for each segment
#include "segment.hh"

#include "packet.hh"

namespace causeway {
namespace {

/** One checked packet and how it is to be cut. */
struct Cut {
  const uint8_t* ip;
  int length;
  int header;     // bytes copied in front of each segment's payload
  int start;      // transport header; 0: nothing in the packet needs fixing
  int size;       // payload per segment
  int segments;
  uint8_t version;
  bool tcp;
  bool partial;   // the source's checksum is partial
  bool complete;  // segments leave with whole checksums
  bool checksummed() const { return partial || complete; }
};

/** TCP or UDP directly behind the IP header, so that a reader needs no csumStart. */
bool isDirect(const uint8_t* ip, int start, uint8_t protocol) {
  if (ip[0] >> 4 == 4) return start == (ip[0] & 15) * 4 && ip[9] == protocol && (get16(ip + 6) & 0x3fff) == 0;
  return start == 40 && ip[6] == protocol;
}

bool checkPlain(const Batch& from, int i, Cut* cut) {
  const bool partial = (from.cell(kFlags, i) & kPacketPartial) != 0;
  if (partial) {
    Transport transport;
    if (!parseTransport(const_cast<uint8_t*>(cut->ip), cut->length, &transport)) return false;
    if (from.cell(kCsumStart, i) != transport.start) return false;
  }
  cut->header = cut->length;
  cut->segments = 1;
  cut->partial = partial;
  return true;
}

bool checkOffload(const Batch& from, int i, int type, Cut* cut) {
  const int size = from.cell(kGsoSize, i), header = from.cell(kHeaderLength, i), start = from.cell(kCsumStart, i);
  const bool tcp = type == kGsoTcp4 || type == kGsoTcp6;
  if (!tcp && type != kGsoUdpL4) return false;
  if (cut->length < 20 || cut->length > 65535 + 40 || size <= 0 || size > 65535) return false;
  const uint8_t version = cut->ip[0] >> 4;
  const int least = version == 4 ? (cut->ip[0] & 15) * 4 : 40;
  if ((version != 4 && version != 6) || least < 20 || (type == kGsoTcp4 && version != 4) || (type == kGsoTcp6 && version != 6)) return false;
  if (start < least || start >= cut->length || header >= cut->length || header < start + (tcp ? 20 : 8) || header > start + 60) return false;
  if (header + size > 65535) return false;
  cut->header = header;
  cut->start = start;
  cut->size = size;
  cut->segments = (cut->length - header + size - 1) / size;
  cut->version = version;
  cut->tcp = tcp;
  cut->partial = (from.cell(kFlags, i) & kPacketPartial) != 0;
  const bool none = !cut->partial && !tcp && load16(cut->ip + start + kUdpCsum) == 0;  // UDP without a checksum stays so
  const bool direct = isDirect(cut->ip, start, tcp ? kTcp : kUdp);
  if (!cut->partial && !direct && !none) return false;  // a pseudo-header that we can't rebuild
  cut->complete = !none && !(cut->partial && direct);
  return true;
}

bool check(const Batch& from, int i, Cut* cut) {
  *cut = {};
  cut->ip = from.bytesAt(i, &cut->length);
  if (cut->ip == nullptr) return false;
  const int type = from.cell(kGsoType, i) & ~kGsoEcnBit;
  return type == kGsoNone ? checkPlain(from, i, cut) : checkOffload(from, i, type, cut);
}

/** The pseudo-header's sum for `transport` bytes behind a header with no extensions. */
uint16_t pseudoSum(const uint8_t* ip, uint8_t version, uint8_t protocol, int transport) {
  const uint64_t sum = version == 4 ? addBytes(0, ip + 12, 8) : addBytes(0, ip + 8, 32);
  return fold(sum + htons(protocol) + htons(static_cast<uint16_t>(transport)));
}

/** Step 4 for segment `k`, whose bytes are already copied. */
void fixHeaders(const Cut& cut, uint8_t* ip, int length, int k) {
  uint8_t* transport = ip + cut.start;
  const int bytes = length - cut.start;
  if (cut.version == 4) put16(ip + 4, static_cast<unsigned>(get16(cut.ip + 4) + k));
  setIpLength(ip, cut.version, cut.version == 4 ? (ip[0] & 15) * 4 : 40, length);
  if (cut.tcp) {
    put32(transport + 4, get32(cut.ip + cut.start + 4) + static_cast<uint32_t>(k) * static_cast<uint32_t>(cut.size));
    if (k > 0) transport[13] &= static_cast<uint8_t>(~kCwr);
    if (k < cut.segments - 1) transport[13] &= static_cast<uint8_t>(~(kFin | kPsh));
  } else {
    put16(transport + 4, static_cast<unsigned>(bytes));
  }
  if (!cut.checksummed()) return;
  const int field = cut.tcp ? kTcpCsum : kUdpCsum;
  if (cut.partial) {
    relengthPartial(transport + field, static_cast<unsigned>(cut.length - cut.start), static_cast<unsigned>(bytes));
  } else {
    store16(transport + field, pseudoSum(ip, cut.version, cut.tcp ? kTcp : kUdp, bytes));
  }
  if (cut.complete) completeChecksum(transport, static_cast<size_t>(bytes), static_cast<size_t>(field), !cut.tcp);
}

void describe(const Batch& into, int row, size_t offset, int length, int source, bool partial) {
  into.cell(kOffset, row) = static_cast<int32_t>(offset);
  into.cell(kLength, row) = length;
  into.cell(kSource, row) = source;
  into.cell(kFlags, row) = partial ? kPacketPartial : 0;
}

}  // namespace

SegmentResult segment(const Batch& from, const Order& order, const Batch& into, int headroom, int tailroom) {
  SegmentResult result = {};
  size_t position = 0;
  for (; result.consumed < order.count; result.consumed++) {
    const int i = order.index[result.consumed];
    Cut cut;
    if (!check(from, i, &cut)) {
      result.refused++;
      continue;
    }
    const size_t segments = static_cast<size_t>(cut.segments);
    const size_t room = segments * static_cast<size_t>(headroom + cut.header + tailroom) + static_cast<size_t>(cut.length - cut.header);
    if (result.produced + segments > static_cast<size_t>(into.capacity) || position + room > into.size) {
      if (result.produced > 0) break;
      result.refused++;  // would not fit an empty batch either
      continue;
    }
    const uint8_t* payload = cut.ip + cut.header;
    int left = cut.length - cut.header;
    for (int k = 0; k < cut.segments; k++) {
      const int bytes = left < cut.size ? left : cut.size;
      uint8_t* ip = into.bytes + position + headroom;
      memcpy(ip, cut.ip, static_cast<size_t>(cut.header));
      memcpy(ip + cut.header, payload, static_cast<size_t>(bytes));
      if (cut.start > 0) fixHeaders(cut, ip, cut.header + bytes, k);
      describe(into, static_cast<int>(result.produced++), position, headroom + cut.header + bytes, i, cut.partial && !cut.complete);
      position += static_cast<size_t>(headroom + cut.header + bytes + tailroom);
      payload += bytes;
      left -= bytes;
    }
  }
  return result;
}

}  // namespace causeway
