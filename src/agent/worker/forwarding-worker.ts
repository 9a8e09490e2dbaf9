/**
 * The forwarding worker: owner of the TUN device, the socket, sessions, links and their timers. Packets go through `src/overlay/forward`;
 * this is the shell around it, which executes the main thread's messages and what the link cores ask for.
 */
import type { Aead, Io, MicroTimer, RawSender, TunDevice, UdpSocket } from '../../io/ports.js';
import { createBatch, RECORD_HEADER, type PacketBatch } from '../../io/batch.js';
import type { FlowCache } from '../../intercept/flow-cache.js';
import type { InboundFilter } from '../../intercept/inbound.js';
import { Access, REFUSED_OVERLAY } from '../../intercept/access.js';
import { Refusals } from '../../intercept/refusals.js';
import { SenderWatch } from '../../intercept/sender-watch.js';
import { SERVICE_NAMES } from '../../intercept/services.js';
import { compileRules } from '../../intercept/rules.js';
import type { ArrivedFlows } from '../../overlay/egress/arrived-flows.js';
import type { FlowOrder } from '../../overlay/egress/flow-order.js';
import {
  type CloseReason,
  decodePath,
  encodePath,
  FRAME_PATH,
  FRAME_PATH_ANSWER,
  type PathFrame,
} from '../../overlay/wire/frames.js';
import { elapsed32 } from '../../overlay/wire/sequence.js';
import type { LinkEvent } from '../../overlay/link/link.js';
import { LINK_BODY_MAX } from '../../overlay/link/link.js';
import { PrefixTable } from '../../overlay/route/prefix-table.js';
import { ForwardingTables } from '../../overlay/route/tables.js';
import type { Arrival } from '../../overlay/forward/arrival.js';
import type { ControlRecords } from '../../overlay/forward/control-records.js';
import type { Counters } from '../../overlay/forward/counters.js';
import { forgetLocalAddress } from '../../overlay/forward/endpoint-learning.js';
import type { Entry } from '../../overlay/forward/entry.js';
import type { Hops } from '../../overlay/forward/hops.js';
import type { Neighbour } from '../../overlay/forward/neighbour.js';
import type { OrderedExit } from '../../overlay/forward/ordered-exit.js';
import type { Routes } from '../../overlay/forward/routes.js';
import type { Sender } from '../../overlay/forward/sender.js';
import type { SourceRoutes } from '../../overlay/forward/source-routes.js';
import type { EchoAnswer } from '../../overlay/forward/slow-path.js';
import type { Widths } from '../../overlay/forward/widths.js';
import { dispatch, type Handlers } from '../dispatch.js';
import { type Endpoint, readEndpoint, writeEndpoint } from '../endpoint.js';
import {
  type FromWorker,
  OUTER_DSCP_COPY,
  type ToWorker,
  type WorkerOptions,
  type WorkerReport,
} from '../messages.js';
import { createDataPath, type DataPathShell } from './data-path.js';
import { incomingFlows, linkReport } from './report.js';
import { Echoes } from './echoes.js';
import { FloodBrake } from './flood-brake.js';
import { Capture, watchedTun, watchedUdp } from './capture.js';
import type { NeighbourEntry, Neighbours } from './neighbours.js';
import { Reachability } from './reachability.js';
import * as sizes from './sizes.js';

export interface WorkerPorts {
  io: Io;
  tun: TunDevice;
  udp: UdpSocket;
  aead: Aead;
  /** Absent where no packet is sent on without the overlay. */
  raw?: RawSender;
  post: (message: FromWorker, transfer?: ArrayBuffer[]) => void;
  /** Unpredictable u32. */
  random: () => number;
}

