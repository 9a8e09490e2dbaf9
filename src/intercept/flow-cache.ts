/**
 * The flows that this node sends: what was decided for each and what became of it, so that rules are asked once per flow and not once
 * per packet. A flow is what `flowHash` hashes: addresses, protocol and ports, all fragments between two hosts being one flow.
 * The caller's cycle, for each packet (or segmentation-offload read):
 *   1. `find` its flow;
 *   2. where `service` says SERVICE_UNDECIDED, ask the rules and `decide`;
 *   3. `count` it, and advance the flow's `lastSequence` for every packet sent.
 *
 * Flows lie in fixed slots, found by a hash table of chains; nothing is allocated after construction. A new flow takes the slot of the one
 * longest idle, so a flow's index is its own until `capacity` other flows were found (or, where somebody crafts flows of one hash,
 * until CHAIN_MAX of those were).
 */
import { flowHash, FRAGMENT_NONE, PacketInfo } from './packet.js';
import {
  inPrefix,
  type MaskedPrefix,
  maskPrefix,
  NO_SENDER,
  type RulePrefix,
  type Verdict,
} from './rules.js';
import { ORIGIN_DEFAULT, ORIGIN_SET } from './services.js';

/** In the column `service`, beside service numbers: the flow's sender may not use the overlay. */
export const SERVICE_REFUSED = 0xfb;
/** A rule drops the flow, and its sender is told. */
export const SERVICE_REJECTED = 0xfc;
/** A rule sends the flow on without the overlay. */
export const SERVICE_DIRECT = 0xfd;
/** The rules have to be asked. */
export const SERVICE_UNDECIDED = 0xfe;
/** A rule drops the flow. */
export const SERVICE_DROPPED = 0xff;
const OTHERWISE = {
  drop: SERVICE_DROPPED,
  reject: SERVICE_REJECTED,
  refuse: SERVICE_REFUSED,
  direct: SERVICE_DIRECT,
} as const;
/** Those from here on are no services. */
const NO_SERVICE = SERVICE_REFUSED;

/** In the column `begun`. */
export const BEGUN_UNKNOWN = 0;
export const BEGUN_HERE = 1;
export const BEGUN_THERE = 2;

/** Flows of one bucket, at most, so that crafted collisions cost no more than this many comparisons. */
const CHAIN_MAX = 16;
/** µs over which a flow's rate is taken. */
const RATE_WINDOW = 1_000_000;
const NONE = -1;
/** In the column `pinned`. */
const UNPINNED = 0xff;
/** A generation's unit in `stamp`, above the six bits of a DSCP. */
const GENERATION = 64;

/** Which flows a wish is about; what is absent matches all. */
export interface FlowMatch {
  /** IP protocol numbers. */
  protocols?: readonly number[];
  source?: RulePrefix;
  sourcePort?: number;
  destination?: RulePrefix;
  destinationPort?: number;
}

/** Addresses are four u32 words, IPv4 mapped; ports are 0 where there are none. */
export interface FlowTuple {
  version: number;
  protocol: number;
  source: number[];
  destination: number[];
  sourcePort: number;
  destinationPort: number;
}

export interface FlowReport {
  tuple: FlowTuple;
  label: number;
  /** Node id that the flow goes to. */
  node: number;
  /** A service number, SERVICE_UNDECIDED (until its next packet), SERVICE_DROPPED or SERVICE_REJECTED. */
  service: number;
  /** ORIGIN_… */
  origin: number;
  /** Index of the rule that matched, -1 for none. */
  rule: number;
  packets: number;
  bytes: number;
  bytesPerSecond: number;
  ageMicros: number;
  idleMicros: number;
  /** Node id of the neighbour that was chosen for it as bulk; 0: none, it goes by the best way. */
  detour: number;
  /** What this node sent again, and ahead of loss, over its link to the next hop. */
  retransmissions: number;
  copies: number;
}

