// Path of an event: libuv -> onEvent -> call -> JavaScript (with napi_make_callback, so microtasks run and an exception
// reaches uncaughtException). Path of an end: close() or onTeardown -> shut -> uv_close -> onClosed -> delete.
#include "poller.hh"

#include <unistd.h>

#include <cerrno>

namespace causeway {

Poller* Poller::open(napi_env env, int fd) {
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) {
    errno = EINVAL;
    return nullptr;
  }
  auto* poller = new Poller(env, fd);
  const int status = uv_poll_init(loop, &poller->poll_, fd);
  if (status != 0) {
    delete poller;
    errno = -status;
    return nullptr;
  }
  poller->poll_.data = poller;
  napi_add_async_cleanup_hook(env, onTeardown, poller, &poller->hook_);
  return poller;
}

void Poller::watch() {
  if (closing_) return;
  int events = 0;
  if (readable_ != nullptr && !paused_) events |= UV_READABLE;
  if (wantWritable_) events |= UV_WRITABLE;
  if (events == watched_) return;
  watched_ = events;
  if (events == 0) {
    uv_poll_stop(&poll_);
  } else {
    uv_poll_start(&poll_, events, onEvent);
  }
}

static void replace(napi_env env, napi_ref* slot, napi_value callback) {
  if (*slot != nullptr) napi_delete_reference(env, *slot);
  *slot = nullptr;
  napi_valuetype type = napi_undefined;
  napi_typeof(env, callback, &type);
  if (type == napi_function) napi_create_reference(env, callback, 1, slot);
}

void Poller::onReadable(napi_env env, napi_value callback) {
  if (closing_) return;
  replace(env, &readable_, callback);
  watch();
}

void Poller::onWritable(napi_env env, napi_value callback) {
  if (closing_) return;
  replace(env, &writable_, callback);
  wantWritable_ = writable_ != nullptr;
  watch();
}

void Poller::pause(bool paused) {
  paused_ = paused;
  watch();
}

void Poller::keepAlive(bool keep) {
  if (closing_) return;
  auto* handle = reinterpret_cast<uv_handle_t*>(&poll_);
  keep ? uv_ref(handle) : uv_unref(handle);
}

void Poller::onEvent(uv_poll_t* poll, int status, int events) {
  auto* poller = static_cast<Poller*>(poll->data);
  if (poller->closing_) return;
  if (status < 0) {  // libuv has stopped the watch
    poller->watched_ = 0;
    poller->error_ = true;
    events = UV_READABLE;
    if (poller->resumeAfterError_) poller->watch();
  }
  uint64_t expirations;
  if (poller->drainCounter_ && read(poller->fd_, &expirations, sizeof expirations) != sizeof expirations) return;
  const bool writable = (events & UV_WRITABLE) != 0 && poller->wantWritable_;
  if (writable) {
    poller->wantWritable_ = false;
    poller->watch();
  }
  // A callback may close the poller; closing_ is looked at again between the two. onClosed can't run meanwhile: it
  // comes from the loop, which is below us on the stack.
  if ((events & UV_READABLE) != 0 && !poller->paused_) poller->call(poller->readable_);
  if (writable && !poller->closing_) poller->call(poller->writable_);
}

void Poller::call(napi_ref callback) {
  if (callback == nullptr) return;
  napi_env env = env_;
  napi_handle_scope scope;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  napi_value function = nullptr, self = nullptr, result = nullptr;
  napi_get_reference_value(env, callback, &function);
  napi_get_global(env, &self);
  if (function != nullptr && napi_make_callback(env, nullptr, self, function, 0, nullptr, &result) == napi_pending_exception) {
    napi_value exception = nullptr;
    if (napi_get_and_clear_last_exception(env, &exception) == napi_ok) napi_fatal_exception(env, exception);
  }
  napi_close_handle_scope(env, scope);
}

/** Everything of an end but the owner's pointer. Idempotent. */
void Poller::shut() {
  if (closing_) return;
  closing_ = true;
  if (readable_ != nullptr) napi_delete_reference(env_, readable_);
  if (writable_ != nullptr) napi_delete_reference(env_, writable_);
  readable_ = writable_ = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&poll_), onClosed);
}

void Poller::close(napi_env) {
  shut();
  owned_ = false;
  if (closed_) delete this;
}

void Poller::onTeardown(napi_async_cleanup_hook_handle, void* data) { static_cast<Poller*>(data)->shut(); }

void Poller::onClosed(uv_handle_t* handle) {
  auto* poller = static_cast<Poller*>(handle->data);
  poller->closed_ = true;
  if (poller->hook_ != nullptr) napi_remove_async_cleanup_hook(poller->hook_);
  poller->hook_ = nullptr;
  if (!poller->owned_) delete poller;
}

Polled::~Polled() {
  if (fd >= 0) ::close(fd);
}

void Polled::close(napi_env env) {
  if (poller != nullptr) poller->close(env);
  poller = nullptr;
  if (fd >= 0) ::close(fd);
  fd = -1;
}

const char* Polled::watch(napi_env env) {
  poller = Poller::open(env, fd);
  return poller == nullptr ? "uv_poll_init" : nullptr;
}

}  // namespace causeway
