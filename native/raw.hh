// Raw sockets, one per family, that send whole IP packets as they are: through the host's own routes and filters, with a mark.
#pragma once

#include "batch.hh"

namespace causeway {

struct Raw final : Handle {
  static constexpr Kind kKind = Kind::Raw;
  Raw() : Handle(kKind) {}
  ~Raw() override;
  void close(napi_env env) override;

  int fd4 = -1;
  int fd6 = -1;  // -1 where the host does no IPv6
};

void exportRaw(napi_env env, napi_value exports);

}  // namespace causeway
