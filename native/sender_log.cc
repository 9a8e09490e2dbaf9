#include "sender_log.hh"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace causeway {
namespace {

constexpr int kReceiveBuffer = 4 << 20;
/** Bytes of a message: a head of a few hundred bytes and its attributes. */
constexpr size_t kMessage = 8192;
constexpr uint32_t kNobody = 0xffffffff;
/** Words of a row of the table: length of the head, user, group, mark. */
constexpr size_t kColumns = 4;

struct SenderLog final : Handle {
  static constexpr Kind kKind = Kind::SenderLog;
  SenderLog() : Handle(kKind) {}
  ~SenderLog() override {
    if (fd >= 0) ::close(fd);
  }
  void close(napi_env) override {
    if (fd >= 0) ::close(fd);
    fd = -1;
  }
  int fd = -1;
};

/** One configuration message with its attributes. */
struct Request {
  alignas(nlmsghdr) char bytes[128] = {};
  size_t size = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(nfgenmsg));

  void add(uint16_t type, const void* value, size_t length) {
    auto* attribute = reinterpret_cast<nlattr*>(bytes + size);
    attribute->nla_type = type;
    attribute->nla_len = static_cast<uint16_t>(NLA_HDRLEN + length);
    memcpy(bytes + size + NLA_HDRLEN, value, length);
    size += NLA_ALIGN(attribute->nla_len);
  }
};

/** Sends the request and waits for the kernel's word; 0 or an errno. */
int configure(int fd, uint16_t group, Request& request) {
  auto* header = reinterpret_cast<nlmsghdr*>(request.bytes);
  header->nlmsg_len = static_cast<uint32_t>(request.size);
  header->nlmsg_type = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG;
  header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  auto* generic = reinterpret_cast<nfgenmsg*>(request.bytes + NLMSG_HDRLEN);
  generic->nfgen_family = AF_UNSPEC;
  generic->version = NFNETLINK_V0;
  generic->res_id = htons(group);
  if (send(fd, request.bytes, request.size, 0) < 0) return errno;
  alignas(nlmsghdr) char answer[kMessage];
  for (;;) {
    const ssize_t length = recv(fd, answer, sizeof answer, 0);
    if (length < 0) return errno;
    const auto* got = reinterpret_cast<nlmsghdr*>(answer);
    if (static_cast<size_t>(length) < NLMSG_HDRLEN + sizeof(nlmsgerr) || got->nlmsg_type != NLMSG_ERROR) continue;  // a packet already
    return -reinterpret_cast<nlmsgerr*>(answer + NLMSG_HDRLEN)->error;
  }
}

int bindGroup(int fd, uint16_t group, uint32_t head) {
  Request bind;
  nfulnl_msg_config_cmd command = {NFULNL_CFG_CMD_BIND};
  bind.add(NFULA_CFG_CMD, &command, sizeof command);
  const int failed = configure(fd, group, bind);
  if (failed != 0) return failed;
  Request mode;
  nfulnl_msg_config_mode copy = {};
  copy.copy_range = htonl(head);
  copy.copy_mode = NFULNL_COPY_PACKET;
  mode.add(NFULA_CFG_MODE, &copy, sizeof copy);
  // Each packet's message is there before the packet itself reaches the device.
  const uint32_t threshold = htonl(1);
  mode.add(NFULA_CFG_QTHRESH, &threshold, sizeof threshold);
  return configure(fd, group, mode);
}

/** senderLogOpen(group, head): at most `head` bytes of each packet. EBUSY where somebody else reads the group. */
napi_value senderLogOpen(napi_env env, napi_callback_info info) {
  Args<2> args(env, info);
  int32_t group = 0, head = 0;
  if (!getInt(env, args.value[0], &group) || !getInt(env, args.value[1], &head)) return nullptr;
  if (group < 0 || group > 65535 || head < 1 || head > 1024) {
    throwCode(env, "ERANGE", "a group or a head out of bounds");
    return nullptr;
  }
  auto* log = new SenderLog();
  log->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
  int failed = log->fd < 0 ? errno : 0;
  if (failed == 0) {
    if (setsockopt(log->fd, SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer, sizeof kReceiveBuffer) != 0)
      setsockopt(log->fd, SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof kReceiveBuffer);
    failed = bindGroup(log->fd, static_cast<uint16_t>(group), static_cast<uint32_t>(head));
  }
  if (failed != 0) {
    delete log;
    throwErrno(env, failed, "bind NFLOG");
    return nullptr;
  }
  return Handle::wrap(env, log);
}