export class FlowCache {
  /** A service number, SERVICE_UNDECIDED, SERVICE_DROPPED or SERVICE_REJECTED. */
  readonly service: Uint8Array;
  /** The flow's label in routed headers, `flowHash`. */
  readonly label: Uint32Array;
  /** Sequence of the flow's newest packet to its destination; -1: none yet. Whoever numbers packets writes it. */
  readonly lastSequence: Float64Array;
  /** Node id of the neighbour that was chosen for the flow, since it is bulk; 0: none yet. Whoever chooses writes it. */
  readonly detour: Uint32Array;
  readonly packets: Float64Array;
  readonly bytes: Float64Array;
  /** What the first hop's recovery did; whoever does it counts here. */
  readonly retransmissions: Float64Array;
  readonly copies: Float64Array;

  /** Whose socket sends it, NO_SENDER where that isn't known, and which of the rules' cgroups that lies in; by `setSender`. */
  readonly user: Uint32Array;
  readonly group: Uint32Array;
  readonly cgroups: Uint32Array;
  /** Who began the flow, as far as that was asked; whoever asks writes it. */
  readonly begun: Uint8Array;

  /** How many slots have ever been taken; they are the first ones. */
  size = 0;
  private readonly capacity: number;
  /** Eight words per flow: source, destination. */
  private readonly words: Uint32Array;
  private readonly ports: Uint32Array;
  /** IP version and protocol. */
  private readonly kind: Uint16Array;
  /** Node id that the flow goes to, or comes from. */
  readonly node: Uint32Array;
  private readonly origin: Uint8Array;
  private readonly pinned: Uint8Array;
  /** Index of the rule that decided, -1 for none. */
  readonly rule: Int32Array;
  /** Generation and DSCP that the decision was made in. */
  private readonly stamp: Uint32Array;
  private readonly since: Float64Array;
  private readonly lastAt: Float64Array;
  private readonly windowAt: Float64Array;
  private readonly windowBytes: Float64Array;
  private readonly rate: Float64Array;
  /** First flow of each bucket, next of each chain. */
  private readonly buckets: Int32Array;
  private readonly chain: Int32Array;
  /** Flows from the one found last to the one longest idle. */
  private readonly newer: Int32Array;
  private readonly older: Int32Array;
  private newest = NONE;
  private oldest = NONE;
  private generation = 0;

  private readonly scratch = new PacketInfo();
  private readonly decisionLife: number;

  /** `capacity`: flows remembered, at least 1. `decisionLife`: µs of silence after which rules are asked anew. */
  constructor({ capacity, decisionLife = Infinity }: { capacity: number; decisionLife?: number }) {
    this.decisionLife = decisionLife;
    const numbers = () => new Float64Array(capacity);
    const links = (size: number) => new Int32Array(size).fill(NONE);
    this.capacity = capacity;
    this.service = new Uint8Array(capacity);
    this.label = new Uint32Array(capacity);
    this.begun = new Uint8Array(capacity);
    const words = () => new Uint32Array(capacity);
    [this.user, this.group, this.cgroups] = [words(), words(), words()];
    this.detour = new Uint32Array(capacity);
    [this.lastSequence, this.packets, this.bytes] = [numbers(), numbers(), numbers()];
    [this.retransmissions, this.copies] = [numbers(), numbers()];
    this.words = new Uint32Array(8 * capacity);
    this.ports = new Uint32Array(capacity);
    this.kind = new Uint16Array(capacity);
    this.node = new Uint32Array(capacity);
    this.origin = new Uint8Array(capacity);
    this.pinned = new Uint8Array(capacity);
    this.rule = new Int32Array(capacity);
    this.stamp = new Uint32Array(capacity);
    [this.since, this.lastAt] = [numbers(), numbers()];
    [this.windowAt, this.windowBytes, this.rate] = [numbers(), numbers(), numbers()];
    this.buckets = links(2 ** Math.ceil(Math.log2(2 * capacity)));
    [this.chain, this.newer, this.older] = [links(capacity), links(capacity), links(capacity)];
  }

