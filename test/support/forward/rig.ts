/**
 * The data path of one node over ports in memory; its neighbours are played by the test, which seals and opens with the other ends' keys.
 *
 *      tun ─ SELF (1) ──── NEAR (2) ──── FAR (4) ┄ 10.0.20.0/24          LOST (5): known, without a path
 *              └────────── SIDE (3)
 *
 * Node n owns 10.0.0.n and fd77::n of the overlay 10.0.0.0/16, fd77::/16. NEAR is reached over IPv4, SIDE over IPv6.
 */
import { FlowCache } from '../../../src/intercept/flow-cache.js';
import { FragmentWatch } from '../../../src/intercept/fragments.js';
import { InboundFilter } from '../../../src/intercept/inbound.js';
import { compileRules, type Rule, type RulePrefix } from '../../../src/intercept/rules.js';
import type { ServiceDefaults } from '../../../src/intercept/services.js';
import { SourceBuckets } from '../../../src/rate-limit/source-buckets.js';
import { TokenBucket } from '../../../src/rate-limit/token-bucket.js';
import { createBatch, RECORD_HEADER, RECORD_TAG, type PacketBatch } from '../../../src/io/batch.js';
import {
  createMemoryIo,
  createMemoryNetwork,
  type MemoryDatagram,
  type MemoryNetwork,
  type MemoryIo,
  type MemoryTun,
} from '../../../src/io/plain/index.js';
import { formatAddress, parseAddress } from '../../../src/io/address.js';
import { createPlainAead } from '../../../src/io/plain/aead.js';
import type { Aead, UdpSocket } from '../../../src/io/ports.js';
import { ReplayWindow } from '../../../src/crypto/replay-window.js';
import { SessionSet } from '../../../src/crypto/session.js';
import { writeEndpoint } from '../../../src/agent/endpoint.js';
import { parseRulePrefix } from '../../../src/agent/config/address.js';
import { DirectPath } from '../../../src/intercept/direct.js';
import { Arrival } from '../../../src/overlay/forward/arrival.js';
import { Beyond } from '../../../src/overlay/forward/beyond.js';
import { ControlRecords } from '../../../src/overlay/forward/control-records.js';
import { Counters } from '../../../src/overlay/forward/counters.js';
import { Entry } from '../../../src/overlay/forward/entry.js';
import type { Hops } from '../../../src/overlay/forward/hops.js';
import type { OrderedExit } from '../../../src/overlay/forward/ordered-exit.js';
import type { FrameStore } from '../../../src/overlay/forward/store.js';
import type { FlowOrder } from '../../../src/overlay/egress/flow-order.js';
import { createRecovery, type RecoveryLimits } from '../../../src/overlay/forward/recovery.js';
import { IcmpWriter } from '../../../src/overlay/forward/icmp-writer.js';
import { LaneTable } from '../../../src/overlay/forward/lanes.js';
import type { Neighbour } from '../../../src/overlay/forward/neighbour.js';
import { RecentHeaders } from '../../../src/overlay/forward/recent-headers.js';
import { type Outside, Routes } from '../../../src/overlay/forward/routes.js';
import { Sender } from '../../../src/overlay/forward/sender.js';
import { SourceRoutes } from '../../../src/overlay/forward/source-routes.js';
import { LANE_BEST_EFFORT, LANES } from '../../../src/overlay/wire/lanes.js';
import { type EchoAnswer, SlowPath } from '../../../src/overlay/forward/slow-path.js';
import { LinkQuality } from '../../../src/overlay/link/quality/link-quality.js';
import { Link } from '../../../src/overlay/link/link.js';
import { Widths } from '../../../src/overlay/forward/widths.js';
import { NOBODY, type OwnedPrefix, PrefixTable } from '../../../src/overlay/route/prefix-table.js';
import { encodeTables, ForwardingTables, type TableNode } from '../../../src/overlay/route/tables.js';
import {
  readCounter,
  readNumber,
  readNumberEpoch,
  readReceiverIndex,
  writeNumber,
  writeRecordHeader,
} from '../../../src/overlay/wire/record.js';
import { prefixOf } from '../sim/identities.js';
import { TestTime } from '../../unit/io/virtual-time.js';
import { sameWays } from '../ways.js';

