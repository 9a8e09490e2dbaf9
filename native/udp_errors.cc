// What went wrong on the way to peers: datagrams that this host had no way for, noted by the sender, and what ICMP said, which
// the kernel keeps in the socket's error queue (IP_RECVERR). Rows wait here until they are taken; one endpoint has one row of a kind.
#include <time.h>

#include <linux/errqueue.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "udp.hh"

namespace causeway {

void Udp::noteTrouble(const uint32_t* address, uint32_t port, Origin origin) {
  for (int i = 0; i < troubleCount; i++) {
    const Trouble& t = troubles[i];
    if (t.origin == origin && t.port == port && memcmp(t.address, address, sizeof t.address) == 0) return;
  }
  if (troubleCount == kTroubles) return;
  Trouble& t = troubles[troubleCount++];
  memcpy(t.address, address, sizeof t.address);
  t.port = port;
  t.origin = origin;
}

namespace {

/** Whether ICMP says that the datagram's destination can't be reached, and not only that the datagram was too big. */
bool isUnreachable(const sock_extended_err& error) {
  if (error.ee_origin == SO_EE_ORIGIN_ICMP) return error.ee_type == ICMP_DEST_UNREACH && error.ee_code != ICMP_FRAG_NEEDED;
  return error.ee_origin == SO_EE_ORIGIN_ICMP6 && error.ee_type == ICMP6_DST_UNREACH;
}

/** The endpoint that a datagram was sent to. */
void note(Udp* udp, const sockaddr_in6& to) {
  uint32_t address[4];
  uint32_t port;
  if (to.sin6_family == AF_INET) {
    sockaddr_in v4;
    memcpy(&v4, &to, sizeof v4);
    address[0] = address[1] = 0;
    address[2] = htonl(0xffff);
    address[3] = v4.sin_addr.s_addr;
    port = ntohs(v4.sin_port);
  } else {
    memcpy(address, &to.sin6_addr, sizeof address);
    port = ntohs(to.sin6_port);
  }
  udp->noteTrouble(address, port, Udp::Origin::Network);
}

/** One entry of the error queue; false when there is none. */
bool drainOne(Udp* udp) {
  sockaddr_in6 to = {};
  alignas(8) uint8_t control[512];
  uint8_t head[1];
  iovec vector = {head, sizeof head};
  msghdr message = {&to, sizeof to, &vector, 1, control, sizeof control, 0};
  if (recvmsg(udp->fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return errno == EINTR;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    const bool v4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR;
    const bool v6 = c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR;
    sock_extended_err error;
    if (!v4 && !v6) continue;
    memcpy(&error, CMSG_DATA(c), sizeof error);
    if (isUnreachable(error)) note(udp, to);
  }
  return true;
}

}  // namespace

void drainErrors(Udp* udp) {
  constexpr int kMost = 256;  // what comes meanwhile wakes the reader again
  for (int n = 0; n < kMost && drainOne(udp); n++) {
  }
}

/** udpTroubles(handle, words) -> rows written, TROUBLE_WORDS each; they are forgotten here */
napi_value udpTroubles(napi_env env, napi_callback_info info) {
  Args<2> args(env, info);
  auto* udp = getHandle<Udp>(env, args.value[0]);
  Span<uint32_t> words;
  if (udp == nullptr || !getWords(env, args.value[1], &words)) return nullptr;
  const auto room = words.length / kTroubleWords;
  const int count = room < static_cast<size_t>(udp->troubleCount) ? static_cast<int>(room) : udp->troubleCount;
  for (int i = 0; i < count; i++) {
    const Udp::Trouble& t = udp->troubles[i];
    uint32_t* row = words.data + static_cast<size_t>(i) * kTroubleWords;
    memcpy(row, t.address, sizeof t.address);
    row[4] = t.port;
    row[5] = static_cast<uint32_t>(t.origin);
  }
  udp->troubleCount = 0;
  return makeInt(env, count);
}

/** udpSource(handle, endpoints, slot, words) -> whether this host has a way to the slot's endpoint; then `words` has the address it would send from */
napi_value udpSource(napi_env env, napi_callback_info info) {
  Args<4> args(env, info);
  auto* udp = getHandle<Udp>(env, args.value[0]);
  Span<uint32_t> endpoints, words;
  int32_t slot = 0;
  if (udp == nullptr || !getWords(env, args.value[1], &endpoints) || !getInt(env, args.value[2], &slot) || !getWords(env, args.value[3], &words)) return nullptr;
  if (slot < 0 || (static_cast<size_t>(slot) + 1) * kEndpointWords > endpoints.length || words.length < 4) {
    throwCode(env, "ERANGE", "no such slot, or no room for an address");
    return nullptr;
  }
  if (udp->fd < 0) return makeBool(env, false);
  const Endpoint& endpoint = reinterpret_cast<const Endpoint*>(endpoints.data)[slot];
  sockaddr_in6 address = {};
  const socklen_t size = writeAddress(*udp, endpoint, &address);
  const int fd = socket(udp->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return makeBool(env, false);
  if (udp->mark != 0) setsockopt(fd, SOL_SOCKET, SO_MARK, &udp->mark, sizeof udp->mark);
  const bool reached = connect(fd, reinterpret_cast<sockaddr*>(&address), size) == 0;
  sockaddr_in6 own = {};
  socklen_t ownSize = sizeof own;
  const bool known = reached && getsockname(fd, reinterpret_cast<sockaddr*>(&own), &ownSize) == 0;
  ::close(fd);
  if (known) {
    Endpoint from = {};
    readAddress(own, &from);
    memcpy(words.data, from.address, sizeof from.address);
  }
  return makeBool(env, known);
}

}  // namespace causeway
