// Packets' heads and who sends them, as nftables' `log group` tells a netlink socket (NFLOG).
#pragma once

#include "env.hh"

namespace causeway {

/** Exports senderLogOpen, senderLogRead, senderLogClose. */
void exportSenderLog(napi_env env, napi_value exports);

}  // namespace causeway
