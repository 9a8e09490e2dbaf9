#include "batch.hh"

namespace causeway {

const char* const kColumnNames[kColumns] = {
    "offset",       "length", "source",  "flags",   "key",          "endpoint",
    "trafficClass", "status", "gsoType", "gsoSize", "headerLength", "csumStart",
};

/** Batches fit 24 bits of packets, so that two counts fit one number (segment). */
constexpr size_t kMaxCapacity = (1u << 24) - 1;

bool getBatch(napi_env env, napi_value bytes, napi_value table, Batch* out) {
  Span<uint8_t> arena;
  Span<int32_t> cells;
  if (!getBytes(env, bytes, &arena) || !getInts(env, table, &cells)) return false;
  const size_t capacity = cells.length / kColumns;
  if (capacity > kMaxCapacity || arena.length > INT32_MAX) {
    throwCode(env, "ERANGE", "the batch is too large");
    return false;
  }
  *out = {arena.data, arena.length, cells.data, static_cast<int>(capacity)};
  return true;
}

bool getOrder(napi_env env, napi_value order, napi_value n, const Batch& batch, Order* out) {
  Span<int32_t> list;
  int32_t count = 0;
  if (!getInts(env, order, &list) || !getInt(env, n, &count)) return false;
  bool valid = count >= 0 && static_cast<size_t>(count) <= list.length;
  for (int32_t i = 0; valid && i < count; i++) valid = static_cast<uint32_t>(list.data[i]) < static_cast<uint32_t>(batch.capacity);
  if (!valid) {
    throwCode(env, "ERANGE", "the order names packets that the batch does not have");
    return false;
  }
  *out = {list.data, count};
  return true;
}

}  // namespace causeway
