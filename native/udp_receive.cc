// Path of a message in: recvmmsg straight into the arena -> endpoint and class from address and control messages -> cut at
// the UDP_GRO size into datagrams, in place.
#include <cerrno>
#include <cstring>

#include "udp.hh"

namespace causeway {
namespace {

/** Datagrams that one coalesced message can hold: the kernel's UDP_MAX_SEGMENTS, of which 128 is the newest. */
constexpr int kMaxSegments = 128;

void setMapped(uint32_t* words, in_addr address) {
  words[0] = words[1] = 0;
  words[2] = htonl(0xffff);
  words[3] = address.s_addr;
}

struct Control {
  int trafficClass = 0;
  int segment = 0;
};

Control readControl(msghdr* message, Endpoint* endpoint) {
  Control control;
  for (cmsghdr* c = CMSG_FIRSTHDR(message); c != nullptr; c = CMSG_NXTHDR(message, c)) {
    const void* data = CMSG_DATA(c);
    if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
      memcpy(&control.segment, data, sizeof(int));
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo info;
      memcpy(&info, data, sizeof info);
      memcpy(endpoint->local, &info.ipi6_addr, 16);
      endpoint->interface = info.ipi6_ifindex;
    } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
      in_pktinfo info;
      memcpy(&info, data, sizeof info);
      setMapped(endpoint->local, info.ipi_addr);
      endpoint->interface = static_cast<uint32_t>(info.ipi_ifindex);
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
      memcpy(&control.trafficClass, data, sizeof(int));
    } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
      control.trafficClass = *static_cast<const uint8_t*>(data);
    }
  }
  return control;
}

/** Adds the datagrams of one message of `bytes` bytes, an empty one too; returns the next free row. */
int cut(const Batch& batch, int row, size_t offset, int bytes, const Control& control, int source) {
  const int step = control.segment > 0 ? control.segment : bytes;
  int at = 0;
  while (row < batch.capacity) {
    batch.cell(kOffset, row) = static_cast<int32_t>(offset) + at;
    batch.cell(kLength, row) = bytes - at < step ? bytes - at : step;
    batch.cell(kSource, row) = source;
    batch.cell(kTrafficClass, row) = control.trafficClass & 255;
    row++;
    at += step;
    if (at >= bytes) break;
  }
  return row;
}

/** recvmmsg past signals and past the socket's pending errors (such as ECONNREFUSED), each of which one call takes off. */
int receiveMessages(int fd, mmsghdr* headers, int count) {
  for (int attempt = 0; attempt < 8; attempt++) {
    const int got = recvmmsg(fd, headers, static_cast<unsigned>(count), MSG_DONTWAIT, nullptr);
    if (got >= 0) return got;
    if (errno == EAGAIN || errno == EBADF) return 0;
  }
  return 0;
}

}  // namespace

void readAddress(const sockaddr_in6& from, Endpoint* endpoint) {
  if (from.sin6_family == AF_INET) {
    sockaddr_in v4;
    memcpy(&v4, &from, sizeof v4);
    setMapped(endpoint->address, v4.sin_addr);
    endpoint->port = ntohs(v4.sin_port);
  } else {
    memcpy(endpoint->address, &from.sin6_addr, 16);
    endpoint->port = ntohs(from.sin6_port);
  }
}

int receive(Udp* udp, const Batch& batch, Endpoint* endpoints, int messages) {
  UdpScratch& s = *udp->scratch;
  // A message that finds too little room loses datagrams, so there are only as many messages as rows and bytes allow for.
  const size_t fit = batch.size / kMaxMessage;
  int count = messages < kReceiveMessages ? messages : kReceiveMessages;
  if (fit < static_cast<size_t>(count)) count = static_cast<int>(fit);
  const int perMessage = udp->gro ? kMaxSegments : 1;
  if (batch.capacity / perMessage < count) count = batch.capacity >= perMessage ? batch.capacity / perMessage : (batch.capacity > 0 ? 1 : 0);
  if (count <= 0) return 0;
  // Room beyond 64 KiB a message staggers their starts: at a stride of exactly 64 KiB they would share a few cache sets.
  size_t stride = (batch.size / static_cast<size_t>(count)) & ~static_cast<size_t>(63);
  if (stride < kMaxMessage) stride = kMaxMessage;
  if (stride > kMaxMessage + 4096) stride = kMaxMessage + 320;
  for (int m = 0; m < count; m++) {
    s.receiveVector[m] = {batch.bytes + stride * static_cast<size_t>(m), kMaxMessage};
    s.receive[m].msg_hdr = {&s.from[m], sizeof s.from[m], &s.receiveVector[m], 1, s.receiveControl[m], kControlRoom, 0};
  }
  const int got = receiveMessages(udp->fd, s.receive, count);
  int row = 0;
  for (int m = 0; m < got; m++) {
    msghdr& header = s.receive[m].msg_hdr;
    endpoints[m] = {};
    readAddress(s.from[m], &endpoints[m]);
    const Control control = readControl(&header, &endpoints[m]);
    if ((header.msg_flags & MSG_TRUNC) != 0) continue;
    row = cut(batch, row, stride * static_cast<size_t>(m), static_cast<int>(s.receive[m].msg_len), control, m);
  }
  return row;
}

}  // namespace causeway
