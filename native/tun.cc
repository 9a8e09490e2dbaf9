// Path of a packet in:  kernel -> readv (vnet header aside, packet into the arena) -> accept (columns, odd checksums completed)
// Path of a packet out: columns -> Coalescer -> writev
#include "tun.hh"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "batch.hh"
#include "coalesce.hh"
#include "poller.hh"

namespace causeway {
namespace {

// Newer than the oldest kernel headers we build on (Linux 6.2).
constexpr unsigned kTunUso4 = 0x20, kTunUso6 = 0x40;
/** Most that one read gives: a 64 KiB packet. */
constexpr size_t kMaxPacket = 65536;
/** Packets start on cache lines. */
constexpr size_t kAlign = 64;

class FdSink final : public Sink {
 public:
  explicit FdSink(int fd, bool vnetHeader) : fd_(fd), skip_(vnetHeader ? 0 : 1) {}
  Result put(const iovec* vector, int count) override {
    for (;;) {
      if (writev(fd_, vector + skip_, count - skip_) >= 0) return Result::Taken;
      if (errno == EINTR) continue;
      const auto* header = static_cast<const VnetHeader*>(vector[0].iov_base);
      return errno == EINVAL && header->gsoType != kGsoNone ? Result::NoOffload : Result::Refused;
    }
  }

 private:
  const int fd_;
  const int skip_;
};

struct Tun final : Polled {
  static constexpr Kind kKind = Kind::Tun;
  Tun() : Polled(kKind) {}