export class ForwardingWorker implements DataPathShell {
  private readonly counters: Counters;
  private readonly neighbours: Neighbours;
  private readonly routes: Routes;
  private readonly sourceRoutes: SourceRoutes;
  private readonly entry: Entry;
  private readonly arrival: Arrival;
  private readonly widths: Widths;
  private readonly hops: Hops;
  private readonly exit: OrderedExit;
  private readonly order: FlowOrder;
  private readonly arrived: ArrivedFlows;
  private readonly flows: FlowCache;
  private readonly inbound: InboundFilter;
  private readonly refusals = new Refusals();
  private readonly reachability: Reachability;
  private outerDscp = 0;
  private readonly control: ControlRecords;
  private readonly sender: Sender;
  private readonly adhoc = createBatch(sizes.HANDSHAKE_MAX, 1);
  private readonly timer: MicroTimer;
  private readonly brake: FloodBrake;
  private armed = Infinity;
  private sendErrors = 0;
  private readonly echoes: Echoes;

  private readonly handlers: Handlers<ToWorker> = {
    datagram: (message) => this.sendDatagram(message),
    session: ({ grant }, now) => {
      this.neighbours.install(now, grant);
      this.resolve(now);
    },
    'revoke-session': ({ index }) => this.neighbours.revoke(index),
    message: ({ peer, bytes }) => this.sendMessage(peer, bytes),
    tables: ({ buffers }, now) => {
      this.routes.install(new ForwardingTables(buffers));
      this.reroute(now);
    },
    'source-routes': ({ routes }) => this.sourceRoutes.install(routes),
    rules: (message) => this.followRules(message),
    split: ({ splits }) => (this.widths.splits = splits),
    withheld: ({ buffers }) => (this.entry.withheld = PrefixTable.from(buffers)),
    'outer-dscp': ({ dscp }) => (this.outerDscp = dscp),
    flows: (message, now) => this.listFlows(now, message),
    'flow-set': ({ id, match, service }) =>
      this.ports.post({ type: 'flow-set', id, flows: this.flows.set(match, service) }),
    'host-changed': ({ running }, now) => this.hostChanged(now, running),
    suspect: ({ peer }, now) => this.suspect(now, peer),
    forget: ({ peer, reason }, now) => this.forget(now, peer, reason),
    usage: (_, now) => this.tellUsage(now),
    paths: (message, now) => this.givePaths(now, message),
    echo: (message, now) => this.echoes.send(now, message),
    capture: ({ id, filter, wallOffset }) => this.capture.begin(id, filter, wallOffset),
    'capture-end': ({ id }) => this.capture.end(id),
    report: ({ id }, now) => this.ports.post({ type: 'report', id, report: this.report(now) }),
    stop: (_, now) => this.stop(now),
  };

  private readonly ports: WorkerPorts;
  private readonly capture: Capture;

  constructor(
    ports: WorkerPorts,
    private readonly options: WorkerOptions,
    limits = sizes.LIMITS,
  ) {
    const capture = new Capture(() => ports.io.now(), ports.post);
    this.capture = capture;
    this.ports = { ...ports, tun: watchedTun(ports.tun, capture), udp: watchedUdp(ports.udp, capture) };
    const path = createDataPath(this.ports, options, limits, this);
    this.counters = path.counters;
    this.neighbours = path.neighbours;
    this.routes = path.routes;
    this.sourceRoutes = path.sourceRoutes;
    this.entry = path.entry;
    this.arrival = path.arrival;
    this.echoes = new Echoes(options.self, path.slow, ports.post);
    this.widths = path.widths;
    this.control = path.control;
    this.sender = path.sender;
    this.flows = path.flows;
    this.inbound = path.inbound;
    this.hops = path.recovery.hops;
    this.exit = path.recovery.exit;
    this.order = path.recovery.order;
    capture.attach(path.counters, path.routes, (words, slot) => path.neighbours.at(words, slot));
    this.reachability = new Reachability(ports.udp, path.neighbours.byId);
    this.arrived = path.recovery.arrived;
    this.timer = ports.io.createTimer(() => {
      this.onTimer();
    });
    this.brake = new FloodBrake(ports.udp, sizes.UDP_MESSAGES, (callback) => ports.io.createTimer(callback));
  }

  /** Begins to take packets. */
  start(): void {
    const { tun, udp, io } = this.ports;
    tun.onReadable(() => {
      this.entry.run(io.now());
      this.afterInput();
    });
    udp.onReadable(() => {
      this.takeDatagrams();
    });
  }

