/**
 * The way in, from the TUN device to the wire:
 * 1. read a batch from the device
 * 2. decide for each packet: whose is it, may it go, which neighbour is next
 * 3. leave those that a link recovers to `stored-entry.ts`, those with more than one way to `redundant-entry.ts`, those that don't go over the overlay to
 *    `direct.ts`; cut segmentation-offload packets of the rest into datagrams' worth
 * 4. write routed header (`routed-run.ts`) and record header of each
 * 5. seal and send them; where the socket is full, stop reading the device until it takes them
 *
 * One decision serves all the segments of a read. Nothing here allocates per packet.
 */
import { PACKET_PARTIAL, type PacketBatch, RECORD_HEADER, RECORD_TAG } from '../../io/batch.js';
import type { Io, TunDevice } from '../../io/ports.js';
import { Access, REFUSED_OVERLAY } from '../../intercept/access.js';
import { hasManyDestinations, hasMartianSource, isUnicast } from '../../intercept/address.js';
import {
  type FlowCache,
  SERVICE_DIRECT,
  SERVICE_DROPPED,
  SERVICE_REFUSED,
  SERVICE_REJECTED,
  SERVICE_UNDECIDED,
} from '../../intercept/flow-cache.js';
import type { IcmpErrorKind } from '../../intercept/icmp.js';
import { clampMss } from '../../intercept/mss.js';
import { FRAGMENT_REFUSED, type FragmentWatch } from '../../intercept/fragments.js';
import { type InboundFilter, isIcmp } from '../../intercept/inbound.js';
import { FRAGMENT_NONE, PacketInfo, PARSE_OK, parsePacket } from '../../intercept/packet.js';
import { RuleQuestion } from '../../intercept/rule-question.js';
import type { Classify } from '../../intercept/rules.js';
import type { SenderWatch } from '../../intercept/sender-watch.js';
import { NO_OWNER, PrefixTable } from '../route/prefix-table.js';
import {
  ROUTED_HEADER_SIZE,
  SERVICE_BEST_EFFORT,
  SERVICE_REDUNDANT,
  SERVICE_RELIABLE,
} from '../wire/routed.js';
import type { Beyond } from './beyond.js';
import { type Counters, type DropReason, INNER_DROPS } from './counters.js';
import { Detours } from './detours.js';
import type { Hops } from './hops.js';
import type { IcmpWriter } from './icmp-writer.js';
import type { Neighbour } from './neighbour.js';
import type { RecentHeaders } from './recent-headers.js';
import { RedundantEntry } from './redundant-entry.js';
import { Decided, RoutedRun } from './routed-run.js';
import type { Destination, Routes } from './routes.js';
import { segmentSize } from './segments.js';
import type { Sender } from './sender.js';
import type { SourceRoutes } from './source-routes.js';
import type { Spreader } from './spreader.js';
import { StoredEntry } from './stored-entry.js';
import type { Widths } from './widths.js';

const HEADROOM = RECORD_HEADER + ROUTED_HEADER_SIZE;

export interface EntryParts {
  io: Io;
  tun: TunDevice;
  routes: Routes;
  sender: Sender;
  hops: Hops;
  sourceRoutes: SourceRoutes;
  spreader: Spreader;
  flows: FlowCache;
  inbound: InboundFilter;
  /** A user was refused the overlay or a service: REFUSED_OVERLAY, or the service's number. */
  refused: (now: number, user: number, what: number) => void;
  /** Fragments that this host sends. */
  fragments: FragmentWatch;
  icmp: IcmpWriter;
  widths: Widths;
  recent: RecentHeaders;
  /** Absent where only the overlay's own prefixes lead into the device. */
  beyond?: Beyond;
  counters: Counters;
  self: number;
  epoch: number;
  /** DSCP bits of the outer header, in place, given the inner packet's. */
  outerClass: (inner: number) => number;
  /** Calls back once the socket can take datagrams again. */
  whenWritable: (callback: () => void) => void;
  /** What the device fills. */
  read: PacketBatch;
  /** What the wire takes; larger than `read` by the headers of its segments. */
  out: PacketBatch;
}

export class Entry {
  classify: Classify;
  /** Who may use the overlay. */
  access = new Access();
  /** Real addresses of nodes to which there is no way now: what is meant for them doesn't leave directly, unless a rule says so. */
  withheld = PrefixTable.build([]);
  /** Who sends; absent where nobody asks. */
  senders: SenderWatch | undefined;
  private readonly info: PacketInfo = new PacketInfo();
  private readonly asked = new RuleQuestion();
  private readonly detours: Detours;
  private readonly decided: Decided;
  private readonly routedRun: RoutedRun;
  private readonly stored: StoredEntry;
  private readonly redundant: RedundantEntry;
  private readonly take: Int32Array;
  private readonly order: Int32Array;
  /** Each row of `out` in its place. */
  private readonly rows: Int32Array;
  /** What waits for the socket: `order[sent..sealed)` of `out`, then `take[next..taken)` of `read`. */
  private rest:
    { sent: number; readonly sealed: number; readonly next: number; readonly taken: number } | undefined;