export const SELF = 1;
export const NEAR = 2;
export const SIDE = 3;
export const FAR = 4;
export const LOST = 5;
export const EPOCH = 0xbeef;
/** IPv6 addresses are written out for `prefixOf`. */
const six = (n: number): string => `fd77:0:0:0:0:0:0:${n.toString(16)}`;
const four = (n: number): string => `10.0.0.${n}`;

/** A node's address outside the overlay. */
const realOf = (n: number): string => `198.51.100.${n}`;

/** Most sessions of a neighbour. */
const SESSIONS = 2;

/** µs between tokens, where none are to come. */
const NEVER = 1e15;

const RIG_LIMITS = {
  stored: 256,
  frameMax: 1524,
  orderedFlows: 16,
  held: 64,
  heldPerFlow: 32,
  duplicateSources: 16,
  routedSources: 16,
  routedWindow: 1024,
  realtimeDeadline: 100_000,
};

const NEXT_HOPS: Readonly<Record<number, number>> = {
  [SELF]: SELF,
  [NEAR]: NEAR,
  [SIDE]: SIDE,
  [FAR]: NEAR,
  [LOST]: 0,
};

/** As the network in memory writes an address. */
const textOf = (address: string): string => formatAddress(parseAddress(address)!);

/** Snapshot of the head's topology, with other next hops where given. Nodes beyond it may have no IPv6 address. */
export function rigTables(nextHops: Readonly<Record<number, number>> = NEXT_HOPS): ForwardingTables {
  const ids = Object.keys(nextHops).map(Number);
  const nodes = ids.map((nodeId): TableNode => {
    const addresses =
      nodeId === LOST ? [prefixOf(four(nodeId))] : [prefixOf(four(nodeId)), prefixOf(six(nodeId))];
    const routes = nodeId === FAR ? [prefixOf('10.0.20.0/24')] : [];
    const real = [prefixOf(realOf(nodeId))];
    const roles = nodeId === SIDE ? ['exit'] : [];
    const certificate = {
      name: `n${nodeId}`,
      nodeId,
      publicKey: new Uint8Array(32),
      addresses,
      real,
      routes,
      roles,
      notBefore: 0,
      notAfter: 9e15,
    };
    return { certificate, ways: sameWays(nextHops[nodeId], 500, 1) };
  });
  const owned: OwnedPrefix[] = [
    { ...prefixOf('10.0.0.0/16'), owner: NOBODY },
    { ...prefixOf('fd77:0:0:0:0:0:0:0/16'), owner: NOBODY },
    ...nodes.flatMap(({ certificate: { addresses, real, routes } }, owner) =>
      [...(addresses as OwnedPrefix[]), ...(real as OwnedPrefix[]), ...routes].map(({ bytes, length }) => ({
        bytes,
        length,
        owner,
      })),
    ),
  ];
  return new ForwardingTables(encodeTables(nodes, ids.indexOf(SELF), PrefixTable.build(owned)).buffers);
}

/** A record as a neighbour got it. */
export interface TakenRecord {
  lane: number;
  body: Uint8Array;
  trafficClass: number;
  source: string;
  counter: number;
  epoch: number;
  number: number;
  /** Counted from 1. */
  session: number;
}

/** A neighbour as the test plays it: the other end of a session with LANES lanes. */
export class Peer {
  /** Everything that came for it, sealed, oldest first. */
  readonly datagrams: MemoryDatagram[] = [];
  readonly counters = new Array<number>(LANES).fill(0);

  constructor(
    readonly nodeId: number,
    readonly address: string,
    readonly neighbour: Neighbour,
    readonly aead: Aead,
    /** The node's address that it sends to. */
    private readonly to: string,
    private readonly network: MemoryNetwork,
  ) {}

  /** The receiver index by which the node knows a lane of this peer's. */
  index(lane = LANE_BEST_EFFORT): number {
    return 100 * this.nodeId + lane;
  }