  /** The kernel answers some packets, pings for one, while they are written to the device: such an answer goes out in the same turn. */
  private takeDatagrams(): void {
    const { io } = this.ports;
    const { tunWrittenPackets } = this.counters;
    let before: number;
    let count: number;
    do {
      before = this.counters.receivedRecords;
      count = this.arrival.run(io.now(), this.brake.isOn ? sizes.UDP_MESSAGES : sizes.UDP_MESSAGES_FEW);
    } while (this.brake.readsOn(count, this.counters.receivedRecords !== before));
    if (this.counters.tunWrittenPackets !== tunWrittenPackets) this.entry.run(io.now());
    this.afterInput();
  }

  /** One message of the main thread. */
  receive(message: ToWorker): void {
    const now = this.ports.io.now();
    dispatch(this.handlers, message, now);
    if (message.type !== 'stop') this.afterInput();
  }

  // --- what the data path asks of its shell ---

  outerClass(inPlace: number): number {
    return this.outerDscp === OUTER_DSCP_COPY ? inPlace : this.outerDscp << 2;
  }

  handshake(batch: PacketBatch, i: number): void {
    const at = batch.offset[i];
    const bytes = batch.bytes.slice(at, at + batch.length[i]);
    this.ports.post({ type: 'datagram', bytes, endpoint: readEndpoint(batch.endpoints, batch.source[i]) });
  }

  linkFrames(now: number, neighbour: Neighbour, view: DataView, at: number, length: number): void {
    const entry = this.neighbours.byId.get(neighbour.nodeId);
    if (!entry) return;
    this.follow(now, entry, entry.link.receive(now, view, at, length));
    this.neighbours.touch(entry);
  }

  path(now: number, { nodeId }: Neighbour, batch: PacketBatch, i: number, length: number): void {
    const neighbour = this.neighbours.byId.get(nodeId);
    if (!neighbour) return;
    neighbour.pathsArrived++;
    const at = batch.offset[i] + RECORD_HEADER;
    const frame = decodePath(batch.view, at, length);
    if ('type' in frame) this.counters.drop('frame-malformed');
    else if (batch.view.getUint8(at) === FRAME_PATH) {
      const from = readEndpoint(batch.endpoints, batch.source[i]);
      neighbour.paths.probed(now, from);
      this.sendPath(neighbour, from, FRAME_PATH_ANSWER, frame);
    } else {
      const better = neighbour.paths.answered(now, frame.id, elapsed32(now, frame.clock));
      if (better) this.switchPath(now, neighbour, better);
    }
    this.neighbours.touch(neighbour);
  }

  follows(now: number, { nodeId }: Neighbour, batch: PacketBatch, i: number): boolean {
    const paths = this.neighbours.byId.get(nodeId)?.paths;
    const from = readEndpoint(batch.endpoints, batch.source[i]);
    if (!paths?.follows(now, from)) return false;
    paths.use(now, from);
    return true;
  }

  confirmed(_now: number, neighbour: Neighbour, session: number): void {
    this.neighbours.confirm(neighbour, session);
  }

  echoAnswered(answer: EchoAnswer): void {
    this.echoes.answered(answer);
  }

  echoRefused(destination: number, sequence: number, from: number, code: number): void {
    this.echoes.refused(this.ports.io.now(), destination, sequence, from, code);
  }

  refused(now: number, user: number, what: number): void {
    const refusal = this.refusals.note(now, user, what === REFUSED_OVERLAY ? 'overlay' : SERVICE_NAMES[what]);
    if (refusal) this.ports.post({ type: 'refused', refusal });
  }

  // --- links ---

  /** Acts on what a link core reports. */
  private follow(now: number, neighbour: NeighbourEntry, events: readonly LinkEvent[]): void {
    for (const event of events) this.followOne(now, neighbour, event);
  }

