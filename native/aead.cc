#include "aead.hh"

#include <cstdio>
#include <cstring>
#include <mutex>
#include <vector>

namespace causeway {
namespace {

struct Engine {
  MakeKey make[2];  // by Cipher
  char name[128];
};

/** Both engines must seal one vector to the same bytes, and ours must open it. */
bool agree(Cipher cipher) {
  uint8_t key[kKeyBytes], header[kRecordHeader], nonce[kNonceBytes] = {}, a[300 + kTagBytes], b[300 + kTagBytes];
  for (size_t i = 0; i < sizeof key; i++) key[i] = static_cast<uint8_t>(i * 7 + 1);
  for (size_t i = 0; i < sizeof header; i++) header[i] = static_cast<uint8_t>(0x15 ^ i);
  memcpy(nonce + 4, header + 8, 8);
  for (size_t i = 0; i < sizeof a; i++) a[i] = b[i] = static_cast<uint8_t>(i);
  const auto ours = makeIpsecMbKey(cipher, key), theirs = makeOpenSslKey(cipher, key);
  if (ours == nullptr || theirs == nullptr) return false;
  const AeadMessage our = {nonce, header, kRecordHeader, a, 300}, their = {nonce, header, kRecordHeader, b, 300};
  if (!ours->seal(our) || !theirs->seal(their) || memcmp(a, b, sizeof a) != 0 || !ours->open(our)) return false;
  b[17] ^= 1;
  return !ours->open(their);
}

void describe(Engine* engine, const char* gcm, const char* chacha) {
  if (strcmp(gcm, chacha) == 0) {
    snprintf(engine->name, sizeof engine->name, "%s", gcm);
  } else {
    snprintf(engine->name, sizeof engine->name, "%s, chacha20 by %s", gcm, chacha);
  }
}

struct Engines {
  Engine best;
  Engine openssl;
};

/** Chosen once a process: the library where its self-test passes, cipher by cipher. */
const Engines& engines() {
  static Engines chosen;
  static std::once_flag once;
  std::call_once(once, [] {
    chosen.openssl.make[0] = chosen.openssl.make[1] = makeOpenSslKey;
    describe(&chosen.openssl, openSslName(), openSslName());
    const bool gcm = ipsecMbUsable() && agree(Cipher::Aes256Gcm);
    const bool chacha = gcm && agree(Cipher::ChaCha20Poly1305);
    chosen.best.make[0] = gcm ? makeIpsecMbKey : makeOpenSslKey;
    chosen.best.make[1] = chacha ? makeIpsecMbKey : makeOpenSslKey;
    describe(&chosen.best, gcm ? ipsecMbName() : openSslName(), chacha ? ipsecMbName() : openSslName());
  });
  return chosen;
}

struct Aead final : Handle {
  static constexpr Kind kKind = Kind::Aead;
  Aead(const Engine& e, size_t slots) : Handle(kKind), engine(e), keys(slots) {}
  void close(napi_env) override { keys.clear(); }

  AeadKey* key(int32_t slot) const {
    return slot >= 0 && static_cast<size_t>(slot) < keys.size() ? keys[static_cast<size_t>(slot)].get() : nullptr;
  }