/** Takes one packet's message into a row; false where it has no packet in it. */
bool take(const char* attributes, size_t length, uint8_t* head, size_t room, uint32_t* row) {
  row[0] = 0;
  row[1] = row[2] = kNobody;
  row[3] = 0;
  for (size_t at = 0; at + NLA_HDRLEN <= length;) {
    const auto* attribute = reinterpret_cast<const nlattr*>(attributes + at);
    if (attribute->nla_len < NLA_HDRLEN || at + attribute->nla_len > length) break;
    const char* value = attributes + at + NLA_HDRLEN;
    const size_t size = attribute->nla_len - NLA_HDRLEN;
    const uint16_t type = attribute->nla_type & NLA_TYPE_MASK;
    uint32_t word = 0;
    if (size == sizeof word) memcpy(&word, value, sizeof word);
    if (type == NFULA_PAYLOAD) {
      row[0] = static_cast<uint32_t>(std::min(size, room));
      memcpy(head, value, row[0]);
    } else if (type == NFULA_UID) row[1] = ntohl(word);
    else if (type == NFULA_GID) row[2] = ntohl(word);
    else if (type == NFULA_MARK) row[3] = ntohl(word);
    at += NLA_ALIGN(attribute->nla_len);
  }
  return row[0] > 0;
}

/**
 * senderLogRead(handle, bytes, table, room) -> rows taken, or -1 - rows where messages were lost before. Row i has its head at i * room of `bytes`.
 * Never blocks; fewer rows than the table holds mean that there were no more.
 */
napi_value senderLogRead(napi_env env, napi_callback_info info) {
  Args<4> args(env, info);
  auto* log = getHandle<SenderLog>(env, args.value[0]);
  Span<uint8_t> bytes;
  Span<uint32_t> table;
  int32_t room = 0;
  if (log == nullptr || !getBytes(env, args.value[1], &bytes) || !getWords(env, args.value[2], &table) || !getInt(env, args.value[3], &room)) return nullptr;
  if (room < 1) {
    throwCode(env, "ERANGE", "no room for a head");
    return nullptr;
  }
  const size_t rows = std::min(table.length / kColumns, bytes.length / static_cast<size_t>(room));
  size_t taken = 0;
  bool lost = false;
  alignas(nlmsghdr) char buffer[kMessage];
  while (log->fd >= 0 && taken < rows) {
    const ssize_t got = recv(log->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno != ENOBUFS) break;
      lost = true;
      continue;
    }
    const auto* header = reinterpret_cast<nlmsghdr*>(buffer);
    const size_t start = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(nfgenmsg));
    const bool isPacket = static_cast<size_t>(got) > start && header->nlmsg_len <= static_cast<size_t>(got) && header->nlmsg_len > start &&
                          header->nlmsg_type == (NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET);
    if (!isPacket) continue;
    uint8_t* head = bytes.data + taken * static_cast<size_t>(room);
    if (take(buffer + start, header->nlmsg_len - start, head, static_cast<size_t>(room), table.data + taken * kColumns)) taken++;
  }
  const auto rowsTaken = static_cast<int32_t>(taken);
  return makeInt(env, lost ? -1 - rowsTaken : rowsTaken);
}

}  // namespace

void exportSenderLog(napi_env env, napi_value exports) {
  setFunction(env, exports, "senderLogOpen", senderLogOpen);
  setFunction(env, exports, "senderLogRead", senderLogRead);
  setFunction(env, exports, "senderLogClose", closeHandle<SenderLog>);
}

}  // namespace causeway
