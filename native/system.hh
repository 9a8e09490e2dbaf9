// The host: clock, service manager, CPU.
#pragma once

#include "env.hh"

namespace causeway {

/** Exports now, notify, cpuHasAes. */
void exportSystem(napi_env env, napi_value exports);

}  // namespace causeway
