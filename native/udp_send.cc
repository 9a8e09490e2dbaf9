// Path of datagrams out:
//   1. gather: consecutive ones of one slot, class and length become one message, contiguous ones one vector of it
//   2. sendmmsg
//   3. a coalesced message that the kernel refuses for its size goes out again one datagram at a time; IP fragments those
//   4. anything else refused is counted and skipped; a full buffer ends the call
// With IP_RECVERR the first call after an ICMP error fails with that error, whatever its destination: it is tried again before it counts.
#include <cerrno>
#include <cstring>

#include "udp.hh"

namespace causeway {
namespace {

constexpr int kMaxSegments = 64;
constexpr uint16_t kHoldMessages = 256;
/** How often a call may fail with errors that were pending before it counts as its own. */
constexpr int kPendingErrors = 3;

void countError(Udp* udp, int error) {
  if (udp->whole && error == EMSGSIZE) return;
  udp->errors++;
  udp->lastError = error;
}

bool isMapped(const uint32_t* words) { return words[0] == 0 && words[1] == 0 && words[2] == htonl(0xffff); }
bool isZero(const uint32_t* words) { return (words[0] | words[1] | words[2] | words[3]) == 0; }
/** What kernels answer (Linux 6 differently from 5) when the source address asked for is not this host's. */
bool mayMeanLostAddress(int error) { return error == EINVAL || error == EADDRNOTAVAIL || error == ENETUNREACH || error == ENODEV; }
/** What says that this host has no way to the destination. */
bool meansNoWay(int error) {
  return error == ENETUNREACH || error == EHOSTUNREACH || error == ENETDOWN || error == ENODEV || error == EADDRNOTAVAIL;
}
bool isLinkLocal(const uint32_t* words) { return (ntohl(words[0]) & 0xffc00000) == 0xfe800000; }

/** Appends one control message. */
void putControl(msghdr* header, int level, int type, const void* data, size_t size) {
  auto* c = reinterpret_cast<cmsghdr*>(static_cast<uint8_t*>(header->msg_control) + header->msg_controllen);
  c->cmsg_level = level;
  c->cmsg_type = type;
  c->cmsg_len = CMSG_LEN(size);
  memcpy(CMSG_DATA(c), data, size);
  header->msg_controllen += CMSG_SPACE(size);
}

void putSource(const Udp& udp, const Endpoint& endpoint, msghdr* header) {
  if (!udp.pktinfo || isZero(endpoint.local)) return;
  if (udp.family == AF_INET) {
    if (!isMapped(endpoint.local)) return;
    in_pktinfo info = {};
    info.ipi_spec_dst.s_addr = endpoint.local[3];
    return putControl(header, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
  }
  if (isMapped(endpoint.local) != isMapped(endpoint.address)) return;
  // The interface is named only where the address means nothing without it: routes may change.
  in6_pktinfo info = {};
  memcpy(&info.ipi6_addr, endpoint.local, 16);
  if (isLinkLocal(endpoint.local)) info.ipi6_ifindex = endpoint.interface;
  putControl(header, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
}

void putOptions(const Udp& udp, const Endpoint& endpoint, int trafficClass, int segment, msghdr* header) {
  header->msg_controllen = 0;
  putSource(udp, endpoint, header);
  if (trafficClass > 0) {
    const bool v4 = udp.family == AF_INET || isMapped(endpoint.address);
    putControl(header, v4 ? static_cast<int>(IPPROTO_IP) : static_cast<int>(IPPROTO_IPV6), v4 ? IP_TOS : IPV6_TCLASS, &trafficClass, sizeof trafficClass);
  }
  if (segment > 0) {
    const auto size = static_cast<uint16_t>(segment);
    putControl(header, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size);
  }
  if (header->msg_controllen == 0) header->msg_control = nullptr;
}

class Sender {
 public:
  Sender(Udp* udp, const Batch& batch, const Order& order, Endpoint* slots) : udp_(udp), batch_(batch), order_(order), slots_(slots), s_(*udp->scratch) {}

  int run() {
    int position = 0;
    while (position < order_.count) {
      const int next = gather(position);
      const int done = transmit();
      if (done < messages_) return s_.sent[done].first + partial_;
      position = next;
    }
    return position;
  }

 private:
  struct Item {
    uint8_t* data;
    int32_t length;
    int slot;
    int trafficClass;
  };

  /** 0, or why it can't be sent: EMSGSIZE as the kernel would say, ERANGE for columns without sense. */
  int item(int position, Item* out) const {
    const int i = order_.index[position];
    out->data = batch_.bytesAt(i, &out->length);
    out->slot = batch_.cell(kEndpoint, i);
    out->trafficClass = batch_.cell(kTrafficClass, i) & 255;
    if (out->data == nullptr || out->slot < 0 || out->slot >= udp_->slots) return ERANGE;
    return out->length <= kMaxDatagram ? 0 : EMSGSIZE;
  }

  /** Step 1 from `position` on; returns the position behind what it gathered. */
  int gather(int position) {
    messages_ = 0;
    vectors_ = 0;
    while (position < order_.count && messages_ < kSendMessages && vectors_ < kSendVectors) {
      Item first;
      int fault = item(position, &first);
      if (fault == 0 && udp_->family == AF_INET && !isMapped(slots_[first.slot].address)) fault = EAFNOSUPPORT;
      if (fault == 0) {
        position = gatherMessage(position, first);
      } else if (messages_ > 0) {
        break;  // counted once what precedes it is sent
      } else {
        countError(udp_, fault);
        position++;
      }
    }
    return position;
  }

  int gatherMessage(int position, const Item& first) {
    auto& sent = s_.sent[messages_];
    iovec* vector = &s_.sendVector[vectors_];
    int vectors = 1, total = first.length, at = position + 1;
    *vector = {first.data, static_cast<size_t>(first.length)};
    int most = udp_->gso ? kMaxSegments : 1;
    if (udp_->gso && udp_->withoutGso[static_cast<size_t>(first.slot)] > 0) {
      udp_->withoutGso[static_cast<size_t>(first.slot)]--;
      most = 1;
    }
    for (; at < order_.count && at - position < most; at++) {
      Item next;
      if (item(at, &next) != 0 || next.slot != first.slot || next.trafficClass != first.trafficClass) break;
      if (next.length > first.length || total + next.length > kMaxDatagram) break;
      auto& last = vector[vectors - 1];
      if (static_cast<uint8_t*>(last.iov_base) + last.iov_len == next.data) {
        last.iov_len += static_cast<size_t>(next.length);
      } else {
        if (vectors_ + vectors == kSendVectors) break;
        vector[vectors++] = {next.data, static_cast<size_t>(next.length)};
      }
      total += next.length;
      if (next.length < first.length) {
        at++;
        break;
      }
    }
    sent = {position, at - position, first.slot, first.length};
    const Endpoint& endpoint = slots_[first.slot];
    msghdr& header = s_.send[messages_].msg_hdr;
    header = {&s_.to[messages_], writeAddress(*udp_, endpoint, &s_.to[messages_]), vector, static_cast<size_t>(vectors), s_.sendControl[messages_], 0, 0};
    putOptions(*udp_, endpoint, first.trafficClass, sent.count > 1 ? first.length : 0, &header);
    messages_++;
    vectors_ += vectors;
    return at;
  }

  /** Step 2 to 4; returns messages dealt with. If fewer than gathered, partial_ packets of the next one are out too. */
  int transmit() {
    int done = 0;
    int attempts = 0;
    partial_ = 0;
    while (done < messages_) {
      const int sent = sendmmsg(udp_->fd, &s_.send[done], static_cast<unsigned>(messages_ - done), MSG_DONTWAIT);
      if (sent > 0) {
        done += sent;
        attempts = 0;
        continue;
      }
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return done;
      const int error = errno;
      if (attempts++ < kPendingErrors) continue;
      attempts = 0;
      const auto& message = s_.sent[done];
      const bool refused = error == EMSGSIZE || error == EINVAL || error == EIO || error == EOPNOTSUPP;
      if (message.count > 1 && refused) {
        udp_->withoutGso[static_cast<size_t>(message.slot)] = kHoldMessages;
      }
      if (!sendSingly(done, message.count > 1 && refused ? 0 : error)) return done;
      done++;
    }
    return done;
  }

  /**
   * Sends the datagrams of message `m` one by one. `error` is what the kernel said of them already when each was sent alone,
   * or of all of them together when there is no use in trying. False: the buffer is full after partial_ of them.
   */
  bool sendSingly(int m, int error) {
    const auto& message = s_.sent[m];
    Endpoint& endpoint = slots_[message.slot];
    const bool lostAddress = mayMeanLostAddress(error) && !isZero(endpoint.local);
    if (error != 0 && !lostAddress) {
      for (int k = 0; k < message.count; k++) refused(endpoint, error);
      return true;
    }
    for (partial_ = 0; partial_ < message.count; partial_++) {
      const int status = sendOne(message.first + partial_, m, &endpoint);
      if (status == EAGAIN) return false;
      if (status != 0) refused(endpoint, status);
    }
    partial_ = 0;
    return true;
  }

  void refused(const Endpoint& endpoint, int error) {
    countError(udp_, error);
    if (meansNoWay(error)) udp_->noteTrouble(endpoint.address, endpoint.port, Udp::Origin::Host);
  }

  /** 0 or errno. A source address that this host no longer has is forgotten, as an address of the kernel's choice will do. */
  int sendOne(int position, int m, Endpoint* endpoint) {
    Item one;
    if (const int fault = item(position, &one); fault != 0) return fault;
    iovec vector = {one.data, static_cast<size_t>(one.length)};
    int pending = kPendingErrors;
    for (;;) {
      msghdr header = s_.send[m].msg_hdr;
      header.msg_iov = &vector;
      header.msg_iovlen = 1;
      header.msg_control = s_.sendControl[m];
      putOptions(*udp_, *endpoint, one.trafficClass, 0, &header);
      ssize_t sent;
      do {
        sent = sendmsg(udp_->fd, &header, MSG_DONTWAIT);
      } while (sent < 0 && errno == EINTR);
      if (sent >= 0) return 0;
      if (errno == EAGAIN) return errno;
      if (pending-- > 0) continue;
      if (!mayMeanLostAddress(errno) || isZero(endpoint->local)) return errno;
      memset(endpoint->local, 0, sizeof endpoint->local);
      pending = 0;
    }
  }

  Udp* const udp_;
  const Batch& batch_;
  const Order& order_;
  Endpoint* const slots_;
  UdpScratch& s_;
  int messages_ = 0;
  int vectors_ = 0;
  int partial_ = 0;
};

}  // namespace

socklen_t writeAddress(const Udp& udp, const Endpoint& endpoint, sockaddr_in6* to) {
  if (udp.family == AF_INET) {
    sockaddr_in v4 = {};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(static_cast<uint16_t>(endpoint.port));
    v4.sin_addr.s_addr = endpoint.address[3];
    memcpy(to, &v4, sizeof v4);
    return sizeof v4;
  }
  *to = {};
  to->sin6_family = AF_INET6;
  to->sin6_port = htons(static_cast<uint16_t>(endpoint.port));
  memcpy(&to->sin6_addr, endpoint.address, 16);
  if (isLinkLocal(endpoint.address)) to->sin6_scope_id = endpoint.interface;
  return sizeof *to;
}

int send(Udp* udp, const Batch& batch, const Order& order, Endpoint* slots) { return Sender(udp, batch, order, slots).run(); }

}  // namespace causeway
