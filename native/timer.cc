#include "timer.hh"

#include <sys/timerfd.h>

#include <cerrno>

#include "poller.hh"

namespace causeway {
namespace {

struct Timer final : Polled {
  static constexpr Kind kKind = Kind::Timer;
  Timer() : Polled(kKind) {}
};

/** timerOpen(callback) -> handle */
napi_value timerOpen(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  auto* timer = new Timer();
  timer->fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
  const char* failed = timer->fd < 0 ? "timerfd_create" : nullptr;
  if (failed == nullptr) failed = timer->watch(env);
  if (failed != nullptr) {
    throwErrno(env, errno, failed);
    delete timer;
    return nullptr;
  }
  timer->poller->drainCounter(true);
  timer->poller->onReadable(env, args.value[0]);
  timer->poller->keepAlive(false);
  return Handle::wrap(env, timer);
}

/** timerArm(handle, microseconds): negative disarms, 0 is as soon as possible. */
napi_value timerArm(napi_env env, napi_callback_info info) {
  Args<2> args(env, info);
  auto* timer = getHandle<Timer>(env, args.value[0]);
  double micros = 0;
  if (timer == nullptr || !getDouble(env, args.value[1], &micros) || timer->fd < 0) return nullptr;
  itimerspec spec = {};
  constexpr double kMost = 1e15;  // 30 years; also catches infinity
  const bool armed = micros >= 0;  // not NaN
  if (armed) {
    const auto nanos = static_cast<int64_t>((micros < kMost ? micros : kMost) * 1000.0);
    spec.it_value.tv_sec = static_cast<time_t>(nanos / 1000000000);
    spec.it_value.tv_nsec = nanos > 0 ? static_cast<long>(nanos % 1000000000) : 1;  // all zero would disarm
  }
  timerfd_settime(timer->fd, 0, &spec, nullptr);
  timer->poller->keepAlive(armed);
  return nullptr;
}

}  // namespace

void exportTimer(napi_env env, napi_value exports) {
  setFunction(env, exports, "timerOpen", timerOpen);
  setFunction(env, exports, "timerArm", timerArm);
  setFunction(env, exports, "timerClose", closeHandle<Timer>);
}

}  // namespace causeway
