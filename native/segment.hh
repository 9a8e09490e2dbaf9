// Cuts segmentation-offload packets into packets that fit a link.
#pragma once

#include "batch.hh"

namespace causeway {

struct SegmentResult {
  int consumed;     // of the order
  size_t produced;  // rows of `into`, or slots
  int refused;      // packets whose columns make no sense, or that fit no batch of this size
};

/** See Io.segment in ports.ts. `headroom` and `tailroom` are 0..65535. The two batches must not share memory. */
SegmentResult segment(const Batch& from, const Order& order, const Batch& into, int headroom, int tailroom);

/** See Io.scatter in ports.ts. `slots` names rows of `into`; `at` is not negative. The two batches must not share memory. */
SegmentResult scatter(const Batch& from, const Order& order, const Batch& into, const Order& slots, int at);

}  // namespace causeway