  /** A datagram to the node: `body` sealed as this peer does. */
  seal(body: Uint8Array, lane = LANE_BEST_EFFORT, counter = this.counters[lane]++): Uint8Array {
    return this.sealRecord(body, lane, counter, 0, 0);
  }

  /** Likewise a numbered record. */
  sealNumbered(body: Uint8Array, lane: number, number: number, epoch = 0): Uint8Array {
    return this.sealRecord(body, lane, this.counters[lane]++, number, epoch);
  }

  private sealRecord(
    body: Uint8Array,
    lane: number,
    counter: number,
    number: number,
    epoch: number,
  ): Uint8Array {
    const batch = createBatch(RECORD_HEADER + body.length + RECORD_TAG, 1);
    writeRecordHeader(batch.view, 0, this.index(lane), counter);
    writeNumber(batch.view, 0, epoch, number);
    batch.bytes.set(body, RECORD_HEADER);
    batch.length[0] = RECORD_HEADER + body.length;
    batch.key[0] = lane;
    this.aead.seal(batch, Int32Array.of(0), 1);
    return batch.bytes.slice(0, batch.length[0]);
  }

  /** Puts datagrams on the way to the node. */
  send(
    datagrams: readonly Uint8Array[],
    how: { from?: string; port?: number; to?: string; trafficClass?: number } = {},
  ): void {
    const { from = this.address, port = 7100, to = this.to, trafficClass = 0 } = how;
    const source = { address: textOf(from), port };
    const destination = { address: textOf(to), port: 7100 };
    for (const bytes of datagrams) this.network.send({ source, destination, trafficClass, bytes });
  }

  /** Takes out what came and opens it; throws at what is no record that this peer can open. */
  take(): TakenRecord[] {
    return this.datagrams.splice(0).map(({ bytes, trafficClass, source }) => {
      const batch = createBatch(bytes.length, 1);
      batch.bytes.set(bytes);
      batch.length[0] = bytes.length;
      const index = readReceiverIndex(batch.view, 0) - 1000 * this.nodeId;
      const [lane, before] = [index % 100, Math.floor(index / 100)];
      batch.key[0] = 2 * LANES * before + LANES + lane;
      if (this.aead.open(batch, Int32Array.of(0), 1) !== 1) throw new Error(`n${this.nodeId} can't open it`);
      const { view } = batch;
      return {
        lane,
        body: batch.bytes.slice(RECORD_HEADER, batch.length[0]),
        trafficClass,
        source: source.address,
        counter: readCounter(view, 0),
        epoch: readNumberEpoch(view, 0),
        number: readNumber(view, 0),
        session: before + 1,
      };
    });
  }
}

/** A socket whose buffer holds `room` more datagrams. */
class NarrowUdp implements UdpSocket {
  room = Infinity;
  private waiting: (() => void) | undefined;

  constructor(private readonly udp: UdpSocket) {}

  get port() {
    return this.udp.port;
  }
  get features() {
    return this.udp.features;
  }
  get endpoints() {
    return this.udp.endpoints;
  }
  get sendErrors() {
    return this.udp.sendErrors;
  }
  read(batch: PacketBatch, messages?: number): number {
    return this.udp.read(batch, messages);
  }
  send(batch: PacketBatch, order: Int32Array, n: number): number {
    const some = Math.min(n, this.room);
    this.room -= some;
    return this.udp.send(batch, order, some);
  }
  takeTroubles(into: Uint32Array): number {
    return this.udp.takeTroubles(into);
  }
  sourceFor(slot: number, address: Uint32Array): boolean {
    return this.udp.sourceFor(slot, address);
  }
  keepWhole(on: boolean): boolean {
    return this.udp.keepWhole(on);
  }

  onReadable(callback: () => void): void {
    this.udp.onReadable(callback);
  }
  pause(): void {
    this.udp.pause();
  }
  resume(): void {
    this.udp.resume();
  }
  onWritable(callback: () => void): void {
    this.waiting = callback;
  }
  close(): void {
    this.udp.close();
  }
  get isAwaited(): boolean {
    return this.waiting !== undefined;
  }
  /** The buffer has room for so many datagrams again. */
  drain(room: number): void {
    const { waiting } = this;
    this.room = room;
    this.waiting = undefined;
    waiting?.();
  }
}

