#include "udp.hh"

#include <arpa/inet.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace causeway {

Udp::Udp() : Polled(kKind), scratch(new UdpScratch()) {}

Udp::~Udp() { delete scratch; }

namespace {

struct Options {
  char host[64];
  int32_t port;
  int32_t mark;
  int32_t receiveBuffer;
  int32_t sendBuffer;
  bool gso;
  bool gro;
};

bool set(int fd, int level, int option, int value) { return setsockopt(fd, level, option, &value, sizeof value) == 0; }

int get(int fd, int option) {
  int value = 0;
  socklen_t size = sizeof value;
  return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 ? value : 0;
}

void setBuffer(int fd, int forced, int polite, int32_t bytes) {
  if (bytes > 0 && !set(fd, SOL_SOCKET, forced, bytes)) set(fd, SOL_SOCKET, polite, bytes);
}

/** The address to bind, in `family`; 0 bytes if the host isn't an address of it. */
socklen_t bindAddress(int family, const Options& options, sockaddr_storage* out) {
  memset(out, 0, sizeof *out);
  const bool any = strcmp(options.host, "::") == 0;
  if (family == AF_INET) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(out);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(static_cast<uint16_t>(options.port));
    if (any || inet_pton(AF_INET, options.host, &v4->sin_addr) == 1) return sizeof *v4;
    return 0;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(out);
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(static_cast<uint16_t>(options.port));
  return inet_pton(AF_INET6, options.host, &v6->sin6_addr) == 1 ? sizeof *v6 : 0;
}

/**
 * PROBE: with DF, past what the kernel believes of the path. DONT: without; a datagram too big for the path is fragmented, by us or on the way, so
 * that nothing is lost to a path that shrank until that is noticed.
 */
bool keepWhole(Udp* udp, bool on) {
  udp->whole = on;
  const bool v4 = set(udp->fd, IPPROTO_IP, IP_MTU_DISCOVER, on ? IP_PMTUDISC_PROBE : IP_PMTUDISC_DONT);
  if (udp->family == AF_INET) return v4;
  return set(udp->fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, on ? IPV6_PMTUDISC_PROBE : IPV6_PMTUDISC_DONT) && v4;
}

/** What the kernel may refuse without harm, and whether it did. */
void setFeatures(Udp* udp, const Options& options) {
  const int fd = udp->fd;
  setBuffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, options.receiveBuffer);
  setBuffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, options.sendBuffer);
  udp->gso = options.gso && set(fd, IPPROTO_UDP, UDP_SEGMENT, 0);
  udp->gro = options.gro && set(fd, IPPROTO_UDP, UDP_GRO, 1);
  keepWhole(udp, false);
  set(fd, IPPROTO_IP, IP_RECVTOS, 1);
  set(fd, IPPROTO_IP, IP_RECVERR, 1);
  if (udp->family == AF_INET) {
    udp->pktinfo = set(fd, IPPROTO_IP, IP_PKTINFO, 1);
    return;
  }
  set(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
  set(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
  udp->pktinfo = set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
}

/** Opens and binds in one family; returns the failing call's name with errno set, or nullptr. */
const char* openIn(int family, Udp* udp, const Options& options) {
  sockaddr_storage address;
  const socklen_t size = bindAddress(family, options, &address);
  if (size == 0) {
    errno = EINVAL;
    return "inet_pton";
  }
  udp->family = family;
  udp->fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (udp->fd < 0) return "socket";
  if (family == AF_INET6) set(udp->fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  if (options.mark != 0 && !set(udp->fd, SOL_SOCKET, SO_MARK, options.mark)) return "setsockopt SO_MARK";
  setFeatures(udp, options);
  if (bind(udp->fd, reinterpret_cast<sockaddr*>(&address), size) != 0) return "bind";
  return nullptr;
}

const char* openSocket(Udp* udp, const Options& options) {
  const bool v6 = strchr(options.host, ':') != nullptr;
  const char* failed = openIn(v6 ? AF_INET6 : AF_INET, udp, options);
  const bool noV6 = errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL;
  if (failed == nullptr || !noV6 || strcmp(options.host, "::") != 0) return failed;
  if (udp->fd >= 0) ::close(udp->fd);
  return openIn(AF_INET, udp, options);
}

int boundPort(int fd) {
  sockaddr_in6 address = {};
  socklen_t size = sizeof address;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin6_port);  // the port lies at the same place in both families
}

bool readOptions(napi_env env, const Args<8>& args, Options* options, int32_t* slots) {
  if (!getString(env, args.value[0], options->host, sizeof options->host) || !getInt(env, args.value[1], &options->port) ||
      !getInt(env, args.value[2], &options->mark) || !getInt(env, args.value[3], slots) ||
      !getInt(env, args.value[4], &options->receiveBuffer) || !getInt(env, args.value[5], &options->sendBuffer)) {
    return false;
  }
  napi_get_value_bool(env, args.value[6], &options->gso);
  napi_get_value_bool(env, args.value[7], &options->gro);
  if (options->port >= 0 && options->port <= 65535 && *slots >= 0 && *slots <= 1 << 20) return true;
  throwCode(env, "ERANGE", "port or slots out of range");
  return false;
}

/** udpOpen(host, port, mark, slots, receiveBuffer, sendBuffer, gso, gro) -> {handle, port, gso, gro, pktinfo, receiveBuffer, sendBuffer} */
napi_value udpOpen(napi_env env, napi_callback_info info) {
  Args<8> args(env, info);
  Options options = {};
  int32_t slots = 0;
  if (!readOptions(env, args, &options, &slots)) return nullptr;
  auto* udp = new Udp();
  udp->slots = slots;
  udp->mark = options.mark;
  udp->withoutGso.resize(static_cast<size_t>(slots));
  const char* failed = openSocket(udp, options);
  if (failed == nullptr) failed = udp->watch(env);
  if (failed != nullptr) {
    throwErrno(env, errno, failed);
    delete udp;
    return nullptr;
  }
  udp->poller->resumeAfterError(true);
  napi_value result = nullptr;
  napi_create_object(env, &result);
  setProperty(env, result, "port", makeInt(env, boundPort(udp->fd)));
  setProperty(env, result, "gso", makeBool(env, udp->gso));
  setProperty(env, result, "gro", makeBool(env, udp->gro));
  setProperty(env, result, "pktinfo", makeBool(env, udp->pktinfo));
  // The kernel doubles what it was asked for, to pay for its own overhead (socket(7)).
  setProperty(env, result, "receiveBuffer", makeInt(env, get(udp->fd, SO_RCVBUF) / 2));
  setProperty(env, result, "sendBuffer", makeInt(env, get(udp->fd, SO_SNDBUF) / 2));
  setProperty(env, result, "handle", Handle::wrap(env, udp));
  return result;
}

/** udpRead(handle, bytes, table, endpoints, messages) -> packets */
napi_value udpRead(napi_env env, napi_callback_info info) {
  Args<5> args(env, info);
  auto* udp = getHandle<Udp>(env, args.value[0]);
  Batch batch;
  Span<uint32_t> endpoints;
  if (udp == nullptr || !getBatch(env, args.value[1], args.value[2], &batch) || !getWords(env, args.value[3], &endpoints)) return nullptr;
  if (udp->fd < 0) return makeInt(env, 0);
  if (udp->poller != nullptr && udp->poller->takeError()) drainErrors(udp);
  int32_t most = 0;
  if (!getInt(env, args.value[4], &most)) return nullptr;
  const size_t room = endpoints.length / kEndpointWords;
  if (room < static_cast<size_t>(most)) most = static_cast<int32_t>(room);
  return makeInt(env, receive(udp, batch, reinterpret_cast<Endpoint*>(endpoints.data), most));
}

/** udpSend(handle, bytes, table, order, n, endpoints) -> packets dealt with */
napi_value udpSend(napi_env env, napi_callback_info info) {
  Args<6> args(env, info);
  auto* udp = getHandle<Udp>(env, args.value[0]);
  Batch batch;
  Order order;
  Span<uint32_t> endpoints;
  if (udp == nullptr || !getBatch(env, args.value[1], args.value[2], &batch)) return nullptr;
  if (!getOrder(env, args.value[3], args.value[4], batch, &order) || !getWords(env, args.value[5], &endpoints)) return nullptr;
  if (endpoints.length < static_cast<size_t>(udp->slots) * kEndpointWords) {
    throwCode(env, "ERANGE", "fewer endpoints than slots");
    return nullptr;
  }
  if (udp->fd < 0) return makeInt(env, order.count);
  return makeInt(env, send(udp, batch, order, reinterpret_cast<Endpoint*>(endpoints.data)));
}

/** udpKeepWhole(handle, on) -> whether datagrams bear DF from here on, or no longer. */
napi_value udpKeepWhole(napi_env env, napi_callback_info info) {
  Args<2> args(env, info);
  auto* udp = getHandle<Udp>(env, args.value[0]);
  bool on = false;
  napi_get_value_bool(env, args.value[1], &on);
  return makeBool(env, udp != nullptr && udp->fd >= 0 && keepWhole(udp, on));
}

/** udpErrors(handle) -> errors so far */
napi_value udpErrors(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  auto* udp = getHandle<Udp>(env, args.value[0]);
  return udp == nullptr ? nullptr : makeDouble(env, static_cast<double>(udp->errors));
}

/** udpLastError(handle) -> errno name or "" */
napi_value udpLastError(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  auto* udp = getHandle<Udp>(env, args.value[0]);
  return udp == nullptr ? nullptr : makeString(env, udp->lastError == 0 ? "" : errorName(udp->lastError));
}

napi_value udpOnWritable(napi_env env, napi_callback_info info) {
  Args<2> args(env, info);
  auto* udp = getHandle<Udp>(env, args.value[0]);
  if (udp != nullptr && udp->poller != nullptr) udp->poller->onWritable(env, args.value[1]);
  return nullptr;
}

}  // namespace

void exportUdp(napi_env env, napi_value exports) {
  setFunction(env, exports, "udpOpen", udpOpen);
  setFunction(env, exports, "udpRead", udpRead);
  setFunction(env, exports, "udpSend", udpSend);
  setFunction(env, exports, "udpKeepWhole", udpKeepWhole);
  setFunction(env, exports, "udpErrors", udpErrors);
  setFunction(env, exports, "udpLastError", udpLastError);
  setFunction(env, exports, "udpTroubles", udpTroubles);
  setFunction(env, exports, "udpSource", udpSource);
  setFunction(env, exports, "udpOnReadable", onReadable<Udp>);
  setFunction(env, exports, "udpPause", pause<Udp>);
  setFunction(env, exports, "udpOnWritable", udpOnWritable);
  setFunction(env, exports, "udpClose", closeHandle<Udp>);
}

}  // namespace causeway
