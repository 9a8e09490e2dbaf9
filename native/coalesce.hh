// Coalescing: runs of one flow's packets become one segmentation-offload packet, as Linux's GRO would make, without
// copying a payload. What comes out goes to a Sink as an I/O vector: [vnet header][first packet][payload][payload]…
//
// Order within a flow (addresses, protocol, ports) is kept; between flows it is not.
#pragma once

#include <sys/uio.h>

#include "batch.hh"
#include "packet.hh"

namespace causeway {

/** struct virtio_net_hdr in the machine's byte order, 10 bytes. */
struct VnetHeader {
  uint8_t flags;
  uint8_t gsoType;
  uint16_t headerLength;
  uint16_t gsoSize;
  uint16_t csumStart;
  uint16_t csumOffset;
};
static_assert(sizeof(VnetHeader) == 10, "virtio_net_hdr is 10 bytes");
constexpr uint8_t kVnetNeedsCsum = 1;

/** Where packets go. */
class Sink {
 public:
  enum class Result { Taken, Refused, NoOffload };
  virtual ~Sink() = default;
  /** vector[0] is the VnetHeader. NoOffload: the device does not take this GSO type, though it said so. */
  virtual Result put(const iovec* vector, int count) = 0;
};

struct CoalesceOptions {
  bool vnetHeader;  // else checksums are completed here and the header is all zero
  bool tso;
  bool uso;
};

class Coalescer {
 public:
  /** Packets taken by the sink. Rewrites headers of packets in the arena. Clears an option that the sink proves wrong. */
  int run(const Batch& batch, const Order& order, CoalesceOptions* options, Sink* sink);

 private:
  static constexpr int kRuns = 8;       // flows coalesced side by side
  static constexpr int kSegments = 128; // most packets in one run
  static constexpr int kMaxBytes = 65535;

  struct Run {
    Transport first;
    int segments;
    int size;        // payload of each segment but the last
    int bytes;       // of the whole packet
    uint32_t sequence;  // expected next
    bool ended;      // a short segment, PSH or FIN: nothing may follow in this packet
    uint8_t flags;   // PSH and FIN of the last segment
    iovec vector[kSegments + 1];
  };

  void add(uint8_t* ip, int length, bool partial);
  int find(const Transport& t) const;
  bool mayStart(const Transport& t) const;
  static bool mayAppend(const Run& run, const Transport& t);
  void start(const Transport& t);
  static void append(Run* run, const Transport& t);
  void flush(int index);
  void flushAll();
  void emitRun(Run* run);
  void emitOne(const Transport& t);
  void emitPlain(uint8_t* ip, int length);
  Sink::Result put(const VnetHeader& header, iovec* vector, int count);

  Run runs_[kRuns];
  int open_[kRuns];  // indices into runs_, oldest first
  int opened_ = 0;
  int taken_ = 0;
  CoalesceOptions* options_ = nullptr;
  Sink* sink_ = nullptr;
};

}  // namespace causeway