  /**
   * The index of the parsed packet's flow, which is made if need be; `node` is where the packet goes. The flow is undecided if it is new, if
   * rules, its DSCP or the node changed, and for each fragment, since rules ask about ports that only the first one has.
   */
  find(now: number, info: PacketInfo, node: number): number {
    const ports = portsOf(info);
    let flow = this.newest;
    if (flow === NONE || !this.is(flow, info, ports)) flow = this.lookUp(now, info, ports);
    if (this.node[flow] !== node) {
      this.node[flow] = node;
      this.lastSequence[flow] = NONE; // sequences count per destination
      this.service[flow] = SERVICE_UNDECIDED; // and rules may name its node
    }
    const stamp = (this.generation | (info.trafficClass >>> 2)) >>> 0;
    if (this.stamp[flow] !== stamp || info.fragment !== FRAGMENT_NONE) {
      this.stamp[flow] = stamp;
      this.service[flow] = SERVICE_UNDECIDED;
    }
    if (now - this.lastAt[flow]! > this.decisionLife) {
      this.service[flow] = SERVICE_UNDECIDED;
      this.begun[flow] = BEGUN_UNKNOWN;
    }
    this.lastAt[flow] = now;
    return flow;
  }

  /** The index of the parsed packet's flow, or of the flow that the packet answers; -1 where there is none. Changes nothing. */
  peek(info: PacketInfo, isAnswer = false): number {
    const sought = isAnswer ? turnAround(info, this.scratch) : info;
    const label = flowHash(sought);
    const ports = portsOf(sought);
    for (
      let flow = this.buckets[label & (this.buckets.length - 1)]!;
      flow !== NONE;
      flow = this.chain[flow]!
    ) {
      if (this.label[flow] === label && this.is(flow, sought, ports)) return flow;
    }
    return NONE;
  }

  /** Says whose the flow is; another one's flow is undecided. */
  setSender(flow: number, user: number, group: number, cgroups: number): void {
    if (this.user[flow] === user && this.group[flow] === group && this.cgroups[flow] === cgroups) return;
    this.user[flow] = user;
    this.group[flow] = group;
    this.cgroups[flow] = cgroups;
    this.service[flow] = SERVICE_UNDECIDED;
  }

  /** µs since the flow's last packet. */
  idle(now: number, flow: number): number {
    return now - this.lastAt[flow]!;
  }

  /** Takes over what the rules say. A service set by hand goes before theirs, but what they drop is dropped. */
  decide(flow: number, verdict: Verdict): void {
    const pinned = this.pinned[flow]!;
    const passes = verdict.do === 'overlay';
    const set = pinned !== UNPINNED && passes;
    this.rule[flow] = verdict.rule;
    this.origin[flow] = set ? ORIGIN_SET : verdict.origin;
    if (verdict.do === 'overlay') this.service[flow] = set ? pinned : verdict.service;
    else this.service[flow] = OTHERWISE[verdict.do];
  }

  count(now: number, flow: number, packets: number, bytes: number): void {
    this.packets[flow]! += packets;
    this.bytes[flow]! += bytes;
    const span = now - this.windowAt[flow]!;
    if (span >= RATE_WINDOW) {
      this.rate[flow] = (this.windowBytes[flow]! * 1e6) / span;
      this.windowAt[flow] = now;
      this.windowBytes[flow] = 0;
    }
    this.windowBytes[flow]! += bytes;
  }

  /** Rules or defaults changed: every flow is undecided at its next packet. */
  invalidate(): void {
    this.generation = (this.generation + GENERATION) >>> 0;
  }

  /** Sets the service of the flows that match now, or leaves it to rules again (null). Returns how many they are. */
  set(match: FlowMatch, service: number | null): number {
    const source = match.source && maskPrefix(match.source);
    const destination = match.destination && maskPrefix(match.destination);
    let found = 0;
    for (let flow = 0; flow < this.size; flow++) {
      if (!this.matches(flow, match, source, destination)) continue;
      this.pin(flow, service);
      found++;
    }
    return found;
  }

