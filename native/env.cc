#include "env.hh"

#include <uv.h>

#include <cstdio>
#include <cstring>

namespace causeway {

Instance& instanceOf(napi_env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  return *static_cast<Instance*>(data);
}

const char* errorName(int error) {
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 32)
  const char* name = strerrorname_np(error);
  if (name != nullptr) return name;
#endif
  return uv_err_name(-error);  // knows fewer
}

void throwErrno(napi_env env, int error, const char* syscall) {
  char message[256];
  snprintf(message, sizeof message, "%s: %s", syscall, strerror(error));
  napi_value object;
  if (napi_create_error(env, makeString(env, errorName(error)), makeString(env, message), &object) != napi_ok) return;
  setProperty(env, object, "syscall", makeString(env, syscall));
  napi_throw(env, object);
}

void throwCode(napi_env env, const char* code, const char* message) { napi_throw_error(env, code, message); }

napi_value Handle::wrap(napi_env env, Handle* handle) {
  napi_value external = nullptr;
  if (napi_create_external(env, handle, onFinalize, nullptr, &external) != napi_ok) {
    handle->close(env);
    delete handle;
    return nullptr;
  }
  handle->env_ = env;
  napi_add_env_cleanup_hook(env, onEnvEnd, handle);
  return external;
}

void Handle::onFinalize(napi_env env, void* data, void*) {
  auto* handle = static_cast<Handle*>(data);
  if (handle->env_ != nullptr) napi_remove_env_cleanup_hook(handle->env_, onEnvEnd, handle);
  handle->close(env);
  delete handle;
}

void Handle::onEnvEnd(void* data) {
  auto* handle = static_cast<Handle*>(data);
  napi_env env = handle->env_;
  handle->env_ = nullptr;
  handle->close(env);
}

bool getInt(napi_env env, napi_value value, int32_t* out) {
  if (napi_get_value_int32(env, value, out) == napi_ok) return true;
  throwCode(env, "ERANGE", "a number was expected");
  return false;
}

bool getDouble(napi_env env, napi_value value, double* out) {
  if (napi_get_value_double(env, value, out) == napi_ok) return true;
  throwCode(env, "ERANGE", "a number was expected");
  return false;
}

bool getString(napi_env env, napi_value value, char* out, size_t size) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok || length >= size) {
    throwCode(env, "ERANGE", "a string was expected, or it is too long");
    return false;
  }
  napi_get_value_string_utf8(env, value, out, size, &length);
  return true;
}

void* getArray(napi_env env, napi_value value, napi_typedarray_type type, size_t* length) {
  napi_typedarray_type actual;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, value, &actual, length, &data, nullptr, nullptr) != napi_ok || actual != type) {
    throwCode(env, "ERANGE", "a typed array of another type was expected");
    *length = 0;
    return nullptr;
  }
  static uint64_t nowhere;  // an empty array may have no memory; callers compare lengths, not pointers
  return data != nullptr ? data : &nowhere;
}

template <typename T>
static bool getSpan(napi_env env, napi_value value, napi_typedarray_type type, Span<T>* out) {
  out->data = static_cast<T*>(getArray(env, value, type, &out->length));
  return out->data != nullptr;
}

bool getBytes(napi_env env, napi_value value, Span<uint8_t>* out) { return getSpan(env, value, napi_uint8_array, out); }
bool getInts(napi_env env, napi_value value, Span<int32_t>* out) { return getSpan(env, value, napi_int32_array, out); }
bool getWords(napi_env env, napi_value value, Span<uint32_t>* out) { return getSpan(env, value, napi_uint32_array, out); }
bool getDoubles(napi_env env, napi_value value, Span<double>* out) { return getSpan(env, value, napi_float64_array, out); }

Handle* getHandle(napi_env env, napi_value value, Handle::Kind kind) {
  void* data = nullptr;
  if (napi_get_value_external(env, value, &data) == napi_ok) {
    auto* handle = static_cast<Handle*>(data);
    if (handle != nullptr && handle->kind() == kind) return handle;
  }
  throwCode(env, "EBADF", "a native handle of another kind was expected");
  return nullptr;
}

napi_value makeInt(napi_env env, int32_t value) {
  napi_value result = nullptr;
  napi_create_int32(env, value, &result);
  return result;
}

napi_value makeDouble(napi_env env, double value) {
  napi_value result = nullptr;
  napi_create_double(env, value, &result);
  return result;
}

napi_value makeString(napi_env env, const char* value) {
  napi_value result = nullptr;
  napi_create_string_utf8(env, value, NAPI_AUTO_LENGTH, &result);
  return result;
}

napi_value makeBool(napi_env env, bool value) {
  napi_value result = nullptr;
  napi_get_boolean(env, value, &result);
  return result;
}

void setProperty(napi_env env, napi_value object, const char* name, napi_value value) {
  napi_set_named_property(env, object, name, value);
}

void setFunction(napi_env env, napi_value exports, const char* name, napi_callback callback) {
  napi_value function = nullptr;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function) != napi_ok) return;
  setProperty(env, exports, name, function);
}

}  // namespace causeway
