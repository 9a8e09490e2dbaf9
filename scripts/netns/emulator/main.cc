// The mesh's link emulator, for kernels without netem. One process a mesh, in a namespace of its own in the middle of all emulated links:
//
//   node a  to-b ══ l0a [port 0 ─► direction 0 ─► port 1] l0b ══ to-a  node b
//                       [port 0 ◄─ direction 1 ◄─ port 1]
//
// 1. The kernel stamps a frame when it arrives, so that what the emulator is late in reading it doesn't add to the delay.
// 2. The direction decides what becomes of it and when it is due (direction.h).
// 3. The loop sleeps until the first frame is due, one arrives, or a command comes (control.h), and sends what is due.
//
// It runs before ordinary processes where it may (SCHED_FIFO): on a loaded machine an emulated link must stay the link that was asked for.
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <map>
#include <sstream>

#include "control.h"
#include "direction.h"
#include "offloads.h"
#include "port.h"

namespace {

struct Link {
  Link(const std::string& a, const std::string& b, uint64_t seed)
      : ports{std::make_unique<Port>(a), std::make_unique<Port>(b)},
        directions{Direction(seed, buffer_size(*ports[0]), kHeader), Direction(~seed, buffer_size(*ports[1]), kHeader)} {}

  // A VLAN tag more than the MTU has room for.
  static size_t buffer_size(const Port& port) { return kHeader + ETH_HLEN + 4 + port.mtu(); }

  std::unique_ptr<Port> ports[2];
  Direction directions[2];  // 0: from port 0 to port 1
};

class Emulator {
 public:
  explicit Emulator(bool realtime) : realtime_(realtime) {}

  std::string handle(const std::string& line) {
    std::istringstream words(line);
    std::string verb;
    words >> verb;
    try {
      if (verb == "link") return add(words);
      if (verb == "shape") return shape(words);
      if (verb == "show") return show();
      return "error unknown request: " + verb;
    } catch (const std::exception& error) {
      return std::string("error ") + error.what();
    }
  }

  void add_to(std::vector<pollfd>& set) const {
    for (const auto& [index, link] : links_)
      for (const auto& port : link->ports) set.push_back({port->fd(), POLLIN, 0});
  }

  void serve(const pollfd* ready) {
    for (auto& [index, link] : links_)
      for (int side = 0; side < 2; side++, ready++)
        if (ready->revents != 0) link->ports[side]->receive(link->directions[side]);
  }

  // Sends a batch at most a direction; what is left is due at once. Returns when the next frame is due.
  Nanos send_due() {
    Nanos next = kNever;
    for (auto& [index, link] : links_) {
      for (int side = 0; side < 2; side++) {
        Direction& direction = link->directions[side];
        if (direction.next_due() <= now()) link->ports[1 - side]->send_due(direction, now());
        next = std::min(next, direction.next_due());
      }
    }
    return next;
  }

 private:
  std::string add(std::istringstream& words) {
    uint32_t index;
    std::string a, b;
    uint64_t seed;
    if (!(words >> index >> a >> b >> seed)) throw std::runtime_error("link INDEX INTERFACE INTERFACE SEED");
    // Links of one mesh share a seed, and must not lose the same frames.
    links_[index] = std::make_unique<Link>(a, b, Random(seed ^ (uint64_t{index} << 40)).next());
    return "ok";
  }

  std::string shape(std::istringstream& words) {
    uint32_t index;
    int side;
    Shape shape;
    if (!(words >> index >> side >> shape.delay >> shape.loss >> shape.burst >> shape.rate >> shape.queue >> shape.blackhole) ||
        side < 0 || side > 1)
      throw std::runtime_error("shape INDEX SIDE DELAY LOSS BURST RATE QUEUE BLACKHOLE");
    auto found = links_.find(index);
    if (found == links_.end()) throw std::runtime_error("no link " + std::to_string(index));
    found->second->directions[side].set(shape);
    return "ok";
  }

  std::string show() {
    std::ostringstream out;
    out << "{\"realtime\":" << (realtime_ ? "true" : "false") << ",\"links\":[";
    const char* comma = "";
    for (auto& [index, link] : links_) {
      out << comma << "{\"index\":" << index << ",\"directions\":[";
      for (int side = 0; side < 2; side++) {
        link->directions[side].counters.received += overrun_of(*link, side);
        if (side == 1) out << ",";
        print(out, link->directions[side]);
      }
      out << "]}";
      comma = ",";
    }
    out << "]}";
    return out.str();
  }

  static uint64_t overrun_of(Link& link, int side) {
    uint64_t count = link.ports[side]->overrun();
    link.directions[side].counters.failed += count;
    return count;
  }

  static void print(std::ostringstream& out, const Direction& direction) {
    const Counters& c = direction.counters;
    uint64_t left = c.passed + c.failed;
    out << "{\"received\":" << c.received << ",\"passed\":" << c.passed << ",\"lost\":" << c.lost << ",\"dropped\":" << c.dropped
        << ",\"blackholed\":" << c.blackholed << ",\"failed\":" << c.failed << ",\"held\":" << direction.held().size()
        << ",\"lateMeanUs\":" << (left == 0 ? 0 : c.late_total_us / left) << ",\"lateMaxUs\":" << c.late_max_us << "}";
  }

  bool realtime_;
  std::map<uint32_t, std::unique_ptr<Link>> links_;
};

// Low among real-time priorities: before ordinary processes is enough.
bool run_before_others() {
  sched_param priority{};
  priority.sched_priority = 10;
  prctl(PR_SET_TIMERSLACK, 1);
  mlockall(MCL_CURRENT | MCL_FUTURE);
  return sched_setscheduler(0, SCHED_FIFO, &priority) == 0;
}

[[noreturn]] void run(const std::string& socket_path) {
  signal(SIGPIPE, SIG_IGN);
  Emulator emulator(run_before_others());
  ControlServer control(socket_path, [&](const std::string& line) { return emulator.handle(line); });
  std::vector<pollfd> set;
  for (;;) {
    Nanos next = emulator.send_due();
    set.clear();
    emulator.add_to(set);
    size_t links_end = set.size();
    control.add_to(set);
    Nanos wait = next == kNever ? 0 : std::max<Nanos>(0, next - now());
    timespec timeout{static_cast<time_t>(wait / kSecond), static_cast<long>(wait % kSecond)};
    if (ppoll(set.data(), set.size(), next == kNever ? nullptr : &timeout, nullptr) <= 0) continue;
    emulator.serve(set.data());
    control.serve(set.data() + links_end);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    std::string verb = argc == 3 ? argv[1] : "";
    if (verb == "run") run(argv[2]);
    if (verb == "offloads-off") {
      FeatureList(argv[2]).segmentation_off();
      return 0;
    }
    fprintf(stderr, "usage: link-emulator run SOCKET | offloads-off INTERFACE\n");
    return 2;
  } catch (const std::exception& error) {
    fprintf(stderr, "link-emulator: %s\n", error.what());
    return 1;
  }
}
