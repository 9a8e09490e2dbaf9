// The addon: moves bytes between a TUN device, UDP sockets and ciphers, in batches that JavaScript describes. It decides
// nothing. Any number of threads may load it; they share no state but the ciphers' libraries.
//
//   env       Node-API arguments, errors, the life of native resources     batch    the packet table of src/io/batch.ts
//   poller    readiness on the thread's event loop                         packet   where headers lie; checksum  RFC 1071
//   tun       the device, read and write                                   coalesce runs of packets -> offload packets
//   segment   offload packets -> packets of a link's size, or slots        copy     packets -> slots of a store
//   udp       socket; udp_receive, udp_send, udp_errors                    timer, system, watch
//   sender_log  who sends what, as nftables tell
//   aead      seal and open; aead_ipsecmb, aead_openssl its engines
//
// src/io/native.ts is the only caller.
#include "aead.hh"
#include "copy.hh"
#include "raw.hh"
#include "segment.hh"
#include "sender_log.hh"
#include "system.hh"
#include "timer.hh"
#include "tun.hh"
#include "udp.hh"
#include "watch.hh"

namespace causeway {
namespace {

bool areApart(const Batch& from, const Batch& into) {
  return from.bytes + from.size <= into.bytes || into.bytes + into.size <= from.bytes;
}

napi_value segmented(napi_env env, const SegmentResult& result) {
  instanceOf(env).segmentErrors += static_cast<uint64_t>(result.refused);
  return makeDouble(env, static_cast<double>(result.produced) * (1 << 24) + result.consumed);
}

/** segment(bytes, table, order, n, intoBytes, intoTable, headroom, tailroom) -> produced * 2^24 + consumed */
napi_value segmentBatch(napi_env env, napi_callback_info info) {
  Args<8> args(env, info);
  Batch from, into;
  Order order;
  int32_t headroom = 0, tailroom = 0;
  if (!getBatch(env, args.value[0], args.value[1], &from) || !getOrder(env, args.value[2], args.value[3], from, &order)) return nullptr;
  if (!getBatch(env, args.value[4], args.value[5], &into)) return nullptr;
  if (!getInt(env, args.value[6], &headroom) || !getInt(env, args.value[7], &tailroom)) return nullptr;
  if (headroom < 0 || headroom > 65535 || tailroom < 0 || tailroom > 65535 || !areApart(from, into)) {
    throwCode(env, "ERANGE", "headroom, tailroom or batches that overlap");
    return nullptr;
  }
  return segmented(env, segment(from, order, into, headroom, tailroom));
}

/** scatter(bytes, table, order, n, intoBytes, intoTable, slots, slotCount, at) -> produced * 2^24 + consumed */
napi_value scatterBatch(napi_env env, napi_callback_info info) {
  Args<9> args(env, info);
  Batch from, into;
  Order order, slots;
  int32_t at = 0;
  if (!getBatch(env, args.value[0], args.value[1], &from) || !getOrder(env, args.value[2], args.value[3], from, &order)) return nullptr;
  if (!getBatch(env, args.value[4], args.value[5], &into) || !getOrder(env, args.value[6], args.value[7], into, &slots)) return nullptr;
  if (!getInt(env, args.value[8], &at)) return nullptr;
  if (at < 0 || !areApart(from, into)) {
    throwCode(env, "ERANGE", "a place before its slot, or batches that overlap");
    return nullptr;
  }
  return segmented(env, scatter(from, order, into, slots, at));
}

napi_value segmentErrors(napi_env env, napi_callback_info) { return makeDouble(env, static_cast<double>(instanceOf(env).segmentErrors)); }

/** copy(bytes, table, order, n, intoBytes, intoTable, slots, at) */
napi_value copyBatch(napi_env env, napi_callback_info info) {
  Args<8> args(env, info);
  Batch from, into;
  Order order, slots;
  int32_t at = 0;
  if (!getBatch(env, args.value[0], args.value[1], &from) || !getOrder(env, args.value[2], args.value[3], from, &order)) return nullptr;
  if (!getBatch(env, args.value[4], args.value[5], &into) || !getOrder(env, args.value[6], args.value[3], into, &slots)) return nullptr;
  if (!getInt(env, args.value[7], &at)) return nullptr;
  if (at < 0) {
    throwCode(env, "ERANGE", "a place before its slot");
    return nullptr;
  }
  copyPackets(from, order, into, slots, at);
  return nullptr;
}

napi_value columnNames(napi_env env) {
  napi_value names = nullptr;
  napi_create_array_with_length(env, kColumns, &names);
  for (uint32_t i = 0; i < kColumns; i++) napi_set_element(env, names, i, makeString(env, kColumnNames[i]));
  return names;
}

}  // namespace
}  // namespace causeway

NAPI_MODULE_INIT() {
  using namespace causeway;
  napi_set_instance_data(env, new Instance(), [](napi_env, void* data, void*) { delete static_cast<Instance*>(data); }, nullptr);
  setProperty(env, exports, "columns", columnNames(env));
  setFunction(env, exports, "segment", segmentBatch);
  setFunction(env, exports, "scatter", scatterBatch);
  setFunction(env, exports, "segmentErrors", segmentErrors);
  setFunction(env, exports, "copy", copyBatch);
  exportTun(env, exports);
  exportUdp(env, exports);
  exportAead(env, exports);
  exportTimer(env, exports);
  exportRaw(env, exports);
  exportSenderLog(env, exports);
  exportSystem(env, exports);
  exportWatch(env, exports);
  return exports;
}
