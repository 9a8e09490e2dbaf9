// The TUN device: a logical router's interface, read and written in batches.
#pragma once

#include "env.hh"

namespace causeway {

/** Exports tunOpen, tunRead, tunWrite, tunOnReadable, tunPause, tunClose and coalesce. */
void exportTun(napi_env env, napi_value exports);

}  // namespace causeway