  constructor(
    private readonly parts: EntryParts,
    classify: Classify,
  ) {
    const { capacity } = parts.read;
    this.classify = classify;
    this.detours = new Detours(parts.flows);
    this.decided = new Decided(capacity);
    this.routedRun = new RoutedRun(this.decided, parts.flows, parts.self, parts.epoch);
    this.stored = new StoredEntry(parts, this.decided, this.routedRun);
    this.redundant = new RedundantEntry(parts, this.decided);
    this.take = new Int32Array(capacity);
    this.order = new Int32Array(parts.out.capacity);
    this.rows = Int32Array.from({ length: parts.out.capacity }, (_, row) => row);
  }

  /** Takes one batch all the way. `now` in µs. Returns how many packets the device gave. */
  run(now: number): number {
    const { read, tun, counters } = this.parts;
    const { service } = this.decided;
    if (this.rest) return 0;
    const count = tun.read(read);
    this.learnSenders(now);
    let taken = 0;
    for (let i = 0; i < count; i++) {
      counters.tunReadBytes += read.length[i]!;
      if (!this.decide(i, now)) continue;
      if (service[i] === SERVICE_REDUNDANT && this.redundant.take(now, i)) continue;
      if (!this.decided.next[i]) {
        counters.drop('no-path'); // there are other ways, but not for a packet so large
        continue;
      }
      if (service[i] === SERVICE_BEST_EFFORT || !this.stored.take(i)) this.take[taken++] = i;
    }
    counters.tunReadPackets += count;
    this.parts.beyond?.direct.flush();
    this.redundant.flush(now);
    this.stored.flush(now);
    this.carryOn(now, 0, taken);
    return count;
  }

  /** Steps 3 to 5 for `take[from..taken)`, as far as the socket has room. */
  private carryOn(now: number, from: number, taken: number): void {
    const { out, sender } = this.parts;
    for (let next = from; next < taken;) {
      next += this.cut(next, taken);
      const atOnce = this.writeHeaders(now);
      const sealed = sender.seal(out, this.order, atOnce);
      const sent = sender.send(out, this.order, sealed);
      if (sent < sealed) {
        this.wait({ sent, sealed, next, taken });
        return;
      }
    }
  }

  private wait(rest: NonNullable<typeof this.rest>): void {
    this.rest = rest;
    this.parts.tun.pause();
    this.parts.whenWritable(() => this.sendRest());
  }

  private sendRest(): void {
    const { rest } = this;
    if (!rest) return;
    const { io, tun, out, sender } = this.parts;
    this.rest = undefined;
    rest.sent += sender.send(out, this.order.subarray(rest.sent, rest.sealed), rest.sealed - rest.sent);
    if (rest.sent < rest.sealed) this.wait(rest);
    else this.carryOn(io.now(), rest.next, rest.taken);
    if (!this.rest) tun.resume();
  }

  /** Whether packet `i` goes over the overlay; what was decided lies in `decided`. */
  private decide(i: number, now: number): boolean {
    if (!this.parse(i, now)) return false;
    const owner = this.ownerOf();
    const destination = owner >= 0 ? this.parts.routes.destination(owner) : this.exitFor(owner);
    if (!destination && (owner !== NO_OWNER || !this.parts.beyond)) {
      this.refuseAbsent(i, now);
      return false;
    }
    if (destination && !this.mayBring()) {
      if (!this.fallsBack(i)) this.drop(hasMartianSource(this.info) ? 'martian' : 'foreign-source', i);
      return false;
    }
    const flow = this.flowOf(now, destination?.nodeId ?? 0);
    if (!this.isForOverlay(i, now, flow, destination)) return false;
    return this.findWay(i, now, flow, destination);
  }

  /** Reads packet `i` into `info`; false where it is malformed, or a fragment that must not pass. */
  private parse(i: number, now: number): boolean {
    const { read, fragments } = this.parts;
    const { info } = this;
    const parsed = parsePacket(read.view, read.offset[i]!, read.length[i]!, info);
    if (parsed !== PARSE_OK) this.drop(INNER_DROPS[parsed]!, i);
    else if (info.fragment === FRAGMENT_NONE || fragments.take(now, info) !== FRAGMENT_REFUSED) return true;
    else this.drop('inner-overlap', i);
    return false;
  }

