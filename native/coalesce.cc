// Path of a packet:
//   1. add: what is it? Not TCP or UDP with a partial checksum: written alone, at once (after its flow's open run)
//   2. find: the open run of its flow
//   3. mayAppend: does it continue that run, by the rules of Linux's GRO? Then append
//   4. else flush that run and, if the packet may be the first of one, start a new run
//   5. flush, when a run ends, is displaced, or the batch is over: headers of the first packet say the whole length
#include "coalesce.hh"

namespace causeway {
namespace {

bool sameFlow(const Transport& a, const Transport& b) {
  if (load32(a.header()) != load32(b.header()) || a.protocol != b.protocol || a.version != b.version) return false;
  if (a.version == 4) return load64(a.ip + 12) == load64(b.ip + 12);
  return memcmp(a.ip + 8, b.ip + 8, 32) == 0;
}

/** TOS, TTL, DF and the like: what a receiver could tell apart had the packets come alone. */
bool sameIpFields(const Transport& first, const Transport& next, int distance) {
  if (first.version == 6) return load32(first.ip) == load32(next.ip) && first.ip[7] == next.ip[7];
  if (first.ip[1] != next.ip[1] || first.ip[8] != next.ip[8] || load16(first.ip + 6) != load16(next.ip + 6)) return false;
  const bool dontFragment = (first.ip[6] & 0x40) != 0;  // then the id says nothing (RFC 6864 §4.1)
  return dontFragment || static_cast<uint16_t>(get16(first.ip + 4) + distance) == get16(next.ip + 4);
}

bool sameTcpFields(const Transport& first, const Transport& next) {
  const uint8_t *a = first.header(), *b = next.header();
  const bool flags = ((a[13] ^ b[13]) & ~(kPsh | kFin)) == 0;
  const bool ackAndWindow = load32(a + 8) == load32(b + 8) && load16(a + 14) == load16(b + 14);
  const int options = first.headerLength - first.start - 20;
  return flags && a[12] == b[12] && ackAndWindow && load16(a + 18) == load16(b + 18) && memcmp(a + 20, b + 20, static_cast<size_t>(options)) == 0;
}

}  // namespace

int Coalescer::run(const Batch& batch, const Order& order, CoalesceOptions* options, Sink* sink) {
  options_ = options;
  sink_ = sink;
  taken_ = 0;
  opened_ = 0;
  for (int k = 0; k < order.count; k++) {
    const int i = order.index[k];
    int32_t length;
    uint8_t* ip = batch.bytesAt(i, &length);
    if (ip != nullptr && length <= kMaxBytes + 40) add(ip, length, (batch.cell(kFlags, i) & kPacketPartial) != 0);
  }
  flushAll();
  return taken_;
}

void Coalescer::add(uint8_t* ip, int length, bool partial) {
  Transport t;
  if (!parseTransport(ip, length, &t)) {
    // A partial checksum that can't be found can't be completed: the packet is dropped.
    if (partial && !completeLocated(ip, length)) return;
    if (isUnclassifiable(ip, length)) flushAll();
    emitPlain(ip, length);
    return;
  }
  const int open = find(t);
  if (partial && open >= 0 && mayAppend(runs_[open_[open]], t)) {
    Run& run = runs_[open_[open]];
    append(&run, t);
    if (run.ended) flush(open);
    return;
  }
  if (open >= 0) flush(open);
  if (!partial) {
    emitPlain(ip, length);
  } else if (mayStart(t)) {
    start(t);
  } else {
    emitOne(t);
  }
}

int Coalescer::find(const Transport& t) const {
  for (int k = 0; k < opened_; k++) {
    if (sameFlow(runs_[open_[k]].first, t)) return k;
  }
  return -1;
}

bool Coalescer::mayStart(const Transport& t) const {
  if (!options_->vnetHeader || t.payload() <= 0) return false;
  if (t.version == 4 && t.start != 20) return false;
  if (t.protocol == kUdp) return options_->uso;
  return options_->tso && (t.header()[13] & ~(kPsh | 0x40)) == kAck;  // 0x40: ECE
}

bool Coalescer::mayAppend(const Run& run, const Transport& t) {
  const int payload = t.payload();
  if (run.ended || run.segments >= kSegments || payload <= 0 || payload > run.size) return false;
  if (run.bytes + payload > kMaxBytes || t.headerLength != run.first.headerLength) return false;
  if (t.version == 4 && t.start != 20) return false;
  if (!sameIpFields(run.first, t, run.segments)) return false;
  if (t.protocol == kUdp) return true;
  return get32(t.header() + 4) == run.sequence && sameTcpFields(run.first, t);
}

void Coalescer::start(const Transport& t) {
  if (opened_ == kRuns) flush(0);
  bool used[kRuns] = {};
  for (int k = 0; k < opened_; k++) used[open_[k]] = true;
  int slot = 0;
  while (used[slot]) slot++;
  open_[opened_++] = slot;
  Run& run = runs_[slot];
  run.first = t;
  run.segments = 1;
  run.size = t.payload();
  run.bytes = t.length;
  run.sequence = t.protocol == kTcp ? get32(t.header() + 4) + static_cast<uint32_t>(t.payload()) : 0;
  run.flags = t.protocol == kTcp ? t.header()[13] & (kPsh | kFin) : 0;
  run.ended = false;
  run.vector[1] = {t.ip, static_cast<size_t>(t.length)};
  if (run.flags != 0) flush(opened_ - 1);
}

void Coalescer::append(Run* run, const Transport& t) {
  const int payload = t.payload();
  run->segments++;
  run->vector[run->segments] = {t.ip + t.headerLength, static_cast<size_t>(payload)};
  run->bytes += payload;
  run->sequence += static_cast<uint32_t>(payload);
  if (t.protocol == kTcp) run->flags = t.header()[13] & (kPsh | kFin);
  run->ended = payload < run->size || run->flags != 0;
}

void Coalescer::flush(int index) {
  Run& run = runs_[open_[index]];
  opened_--;
  for (int k = index; k < opened_; k++) open_[k] = open_[k + 1];
  run.segments == 1 ? emitOne(run.first) : emitRun(&run);
}

void Coalescer::flushAll() {
  while (opened_ > 0) flush(0);
}

void Coalescer::emitRun(Run* run) {
  const Transport& t = run->first;
  uint8_t saved[160];
  memcpy(saved, t.ip, static_cast<size_t>(t.headerLength));
  const int transport = run->bytes - t.start;
  setIpLength(t.ip, t.version, t.start, run->bytes);
  putPartial(t.checksum(), withoutLength(t.checksum(), static_cast<unsigned>(t.length - t.start)), static_cast<unsigned>(transport));
  if (t.protocol == kTcp) {
    t.header()[13] |= run->flags;
  } else {
    put16(t.header() + 4, static_cast<unsigned>(transport));
  }
  VnetHeader header = {kVnetNeedsCsum, kGsoUdpL4, static_cast<uint16_t>(t.headerLength), static_cast<uint16_t>(run->size),
                       static_cast<uint16_t>(t.start), static_cast<uint16_t>(t.checksum() - t.header())};
  if (t.protocol == kTcp) header.gsoType = t.version == 4 ? kGsoTcp4 : kGsoTcp6;
  const Sink::Result result = put(header, run->vector, run->segments + 1);
  if (result == Sink::Result::Taken) taken_ += run->segments;
  if (result != Sink::Result::NoOffload) return;
  (t.protocol == kTcp ? options_->tso : options_->uso) = false;
  memcpy(t.ip, saved, static_cast<size_t>(t.headerLength));
  emitOne(t);
  for (int k = 2; k <= run->segments; k++) {
    const int payload = static_cast<int>(run->vector[k].iov_len);
    Transport member;
    uint8_t* ip = static_cast<uint8_t*>(run->vector[k].iov_base) - t.headerLength;
    if (parseTransport(ip, t.headerLength + payload, &member)) emitOne(member);
  }
}

void Coalescer::emitOne(const Transport& t) {
  const int field = checksumField(t.protocol);
  if (!options_->vnetHeader) {
    completeChecksum(t.header(), static_cast<size_t>(t.length - t.start), static_cast<size_t>(field));
    return emitPlain(t.ip, t.length);
  }
  const VnetHeader header = {kVnetNeedsCsum, kGsoNone, 0, 0, static_cast<uint16_t>(t.start), static_cast<uint16_t>(field)};
  iovec vector[2] = {{}, {t.ip, static_cast<size_t>(t.length)}};
  if (put(header, vector, 2) == Sink::Result::Taken) taken_++;
}

void Coalescer::emitPlain(uint8_t* ip, int length) {
  iovec vector[2] = {{}, {ip, static_cast<size_t>(length)}};
  if (put(VnetHeader{}, vector, 2) == Sink::Result::Taken) taken_++;
}

Sink::Result Coalescer::put(const VnetHeader& header, iovec* vector, int count) {
  vector[0] = {const_cast<VnetHeader*>(&header), sizeof header};
  return sink_->put(vector, count);
}

}  // namespace causeway
