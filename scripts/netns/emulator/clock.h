// Time as the emulator counts it: nanoseconds of CLOCK_MONOTONIC.
#pragma once

#include <time.h>

#include <cstdint>
#include <limits>

using Nanos = int64_t;

constexpr Nanos kNever = std::numeric_limits<Nanos>::max();
constexpr Nanos kSecond = 1'000'000'000;
constexpr Nanos kMicrosecond = 1'000;

inline Nanos read_clock(clockid_t clock) {
  timespec time;
  clock_gettime(clock, &time);
  return time.tv_sec * kSecond + time.tv_nsec;
}

inline Nanos now() { return read_clock(CLOCK_MONOTONIC); }

// What to add to CLOCK_REALTIME, in which the kernel stamps frames. Measured for each batch, since that clock may be set.
inline Nanos realtime_to_monotonic() {
  Nanos before = now();
  Nanos real = read_clock(CLOCK_REALTIME);
  return before + (now() - before) / 2 - real;
}
