// Messages at a constant rate over a plain kernel socket, and how late each is: counted from when it was due, not from when it could be sent.
// Both ends are on this machine and so have one clock; network namespaces don't divide it. No part of the product: any program would do.
//
//   timed receive tcp|udp PORT BYTES                                  says "ready" on standard error; prints "SEQUENCE DUE_NS ARRIVED_NS" a message
//                                                                     when the connection ends (tcp) or on SIGTERM (udp)
//   timed send tcp|udp ADDRESS PORT COUNT INTERVAL_US BYTES DSCP CC   CC: the connection's congestion control, "-" for the system's
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BILLION 1000000000LL
#define MOST_BYTES 65000

// The head of each message; the rest is zeros.
struct stamp {
  uint64_t sequence;
  int64_t due;
};

struct arrival {
  struct stamp stamp;
  int64_t at;
};

static struct arrival *arrivals;
static size_t count, room;
static volatile sig_atomic_t ended;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * BILLION + t.tv_nsec;
}

static void sleep_until(int64_t at) {
  struct timespec t = {at / BILLION, at % BILLION};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) continue;
}

// What the machine would add to each delay: timer slack, page faults, waiting for a processor. The links' emulator stays above us.
static void be_punctual(void) {
  struct sched_param priority = {.sched_priority = 1};
  prctl(PR_SET_TIMERSLACK, 1);
  if (sched_setscheduler(0, SCHED_FIFO, &priority) != 0 || mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
    fprintf(stderr, "timed: no real-time scheduling here: delays include waiting for a processor\n");
}

static struct sockaddr_in address_of(const char *host, const char *port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
    fprintf(stderr, "timed: \"%s\" is no IPv4 address\n", host);
    exit(2);
  }
  return address;
}

static int is_tcp(const char *protocol) {
  if (strcmp(protocol, "tcp") == 0) return 1;
  if (strcmp(protocol, "udp") == 0) return 0;
  fprintf(stderr, "timed: tcp or udp, not \"%s\"\n", protocol);
  exit(2);
}

static void note(const char *message, int64_t at) {
  if (count == room) {
    room = room ? 2 * room : 1 << 14;
    arrivals = realloc(arrivals, room * sizeof *arrivals);
    if (arrivals == NULL) fail("realloc");
  }
  memcpy(&arrivals[count].stamp, message, sizeof(struct stamp));
  arrivals[count++].at = at;
}

static void on_end(int signal) {
  (void)signal;
  ended = 1;
}

static void receive_datagrams(int fd) {
  char message[MOST_BYTES];
  while (!ended) {
    ssize_t got = recv(fd, message, sizeof message, 0);
    if (got >= (ssize_t)sizeof(struct stamp)) note(message, now());
  }
}

// A message has arrived with its last byte.
static void receive_stream(int listener, size_t bytes) {
  static char buffer[1 << 20];
  size_t held = 0;
  int fd = accept(listener, NULL, NULL);
  if (fd < 0) return;
  while (!ended) {
    ssize_t got = recv(fd, buffer + held, sizeof buffer - held, 0);
    if (got == 0 || (got < 0 && errno != EINTR)) break;
    if (got < 0) continue;
    int64_t at = now();
    size_t used = 0;
    for (held += (size_t)got; held - used >= bytes; used += bytes) note(buffer + used, at);
    held -= used;
    memmove(buffer, buffer + used, held);
  }
}

static int receive_all(char **words) {
  int tcp = is_tcp(words[0]), on = 1, kernel_room = 8 << 20;
  struct sockaddr_in address = address_of("0.0.0.0", words[1]);
  struct sigaction action = {.sa_handler = on_end};
  int fd = socket(AF_INET, tcp ? SOCK_STREAM : SOCK_DGRAM, 0);
  if (fd < 0) fail("socket");
  sigaction(SIGTERM, &action, NULL);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (!tcp) setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &kernel_room, sizeof kernel_room);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) fail("bind");
  if (tcp && listen(fd, 1) != 0) fail("listen");
  be_punctual();
  fprintf(stderr, "ready\n");
  if (tcp) receive_stream(fd, (size_t)atol(words[2]));
  else receive_datagrams(fd);
  for (size_t i = 0; i < count; i++)
    printf("%llu %lld %lld\n", (unsigned long long)arrivals[i].stamp.sequence, (long long)arrivals[i].stamp.due,
           (long long)arrivals[i].at);
  return 0;
}

static int connected(int tcp, char **words) {
  struct sockaddr_in address = address_of(words[1], words[2]);
  int fd = socket(AF_INET, tcp ? SOCK_STREAM : SOCK_DGRAM, 0), on = 1, class = atoi(words[6]) << 2;
  const char *congestion = words[7];
  if (fd < 0) fail("socket");
  if (setsockopt(fd, IPPROTO_IP, IP_TOS, &class, sizeof class) != 0) fail("IP_TOS");
  if (tcp && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) fail("TCP_NODELAY");
  if (tcp && strcmp(congestion, "-") != 0 &&
      setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, congestion, (socklen_t)strlen(congestion)) != 0)
    fail(congestion);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) fail("connect");
  return fd;
}

// A datagram that the kernel refuses is one lost.
static void send_all(int fd, int tcp, const char *message, size_t bytes) {
  for (size_t sent = 0; sent < bytes;) {
    ssize_t some = send(fd, message + sent, bytes - sent, MSG_NOSIGNAL);
    if (some > 0) sent += (size_t)some;
    else if (!tcp) return;
    else if (errno != EINTR) fail("send");
  }
}

static int send_messages(char **words) {
  static char message[MOST_BYTES];
  int tcp = is_tcp(words[0]);
  uint64_t messages = strtoull(words[3], NULL, 10);
  int64_t interval = atoll(words[4]) * 1000;
  size_t bytes = (size_t)atol(words[5]);
  if (bytes < sizeof(struct stamp) || bytes > sizeof message) {
    fprintf(stderr, "timed: a message has %zu to %zu bytes\n", sizeof(struct stamp), sizeof message);
    return 2;
  }
  int fd = connected(tcp, words);
  be_punctual();
  struct stamp stamp = {0, now() + BILLION / 5};
  for (; stamp.sequence < messages; stamp.sequence++, stamp.due += interval) {
    memcpy(message, &stamp, sizeof stamp);
    sleep_until(stamp.due);
    send_all(fd, tcp, message, bytes);
  }
  close(fd);
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 5 && strcmp(argv[1], "receive") == 0) return receive_all(argv + 2);
  if (argc == 10 && strcmp(argv[1], "send") == 0) return send_messages(argv + 2);
  fprintf(stderr, "usage: timed receive tcp|udp PORT BYTES\n"
                  "       timed send tcp|udp ADDRESS PORT COUNT INTERVAL_US BYTES DSCP CC\n");
  return 2;
}
