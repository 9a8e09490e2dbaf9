/** The parts that packets pass in the forwarding worker, made and wired together. What they do stands in `src/overlay/forward`. */
import { createBatch } from '../../io/batch.js';
import { DirectPath } from '../../intercept/direct.js';
import { FlowCache } from '../../intercept/flow-cache.js';
import { FragmentWatch } from '../../intercept/fragments.js';
import { InboundFilter } from '../../intercept/inbound.js';
import { compileRules } from '../../intercept/rules.js';
import { DEFAULT_SERVICES } from '../../intercept/services.js';
import { Arrival } from '../../overlay/forward/arrival.js';
import { Beyond } from '../../overlay/forward/beyond.js';
import { ControlRecords } from '../../overlay/forward/control-records.js';
import { Counters } from '../../overlay/forward/counters.js';
import { Entry } from '../../overlay/forward/entry.js';
import { IcmpWriter } from '../../overlay/forward/icmp-writer.js';
import { Widths } from '../../overlay/forward/widths.js';
import { LaneTable } from '../../overlay/forward/lanes.js';
import type { Neighbour } from '../../overlay/forward/neighbour.js';
import { RecentHeaders } from '../../overlay/forward/recent-headers.js';
import { createRecovery, type Recovery } from '../../overlay/forward/recovery.js';
import { Routes } from '../../overlay/forward/routes.js';
import { Sender } from '../../overlay/forward/sender.js';
import { SourceRoutes } from '../../overlay/forward/source-routes.js';
import { SlowPath, type SlowPathShell } from '../../overlay/forward/slow-path.js';
import { SourceBuckets } from '../../rate-limit/source-buckets.js';
import { TokenBucket } from '../../rate-limit/token-bucket.js';
import type { WorkerOptions } from '../messages.js';
import type { WorkerPorts } from './forwarding-worker.js';
import { Neighbours } from './neighbours.js';
import * as sizes from './sizes.js';

/** What the path asks of the worker around it. */
export interface DataPathShell extends SlowPathShell {
  /** DSCP bits of an outer header, in place, given those of the packet or datagram that it carries on. */
  outerClass(inPlace: number): number;
  /** A user was refused the overlay or a service. */
  refused(now: number, user: number, what: number): void;
  /** The socket took what had to wait. */
  afterInput(): void;
}

export interface DataPath {
  readonly counters: Counters;
  readonly neighbours: Neighbours;
  readonly routes: Routes;
  readonly sender: Sender;
  readonly sourceRoutes: SourceRoutes;
  readonly control: ControlRecords;
  readonly slow: SlowPath;
  readonly widths: Widths;
  readonly flows: FlowCache;
  readonly inbound: InboundFilter;
  readonly recovery: Recovery;
  readonly arrival: Arrival;
  readonly entry: Entry;
}

type Parts = Omit<DataPath, 'arrival' | 'entry'> & {
  readonly lanes: LaneTable;
  readonly icmp: IcmpWriter;
  readonly recent: RecentHeaders;
};

export function createDataPath(
  ports: WorkerPorts,
  options: WorkerOptions,
  limits: sizes.Limits,
  shell: DataPathShell,
): DataPath {
  const parts = createParts(ports, options, limits, shell);
  return {
    ...parts,
    arrival: createArrival(ports, options, parts, shell),
    entry: createEntry(ports, options, parts, shell),
  };
}

