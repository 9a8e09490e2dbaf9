#include "system.hh"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include <cerrno>
#include <cstddef>
#include <cstring>

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace causeway {
namespace {

constexpr int kPeerGroups = 59;  // SO_PEERGROUPS, since Linux 4.13; glibc of Debian 12 hides it

bool hasAes() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#elif defined(__aarch64__)
  const unsigned long caps = getauxval(AT_HWCAP);
  return (caps & HWCAP_AES) != 0 && (caps & HWCAP_PMULL) != 0;
#else
  return false;
#endif
}

/** now() -> microseconds of CLOCK_BOOTTIME */
napi_value now(napi_env env, napi_callback_info) {
  timespec t;
  clock_gettime(CLOCK_BOOTTIME, &t);
  return makeDouble(env, static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec / 1000));
}

/** notify(path, state): one datagram to systemd's socket; '@' opens an abstract name (sd_notify(3)). Throws errno. */
napi_value notify(napi_env env, napi_callback_info info) {
  Args<2> args(env, info);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  char state[4096];
  if (!getString(env, args.value[0], address.sun_path, sizeof address.sun_path) || !getString(env, args.value[1], state, sizeof state)) return nullptr;
  const size_t length = strlen(address.sun_path);
  if (address.sun_path[0] == '@') address.sun_path[0] = 0;
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  const bool sent = fd >= 0 && sendto(fd, state, strlen(state), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&address), size) >= 0;
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (!sent) throwErrno(env, error, "sendto NOTIFY_SOCKET");
  return nullptr;
}

/** struct sched_attr of sched_setattr(2) in its first version, which glibc of Debian 12 doesn't declare. */
struct SchedAttr {
  uint32_t size;
  uint32_t policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime;  // ns; for SCHED_OTHER from Linux 6.12 on: the slice that the thread asks for
  uint64_t deadline;
  uint64_t period;
};

/**
 * setSlice(microseconds) -> whether the kernel took it, within its bounds, as the calling thread's scheduling slice; 0 for the usual one.
 * All else of its scheduling stays.
 */
napi_value setSlice(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  double micros = 0;
  if (napi_get_value_double(env, args.value[0], &micros) != napi_ok) return nullptr;
  SchedAttr attr = {};
  const bool sound = micros >= 0 && micros <= 1e6;  // a NaN is not
  if (!sound || syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) != 0) return makeBool(env, false);
  attr.size = sizeof attr;
  attr.runtime = static_cast<uint64_t>(micros * 1000);
  if (syscall(SYS_sched_setattr, 0, &attr, 0) != 0) return makeBool(env, false);
  // Older kernels take the call and leave the slice as it was; they also report none.
  return makeBool(env, syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) == 0 && attr.runtime != 0);
}

/** trim() -> whether the C library gave unused memory back to the kernel */
napi_value trim(napi_env env, napi_callback_info) {
#if defined(__GLIBC__)
  return makeBool(env, malloc_trim(0) == 1);
#else
  return makeBool(env, false);
#endif
}

/** peerCredentials(fd) -> [user, group, …groups] of the process at the other end of a UNIX socket. Throws errno. */
napi_value peerCredentials(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  int32_t fd = -1;
  if (!getInt(env, args.value[0], &fd)) return nullptr;
  ucred peer = {};
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    throwErrno(env, errno, "getsockopt SO_PEERCRED");
    return nullptr;
  }
  gid_t groups[1024];
  size = sizeof groups;
  const bool known = getsockopt(fd, SOL_SOCKET, kPeerGroups, groups, &size) == 0;
  const uint32_t count = known ? static_cast<uint32_t>(size / sizeof groups[0]) : 0;
  napi_value result = nullptr;
  napi_create_array_with_length(env, count + 2, &result);
  napi_set_element(env, result, 0, makeDouble(env, peer.uid));
  napi_set_element(env, result, 1, makeDouble(env, peer.gid));
  for (uint32_t i = 0; i < count; i++) napi_set_element(env, result, i + 2, makeDouble(env, groups[i]));
  return result;
}

napi_value cpuHasAes(napi_env env, napi_callback_info) { return makeBool(env, hasAes()); }

}  // namespace

void exportSystem(napi_env env, napi_value exports) {
  setFunction(env, exports, "now", now);
  setFunction(env, exports, "notify", notify);
  setFunction(env, exports, "setSlice", setSlice);
  setFunction(env, exports, "trim", trim);
  setFunction(env, exports, "peerCredentials", peerCredentials);
  setFunction(env, exports, "cpuHasAes", cpuHasAes);
}

}  // namespace causeway