export interface RigOptions {
  /** What goes beyond the overlay; by default nothing does. */
  beyond?: { fallback: boolean };
  outside?: Outside;
  rules?: readonly Rule[];
  /** Packets of a read, and datagrams of an outgoing batch. */
  readCapacity?: number;
  outCapacity?: number;
  /** Tokens of every bucket; they never refill. */
  tokens?: number;
  /** Service numbers by protocol; best effort by default. */
  services?: Partial<ServiceDefaults>;
  /** Another engine than node:crypto. */
  aead?: (slots: number) => Aead;
  /** Of recovery, other than the rig's own. */
  limits?: Partial<RecoveryLimits>;
  /** DSCP bits of the outer header, in place, given those of the inner one or of the datagram that came; zero by default. */
  outerClass?: (inPlace: number) => number;
}

export class ForwardRig {
  readonly time = new TestTime();
  readonly network = createMemoryNetwork(this.time);
  readonly io: MemoryIo;
  readonly tun: MemoryTun;
  readonly udp: NarrowUdp;
  readonly aead: Aead;
  readonly counters = new Counters();
  readonly routes: Routes;
  readonly entry: Entry;
  readonly arrival: Arrival;
  readonly slow: SlowPath;
  readonly control: ControlRecords;
  readonly recent = new RecentHeaders();
  readonly neighbours = new Map<number, Neighbour>();
  readonly sourceRoutes: SourceRoutes;
  /** Destinations that source routes were asked for. */
  readonly wanted: number[] = [];
  readonly near: Peer;
  readonly side: Peer;
  /** What the shell was asked to do. */
  readonly handshakes: Uint8Array[] = [];
  readonly linkFrames: { from: number; bytes: Uint8Array }[] = [];
  /** Records about ways to neighbours: from whom, and bytes of their bodies. */
  readonly paths: { from: number; length: number }[] = [];
  readonly confirmed: { from: number; session: number }[] = [];
  readonly answers: EchoAnswer[] = [];
  readonly refusals: { destination: number; sequence: number; from: number; code: number }[] = [];
  /** Neighbours whose links data began to use. */
  readonly busy: number[] = [];
  /** Neighbours whose links have something to send, or to wait for. */
  readonly touched = new Set<number>();
  readonly hops: Hops;
  readonly store: FrameStore;
  readonly order: FlowOrder;
  readonly exit: OrderedExit;
  readonly flows = new FlowCache({ capacity: 64 });
  /** Users and what they were refused. */
  readonly refused: [number, number][] = [];
  readonly widths = new Widths();
  readonly inbound = new InboundFilter(this.flows, SELF, 64);
  private readonly lanes = new LaneTable();

