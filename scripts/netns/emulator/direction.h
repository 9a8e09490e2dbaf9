// One direction of a link: what becomes of a frame, and when it leaves. Reads no clock and does no I/O.
//
//   arrival ─► blackhole? ─► random loss? ─► queue (tail drop) ─► serialisation at the rate ─► delay ─► departure
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "clock.h"
#include "loss.h"

struct Shape {
  Nanos delay = 0;
  double loss = 0;   // 0 to 1
  double burst = 0;  // mean run of losses; 0: independent
  double rate = 0;   // bits per second; 0: no limit
  Nanos queue = 0;   // the longest wait for the rate
  bool blackhole = false;
};

struct Counters {
  uint64_t received = 0;
  uint64_t passed = 0;
  uint64_t lost = 0;
  uint64_t dropped = 0;
  uint64_t blackholed = 0;
  uint64_t failed = 0;
  uint64_t late_total_us = 0;
  uint64_t late_max_us = 0;
};

// Buffers of one size, handed out last in, first out, so that no more memory is touched than frames were ever held at once.
class BufferPool {
 public:
  BufferPool(size_t size, size_t most_bytes) : size_(size), most_(most_bytes / size) {}

  size_t size() const { return size_; }

  // Null at the limit.
  uint8_t* take() {
    if (free_.empty() && !grow()) return nullptr;
    uint8_t* buffer = free_.back();
    free_.pop_back();
    return buffer;
  }

  void give_back(uint8_t* buffer) { free_.push_back(buffer); }

 private:
  static constexpr size_t kPerSlab = 64;

  bool grow() {
    if (slabs_.size() * kPerSlab >= most_) return false;
    slabs_.push_back(std::make_unique<uint8_t[]>(size_ * kPerSlab));
    for (size_t i = 0; i < kPerSlab; i++) free_.push_back(slabs_.back().get() + i * size_);
    return true;
  }

  size_t size_;
  size_t most_;
  std::vector<std::unique_ptr<uint8_t[]>> slabs_;
  std::vector<uint8_t*> free_;
};

// A frame inside the link. The buffer is the pool's, and the direction's to give back.
struct HeldFrame {
  uint8_t* buffer;
  uint32_t length;  // of everything in the buffer
  Nanos due;
};

class Direction {
 public:
  // `overhead`: how many bytes before each Ethernet frame are not on the wire.
  Direction(uint64_t seed, size_t buffer_size, uint32_t overhead)
      : pool(buffer_size, kMostBytes), loss_(seed), overhead_(overhead) {}

  BufferPool pool;
  Counters counters;

  void set(const Shape& shape) {
    shape_ = shape;
    loss_.set(shape.loss, shape.burst);
  }

  // Decides over a frame that arrived. True: it is held, and the buffer with it. False: it is gone, and counted; the buffer stays the
  // caller's.
  bool accept(uint8_t* buffer, uint32_t length, Nanos arrival) {
    counters.received++;
    if (shape_.blackhole) {
      counters.blackholed++;
      return false;
    }
    if (loss_.loses()) {
      counters.lost++;
      return false;
    }
    Nanos leaves = arrival;
    if (shape_.rate > 0) {
      Nanos starts = std::max(arrival, busy_until_);
      if (starts - arrival > shape_.queue) {
        counters.dropped++;
        return false;
      }
      leaves = busy_until_ = starts + serialisation(length);
    }
    // A frame never overtakes another, also where the delay has just been made shorter.
    last_due_ = std::max(last_due_, leaves + shape_.delay);
    held_.push_back({buffer, length, last_due_});
    return true;
  }

  Nanos next_due() const { return held_.empty() ? kNever : held_.front().due; }
  const std::deque<HeldFrame>& held() const { return held_; }

  // Takes out the first `count` frames, of which `passed` were sent.
  void release(size_t count, size_t passed, Nanos at) {
    for (size_t i = 0; i < count; i++) {
      uint64_t late_us = static_cast<uint64_t>(std::max<Nanos>(0, at - held_.front().due) / kMicrosecond);
      counters.late_total_us += late_us;
      counters.late_max_us = std::max(counters.late_max_us, late_us);
      pool.give_back(held_.front().buffer);
      held_.pop_front();
    }
    counters.passed += passed;
    counters.failed += count - passed;
  }

 private:
  static constexpr size_t kMostBytes = size_t{64} << 20;

  Nanos serialisation(uint32_t length) const {
    return static_cast<Nanos>(static_cast<double>(length - overhead_) * 8e9 / shape_.rate);
  }

  Shape shape_;
  LossModel loss_;
  uint32_t overhead_;
  Nanos busy_until_ = 0;
  Nanos last_due_ = 0;
  std::deque<HeldFrame> held_;
};
