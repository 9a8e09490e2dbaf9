/**
 * Inner packets, real ones with bytes changed, through all that decides about them, and through the data path as it is. CAUSEWAY_FUZZ_PACKETS: how
 * many each, such as 10000000, which takes some minutes.
 */
import { describe, expect, it } from 'vitest';
import { Access } from '../../src/intercept/access.js';
import { hasMartianSource } from '../../src/intercept/address.js';
import { FlowCache, SERVICE_UNDECIDED } from '../../src/intercept/flow-cache.js';
import { FRAGMENT_REFUSED, FragmentWatch } from '../../src/intercept/fragments.js';
import { InboundFilter } from '../../src/intercept/inbound.js';
import {
  FRAGMENT_FIRST,
  FRAGMENT_NONE,
  hasPorts,
  PacketInfo,
  PARSE_OK,
  PARSE_REJECTS,
  parsePacket,
} from '../../src/intercept/packet.js';
import { compileRules, NO_SENDER, type RuleInput } from '../../src/intercept/rules.js';
import { frame } from '../support/forward/frames.js';
import { overlayAddress } from '../support/forward/icmp.js';
import { FAR, ForwardRig, SELF } from '../support/forward/rig.js';
import { ipv4, ipv6, udp } from '../unit/intercept/packets.js';

const SEED = 20_077;
const PACKETS = Number(process.env['CAUSEWAY_FUZZ_PACKETS'] ?? 200_000);
/** Packets of a turn of the data path. */
const BATCH = 20;
const ROOM = 256;
const FLOWS = 512;

/** xorshift32: cheap, so that the time is spent in what is tried. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

const body = Array.from({ length: 40 }, (_, i) => i);
const inner = [...ipv4({ payload: udp(4000, 53) })];
const SEEDS: readonly Uint8Array[] = [
  ipv4({ payload: udp(4000, 53, body) }),
  ipv4({ payload: udp(4000, 22, body), protocol: 6, options: [1, 1, 1, 0] }),
  ipv4({ payload: [8, 0, 0, 0, 0, 1, 0, 1, ...body], protocol: 1 }),
  ipv4({ payload: [3, 3, 0, 0, 0, 0, 0, 0, ...inner], protocol: 1 }),
  ipv4({ payload: udp(4000, 53, body), fragment: 0x2000 }),
  ipv4({ payload: body, fragment: 0x2006 }),
  ipv4({ payload: body, fragment: 0x0003 }),
  ipv4({ payload: [1, 2] }),
  ipv4({ payload: body, fragment: 0x1fff }),
  ipv6({ payload: udp(4000, 53, body) }),
  ipv6({ payload: [128, 0, 0, 0, ...body], next: 58 }),
  ipv6({ payload: [1, 4, 0, 0, 0, 0, 0, 0, ...ipv6({ payload: udp(53, 4000) })], next: 58 }),
  ipv6({
    payload: [60, 0, 1, 4, 0, 0, 0, 0, 43, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0, ...udp(1, 2)],
    next: 0,
  }),
  ipv6({ payload: [17, 0, 0, 1, 0, 0, 0, 7, ...udp(4000, 53, body)], next: 44 }),
  ipv6({ payload: [17, 0, 0, 0x30, 0, 0, 0, 7, ...body], next: 44 }),
];

/** One view for each length, so that reading beyond it throws a RangeError. */
const VIEWS = Array.from({ length: ROOM }, (_, length) => new DataView(new ArrayBuffer(length)));

/** A seed with some bytes changed, or cut off; good until the next one of its length. */
function mutant(next: () => number, seeds: readonly Uint8Array[]): DataView {
  const seed = seeds[next() % seeds.length];
  const cut = next() % 16 === 0 ? next() % (seed.length + 1) : seed.length;
  const view = VIEWS[cut];
  new Uint8Array(view.buffer).set(seed.subarray(0, cut));
  const changes = next() % 5;
  for (let c = 0; c < changes && cut > 0; c++) {
    // Mostly in the headers, where it tells.
    const at = next() % (next() & 3 ? Math.min(cut, 56) : cut);
    view.setUint8(at, next());
  }
  return view;
}

class Decider {
  readonly flows = new FlowCache({ capacity: FLOWS });
  readonly inbound = new InboundFilter(this.flows, 1, FLOWS);
  readonly fragments = new FragmentWatch(64);
  readonly outcomes = new Map<string, number>();
  private readonly access = new Access({
    overlay: { users: [1000], groups: [] },
    services: { 2: { users: [], groups: [] } },
  });
  private readonly classify = compileRules([
    { match: { protocols: [17], ports: [{ first: 53, last: 53 }] }, action: { do: 'overlay', service: 2 } },
    { match: { to: [{ group: 'db' }], dscp: 46 }, action: { do: 'reject' } },
    { match: { sourcePorts: [{ first: 0, last: 99 }], protocols: [6, 17] }, action: { do: 'drop' } },
  ]);
  private readonly info = new PacketInfo();

  constructor() {
    this.inbound.set([{ match: { protocols: [6], ports: [{ first: 22, last: 22 }] }, do: 'allow' }], {});
  }

