// A one-shot timer of microsecond resolution (timerfd) on the loading thread's event loop.
#pragma once

#include "env.hh"

namespace causeway {

/** Exports timerOpen, timerArm, timerClose. */
void exportTimer(napi_env env, napi_value exports);

}  // namespace causeway
