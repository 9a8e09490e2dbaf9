// The host: clock, service manager, scheduler, CPU.
#pragma once

#include "env.hh"

namespace causeway {

/** Exports now, notify, setSlice, cpuHasAes. */
void exportSystem(napi_env env, napi_value exports);

}  // namespace causeway
