// Wakes JavaScript when an interface of this host, or an address of one, comes, goes or changes its state. It only says that something did:
// messages are read and dropped.
#include "watch.hh"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>

#include "env.hh"
#include "poller.hh"

namespace causeway {
namespace {

struct Watch final : Polled {
  static constexpr Kind kKind = Kind::Watch;
  Watch() : Polled(kKind) {}
};

const char* open(Watch* watch) {
  watch->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (watch->fd < 0) return "socket NETLINK_ROUTE";
  sockaddr_nl address = {};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
  return bind(watch->fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 ? nullptr : "bind NETLINK_ROUTE";
}

/** watchOpen(callback) -> handle */
napi_value watchOpen(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  auto* watch = new Watch();
  const char* failed = open(watch);
  if (failed == nullptr) failed = watch->watch(env);
  if (failed != nullptr) {
    throwErrno(env, errno, failed);
    delete watch;
    return nullptr;
  }
  // The kernel says ENOBUFS where it had to drop messages: there was news all the same.
  watch->poller->resumeAfterError(true);
  watch->poller->onReadable(env, args.value[0]);
  watch->poller->keepAlive(false);
  return Handle::wrap(env, watch);
}

/** watchDrain(handle): takes off what has come so far. */
napi_value watchDrain(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  auto* watch = getHandle<Watch>(env, args.value[0]);
  if (watch == nullptr || watch->fd < 0) return nullptr;
  char message[1];
  constexpr int kMost = 4096;
  for (int n = 0; n < kMost; n++) {
    if (recv(watch->fd, message, sizeof message, MSG_DONTWAIT | MSG_TRUNC) < 0 && errno != ENOBUFS && errno != EINTR) break;
  }
  return nullptr;
}

}  // namespace

void exportWatch(napi_env env, napi_value exports) {
  setFunction(env, exports, "watchOpen", watchOpen);
  setFunction(env, exports, "watchDrain", watchDrain);
  setFunction(env, exports, "watchClose", closeHandle<Watch>);
}

}  // namespace causeway