  private ownerOf(): number {
    const { routes } = this.parts;
    const { version, dst0, dst1, dst2, dst3 } = this.info;
    return version === 4 ? routes.owner4(dst3) : routes.owner6(dst0, dst1, dst2, dst3);
  }

  /** Whether the flow's service is one of the overlay's; if not, packet `i` is sent on, or refused, here. */
  private isForOverlay(
    i: number,
    now: number,
    flow: number,
    destination: Destination | undefined,
  ): destination is Destination {
    const { flows, read, refused } = this.parts;
    const service = flows.service[flow]!;
    if (service !== SERVICE_DIRECT && !destination && this.isWithheld()) {
      this.refuse('no-path', i, now, 'host-unreachable');
    } else if (service === SERVICE_DIRECT || (!destination && flows.rule[flow]! < 0)) {
      flows.count(now, flow, 1, read.length[i]!);
      this.sendOn(i, now);
    } else if (service === SERVICE_REFUSED) {
      refused(now, flows.user[flow]!, REFUSED_OVERLAY);
      this.refuse('access', i, now, 'prohibited');
    } else if (service === SERVICE_REJECTED) this.refuse('rule', i, now, 'prohibited');
    else if (service === SERVICE_DROPPED) this.drop('rule', i);
    else if (!destination) this.refuse('no-path', i, now, 'host-unreachable');
    else return true;
    return false;
  }

  /** Whether there is a way to `destination` that packet `i` fits. */
  private findWay(i: number, now: number, flow: number, destination: Destination): boolean {
    const { read, sourceRoutes, counters, flows } = this.parts;
    const { info, decided } = this;
    const service = flows.service[flow]!;
    const next =
      service === SERVICE_RELIABLE ? this.detours.next(flow, destination) : destination.next[service];
    const isSpread =
      service === SERVICE_REDUNDANT && sourceRoutes.find(now, destination.nodeId) !== undefined;
    if (!next?.up && !isSpread && !this.waitsForPath(next, service)) {
      if (this.fallsBack(i)) return false;
      // A link that has just gone down leaves no path only for as long as routing takes to find another.
      if (next) this.drop('no-path', i);
      else this.refuse('no-path', i, now, 'host-unreachable');
      return false;
    }
    if (next && !isSpread && !this.fits(i, now, next)) return false;
    decided.destinations[i] = destination;
    decided.next[i] = next;
    decided.flow[i] = flow;
    decided.service[i] = service;
    decided.ttl[i] = info.ttl;
    decided.ecn[i] = info.ecn;
    decided.outer[i] = this.parts.outerClass(info.trafficClass & ~3);
    counters.watcher?.entered(read, i, destination.nodeId, service);
    return true;
  }

  private drop(reason: DropReason, i: number): void {
    this.parts.counters.dropPacket(reason, this.parts.read, i);
  }

  /** Drops packet `i`, and its sender hears of it. */
  private refuse(reason: DropReason, i: number, now: number, why: IcmpErrorKind): void {
    this.drop(reason, i);
    this.parts.icmp.answer(now, this.parts.read, i, this.info, why);
  }

  /** The parsed packet goes to an overlay's address that nobody has. */
  private refuseAbsent(i: number, now: number): void {
    if (hasManyDestinations(this.info)) this.drop('multicast', i);
    else this.refuse('overlay-absent', i, now, 'host-unreachable');
  }

  /** Whether the parsed packet may go to `next` as large as it is; its sender hears where it may not. A SYN learns how large segments should be. */
  private fits(i: number, now: number, next: Neighbour): boolean {
    const { read, widths, icmp } = this.parts;
    const { info } = this;
    clampMss(read.view, info, widths.room(next), (read.flags[i]! & PACKET_PARTIAL) !== 0);
    const { version, dontFragment } = info;
    const most = widths.refusal(next, segmentSize(read, i), version as 4 | 6, dontFragment);
    if (most === 0) return true;
    this.drop('too-big', i);
    icmp.answer(now, read, i, info, 'too-big', most);
    return false;
  }

  /** Whether the packet may wait with the link that went down, for another path or the link. */
  private waitsForPath(next: Neighbour | undefined, service: number): boolean {
    return next !== undefined && service === SERVICE_RELIABLE;
  }

