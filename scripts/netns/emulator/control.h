// The control socket: a line in, a line out. A client that doesn't read, or sends a line without end, is dropped.
#pragma once

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <functional>
#include <list>
#include <stdexcept>
#include <string>
#include <vector>

class ControlServer {
 public:
  using Handler = std::function<std::string(const std::string&)>;

  ControlServer(const std::string& path, Handler handler) : handler_(std::move(handler)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) throw std::runtime_error(path + ": too long for a socket's name");
    memcpy(address.sun_path, path.c_str(), path.size() + 1);
    listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener_ < 0 || bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(listener_, 16) != 0)
      throw std::runtime_error(path + ": " + strerror(errno));
  }

  void add_to(std::vector<pollfd>& set) const {
    set.push_back({listener_, POLLIN, 0});
    for (const Client& client : clients_) set.push_back({client.fd, static_cast<short>(client.out.empty() ? POLLIN : POLLOUT), 0});
  }

  // `ready` are the entries that add_to appended, after poll().
  void serve(const pollfd* ready) {
    const pollfd* entry = ready + 1;
    for (auto client = clients_.begin(); client != clients_.end(); entry++) {
      bool keep = entry->revents == 0 || (client->out.empty() ? read_from(*client) : write_to(*client));
      if (keep) {
        ++client;
      } else {
        close(client->fd);
        client = clients_.erase(client);
      }
    }
    if (ready->revents == 0) return;
    int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    if (clients_.size() < kMostClients) {
      clients_.push_back({fd, "", ""});
    } else {
      close(fd);
    }
  }

 private:
  struct Client {
    int fd;
    std::string in;
    std::string out;
  };

  static constexpr size_t kMostClients = 16;
  static constexpr size_t kLongestLine = 1024;

  bool read_from(Client& client) {
    char bytes[16384];
    ssize_t count = read(client.fd, bytes, sizeof bytes);
    if (count < 0) return errno == EAGAIN || errno == EINTR;
    if (count == 0) return false;
    client.in.append(bytes, static_cast<size_t>(count));
    size_t start = 0;
    for (size_t end; (end = client.in.find('\n', start)) != std::string::npos; start = end + 1)
      client.out += handler_(client.in.substr(start, end - start)) + "\n";
    client.in.erase(0, start);
    return client.in.size() <= kLongestLine && write_to(client);
  }

  static bool write_to(Client& client) {
    if (client.out.empty()) return true;
    ssize_t count = send(client.fd, client.out.data(), client.out.size(), MSG_NOSIGNAL);
    if (count < 0) return errno == EAGAIN || errno == EINTR;
    client.out.erase(0, static_cast<size_t>(count));
    return true;
  }

  Handler handler_;
  int listener_;
  std::list<Client> clients_;
};