  private followOne(now: number, neighbour: NeighbourEntry, event: LinkEvent): void {
    const { post } = this.ports;
    const peer = neighbour.nodeId;
    switch (event.type) {
      case 'up':
        neighbour.up = true;
        neighbour.since = now;
        neighbour.quality.resume();
        neighbour.quality.judge(now, true, neighbour.link.isBlocked);
        this.hops.resume(neighbour);
        this.tellMoved(neighbour);
        post({ type: 'up', peer, rttMicros: event.rtt });
        return;
      case 'down':
        neighbour.up = false;
        neighbour.since = now;
        neighbour.quality.judge(now, false, false);
        this.hops.suspend(now, neighbour);
        post({ type: 'down', peer, reason: event.reason });
        return;
      case 'measured':
        this.tellMoved(neighbour);
        this.noteLoad(now, neighbour);
        neighbour.quality.roundTrip(now, event.rtt, event.base, event.latest);
        neighbour.quality.judge(now, neighbour.up, neighbour.link.isBlocked);
        post({ type: 'measured', peer, measure: neighbour.quality.measure() });
        return;
      case 'tally':
        this.noteLoad(now, neighbour);
        neighbour.quality.tally(now, { ...event, sealed: (event.sealed - neighbour.pathsSealed) >>> 0 });
        neighbour.link.watch(now, neighbour.quality.loss > 0);
        post({ type: 'measured', peer, measure: neighbour.quality.measure() });
        return;
      case 'message':
        post({ type: 'message', peer, bytes: event.bytes.slice() });
        return;
      case 'stream-lost':
        post({ type: 'stream-lost', peer });
        return;
      case 'stream-restarted':
        this.hops.forgetArrivals(neighbour);
        return;
      case 'stream-broken':
        this.counters.drop('frame-malformed');
        post({ type: 'stream-lost', peer });
        return;
      case 'closed':
        post({ type: 'closed', peer, reason: event.reason });
        return;
      case 'drain':
        for (let reads = 0; reads < sizes.DRAIN_READS && this.arrival.run(now) > 0; reads++);
        this.follow(now, neighbour, neighbour.link.drained(this.ports.io.now()));
        return;
      case 'rejected':
        this.counters.drop('frame-malformed');
        return;
      default:
        event satisfies never;
    }
  }

  private noteLoad(
    now: number,
    { link, quality, bytesSent, bytesReceived, hop, slot }: NeighbourEntry,
  ): void {
    const controlled = hop?.outbound.reliable.deliveredBytes ?? 0;
    quality.load(now, bytesSent + bytesReceived - controlled, hop?.outbound.queue.packets ?? 0);
    quality.excuse(this.sender.takeRefused(slot) + link.takeLostProbes());
  }

  /** After any input: sends what links have become due to send, arms the timer for what comes next. */
  afterInput(): void {
    const now = this.ports.io.now();
    this.heedTroubles(now);
    this.sendTouched(now);
    if (this.heedTroubles(now)) this.sendTouched(now);
    this.watchSendErrors();
    this.arm(now);
    if (this.capture.isOn) this.capture.flush();
  }

  private heedTroubles(now: number): boolean {
    return this.reachability.heed(now, (neighbour, events) => {
      this.follow(now, neighbour, events);
      this.neighbours.touch(neighbour);
    });
  }

  private sendTouched(now: number): void {
    for (const neighbour of this.neighbours.takeTouched()) {
      this.hops.pump(now, neighbour);
      this.transmit(now, neighbour);
      this.neighbours.schedule(neighbour, this.hops.nextTimeout(neighbour));
    }
  }

  /** Sends a link's own frames, and acknowledgements that found no data to ride on. */
  private transmit(now: number, neighbour: NeighbourEntry): void {
    const { control } = this;
    if (neighbour.link.wantsHello)
      neighbour.link.count(this.neighbours.arrivals(neighbour), neighbour.quality.loss);
    const limit = control.at + LINK_BODY_MAX;
    for (;;) {
      let end = control.at + neighbour.link.transmit(now, control.view, control.at, limit);
      const inbound = neighbour.hop?.inbound;
      if (inbound?.isDue(now)) {
        end = inbound.writeAcks(now, control.view, end, limit);
        end = inbound.writeReports(now, control.view, end, limit);
      }
      if (end === control.at || !control.send(neighbour, end - control.at)) break;
    }
    const size = neighbour.link.takeProbe(now);
    if (size > 0) control.probe(neighbour, neighbour.link.probeNumber, size);
  }

