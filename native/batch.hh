// A PacketBatch of src/io/batch.ts as C++ sees it: an arena, a table of columns, and an order to walk it in.
//
// JavaScript wrote the table, so nothing in it is trusted: `bytesAt` is the only way from an offset and a length to memory.
#pragma once

#include "env.hh"

namespace causeway {

/** In the order of COLUMNS in batch.ts; a unit test holds the two against each other. */
enum Column : int {
  kOffset, kLength, kSource, kFlags, kKey, kEndpoint, kTrafficClass, kStatus, kGsoType, kGsoSize, kHeaderLength, kCsumStart,
  kColumns,
};
extern const char* const kColumnNames[kColumns];

constexpr int32_t kPacketPartial = 1;
constexpr int kEndpointWords = 10;
constexpr int kRecordHeader = 16;
constexpr int kRecordTag = 16;

struct Batch {
  uint8_t* bytes = nullptr;
  size_t size = 0;
  int32_t* table = nullptr;
  int capacity = 0;

  int32_t& cell(Column column, int index) const { return table[static_cast<size_t>(column) * capacity + index]; }

  /** Where packet `index` lies with `room` bytes behind it, or nullptr if that is not inside the arena. */
  uint8_t* bytesAt(int index, int32_t* length, int32_t room = 0) const {
    const int32_t offset = cell(kOffset, index);
    *length = cell(kLength, index);
    if (offset < 0 || *length <= 0) return nullptr;
    if (static_cast<uint64_t>(offset) + static_cast<uint64_t>(*length) + static_cast<uint64_t>(room) > size) return nullptr;
    return bytes + offset;
  }
};

struct Order {
  const int32_t* index = nullptr;
  int count = 0;
};

/** Reads (bytes, table) arguments. Throws ERANGE and returns false if they aren't a batch. */
bool getBatch(napi_env env, napi_value bytes, napi_value table, Batch* out);
/** Reads (order, n) and checks that every index lies in the batch. Throws ERANGE and returns false otherwise. */
bool getOrder(napi_env env, napi_value order, napi_value n, const Batch& batch, Order* out);

}  // namespace causeway