  /** The parsed packet's flow, with its service decided. */
  private flowOf(now: number, node: number): number {
    const { flows, inbound, read } = this.parts;
    const { info } = this;
    const flow = flows.find(now, info, node);
    const isUndecided = flows.service[flow] === SERVICE_UNDECIDED;
    if (isUndecided) this.decideFlow(now, flow, node);
    if (inbound.active && (isUndecided || isIcmp(info))) inbound.noteSent(now, read.view, info, flow);
    return flow;
  }

  private decideFlow(now: number, flow: number, node: number): void {
    const { flows, refused } = this.parts;
    const { asked, access } = this;
    asked.ask(this.info, this.parts.self, node);
    asked.user = flows.user[flow]!;
    asked.group = flows.group[flow]!;
    asked.cgroups = flows.cgroups[flow]!;
    flows.decide(flow, access.judge(this.classify, asked));
    if (access.refused >= 0) refused(now, asked.user, access.refused);
  }

  /** What was logged of senders, before packets are decided by it. */
  private learnSenders(now: number): void {
    const { senders, access } = this;
    if (!senders) return;
    senders.drain(now);
    const isBlind = senders.isBlind(now);
    if (isBlind === access.isBlind) return;
    access.isBlind = isBlind;
    this.parts.flows.invalidate();
  }

  private isWithheld(): boolean {
    const { version, dst0, dst1, dst2, dst3 } = this.info;
    const { withheld } = this;
    return (version === 4 ? withheld.lookup4(dst3) : withheld.lookup6(dst0, dst1, dst2, dst3)) >= 0;
  }

  /** Who carries the parsed packet to a destination that `owner` says is nobody's. */
  private exitFor(owner: number): Destination | undefined {
    const { dst0, dst1, dst2, dst3 } = this.info;
    return owner === NO_OWNER && isUnicast(dst0, dst1, dst2, dst3) ? this.parts.routes.exit() : undefined;
  }

  /** Whether the parsed packet's source is this node's, or an outside one that this node as an exit answers for. */
  private mayBring(): boolean {
    const { routes, self } = this.parts;
    const { version, src0, src1, src2, src3 } = this.info;
    const owner = version === 4 ? routes.owner4(src3) : routes.owner6(src0, src1, src2, src3);
    if (owner >= 0) return routes.destination(owner).nodeId === self;
    return owner === NO_OWNER && routes.outside.forOthers && isUnicast(src0, src1, src2, src3);
  }

  /** Sends packet `i`, which the overlay can't carry, by the host's own routes, if it may go there. */
  private fallsBack(i: number): boolean {
    const { beyond } = this.parts;
    if (!beyond?.fallback || beyond.staysInside(this.info)) return false;
    this.leave(i, beyond);
    return true;
  }

  /** Sends packet `i` by the host's own routes, as a rule says; but the overlay's own addresses mean nothing there. */
  private sendOn(i: number, now: number): void {
    const { beyond } = this.parts;
    if (beyond && !beyond.staysInside(this.info)) this.leave(i, beyond);
    else this.refuse('direct-overlay', i, now, 'prohibited');
  }

  private leave(i: number, { direct }: Beyond): void {
    const { read, counters } = this.parts;
    counters.watcher?.left(read, i);
    direct.take(i);
  }

  /** Cuts `take[done..taken)` into `out`, as far as it holds them; returns how many packets of the read that were. */
  private cut(done: number, taken: number): number {
    const { io, read, out } = this.parts;
    const rest = done === 0 ? this.take : this.take.subarray(done);
    const consumed = io.segment(read, rest, taken - done, out, HEADROOM, RECORD_TAG);
    // A packet too large for an empty batch would be tried for ever.
    return Math.max(consumed, 1);
  }

  /** Writes the headers of what `cut` left in `out`, and lists it in `order`; returns how many that are. */
  private writeHeaders(now: number): number {
    const { read, out, sender, recent, flows } = this.parts;
    const { decided, rows } = this;
    for (let j = 0; j < out.count;) {
      const i = out.source[j]!;
      const { nodeId, sequence, next: ways } = decided.destinations[i]!;
      const next = ways[decided.service[i]!];
      const flow = decided.flow[i]!;
      const from = j;
      j = this.routedRun.write(out, rows, from, out.count, RECORD_HEADER);
      flows.count(now, flow, j - from, read.length[i]!);
      if (next) {
        sender.noteData(now, next);
        recent.remember(read, i, nodeId, (sequence + 1) >>> 0, j - from);
        sender.address(out, from, j, next, decided.outer[i]! | decided.ecn[i]!);
      } else {
        out.key.fill(-1, from, j); // the path went while the packet waited for the socket
        flows.lastSequence[flow] = -1; // nobody is to wait for it
      }
    }
    this.order.set(rows.subarray(0, out.count));
    return out.count;
  }
}
