// Readiness of one file descriptor on the loading thread's event loop.
//
// A Poller outlives its owner until libuv has let go of the handle; it never touches its owner, and it calls no
// JavaScript once closed. It keeps the environment's teardown waiting until it is gone.
#pragma once

#include <node_api.h>
#include <uv.h>

#include "env.hh"

namespace causeway {

class Poller {
 public:
  /** nullptr (errno set) if libuv refuses the descriptor. The descriptor must stay open until close(). */
  static Poller* open(napi_env env, int fd);

  /** Replaces the callback for readability and starts watching for it. */
  void onReadable(napi_env env, napi_value callback);
  /** Calls back once when writable. */
  void onWritable(napi_env env, napi_value callback);
  void pause(bool paused);
  /** Whether an active watch keeps the process alive. */
  void keepAlive(bool keep);
  /** Errors of the descriptor (a reset device, a socket's pending error) wake the reader; a socket goes on after it. */
  void resumeAfterError(bool resume) { resumeAfterError_ = resume; }
  /** Whether there was an error since the last call. */
  bool takeError() {
    const bool had = error_;
    error_ = false;
    return had;
  }
  /** Descriptor whose 8 bytes are read off before each callback (a timerfd); nothing to read: no callback. */
  void drainCounter(bool drain) { drainCounter_ = drain; }

  /** The owner lets go: no callback from here on; the descriptor may be closed at once. */
  void close(napi_env env);

 private:
  explicit Poller(napi_env env, int fd) : env_(env), fd_(fd) {}
  static void onEvent(uv_poll_t* poll, int status, int events);
  static void onClosed(uv_handle_t* handle);
  static void onTeardown(napi_async_cleanup_hook_handle hook, void* data);
  void watch();
  void call(napi_ref callback);
  void shut();

  uv_poll_t poll_;
  napi_env env_;
  int fd_;
  napi_ref readable_ = nullptr;
  napi_ref writable_ = nullptr;
  napi_async_cleanup_hook_handle hook_ = nullptr;
  int watched_ = 0;
  bool wantWritable_ = false;
  bool paused_ = false;
  bool closing_ = false;
  bool owned_ = true;    // the owner still holds the pointer
  bool closed_ = false;  // libuv is done with poll_
  bool resumeAfterError_ = false;
  bool error_ = false;
  bool drainCounter_ = false;
};

/** A resource that is one descriptor, watched on the event loop from `watch` on. */
struct Polled : Handle {
  using Handle::Handle;
  ~Polled() override;
  void close(napi_env env) override;
  /** nullptr, or the system call that failed, with errno set. */
  const char* watch(napi_env env);

  int fd = -1;
  Poller* poller = nullptr;
};

/** onReadable(handle, callback) */
template <typename T>
napi_value onReadable(napi_env env, napi_callback_info info) {
  Args<2> args(env, info);
  auto* polled = getHandle<T>(env, args.value[0]);
  if (polled != nullptr && polled->poller != nullptr) polled->poller->onReadable(env, args.value[1]);
  return nullptr;
}

/** pause(handle, paused) */
template <typename T>
napi_value pause(napi_env env, napi_callback_info info) {
  Args<2> args(env, info);
  auto* polled = getHandle<T>(env, args.value[0]);
  bool paused = false;
  napi_get_value_bool(env, args.value[1], &paused);
  if (polled != nullptr && polled->poller != nullptr) polled->poller->pause(paused);
  return nullptr;
}

}  // namespace causeway