  constructor(options: RigOptions = {}) {
    const { rules = [], readCapacity = 64, outCapacity = 256, tokens = 1000 } = options;
    const io = createMemoryIo({
      network: this.network,
      addresses: ['192.0.2.1', '192.0.2.101', '2001:db8::1', 'fe80::1'],
      tunFeatures: { vnetHeader: true, tso: true, uso: true },
    });
    this.io = io;
    this.tun = io.createTun({ name: 'cw0' });
    this.udp = new NarrowUdp(io.createUdp({ host: '::', port: 7100, mark: 0, slots: 8 }) as UdpSocket);
    this.aead = (options.aead ?? createPlainAead)(64);
    const { tun, udp, aead, counters, lanes, recent } = this;
    const bucket = () => new TokenBucket(tokens, NEVER, 0);
    const sender = new Sender(udp, aead, counters, ({ nodeId }) => this.busy.push(nodeId), 1);
    this.routes = new Routes(this.neighbours, options.outside);
    const { routes } = this;
    this.control = new ControlRecords(sender, udp);
    const icmp = new IcmpWriter(tun, bucket(), (version) => routes.address(SELF, version));
    this.slow = new SlowPath({
      udp,
      routes,
      control: this.control,
      icmp,
      recent,
      counters,
      handshakes: new SourceBuckets(1, tokens, NEVER, 7, 0),
      errors: bucket(),
      refusals: bucket(),
      self: SELF,
      epoch: EPOCH,
      shell: {
        handshake: (batch, i) =>
          this.handshakes.push(batch.bytes.slice(batch.offset[i], batch.offset[i] + batch.length[i])),
        linkFrames: (_now, { nodeId: from }, view, at, length) =>
          this.linkFrames.push({ from, bytes: new Uint8Array(view.buffer.slice(at, at + length)) }),
        path: (_now, { nodeId: from }, _batch, _i, length) => this.paths.push({ from, length }),
        follows: () => true,
        confirmed: (_now, { nodeId: from }, session) => this.confirmed.push({ from, session }),
        echoAnswered: (answer) => this.answers.push(answer),
        echoRefused: (destination, sequence, from, code) =>
          this.refusals.push({ destination, sequence, from, code }),
      },
    });
    const batch = createBatch(1 << 18, 256, 32);
    const { flows } = this;
    const { outerClass = () => 0 } = options;
    const sourceRoutes = new SourceRoutes(this.neighbours, (nodeId) => this.wanted.push(nodeId));
    this.sourceRoutes = sourceRoutes;
    const { hops, hopFrames, store, exit, order, spreader } = createRecovery(
      {
        io,
        tun,
        aead,
        routes,
        sender,
        counters,
        flows,
        neighbours: this.neighbours,
        inbound: this.inbound,
        refuse: (now, view, frame) => this.slow.refuseProhibited(now, view, frame),
        widths: this.widths,
        random: () => 7,
        self: SELF,
        capacity: Math.max(256, outCapacity),
        touch: ({ nodeId }) => this.touched.add(nodeId),
      },
      { ...RIG_LIMITS, ...options.limits },
    );
    this.hops = hops;
    this.store = store;
    this.order = order;
    this.exit = exit;
    this.arrival = new Arrival({
      udp,
      aead,
      lanes,
      routes,
      exit,
      hops,
      hopFrames,
      spreader,
      store,
      sender,
      slow: this.slow,
      counters,
      widths: this.widths,
      self: SELF,
      outerClass,
      batch,
    });
    const read = createBatch(1 << 18, readCapacity);
    const out = createBatch(1 << 18, outCapacity);
    const whenWritable = (callback: () => void) => udp.onWritable(callback);
    const direct = new DirectPath(io, io.createRaw(0), counters, read, 1 << 18, outCapacity);
    const overlay = ['10.0.0.0/16', 'fd77::/16'].map((text) => parseRulePrefix(text) as RulePrefix);
    const beyond = options.beyond && new Beyond(direct, { ...options.beyond, overlay });
    this.entry = new Entry(
      {
        io,
        tun,
        routes,
        sourceRoutes,
        sender,
        hops,
        spreader,
        flows,
        inbound: this.inbound,
        fragments: new FragmentWatch(),
        refused: (_now, user, what) => this.refused.push([user, what]),
        icmp,
        recent,
        counters,
        widths: this.widths,
        ...(beyond && { beyond }),
        self: SELF,
        epoch: EPOCH,
        outerClass,
        whenWritable,
        read,
        out,
      },
      compileRules(rules, { tcp: 0, udp: 0, other: 0, ...options.services }),
    );
    this.near = this.join(NEAR, 1, '192.0.2.2', '192.0.2.1');
    this.side = this.join(SIDE, 2, '2001:db8::3', '2001:db8::1');
    this.routes.install(rigTables());
    tun.onReadable(() => {
      this.entry.run(this.time.now());
      this.pump();
    });
    udp.onReadable(() => {
      this.arrival.run(this.time.now());
      this.pump();
    });
  }

  /** Lets links send, as the worker does after each input. */
  pump(): void {
    for (const neighbour of this.neighbours.values()) this.hops.pump(this.time.now(), neighbour);
  }