  CoalesceOptions features = {};
  char name[IFNAMSIZ] = {};
  Coalescer coalescer;
};

/** Asks for the best set of offloads that kernel and caller agree on. */
void chooseOffloads(Tun* tun, bool tso, bool uso) {
  const unsigned tcp = tso ? TUN_F_TSO4 | TUN_F_TSO6 : 0;
  const unsigned udp = uso ? kTunUso4 | kTunUso6 : 0;
  const unsigned sets[] = {TUN_F_CSUM | tcp | (tcp ? TUN_F_TSO_ECN : 0) | udp, TUN_F_CSUM | tcp | udp, TUN_F_CSUM | tcp, TUN_F_CSUM, 0};
  for (unsigned set : sets) {
    if (ioctl(tun->fd, TUNSETOFFLOAD, static_cast<unsigned long>(set)) != 0) continue;
    tun->features.tso = (set & TUN_F_TSO4) != 0;
    tun->features.uso = (set & kTunUso4) != 0;
    return;
  }
}

/** Step by step; returns the failing system call's name with errno set, or nullptr. */
const char* openDevice(Tun* tun, bool vnetHeader, bool tso, bool uso) {
  tun->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (tun->fd < 0) return "open /dev/net/tun";
  unsigned supported = 0;
  if (ioctl(tun->fd, TUNGETFEATURES, &supported) != 0) supported = 0;
  ifreq request = {};
  memcpy(request.ifr_name, tun->name, IFNAMSIZ);
  request.ifr_flags = static_cast<short>(IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL);
  tun->features.vnetHeader = vnetHeader && (supported & IFF_VNET_HDR) != 0;
  if (tun->features.vnetHeader) request.ifr_flags |= IFF_VNET_HDR;
  if (ioctl(tun->fd, TUNSETIFF, &request) != 0) return "ioctl TUNSETIFF";
  memcpy(tun->name, request.ifr_name, IFNAMSIZ);
  if (!tun->features.vnetHeader) return nullptr;
  int size = sizeof(VnetHeader);
  if (ioctl(tun->fd, TUNSETVNETHDRSZ, &size) != 0) return "ioctl TUNSETVNETHDRSZ";
  chooseOffloads(tun, tso, uso);
  return nullptr;
}

/** Columns of a packet that the kernel gave; false drops it. */
bool accept(const Batch& batch, int row, uint8_t* ip, int length, const VnetHeader& header) {
  batch.cell(kLength, row) = length;
  batch.cell(kFlags, row) = 0;
  batch.cell(kGsoType, row) = batch.cell(kGsoSize, row) = batch.cell(kHeaderLength, row) = batch.cell(kCsumStart, row) = 0;
  const int type = header.gsoType & ~kGsoEcnBit;
  const int field = header.csumOffset;
  int start = header.csumStart;
  if ((header.flags & kVnetNeedsCsum) != 0) {
    if (start < 20 || start + field + 2 > length) return false;
    batch.cell(kFlags, row) = kPacketPartial;
    batch.cell(kCsumStart, row) = start;
  }
  if (type == kGsoNone) {
    Transport transport;
    if (batch.cell(kFlags, row) == 0) return true;
    // The columns keep no checksum offset: partial stays only what TCP or UDP directly behind the IP header says by itself.
    if (parseTransport(ip, length, &transport) && transport.start == start && checksumField(transport.protocol) == field) return true;
    completeChecksum(ip + start, static_cast<size_t>(length - start), static_cast<size_t>(field));
    batch.cell(kFlags, row) = batch.cell(kCsumStart, row) = 0;
    return true;
  }
  // Types that were not asked for (UFO, GRE …) can't come; a packet that another machine sent and GRO merged may have whole checksums.
  const bool tcp = type == kGsoTcp4 || type == kGsoTcp6;
  Transport transport;
  if (!tcp && type != kGsoUdpL4) return false;
  if (batch.cell(kFlags, row) == 0) {
    if (!parseTransport(ip, length, &transport)) return false;
    start = batch.cell(kCsumStart, row) = transport.start;
  }
  if (start + (tcp ? 20 : 8) > length) return false;
  batch.cell(kGsoType, row) = type;
  batch.cell(kGsoSize, row) = header.gsoSize;
  batch.cell(kHeaderLength, row) = start + (tcp ? (ip[start + 12] >> 4) * 4 : 8);
  return true;
}

/** Packets read, or -errno if the first read failed for another reason than an empty device. */
int readBatch(const Tun& tun, const Batch& batch) {
  int rows = 0;
  size_t position = 0;
  const size_t headerSize = tun.features.vnetHeader ? sizeof(VnetHeader) : 0;
  while (rows < batch.capacity && position + kMaxPacket <= batch.size) {
    VnetHeader header = {};
    iovec vector[2] = {{&header, headerSize}, {batch.bytes + position, kMaxPacket}};
    const ssize_t got = readv(tun.fd, vector, 2);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return rows > 0 || errno == EAGAIN ? rows : -errno;
    const int length = static_cast<int>(got) - static_cast<int>(headerSize);
    if (length <= 0 || !accept(batch, rows, batch.bytes + position, length, header)) continue;
    batch.cell(kOffset, rows++) = static_cast<int32_t>(position);
    position += (static_cast<size_t>(length) + kAlign - 1) & ~(kAlign - 1);
  }
  return rows;
}

/** tunOpen(name, vnetHeader, tso, uso) -> {handle, name, vnetHeader, tso, uso} */
napi_value tunOpen(napi_env env, napi_callback_info info) {
  Args<4> args(env, info);
  auto* tun = new Tun();
  bool wants[3] = {};
  if (!getString(env, args.value[0], tun->name, IFNAMSIZ)) {
    delete tun;
    return nullptr;
  }
  for (int i = 0; i < 3; i++) napi_get_value_bool(env, args.value[1 + i], &wants[i]);
  const char* failed = openDevice(tun, wants[0], wants[1], wants[2]);
  if (failed == nullptr) failed = tun->watch(env);
  if (failed != nullptr) {
    throwErrno(env, errno, failed);
    delete tun;
    return nullptr;
  }
  napi_value result = nullptr;
  napi_create_object(env, &result);
  setProperty(env, result, "name", makeString(env, tun->name));
  setProperty(env, result, "vnetHeader", makeBool(env, tun->features.vnetHeader));
  setProperty(env, result, "tso", makeBool(env, tun->features.tso));
  setProperty(env, result, "uso", makeBool(env, tun->features.uso));
  setProperty(env, result, "handle", Handle::wrap(env, tun));
  return result;
}

/** tunRead(handle, bytes, table) -> packets */
napi_value tunRead(napi_env env, napi_callback_info info) {
  Args<3> args(env, info);
  auto* tun = getHandle<Tun>(env, args.value[0]);
  Batch batch;
  if (tun == nullptr || !getBatch(env, args.value[1], args.value[2], &batch)) return nullptr;
  if (tun->fd < 0) return makeInt(env, 0);
  const int count = readBatch(*tun, batch);
  if (count >= 0) return makeInt(env, count);
  throwErrno(env, -count, "read tun");
  return nullptr;
}

/** tunWrite(handle, bytes, table, order, n) -> packets taken */
napi_value tunWrite(napi_env env, napi_callback_info info) {
  Args<5> args(env, info);
  auto* tun = getHandle<Tun>(env, args.value[0]);
  Batch batch;
  Order order;
  if (tun == nullptr || !getBatch(env, args.value[1], args.value[2], &batch)) return nullptr;
  if (!getOrder(env, args.value[3], args.value[4], batch, &order)) return nullptr;
  if (tun->fd < 0) return makeInt(env, 0);
  FdSink sink(tun->fd, tun->features.vnetHeader);
  return makeInt(env, tun->coalescer.run(batch, order, &tun->features, &sink));
}

/** Keeps copies of what would have been written. */
class MemorySink final : public Sink {
 public:
  Result put(const iovec* vector, int count) override {
    auto& bytes = writes.emplace_back();
    for (int i = 0; i < count; i++) {
      const auto* data = static_cast<const uint8_t*>(vector[i].iov_base);
      bytes.insert(bytes.end(), data, data + vector[i].iov_len);
    }
    return Result::Taken;
  }
  std::vector<std::vector<uint8_t>> writes;
};

/** coalesce(bytes, table, order, n, vnetHeader, tso, uso) -> ArrayBuffers, each a vnet header and a packet, as write would have written them. */
napi_value coalesce(napi_env env, napi_callback_info info) {
  Args<7> args(env, info);
  Batch batch;
  Order order;
  if (!getBatch(env, args.value[0], args.value[1], &batch) || !getOrder(env, args.value[2], args.value[3], batch, &order)) return nullptr;
  CoalesceOptions options = {};
  napi_get_value_bool(env, args.value[4], &options.vnetHeader);
  napi_get_value_bool(env, args.value[5], &options.tso);
  napi_get_value_bool(env, args.value[6], &options.uso);
  auto* coalescer = new Coalescer();
  MemorySink sink;
  coalescer->run(batch, order, &options, &sink);
  delete coalescer;
  napi_value result = nullptr;
  napi_create_array_with_length(env, sink.writes.size(), &result);
  for (size_t i = 0; i < sink.writes.size(); i++) {
    void* data = nullptr;
    napi_value buffer = nullptr;
    if (napi_create_arraybuffer(env, sink.writes[i].size(), &data, &buffer) != napi_ok) return nullptr;
    memcpy(data, sink.writes[i].data(), sink.writes[i].size());
    napi_set_element(env, result, static_cast<uint32_t>(i), buffer);
  }
  return result;
}

}  // namespace

void exportTun(napi_env env, napi_value exports) {
  setFunction(env, exports, "tunOpen", tunOpen);
  setFunction(env, exports, "tunRead", tunRead);
  setFunction(env, exports, "tunWrite", tunWrite);
  setFunction(env, exports, "tunOnReadable", onReadable<Tun>);
  setFunction(env, exports, "tunPause", pause<Tun>);
  setFunction(env, exports, "tunClose", closeHandle<Tun>);
  setFunction(env, exports, "coalesce", coalesce);
}

}  // namespace causeway
