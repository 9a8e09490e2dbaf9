// Which frames a direction loses: each independently, or in runs (Gilbert's two-state model). Reproducible from its seed.
#pragma once

#include <cstdint>

// SplitMix64 (Steele, Lea, Flood 2014): one 64-bit state, any seed is good.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  // In [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

 private:
  uint64_t state_;
};

class LossModel {
 public:
  explicit LossModel(uint64_t seed) : random_(seed) {}

  // `burst` is the mean length of a run of losses; 0: losses are independent. loss <= burst / (burst + 1), as the caller checks.
  void set(double loss, double burst) {
    loss_ = loss;
    burst_ = burst;
    if (burst == 0) bad_ = false;
  }

  // Decides over the next frame. The bad state loses every frame and is left with probability 1/burst; it is entered as often as keeps
  // the long-run share of lost frames at `loss`.
  bool loses() {
    if (loss_ == 0) return false;
    if (burst_ == 0) return random_.uniform() < loss_;
    double to_good = 1 / burst_;
    double to_bad = loss_ * to_good / (1 - loss_);
    bad_ = random_.uniform() < (bad_ ? 1 - to_good : to_bad);
    return bad_;
  }

 private:
  Random random_;
  double loss_ = 0;
  double burst_ = 0;
  bool bad_ = false;
};
