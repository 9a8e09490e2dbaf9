// Node-API helpers: arguments in, errors out, and the life of a native resource.
//
// A resource (Handle) is owned by a JavaScript external. It ends with the first of: close() from JavaScript, the
// external's garbage collection, the end of its environment (worker terminated, process exiting). close() is idempotent.
#pragma once

#include <node_api.h>

#include <cstddef>
#include <cstdint>

namespace causeway {

/** What one loading thread shares: one per napi_env. */
struct Instance {
  uint64_t segmentErrors = 0;
};
Instance& instanceOf(napi_env env);

/** errno's name, such as EBUSY. */
const char* errorName(int error);
/** Throws an Error with `code` = errno's name and `syscall`. */
void throwErrno(napi_env env, int error, const char* syscall);
/** Throws an Error with a code of our own, such as ERANGE for an argument out of bounds. */
void throwCode(napi_env env, const char* code, const char* message);

class Handle {
 public:
  enum class Kind : uint32_t { Tun = 0x43570001, Udp, Aead, Timer, Raw, SenderLog, Watch };
  explicit Handle(Kind kind) : kind_(kind) {}
  virtual ~Handle() = default;
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  Kind kind() const { return kind_; }
  /** Frees what the operating system lent. Idempotent; runs on the environment's thread while it still lives. */
  virtual void close(napi_env env) = 0;

  /** Gives the handle to a new external; the handle is deleted with it. On failure deletes it at once, returns nullptr. */
  static napi_value wrap(napi_env env, Handle* handle);

 private:
  static void onFinalize(napi_env env, void* data, void* hint);
  static void onEnvEnd(void* data);
  const Kind kind_;
  napi_env env_ = nullptr;
};

/** The arguments of one call. Accessors return false after throwing. */
template <size_t N>
struct Args {
  napi_env env;
  size_t count = N;
  napi_value value[N];
  Args(napi_env e, napi_callback_info info) : env(e) { napi_get_cb_info(e, info, &count, value, nullptr, nullptr); }
};

bool getInt(napi_env env, napi_value value, int32_t* out);
bool getDouble(napi_env env, napi_value value, double* out);
/** NUL-terminated copy; false (ERANGE thrown) when it does not fit. */
bool getString(napi_env env, napi_value value, char* out, size_t size);

void* getArray(napi_env env, napi_value value, napi_typedarray_type type, size_t* length);
/** A typed array's memory, valid until JavaScript runs again. Throws ERANGE for anything else. */
template <typename T>
struct Span {
  T* data = nullptr;
  size_t length = 0;
};
bool getBytes(napi_env env, napi_value value, Span<uint8_t>* out);
bool getInts(napi_env env, napi_value value, Span<int32_t>* out);
bool getWords(napi_env env, napi_value value, Span<uint32_t>* out);
bool getDoubles(napi_env env, napi_value value, Span<double>* out);

Handle* getHandle(napi_env env, napi_value value, Handle::Kind kind);
template <typename T>
T* getHandle(napi_env env, napi_value value) {
  return static_cast<T*>(getHandle(env, value, T::kKind));
}

/** close(handle): of any kind; again, or after teardown, it does nothing. */
template <typename T>
napi_value closeHandle(napi_env env, napi_callback_info info) {
  Args<1> args(env, info);
  auto* handle = getHandle<T>(env, args.value[0]);
  if (handle != nullptr) handle->close(env);
  return nullptr;
}

napi_value makeInt(napi_env env, int32_t value);
napi_value makeDouble(napi_env env, double value);
napi_value makeString(napi_env env, const char* value);
napi_value makeBool(napi_env env, bool value);
void setProperty(napi_env env, napi_value object, const char* name, napi_value value);
void setFunction(napi_env env, napi_value exports, const char* name, napi_callback callback);

}  // namespace causeway