  const Engine& engine;
  std::vector<std::unique_ptr<AeadKey>> keys;
};

/** The nonce of a record: four zero bytes, then its header's last 8. */
struct Nonce {
  uint8_t bytes[kNonceBytes] = {};
  explicit Nonce(const uint8_t* record) { memcpy(bytes + 4, record + 8, 8); }
};

bool sealOne(const Aead& aead, const Batch& batch, int i) {
  int32_t length;
  uint8_t* record = batch.bytesAt(i, &length, kRecordTag);
  AeadKey* key = aead.key(batch.cell(kKey, i));
  if (record == nullptr || key == nullptr || length < kRecordHeader) return false;
  const Nonce nonce(record);
  if (!key->seal({nonce.bytes, record, kRecordHeader, record + kRecordHeader, static_cast<size_t>(length - kRecordHeader)})) return false;
  batch.cell(kLength, i) = length + kRecordTag;
  return true;
}

bool openOne(const Aead& aead, const Batch& batch, int i) {
  int32_t length;
  uint8_t* record = batch.bytesAt(i, &length);
  AeadKey* key = aead.key(batch.cell(kKey, i));
  if (record == nullptr || key == nullptr || length < kRecordHeader + kRecordTag) return false;
  const size_t body = static_cast<size_t>(length - kRecordHeader - kRecordTag);
  const Nonce nonce(record);
  if (!key->open({nonce.bytes, record, kRecordHeader, record + kRecordHeader, body})) {
    memset(record + kRecordHeader, 0, body);  // what a forger's bytes decrypt to is nobody's business
    return false;
  }
  batch.cell(kLength, i) = length - kRecordTag;
  return true;
}

/** aeadOpen(slots, forceOpenSsl) -> {handle, engine} */
napi_value aeadOpen(napi_env env, napi_callback_info info) {
  Args<2> args(env, info);
  int32_t slots = 0;
  bool openssl = false;
  if (!getInt(env, args.value[0], &slots)) return nullptr;
  napi_get_value_bool(env, args.value[1], &openssl);
  if (slots < 0 || slots > 1 << 20) {
    throwCode(env, "ERANGE", "slots out of range");
    return nullptr;
  }
  const Engine& engine = openssl ? engines().openssl : engines().best;
  napi_value result = nullptr;
  napi_create_object(env, &result);
  setProperty(env, result, "engine", makeString(env, engine.name));
  setProperty(env, result, "handle", Handle::wrap(env, new Aead(engine, static_cast<size_t>(slots))));
  return result;
}

bool getSlot(napi_env env, napi_value value, const Aead& aead, size_t* slot) {
  int32_t number = 0;
  if (!getInt(env, value, &number)) return false;
  *slot = static_cast<size_t>(number);
  if (number >= 0 && *slot < aead.keys.size()) return true;
  throwCode(env, "ERANGE", "no such key slot");
  return false;
}

/** aeadSetKey(handle, slot, cipher, key): cipher 0 AES-256-GCM, 1 ChaCha20-Poly1305 */
napi_value aeadSetKey(napi_env env, napi_callback_info info) {
  Args<4> args(env, info);
  auto* aead = getHandle<Aead>(env, args.value[0]);
  size_t slot = 0;
  int32_t cipher = 0;
  Span<uint8_t> key;
  if (aead == nullptr || !getSlot(env, args.value[1], *aead, &slot) || !getInt(env, args.value[2], &cipher)) return nullptr;
  if (!getBytes(env, args.value[3], &key)) return nullptr;
  if (key.length != kKeyBytes || cipher < 0 || cipher > 1) {
    throwCode(env, "ERANGE", "a key has 32 bytes and one of two ciphers");
    return nullptr;
  }
  aead->keys[slot] = aead->engine.make[cipher](static_cast<Cipher>(cipher), key.data);
  if (aead->keys[slot] == nullptr) throwCode(env, "ENOTSUP", "this OpenSSL refuses the cipher");
  return nullptr;
}

napi_value aeadClearKey(napi_env env, napi_callback_info info) {
  Args<2> args(env, info);
  auto* aead = getHandle<Aead>(env, args.value[0]);
  size_t slot = 0;
  if (aead != nullptr && getSlot(env, args.value[1], *aead, &slot)) aead->keys[slot].reset();
  return nullptr;
}

bool getWork(napi_env env, const Args<5>& args, Aead** aead, Batch* batch, Order* order) {
  *aead = getHandle<Aead>(env, args.value[0]);
  return *aead != nullptr && getBatch(env, args.value[1], args.value[2], batch) && getOrder(env, args.value[3], args.value[4], *batch, order);
}

/** aeadSeal(handle, bytes, table, order, n). A record that can't be sealed gets status 0 and length 0, so that it can't be sent bare. */
napi_value aeadSeal(napi_env env, napi_callback_info info) {
  Args<5> args(env, info);
  Aead* aead;
  Batch batch;
  Order order;
  if (!getWork(env, args, &aead, &batch, &order)) return nullptr;
  for (int k = 0; k < order.count; k++) {
    const int i = order.index[k];
    const bool sealed = sealOne(*aead, batch, i);
    batch.cell(kStatus, i) = sealed ? 1 : 0;
    if (!sealed) batch.cell(kLength, i) = 0;
  }
  return nullptr;
}

/** aeadOpenRecords(handle, bytes, table, order, n) -> how many were authentic */
napi_value aeadOpenRecords(napi_env env, napi_callback_info info) {
  Args<5> args(env, info);
  Aead* aead;
  Batch batch;
  Order order;
  if (!getWork(env, args, &aead, &batch, &order)) return nullptr;
  int authentic = 0;
  for (int k = 0; k < order.count; k++) {
    const int i = order.index[k];
    const bool opened = openOne(*aead, batch, i);
    batch.cell(kStatus, i) = opened ? 1 : 0;
    authentic += opened ? 1 : 0;
  }
  return makeInt(env, authentic);
}

/**
 * aeadVector(forceOpenSsl, cipher, key, nonce, header, body, open) -> boolean: one message of any header length, for the published
 * test vectors. `body` ends in 16 bytes of tag or room for it.
 */
napi_value aeadVector(napi_env env, napi_callback_info info) {
  Args<7> args(env, info);
  bool openssl = false, open = false;
  int32_t cipher = 0;
  Span<uint8_t> key, nonce, header, body;
  napi_get_value_bool(env, args.value[0], &openssl);
  napi_get_value_bool(env, args.value[6], &open);
  if (!getInt(env, args.value[1], &cipher) || !getBytes(env, args.value[2], &key) || !getBytes(env, args.value[3], &nonce) ||
      !getBytes(env, args.value[4], &header) || !getBytes(env, args.value[5], &body)) {
    return nullptr;
  }
  if (cipher < 0 || cipher > 1 || key.length != kKeyBytes || nonce.length != kNonceBytes || body.length < kTagBytes) {
    throwCode(env, "ERANGE", "a message of other lengths was expected");
    return nullptr;
  }
  const Engine& engine = openssl ? engines().openssl : engines().best;
  const auto made = engine.make[cipher](static_cast<Cipher>(cipher), key.data);
  const AeadMessage message = {nonce.data, header.data, header.length, body.data, body.length - kTagBytes};
  return makeBool(env, made != nullptr && (open ? made->open(message) : made->seal(message)));
}

}  // namespace

void exportAead(napi_env env, napi_value exports) {
  setFunction(env, exports, "aeadOpen", aeadOpen);
  setFunction(env, exports, "aeadSetKey", aeadSetKey);
  setFunction(env, exports, "aeadClearKey", aeadClearKey);
  setFunction(env, exports, "aeadSeal", aeadSeal);
  setFunction(env, exports, "aeadOpenRecords", aeadOpenRecords);
  setFunction(env, exports, "aeadClose", closeHandle<Aead>);
  setFunction(env, exports, "aeadVector", aeadVector);
}

}  // namespace causeway