  /** Flows by the time of their last packet, newest first: those to `to`, if given, active within `idle` µs, at most `limit`. */
  list(now: number, { to, idle, limit }: { to?: RulePrefix; idle: number; limit: number }): FlowReport[] {
    const prefix = to && maskPrefix(to);
    const reports: FlowReport[] = [];
    for (let flow = this.newest; flow !== NONE && reports.length < limit; flow = this.older[flow]!) {
      if (now - this.lastAt[flow]! > idle) break;
      if (!prefix || this.lies(flow, 4, prefix)) reports.push(this.report(now, flow));
    }
    return reports;
  }

  /** In force at once where the rules let the flow pass; elsewhere they have to be asked. */
  private pin(flow: number, service: number | null): void {
    this.pinned[flow] = service ?? UNPINNED;
    if (service === null || this.service[flow]! >= NO_SERVICE) {
      this.service[flow] = SERVICE_UNDECIDED;
    } else {
      this.service[flow] = service;
      this.origin[flow] = ORIGIN_SET;
    }
  }

  private is(flow: number, info: PacketInfo, ports: number): boolean {
    const { words } = this;
    const at = 8 * flow;
    return (
      this.ports[flow] === ports &&
      words[at + 7] === info.dst3 &&
      words[at + 3] === info.src3 &&
      this.kind[flow] === ((info.version << 8) | info.protocol) &&
      words[at + 2] === info.src2 &&
      words[at + 6] === info.dst2 &&
      words[at + 1] === info.src1 &&
      words[at + 5] === info.dst1 &&
      words[at] === info.src0 &&
      words[at + 4] === info.dst0
    );
  }

  private lookUp(now: number, info: PacketInfo, ports: number): number {
    const label = flowHash(info);
    const bucket = label & (this.buckets.length - 1);
    let length = 0;
    let idlest = NONE;
    for (let flow = this.buckets[bucket]!; flow !== NONE; flow = this.chain[flow]!) {
      if (this.label[flow] === label && this.is(flow, info, ports)) {
        this.makeNewest(flow);
        return flow;
      }
      length++;
      if (idlest === NONE || this.lastAt[flow]! < this.lastAt[idlest]!) idlest = flow;
    }
    const flow = this.vacate(length < CHAIN_MAX ? NONE : idlest);
    this.begin(now, flow, info, ports, label);
    this.chain[flow] = this.buckets[bucket]!;
    this.buckets[bucket] = flow;
    return flow;
  }

  /** A slot for a new flow, unchained: `crowded` if that must go, else one never taken, else the one longest idle. */
  private vacate(crowded: number): number {
    if (crowded === NONE && this.size < this.capacity) {
      const flow = this.size++;
      this.pushNewest(flow);
      return flow;
    }
    const flow = crowded === NONE ? this.oldest : crowded;
    this.unchain(flow);
    this.makeNewest(flow);
    return flow;
  }

  private unchain(flow: number): void {
    const { buckets, chain } = this;
    const bucket = this.label[flow]! & (buckets.length - 1);
    if (buckets[bucket] === flow) {
      buckets[bucket] = chain[flow]!;
      return;
    }
    let before = buckets[bucket]!;
    while (chain[before] !== flow) before = chain[before]!;
    chain[before] = chain[flow]!;
  }

  private makeNewest(flow: number): void {
    if (flow === this.newest) return;
    const { newer, older } = this;
    older[newer[flow]!] = older[flow]!;
    if (flow === this.oldest) this.oldest = newer[flow]!;
    else newer[older[flow]!] = newer[flow]!;
    this.pushNewest(flow);
  }

  private pushNewest(flow: number): void {
    this.newer[flow] = NONE;
    this.older[flow] = this.newest;
    if (this.newest === NONE) this.oldest = flow;
    else this.newer[this.newest] = flow;
    this.newest = flow;
  }

