// An AF_PACKET socket on one interface: frames in batches, each with the time at which the kernel took it in.
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>
#include <string>

#include "clock.h"
#include "direction.h"

// Each frame comes and goes with a struct virtio_net_hdr before it (10 bytes; the kernel's own header of it isn't C++): a checksum that the sender's stack left to the device stays left, exactly as on a plain
// veth pair, and the receiver trusts it.
constexpr uint32_t kHeader = 10;
constexpr size_t kBatch = 64;

inline std::runtime_error system_error(const std::string& what) { return std::runtime_error(what + ": " + strerror(errno)); }

class Port {
 public:
  explicit Port(const std::string& interface) {
    fd_ = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd_ < 0) throw system_error("packet socket");
    try {
      open_on(interface);
    } catch (...) {
      close(fd_);
      throw;
    }
  }
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;
  ~Port() { close(fd_); }

  int fd() const { return fd_; }
  uint32_t mtu() const { return mtu_; }

  // Gives a batch of waiting frames to `direction`. A full batch may have left more.
  void receive(Direction& direction);

  // Sends what `direction` has due by `time`, a batch at most.
  void send_due(Direction& direction, Nanos time);

  // Frames that didn't fit the socket's buffer since the last call. The kernel forgets them on reading.
  uint64_t overrun() {
    tpacket_stats stats{};
    socklen_t size = sizeof stats;
    return getsockopt(fd_, SOL_PACKET, PACKET_STATISTICS, &stats, &size) == 0 ? stats.tp_drops : 0;
  }

  // An error (the interface went down) is reported until it is read.
  void clear_error() {
    int error;
    socklen_t size = sizeof error;
    getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
  }

 private:
  void open_on(const std::string& interface) {
    ifreq request{};
    strncpy(request.ifr_name, interface.c_str(), IFNAMSIZ - 1);
    if (ioctl(fd_, SIOCGIFMTU, &request) != 0) throw system_error(interface);
    mtu_ = static_cast<uint32_t>(request.ifr_mtu);
    option(SOL_PACKET, PACKET_VNET_HDR, 1);
    option(SOL_PACKET, PACKET_QDISC_BYPASS, 1);
    option(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
    option(SOL_SOCKET, SO_TIMESTAMPNS, 1);
    option(SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20);
    option(SOL_SOCKET, SO_SNDBUFFORCE, 4 << 20);
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
    if (bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) throw system_error(interface);
  }

  void option(int level, int name, int value) {
    if (setsockopt(fd_, level, name, &value, sizeof value) != 0) throw system_error("packet socket option");
  }

  int fd_;
  uint32_t mtu_ = 0;
};

// CLOCK_MONOTONIC of the frame's arrival; `time` where the kernel gave none that makes sense.
inline Nanos arrival_of(msghdr& message, Nanos offset, Nanos time) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_TIMESTAMPNS) continue;
    timespec stamp;
    memcpy(&stamp, CMSG_DATA(part), sizeof stamp);
    Nanos arrival = stamp.tv_sec * kSecond + stamp.tv_nsec + offset;
    return arrival > time || arrival < time - kSecond ? time : arrival;
  }
  return time;
}

inline void Port::receive(Direction& direction) {
  static uint8_t control[kBatch][CMSG_SPACE(sizeof(timespec)) + 64];
  mmsghdr messages[kBatch]{};
  iovec vectors[kBatch];
  size_t room = 0;
  for (; room < kBatch; room++) {
    uint8_t* buffer = direction.pool.take();
    if (buffer == nullptr) break;
    vectors[room] = {buffer, direction.pool.size()};
    messages[room].msg_hdr.msg_iov = &vectors[room];
    messages[room].msg_hdr.msg_iovlen = 1;
    messages[room].msg_hdr.msg_control = control[room];
    messages[room].msg_hdr.msg_controllen = sizeof control[room];
  }
  if (room == 0) {  // no memory left for this direction: the frame is lost
    uint8_t nowhere[1];
    if (recv(fd_, nowhere, sizeof nowhere, MSG_TRUNC) >= 0) direction.counters.received++, direction.counters.failed++;
    return;
  }
  int count = recvmmsg(fd_, messages, static_cast<unsigned>(room), MSG_DONTWAIT, nullptr);
  if (count < 0) clear_error();
  Nanos offset = realtime_to_monotonic();
  Nanos time = now();
  for (size_t i = 0; i < room; i++) {
    auto* buffer = static_cast<uint8_t*>(vectors[i].iov_base);
    bool kept = false;
    if (static_cast<int>(i) < count) {
      uint32_t length = messages[i].msg_len;
      if ((messages[i].msg_hdr.msg_flags & MSG_TRUNC) != 0 || length <= kHeader) {
        direction.counters.received++;
        direction.counters.failed++;
      } else {
        kept = direction.accept(buffer, length, arrival_of(messages[i].msg_hdr, offset, time));
      }
    }
    if (!kept) direction.pool.give_back(buffer);
  }
}

inline void Port::send_due(Direction& direction, Nanos time) {
  mmsghdr messages[kBatch]{};
  iovec vectors[kBatch];
  size_t count = 0;
  for (const HeldFrame& frame : direction.held()) {
    if (count == kBatch || frame.due > time) break;
    vectors[count] = {frame.buffer, frame.length};
    messages[count].msg_hdr.msg_iov = &vectors[count];
    messages[count].msg_hdr.msg_iovlen = 1;
    count++;
  }
  if (count == 0) return;
  int sent = sendmmsg(fd_, messages, static_cast<unsigned>(count), MSG_DONTWAIT);
  // The frame at which it stopped can't be sent (the interface is down, …) and goes with those before it; the rest is tried again.
  if (sent <= 0) {
    direction.release(1, 0, time);
  } else {
    direction.release(static_cast<size_t>(sent), static_cast<size_t>(sent), time);
  }
}