  /** Time passes, and what is due with neighbours and at the exit is done when it is. */
  run(micros: number): void {
    const end = this.time.now() + micros;
    for (let runs = 0; ; runs++) {
      const all = [...this.neighbours.values()];
      const due = Math.min(this.exit.nextTimeout(), ...all.map((each) => this.hops.nextTimeout(each)));
      if (runs > 10_000) throw new Error('timers without end');
      if (due > end) break;
      this.time.advance(Math.max(0, due - this.time.now()));
      const now = this.time.now();
      this.exit.timeout(now);
      for (const each of all) this.hops.timeout(now, each);
      this.pump();
      for (const each of all) this.sendAcks(now, each);
    }
    this.time.advance(end - this.time.now());
  }

  private sendAcks(now: number, neighbour: Neighbour): void {
    const { control } = this;
    const inbound = neighbour.hop?.inbound;
    if (!inbound?.isDue(now)) return;
    const end = inbound.writeAcks(now, control.view, control.at, control.at + 400);
    control.send(neighbour, end - control.at);
  }

  /** Lets everything under way arrive. */
  settle(micros = 1): void {
    this.time.advance(micros);
  }

  /** Counted drops, without those that didn't occur. */
  drops(): Record<string, number> {
    return Object.fromEntries(Object.entries(this.counters.drops()).filter(([, n]) => n > 0));
  }

  /** Takes out what was written to the TUN device. */
  takeTun(): Uint8Array[] {
    return this.tun.output.splice(0).map(({ bytes }) => bytes);
  }

  private join(nodeId: number, slot: number, address: string, local: string): Peer {
    const theirs = createPlainAead(SESSIONS * 2 * LANES);
    const neighbour: Neighbour = {
      nodeId,
      name: `n${nodeId}`,
      slot,
      sessions: new SessionSet(),
      link: new Link(() => 7, 0),
      quality: new LinkQuality(0),
      hop: undefined,
      joiner: undefined,
      up: true,
      moved: false,
      paths: { heard: () => undefined },
      confirmedSession: 0,
      packetsSent: 0,
      bytesSent: 0,
      packetsReceived: 0,
      bytesReceived: 0,
    };
    writeEndpoint(this.udp.endpoints, slot, { host: address, port: 7100, local });
    this.neighbours.set(nodeId, neighbour);
    const peer = new Peer(nodeId, address, neighbour, theirs, local, this.network);
    this.install(peer, 1);
    this.network.bind({ address: textOf(address), port: 7100 }, (datagram) => peer.datagrams.push(datagram));
    return peer;
  }

  /** The `n`th session with a peer, which seals from now on; the peer itself goes on with its first. */
  private install(peer: Peer, n: number): void {
    const { nodeId, neighbour } = peer;
    const first = 2 * LANES * (n - 1);
    const lanes = Array.from({ length: LANES }, (_, lane) => {
      const [receive, send] = [0, LANES].map((way) => this.keySlot(peer, n) + way + lane);
      const key = (fill: number) => new Uint8Array(32).fill(fill);
      this.aead.setKey(receive, 'aes-256-gcm', key(receive));
      this.aead.setKey(send, 'aes-256-gcm', key(send));
      peer.aead.setKey(first + lane, 'aes-256-gcm', key(receive));
      peer.aead.setKey(first + LANES + lane, 'aes-256-gcm', key(send));
      this.lanes.add(100 * nodeId + 10 * (n - 1) + lane, {
        neighbour,
        session: nodeId + 100 * (n - 1),
        lane,
        key: receive,
        window: new ReplayWindow(),
      });
      return { index: 1000 * nodeId + 100 * (n - 1) + lane, key: send };
    });
    (neighbour.sessions as SessionSet).install(0, nodeId + 100 * (n - 1), false, lanes);
  }

  private keySlot({ neighbour }: Peer, session: number): number {
    return 2 * LANES * (neighbour.slot + 3 * (session - 1));
  }

  /** A second session takes over from the first, whose keys stay. */
  rekey(peer: Peer): void {
    this.install(peer, 2);
  }

  /** The keys by which the `n`th session seals are gone. */
  forgetKeys(peer: Peer, n: number): void {
    for (let lane = 0; lane < LANES; lane++) this.aead.clearKey(this.keySlot(peer, n) + LANES + lane);
  }

  /** No session seals any more. */
  endSession({ neighbour }: Peer): void {
    (neighbour.sessions as SessionSet).clear();
  }
}