  private begin(now: number, flow: number, info: PacketInfo, ports: number, label: number): void {
    const { words } = this;
    const at = 8 * flow;
    words[at] = info.src0;
    words[at + 1] = info.src1;
    words[at + 2] = info.src2;
    words[at + 3] = info.src3;
    words[at + 4] = info.dst0;
    words[at + 5] = info.dst1;
    words[at + 6] = info.dst2;
    words[at + 7] = info.dst3;
    this.ports[flow] = ports;
    this.kind[flow] = (info.version << 8) | info.protocol;
    this.label[flow] = label;
    this.service[flow] = SERVICE_UNDECIDED;
    this.origin[flow] = ORIGIN_DEFAULT;
    this.pinned[flow] = UNPINNED;
    this.rule[flow] = NONE;
    this.stamp[flow] = this.generation;
    this.begun[flow] = BEGUN_UNKNOWN;
    this.user[flow] = this.group[flow] = NO_SENDER;
    this.cgroups[flow] = 0;
    this.lastAt[flow] = now;
    this.lastSequence[flow] = NONE;
    this.detour[flow] = 0;
    this.packets[flow] = this.bytes[flow] = this.retransmissions[flow] = this.copies[flow] = 0;
    this.windowBytes[flow] = this.rate[flow] = 0;
    this.since[flow] = this.windowAt[flow] = now;
  }

  private matches(
    flow: number,
    match: FlowMatch,
    source: MaskedPrefix | undefined,
    destination: MaskedPrefix | undefined,
  ): boolean {
    const ports = this.ports[flow]!;
    return (
      (match.protocols === undefined || match.protocols.includes(this.kind[flow]! & 0xff)) &&
      (match.sourcePort === undefined || match.sourcePort === ports >>> 16) &&
      (match.destinationPort === undefined || match.destinationPort === (ports & 0xffff)) &&
      (source === undefined || this.lies(flow, 0, source)) &&
      (destination === undefined || this.lies(flow, 4, destination))
    );
  }

  /** Whether the address at word `at` of the flow lies within `prefix`. */
  private lies(flow: number, at: number, prefix: MaskedPrefix): boolean {
    const from = 8 * flow + at;
    return inPrefix(prefix, this.kind[flow]! >>> 8, this.words.subarray(from, from + 4));
  }

  private report(now: number, flow: number): FlowReport {
    const at = 8 * flow;
    const kind = this.kind[flow]!;
    return {
      tuple: {
        version: kind >>> 8,
        protocol: kind & 0xff,
        source: [...this.words.subarray(at, at + 4)],
        destination: [...this.words.subarray(at + 4, at + 8)],
        sourcePort: this.ports[flow]! >>> 16,
        destinationPort: this.ports[flow]! & 0xffff,
      },
      label: this.label[flow]!,
      node: this.node[flow]!,
      service: this.service[flow]!,
      origin: this.origin[flow]!,
      rule: this.rule[flow]!,
      packets: this.packets[flow]!,
      bytes: this.bytes[flow]!,
      detour: this.detour[flow]!,
      bytesPerSecond: this.rateNow(now, flow),
      ageMicros: now - this.since[flow]!,
      idleMicros: now - this.lastAt[flow]!,
      retransmissions: this.retransmissions[flow]!,
      copies: this.copies[flow]!,
    };
  }

  /** Of the last whole window, but falling while the flow is silent, and of what there is in its first second. */
  private rateNow(now: number, flow: number): number {
    const span = now - this.windowAt[flow]!;
    const first = this.windowAt[flow] === this.since[flow];
    return first || span >= 2 * RATE_WINDOW
      ? (this.windowBytes[flow]! * 1e6) / Math.max(span, RATE_WINDOW)
      : this.rate[flow]!;
  }
}

/** As flows are told apart: all fragments alike. */
function portsOf(info: PacketInfo): number {
  return info.fragment === FRAGMENT_NONE ? ((info.sourcePort << 16) | info.destinationPort) >>> 0 : 0;
}

/** The tuple of what answers the packet, in `out`. */
function turnAround(info: PacketInfo, out: PacketInfo): PacketInfo {
  out.version = info.version;
  out.protocol = info.protocol;
  out.fragment = FRAGMENT_NONE;
  out.src0 = info.dst0;
  out.src1 = info.dst1;
  out.src2 = info.dst2;
  out.src3 = info.dst3;
  out.dst0 = info.src0;
  out.dst1 = info.src1;
  out.dst2 = info.src2;
  out.dst3 = info.src3;
  out.sourcePort = info.destinationPort;
  out.destinationPort = info.sourcePort;
  return out;
}
