// Measures a path's one-way delays, losses and rate, with both ends on this machine and so on one clock. The sender writes the time into
// each datagram; the receiver takes the kernel's time of arrival, so that neither has to be scheduled in time for the figures to be right.
//
//   link-probe receive PORT IDLE_MS                            prints "SEQUENCE SENT_NS ARRIVED_NS" a datagram, until none came for IDLE_MS
//   link-probe send ADDRESS PORT COUNT INTERVAL_US PAYLOAD     INTERVAL_US 0: as fast as it can
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "clock.h"

namespace {

struct Stamp {
  uint64_t sequence;
  Nanos sent;
};

[[noreturn]] void fail(const char* what) {
  perror(what);
  exit(1);
}

int receive(uint16_t port, int idle_ms) {
  int fd = socket(AF_INET6, SOCK_DGRAM, 0);
  if (fd < 0) fail("socket");
  int on = 1, off = 0, room = 32 << 20;
  setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fail("bind");
  fprintf(stderr, "ready\n");
  pollfd wait{fd, POLLIN, 0};
  while (poll(&wait, 1, idle_ms) > 0) {
    Stamp stamp;
    alignas(cmsghdr) char control[256];
    iovec vector{&stamp, sizeof stamp};
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    if (recvmsg(fd, &message, 0) < static_cast<ssize_t>(sizeof stamp)) continue;
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
      if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_TIMESTAMPNS) continue;
      timespec arrived;
      memcpy(&arrived, CMSG_DATA(part), sizeof arrived);
      printf("%llu %lld %lld\n", static_cast<unsigned long long>(stamp.sequence), static_cast<long long>(stamp.sent),
             static_cast<long long>(arrived.tv_sec * kSecond + arrived.tv_nsec));
    }
  }
  return 0;
}

int send_all(const char* host, uint16_t port, uint64_t count, Nanos interval, size_t payload) {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  bool is_v6 = strchr(host, ':') != nullptr;
  if (inet_pton(AF_INET6, (is_v6 ? std::string(host) : std::string("::ffff:") + host).c_str(), &address.sin6_addr) != 1) fail(host);
  int fd = socket(AF_INET6, SOCK_DGRAM, 0);
  if (fd < 0 || connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fail("connect");
  std::vector<char> datagram(payload < sizeof(Stamp) ? sizeof(Stamp) : payload);
  prctl(PR_SET_TIMERSLACK, 1);
  Nanos next = now();
  for (uint64_t sequence = 0; sequence < count; sequence++) {
    if (interval > 0) {
      next = std::max(next + interval, now());  // late: no burst to catch up, it would queue
      timespec at{static_cast<time_t>(next / kSecond), static_cast<long>(next % kSecond)};
      clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr);
    }
    Stamp stamp{sequence, read_clock(CLOCK_REALTIME)};
    memcpy(datagram.data(), &stamp, sizeof stamp);
    send(fd, datagram.data(), datagram.size(), 0);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::string verb = argc > 1 ? argv[1] : "";
  if (verb == "receive" && argc == 4) return receive(static_cast<uint16_t>(atoi(argv[2])), atoi(argv[3]));
  if (verb == "send" && argc == 7)
    return send_all(argv[2], static_cast<uint16_t>(atoi(argv[3])), strtoull(argv[4], nullptr, 10), atoll(argv[5]) * kMicrosecond,
                    strtoull(argv[6], nullptr, 10));
  fprintf(stderr, "usage: link-probe receive PORT IDLE_MS | send ADDRESS PORT COUNT INTERVAL_US PAYLOAD\n");
  return 2;
}