  private arm(now: number): void {
    const due = Math.min(this.neighbours.nextTimeout(), this.exit.nextTimeout());
    if (due === this.armed) return;
    this.armed = due;
    if (due === Infinity) this.timer.disarm();
    else this.timer.arm(due - now);
  }

  private onTimer(): void {
    const now = this.ports.io.now();
    this.armed = Infinity;
    this.exit.timeout(now);
    for (const neighbour of this.neighbours.takeDue(now)) {
      this.hops.timeout(now, neighbour);
      if (neighbour.link.nextTimeout() <= now) this.follow(now, neighbour, neighbour.link.timeout(now));
      this.probePaths(now, neighbour);
      this.neighbours.touch(neighbour);
    }
    for (const { nodeId, slot } of this.neighbours.expire(now)) {
      this.ports.post({
        type: 'rekey',
        peer: nodeId,
        endpoint: readEndpoint(this.ports.udp.endpoints, slot),
      });
    }
    this.afterInput();
  }

  /** Neighbours came or went. */
  private resolve(now: number): void {
    this.routes.resolve();
    this.reroute(now);
  }

  /** Paths have changed. */
  private reroute(now: number): void {
    for (const neighbour of this.neighbours.byId.values()) this.hops.reroute(now, neighbour);
  }

  /** After a refused send our own address may be gone from the host: let the kernel choose again. */
  private watchSendErrors(): void {
    const { udp } = this.ports;
    if (udp.sendErrors.count === this.sendErrors) return;
    this.sendErrors = udp.sendErrors.count;
    for (const { slot } of this.neighbours.byId.values()) forgetLocalAddress(udp, slot);
  }

  // --- the main thread's wishes ---

  private followRules(message: Extract<ToWorker, { type: 'rules' }>): void {
    const { rules, defaults, groups, inbound, access, senderGroup } = message;
    this.entry.classify = compileRules(rules, defaults, groups);
    this.entry.access = new Access(access);
    this.flows.invalidate();
    this.inbound.set(inbound, groups);
    if (senderGroup === undefined) this.closeSenders();
    else this.watchSenders(senderGroup);
  }

  /** Where the log can't be read nobody is known, and whom access asks about is refused. */
  private watchSenders(group: number): void {
    const { io, post } = this.ports;
    const { entry } = this;
    try {
      const log = entry.senders ? undefined : io.createSenderLog?.(group);
      if (log) entry.senders = new SenderWatch(log, this.flows, this.options.tun.mtu);
    } catch (error) {
      post({ type: 'senders-unknown', message: String(error) });
    }
    entry.access.isBlind = entry.senders === undefined;
  }

  private closeSenders(): void {
    this.entry.senders?.close();
    this.entry.senders = undefined;
  }

  private sendDatagram({ bytes, endpoint }: Extract<ToWorker, { type: 'datagram' }>): void {
    const { udp } = this.ports;
    const { adhoc } = this;
    writeEndpoint(udp.endpoints, sizes.SLOT_ADHOC, endpoint);
    adhoc.bytes.set(bytes);
    adhoc.count = 1;
    adhoc.offset[0] = 0;
    adhoc.length[0] = bytes.length;
    adhoc.endpoint[0] = sizes.SLOT_ADHOC;
    adhoc.trafficClass[0] = 0;
    udp.send(adhoc, Int32Array.of(0), 1);
  }

  private sendMessage(peer: number, bytes: Uint8Array): void {
    const neighbour = this.neighbours.byId.get(peer);
    if (!neighbour) return;
    if (neighbour.link.send(bytes) === 'overflow') this.ports.post({ type: 'stream-lost', peer });
    this.neighbours.touch(neighbour);
  }