function createParts(
  { io, tun, udp, aead, random, post }: WorkerPorts,
  { self, epoch, tun: { mtu }, intercept }: WorkerOptions,
  limits: sizes.Limits,
  shell: DataPathShell,
): Parts {
  const now = io.now();
  const counters = new Counters();
  const lanes = new LaneTable();
  const touch = (neighbour: Neighbour): void => neighbours.touch(neighbour);
  const dropHop = (neighbour: Neighbour): void => recovery.hops.drop(io.now(), neighbour);
  const neighbours = new Neighbours(self, aead, udp, lanes, random, post, dropHop, sizes.datagramMax(mtu));
  const sender = new Sender(udp, aead, counters, touch, random());
  const routes = new Routes(neighbours.byId, intercept);
  const sourceRoutes = new SourceRoutes(neighbours.byId, (node) => post({ type: 'route-wanted', node }));
  const control = new ControlRecords(sender, udp);
  const recent = new RecentHeaders();
  const answers = new TokenBucket(50, 10_000, now);
  const icmp = new IcmpWriter(tun, answers, (version) => routes.address(self, version));
  const handshakes = new SourceBuckets(64, 32, 20_000, random(), now);
  const errors = new TokenBucket(50, 10_000, now);
  const refusals = new TokenBucket(200, 1000, now);
  const budgets = { handshakes, errors, refusals };
  const slow = new SlowPath({ udp, routes, control, icmp, recent, counters, ...budgets, self, epoch, shell });
  const flows = new FlowCache({ capacity: limits.flows });
  const inbound = new InboundFilter(flows, self, limits.inboundFlows);
  const refuse = (at: number, view: DataView, frame: number): void => slow.refuseProhibited(at, view, frame);
  const capacity = sizes.OUT_CAPACITY;
  const widths = new Widths();
  const recovery = createRecovery(
    {
      io,
      tun,
      aead,
      routes,
      sender,
      counters,
      flows,
      inbound,
      refuse,
      widths,
      neighbours: neighbours.byId,
      random,
      self,
      capacity,
      touch,
    },
    { ...limits, frameMax: sizes.frameMax(mtu) },
  );
  const made = { counters, lanes, neighbours, sender, routes, sourceRoutes, control, recent, icmp };
  return { ...made, slow, flows, inbound, recovery, widths };
}

function createArrival(
  { udp, aead }: WorkerPorts,
  { self }: WorkerOptions,
  {
    lanes,
    routes,
    sender,
    slow,
    counters,
    widths,
    recovery: { exit, hops, hopFrames, spreader, store },
  }: Parts,
  shell: DataPathShell,
): Arrival {
  const batch = createBatch(sizes.UDP_ARENA, sizes.UDP_CAPACITY, sizes.UDP_MESSAGES);
  const outerClass = (inPlace: number): number => shell.outerClass(inPlace);
  const recovering = { exit, hops, hopFrames, spreader, store };
  return new Arrival({
    udp,
    aead,
    lanes,
    routes,
    ...recovering,
    sender,
    slow,
    counters,
    widths,
    self,
    outerClass,
    batch,
  });
}

function createEntry(
  { io, tun, udp, raw }: WorkerPorts,
  { self, epoch, intercept }: WorkerOptions,
  {
    routes,
    sourceRoutes,
    sender,
    flows,
    inbound,
    icmp,
    recent,
    counters,
    widths,
    recovery: { hops, spreader },
  }: Parts,
  shell: DataPathShell,
): Entry {
  const read = createBatch(sizes.TUN_ARENA, sizes.TUN_CAPACITY);
  const out = createBatch(sizes.OUT_ARENA, sizes.OUT_CAPACITY);
  const outerClass = (inPlace: number): number => shell.outerClass(inPlace);
  const whenWritable = (callback: () => void): void =>
    udp.onWritable(() => {
      callback();
      shell.afterInput();
    });
  const direct = raw && new DirectPath(io, raw, counters, read, sizes.OUT_ARENA, sizes.OUT_CAPACITY);
  const beyond = intercept && direct && new Beyond(direct, intercept);
  const fragments = new FragmentWatch();
  const refused = (now: number, user: number, what: number): void => shell.refused(now, user, what);
  const around = {
    io,
    tun,
    routes,
    sourceRoutes,
    sender,
    hops,
    spreader,
    flows,
    inbound,
    fragments,
    refused,
    icmp,
    recent,
    counters,
    widths,
  };
  return new Entry(
    { ...around, ...(beyond && { beyond }), self, epoch, outerClass, whenWritable, read, out },
    compileRules([], DEFAULT_SERVICES),
  );
}
