#include "raw.hh"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "packet.hh"

namespace causeway {

namespace {

constexpr int kIpv6HeaderIncluded = 36;  // IPV6_HDRINCL (linux/in6.h, since 4.5); glibc's headers lack it
constexpr int32_t kRefused = 0, kSent = 1, kTooBig = 2;

bool set(int fd, int level, int option, int value) { return setsockopt(fd, level, option, &value, sizeof value) == 0; }

/** A socket that sends packets as they are, header and all; -1 with errno. */
int openFamily(int family, int mark) {
  const int fd = socket(family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_RAW);
  if (fd < 0) return fd;
  const bool ready = (family == AF_INET || set(fd, IPPROTO_IPV6, kIpv6HeaderIncluded, 1)) && set(fd, SOL_SOCKET, SO_MARK, mark);
  if (ready) {
    set(fd, SOL_SOCKET, SO_BROADCAST, 1);
    // Packets leave as they are: a path's narrowness, which the sender knows by itself, is no reason to refuse them here.
    if (family == AF_INET) set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_INTERFACE);
    return fd;
  }
  const int error = errno;
  ::close(fd);
  errno = error;
  return -1;
}

socklen_t destination(const uint8_t* ip, bool six, sockaddr_storage* to) {
  memset(to, 0, sizeof *to);
  if (!six) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(to);
    v4->sin_family = AF_INET;
    memcpy(&v4->sin_addr, ip + 16, 4);
    return sizeof *v4;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(to);
  v6->sin6_family = AF_INET6;
  memcpy(&v6->sin6_addr, ip + 24, 16);
  return sizeof *v6;
}

int32_t sendPacket(const Raw& raw, uint8_t* ip, int length, bool partial) {
  const bool six = ip[0] >> 4 == 6;
  const int fd = six ? raw.fd6 : raw.fd4;
  if (fd < 0 || length < (six ? 40 : 20) || (!six && ip[0] >> 4 != 4)) return kRefused;
  if (partial && !completeLocated(ip, length)) return kRefused;
  sockaddr_storage to;
  const socklen_t size = destination(ip, six, &to);
  ssize_t sent;
  do {
    sent = sendto(fd, ip, static_cast<size_t>(length), MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&to), size);
  } while (sent < 0 && errno == EINTR);
  return sent >= 0 ? kSent : errno == EMSGSIZE ? kTooBig : kRefused;
}

/** rawOpen(mark) -> handle */
napi_value rawOpen(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  int32_t mark = 0;
  if (!getInt(env, args.value[0], &mark)) return nullptr;
  auto* raw = new Raw();
  raw->fd4 = openFamily(AF_INET, mark);
  if (raw->fd4 < 0) {
    throwErrno(env, errno, "socket SOCK_RAW");
    delete raw;
    return nullptr;
  }
  raw->fd6 = openFamily(AF_INET6, mark);  // a host may do without IPv6
  return Handle::wrap(env, raw);
}

/** rawSend(handle, bytes, table, order, n) -> packets sent; sets their status */
napi_value rawSend(napi_env env, napi_callback_info info) {
  Args<5> args(env, info);
  auto* raw = getHandle<Raw>(env, args.value[0]);
  Batch batch;
  Order order;
  if (raw == nullptr || !getBatch(env, args.value[1], args.value[2], &batch)) return nullptr;
  if (!getOrder(env, args.value[3], args.value[4], batch, &order)) return nullptr;
  int sent = 0;
  for (int k = 0; k < order.count; k++) {
    const int row = order.index[k];
    int32_t length = 0;
    uint8_t* ip = batch.bytesAt(row, &length);
    const bool partial = (batch.cell(kFlags, row) & kPacketPartial) != 0;
    const int32_t status = ip == nullptr ? kRefused : sendPacket(*raw, ip, length, partial);
    batch.cell(kStatus, row) = status;
    if (status == kSent) sent++;
    // Whatever became of it, its checksum is whole.
    if (partial) batch.cell(kFlags, row) &= ~kPacketPartial;
  }
  return makeInt(env, sent);
}

}  // namespace

Raw::~Raw() { close(nullptr); }

void Raw::close(napi_env) {
  int* const fds[] = {&fd4, &fd6};
  for (int* fd : fds) {
    if (*fd >= 0) ::close(*fd);
    *fd = -1;
  }
}

void exportRaw(napi_env env, napi_value exports) {
  setFunction(env, exports, "rawOpen", rawOpen);
  setFunction(env, exports, "rawSend", rawSend);
  setFunction(env, exports, "rawClose", closeHandle<Raw>);
}

}  // namespace causeway