  private hostChanged(now: number, running: Uint32Array[]): void {
    this.reachability.hostChanged(now, running, (neighbour, events) => {
      this.follow(now, neighbour, events);
    });
    for (const neighbour of this.neighbours.byId.values()) this.neighbours.touch(neighbour);
  }

  private suspect(now: number, peer: number): void {
    const neighbour = this.neighbours.byId.get(peer);
    if (!neighbour) return;
    neighbour.link.suspect(now, true);
    this.neighbours.touch(neighbour);
  }

  private forget(now: number, peer: number, reason: CloseReason = 'stopping'): void {
    const neighbour = this.neighbours.byId.get(peer);
    if (!neighbour) return;
    neighbour.link.close(reason);
    this.transmit(now, neighbour);
    this.neighbours.remove(neighbour);
    this.resolve(now);
  }

  private givePaths(now: number, { peer, endpoints }: Extract<ToWorker, { type: 'paths' }>): void {
    const neighbour = this.neighbours.byId.get(peer);
    if (!neighbour) return;
    neighbour.paths.give(now, endpoints);
    this.neighbours.touch(neighbour);
  }

  private probePaths(now: number, neighbour: NeighbourEntry): void {
    for (const { endpoint, id } of neighbour.paths.timeout(now, neighbour.link.isSilent(now)))
      this.sendPath(neighbour, endpoint, FRAME_PATH, { id, clock: now >>> 0 });
  }

  private sendPath(neighbour: NeighbourEntry, to: Endpoint, type: number, frame: PathFrame): void {
    const { control } = this;
    writeEndpoint(this.ports.udp.endpoints, sizes.SLOT_ADHOC, to);
    neighbour.pathsSealed++;
    control.send(neighbour, encodePath(control.view, control.at, type, frame) - control.at, sizes.SLOT_ADHOC);
  }

  private switchPath(now: number, neighbour: NeighbourEntry, endpoint: Endpoint): void {
    writeEndpoint(this.ports.udp.endpoints, neighbour.slot, endpoint);
    neighbour.paths.use(now, endpoint);
    neighbour.moved = true;
    neighbour.link.ask();
  }

  private tellMoved(neighbour: NeighbourEntry): void {
    if (!neighbour.moved) return;
    neighbour.moved = false;
    const endpoint = readEndpoint(this.ports.udp.endpoints, neighbour.slot);
    this.ports.post({ type: 'moved', peer: neighbour.nodeId, endpoint });
  }

  private tellUsage(now: number): void {
    const busy = [...this.neighbours.byId.values()].filter(({ link }) => link.isBusy(now));
    const neighbours = busy.map(({ nodeId }) => nodeId);
    this.ports.post({ type: 'usage', destinations: this.routes.takeUsed(), neighbours });
  }

  private stop(now: number): void {
    const { tun, udp, post } = this.ports;
    for (const neighbour of [...this.neighbours.byId.values()]) {
      this.transmit(now, neighbour);
      this.forget(now, neighbour.nodeId);
    }
    this.timer.close();
    this.brake.close();
    this.closeSenders();
    tun.close();
    udp.close();
    this.ports.raw?.close();
    post({ type: 'stopped' });
  }

  private listFlows(now: number, { id, filter }: Extract<ToWorker, { type: 'flows' }>): void {
    const { idleMicros: idle, limit, to } = filter;
    const outgoing = filter.outgoing ? this.flows.list(now, { idle, limit, ...(to && { to }) }) : [];
    const incoming = filter.incoming ? incomingFlows(now, this.order, this.arrived, idle, limit) : [];
    this.ports.post({ type: 'flows', id, outgoing, incoming });
  }

  private report(now: number): WorkerReport {
    const { endpoints } = this.ports.udp;
    const links = [...this.neighbours.byId.values()].map((neighbour) =>
      linkReport(now, neighbour, endpoints),
    );
    const counters = {
      ...this.counters.totals(),
      sendErrors: this.ports.udp.sendErrors.count,
      segmentErrors: this.ports.io.segmentErrors,
    };
    return { links, counters, drops: this.counters.drops(), refusals: this.refusals.list() };
  }
}
