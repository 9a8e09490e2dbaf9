// News of this host's interfaces and addresses.
#pragma once

#include <node_api.h>

namespace causeway {

/** Exports watchOpen, watchDrain, watchClose. */
void exportWatch(napi_env env, napi_value exports);

}  // namespace causeway