  /** What becomes of the packet that comes in, and of one such that goes out. */
  take(now: number, view: DataView, length: number): void {
    const { info } = this;
    const parsed = parsePacket(view, 0, length, info);
    if (parsed !== PARSE_OK) return this.count(PARSE_REJECTS[parsed]);
    if (info.transportOffset + info.transportLength !== length) throw new Error('wrong extent');
    if (hasMartianSource(info)) return this.count('martian');
    let slot = -1;
    if (info.fragment !== FRAGMENT_NONE) {
      slot = this.fragments.take(now, info);
      if (slot === FRAGMENT_REFUSED) return this.count('overlap');
    }
    const verdict = this.inbound.judge(now, view, info, 2, slot >= 0 && this.fragments.admitted[slot] !== 0);
    if (info.fragment === FRAGMENT_FIRST && verdict === 0) this.fragments.admitted[slot] = 1;
    this.count(['let in', 'kept out', 'rejected'][verdict]);
    const flow = this.flows.find(now, info, 2);
    if (this.flows.service[flow] === SERVICE_UNDECIDED) {
      this.flows.decide(flow, this.access.judge(this.classify, this.question()));
      this.inbound.noteSent(now, view, info, flow);
    }
    if (this.flows.service[flow] === SERVICE_UNDECIDED) throw new Error('nothing was decided');
    if (this.flows.size > FLOWS) throw new Error('more flows than there is room for');
  }

  private question(): RuleInput {
    const { info } = this;
    const ports = hasPorts(info.protocol) && info.transportLength >= 4;
    return {
      version: info.version,
      protocol: info.protocol,
      source: [info.src0, info.src1, info.src2, info.src3],
      destination: [info.dst0, info.dst1, info.dst2, info.dst3],
      sourceNode: 1,
      destinationNode: 2,
      sourcePort: ports ? info.sourcePort : -1,
      destinationPort: ports ? info.destinationPort : -1,
      dscp: info.trafficClass >>> 2,
      choosesByDscp: true,
      user: info.src3 & 1 ? 1000 : NO_SENDER,
      group: NO_SENDER,
      cgroups: 0,
    };
  }

  private count(outcome: string): void {
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
  }
}

describe(`${PACKETS} packets with changed bytes (seed ${SEED})`, () => {
  it('are each refused for a reason or decided, and none throws', () => {
    const next = generator(SEED);
    const decider = new Decider();
    for (let k = 0; k < PACKETS; k++) {
      const view = mutant(next, SEEDS);
      decider.take(k * 100, view, view.byteLength);
    }
    const reasons = [...PARSE_REJECTS.slice(1), 'martian', 'overlap', 'let in', 'kept out'];
    for (const reason of reasons)
      expect([reason, decider.outcomes.get(reason) ?? 0]).not.toEqual([reason, 0]);
    const total = [...decider.outcomes.values()].reduce((sum, n) => sum + n, 0);
    expect(total).toBe(PACKETS);
    if (PACKETS >= 1_000_000) console.log(Object.fromEntries(decider.outcomes));
  }, 3_600_000);

  it('are each dropped for a reason, answered or passed on by entry and exit as they are', () => {
    const next = generator(SEED);
    // Best effort, so that nothing waits for acknowledgements.
    const rig = new ForwardRig({
      tokens: Number.MAX_SAFE_INTEGER,
      rules: [{ match: {}, action: { do: 'overlay', service: 0 } }],
    });
    const outgoing = SEEDS.map((seed) => between(seed, SELF, FAR));
    const incoming = SEEDS.map((seed) => between(seed, FAR, SELF));
    let left = 0;
    for (let k = 0; k < PACKETS; k += BATCH) {
      for (let n = 0; n < BATCH; n++) {
        if (n & 1) rig.tun.inject(bytesOf(mutant(next, outgoing)));
        else rig.near.send([rig.near.seal(frame({ from: FAR, to: SELF }, bytesOf(mutant(next, incoming))))]);
      }
      rig.settle();
      left += rig.near.datagrams.splice(0).length + rig.side.datagrams.splice(0).length;
      rig.takeTun();
    }
    const drops = Object.values(rig.drops()).reduce((sum, n) => sum + n, 0);
    expect(drops + left + rig.counters.tunWrittenPackets).toBe(PACKETS);
    for (const reason of ['martian', 'foreign-source', 'foreign-destination', 'inner-overlap'])
      expect([reason, rig.drops()[reason] ?? 0]).not.toEqual([reason, 0]);
    if (PACKETS >= 1_000_000) console.log(rig.drops(), { left, came: rig.counters.tunWrittenPackets });
  }, 3_600_000);
});

const bytesOf = ({ buffer }: DataView): Uint8Array => new Uint8Array(buffer.slice(0) as ArrayBuffer);

/** The packet from one node of the rig's overlay to another. */
function between(packet: Uint8Array, from: number, to: number): Uint8Array {
  const moved = packet.slice();
  const at =
    moved[0] >> 4 === 4 ? { source: 12, destination: 16, size: 4 } : { source: 8, destination: 24, size: 16 };
  const address = (node: number) => overlayAddress(moved[0] >> 4 === 4 ? 4 : 6, node).slice(0, at.size);
  moved.set(address(from), at.source);
  moved.set(address(to), at.destination);
  return moved;
}
