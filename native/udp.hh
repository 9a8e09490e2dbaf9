// One UDP socket for both families: receives and sends in batches, coalesced where the kernel can (UDP_GRO, UDP_SEGMENT).
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <vector>

#include "batch.hh"
#include "poller.hh"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

namespace causeway {

/** A slot's or a message's endpoint, ENDPOINT_WORDS of batch.ts. */
struct Endpoint {
  uint32_t address[4];  // network bytes; IPv4 as ::ffff:a.b.c.d
  uint32_t port;
  uint32_t local[4];
  uint32_t interface;
};
static_assert(sizeof(Endpoint) == kEndpointWords * 4, "batch.ts fixes the size");

/** TROUBLE_WORDS of ports.ts: an address, a port, an origin. */
constexpr size_t kTroubleWords = 6;
constexpr int kTroubles = 64;

/** Room for every control message that we send or ask for. */
constexpr size_t kControlRoom = 160;
constexpr int kMaxMessage = 65536;
constexpr int kMaxDatagram = 65507;

/** The agent's own limits for one system call. */
constexpr int kReceiveMessages = 32;
constexpr int kSendMessages = 64;
constexpr int kSendVectors = 1024;

struct UdpScratch;

struct Udp final : Polled {
  static constexpr Kind kKind = Kind::Udp;
  Udp();
  ~Udp() override;

  /** Who said that an endpoint can't be reached. */
  enum class Origin : uint32_t { Host, Network };
  struct Trouble {
    uint32_t address[4];
    uint32_t port;
    Origin origin;
  };
  void noteTrouble(const uint32_t* address, uint32_t port, Origin origin);

  int mark = 0;
  int family = AF_INET6;
  bool gso = false;
  bool gro = false;
  bool pktinfo = false;
  int slots = 0;
  /** Messages for which a slot goes without UDP_SEGMENT after the kernel refused one: its path is too narrow, for now. */
  std::vector<uint16_t> withoutGso;
  bool whole = false;  // datagrams bear DF: what the kernel refuses for its size is no error
  uint64_t errors = 0;
  int lastError = 0;
  Trouble troubles[kTroubles];
  int troubleCount = 0;
  UdpScratch* scratch;  // what a system call needs, kept between calls
};

/** Fills offset, length, source, trafficClass and the endpoints of up to `messages` messages; returns packets. */
int receive(Udp* udp, const Batch& batch, Endpoint* endpoints, int messages);
/** Returns how many of the order were dealt with. Erases the local address of a slot if this host lost it. */
int send(Udp* udp, const Batch& batch, const Order& order, Endpoint* slots);

/** Takes off what is in the socket's error queue. */
void drainErrors(Udp* udp);
napi_value udpTroubles(napi_env env, napi_callback_info info);
napi_value udpSource(napi_env env, napi_callback_info info);

/** Between an endpoint and an address of the socket's family. */
socklen_t writeAddress(const Udp& udp, const Endpoint& endpoint, sockaddr_in6* to);
void readAddress(const sockaddr_in6& from, Endpoint* endpoint);

void exportUdp(napi_env env, napi_value exports);

/** System-call scratch: no allocation per call, and too big for a stack. */
struct UdpScratch {
  mmsghdr receive[kReceiveMessages];
  sockaddr_in6 from[kReceiveMessages];
  iovec receiveVector[kReceiveMessages];
  alignas(8) uint8_t receiveControl[kReceiveMessages][kControlRoom];

  mmsghdr send[kSendMessages];
  sockaddr_in6 to[kSendMessages];
  alignas(8) uint8_t sendControl[kSendMessages][kControlRoom];
  iovec sendVector[kSendVectors];
  struct {
    int first;     // position in the order
    int count;     // packets of the order, contiguous
    int slot;
    int size;      // bytes of each but the last
  } sent[kSendMessages];
};

}  // namespace causeway
