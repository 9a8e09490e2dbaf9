/**
 * The forwarding worker: owner of the TUN device, the socket, sessions, links and their timers. Packets go through `src/overlay/forward`;
 * this is the shell around it, which executes the main thread's messages and what the link cores ask for.
 */
import { createBatch, type PacketBatch } from '../../io/batch.js';
import type { Aead, Io, MicroTimer, TunDevice, UdpSocket } from '../../io/ports.js';
import { SourceBuckets, TokenBucket } from '../../intercept/rate-limit.js';
import { compileRules } from '../../intercept/rules.js';
import type { LinkEvent } from '../../overlay/link/link.js';
import { LINK_BODY_MAX } from '../../overlay/link/link.js';
import { ForwardingTables } from '../../overlay/route/tables.js';
import { Arrival } from '../../overlay/forward/arrival.js';
import { ControlRecords } from '../../overlay/forward/control-records.js';
import { Counters } from '../../overlay/forward/counters.js';
import { forgetLocalAddress } from '../../overlay/forward/endpoint-learning.js';
import { Entry } from '../../overlay/forward/entry.js';
import { Exit } from '../../overlay/forward/exit.js';
import { IcmpWriter } from '../../overlay/forward/icmp-writer.js';
import { LaneTable } from '../../overlay/forward/lanes.js';
import type { Neighbour } from '../../overlay/forward/neighbour.js';
import { RecentHeaders } from '../../overlay/forward/recent-headers.js';
import { Routes } from '../../overlay/forward/routes.js';
import { Sender } from '../../overlay/forward/sender.js';
import { type EchoAnswer, SlowPath } from '../../overlay/forward/slow-path.js';
import { readEndpoint, writeEndpoint } from '../endpoint.js';
import type { FromWorker, LinkReport, ToWorker, WorkerOptions } from '../messages.js';
import { type NeighbourEntry, Neighbours } from './neighbours.js';
import { SLOT_ADHOC } from './sizes.js';
import * as sizes from './sizes.js';

export interface WorkerPorts {
  io: Io;
  tun: TunDevice;
  udp: UdpSocket;
  aead: Aead;
  post: (message: FromWorker) => void;
  /** Unpredictable u32. */
  random: () => number;
}

export class ForwardingWorker {
  private readonly counters = new Counters();
  private readonly neighbours: Neighbours;
  private readonly routes: Routes;
  private readonly entry: Entry;
  private readonly arrival: Arrival;
  private readonly slow: SlowPath;
  private readonly control: ControlRecords;
  private readonly adhoc = createBatch(sizes.HANDSHAKE_MAX, 1);
  private readonly timer: MicroTimer;
  private armed = Infinity;
  private sendErrors = 0;
  /** Echoes that wait for an answer or a refusal, by destination and sequence, which would name them. */
  private readonly echoes = new Map<string, { id: number; number: number }>();

  constructor(
    private readonly ports: WorkerPorts,
    private readonly options: WorkerOptions,
  ) {
    const { io, tun, udp, aead, random } = ports;
    const { self, epoch } = options;
    const { counters } = this;
    const now = io.now();
    const lanes = new LaneTable();
    const sender = new Sender(udp, aead, counters, (neighbour) => this.neighbours.touch(neighbour));
    this.neighbours = new Neighbours(aead, udp, lanes, random, ports.post);
    const routes = new Routes(this.neighbours.byId);
    const control = new ControlRecords(sender);
    const icmp = new IcmpWriter(tun, new TokenBucket(100, 50, now), (version) =>
      routes.address(self, version),
    );
    const recent = new RecentHeaders();
    this.routes = routes;
    this.control = control;
    this.slow = new SlowPath({
      udp,
      routes,
      control,
      icmp,
      recent,
      counters,
      handshakes: new SourceBuckets(64, 50, 32, random(), now),
      errors: new TokenBucket(100, 50, now),
      refusals: new TokenBucket(1000, 200, now),
      self,
      epoch,
      shell: this,
    });
    const batch = createBatch(sizes.UDP_ARENA, sizes.UDP_CAPACITY, sizes.UDP_MESSAGES);
    const exit = new Exit(tun, routes, counters, self, sizes.UDP_CAPACITY);
    const parts = { udp, aead, lanes, routes, exit, sender, slow: this.slow, counters, self, batch };
    this.arrival = new Arrival(parts);
    const read = createBatch(sizes.TUN_ARENA, sizes.TUN_CAPACITY);
    const out = createBatch(sizes.OUT_ARENA, sizes.OUT_CAPACITY);
    const whenWritable = (callback: () => void) => {
      udp.onWritable(() => {
        callback();
        this.afterInput();
      });
    };
    this.entry = new Entry(
      { io, tun, routes, sender, icmp, recent, counters, self, epoch, whenWritable, read, out },
      compileRules([]),
    );
    this.timer = io.createTimer(() => {
      this.onTimer();
    });
  }

  /** Begins to take packets. */
  start(): void {
    const { tun, udp, io } = this.ports;
    tun.onReadable(() => {
      this.entry.run(io.now());
      this.afterInput();
    });
    udp.onReadable(() => {
      this.arrival.run(io.now());
      this.afterInput();
    });
  }

  /** One message of the main thread. */
  receive(message: ToWorker): void {
    const now = this.ports.io.now();
    switch (message.type) {
      case 'datagram':
        this.sendDatagram(message);
        break;
      case 'session':
        this.neighbours.install(now, message.grant);
        this.routes.resolve();
        break;
      case 'revoke-session':
        this.neighbours.revoke(message.index);
        break;
      case 'message':
        this.sendMessage(message.peer, message.bytes);
        break;
      case 'tables':
        this.routes.install(new ForwardingTables(message.buffers));
        break;
      case 'rules':
        this.entry.classify = compileRules(message.rules);
        break;
      case 'forget':
        this.forget(now, message.peer);
        break;
      case 'echo':
        this.sendEcho(now, message);
        break;
      case 'report':
        this.ports.post({ type: 'report', id: message.id, report: this.report(now) });
        break;
      case 'stop':
        this.stop(now);
        return;
      default:
        message satisfies never;
    }
    this.afterInput();
  }

  // --- what Arrival's slow path asks of its shell ---

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

  confirmed(_now: number, neighbour: Neighbour, session: number): void {
    this.neighbours.confirm(neighbour, session);
  }

  echoAnswered(answer: EchoAnswer): void {
    const { identifier: id, number, from, rttMicros, there, back, ttl } = answer;
    const asked = [...this.echoes].find(([, echo]) => echo.id === id && echo.number === number);
    if (!asked) return;
    this.echoes.delete(asked[0]);
    const reply = { id, number, from, rttMicros, forward: [...there], back: [...back], ttl };
    this.ports.post({ type: 'echo-reply', reply });
  }

  echoRefused(destination: number, sequence: number, from: number, code: number): void {
    const key = echoKey(destination, sequence);
    const echo = this.echoes.get(key);
    if (!echo) return;
    this.echoes.delete(key);
    this.ports.post({ type: 'echo-error', ...echo, from, code });
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
        post({ type: 'up', peer, rttMicros: event.rtt });
        return;
      case 'down':
        neighbour.up = false;
        neighbour.since = now;
        post({ type: 'down', peer, reason: event.reason });
        return;
      case 'measured':
        post({ type: 'measured', peer, rttMicros: event.rtt });
        return;
      case 'message':
        post({ type: 'message', peer, bytes: event.bytes.slice() });
        return;
      case 'stream-lost':
        post({ type: 'stream-lost', peer });
        return;
      case 'stream-restarted':
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

  /** After any input: sends what links have become due to send, arms the timer for what comes next. */
  private afterInput(): void {
    const now = this.ports.io.now();
    for (const neighbour of this.neighbours.takeTouched()) this.transmit(now, neighbour);
    this.arm(now);
  }

  private transmit(now: number, neighbour: Neighbour): void {
    const { control } = this;
    for (;;) {
      const length = neighbour.link.transmit(now, control.view, control.at, control.at + LINK_BODY_MAX);
      if (length === 0 || !control.send(neighbour, length)) return;
    }
  }

  private arm(now: number): void {
    const due = this.neighbours.nextTimeout();
    if (due === this.armed) return;
    this.armed = due;
    if (due === Infinity) this.timer.disarm();
    else this.timer.arm(due - now);
  }

  private onTimer(): void {
    const now = this.ports.io.now();
    this.armed = Infinity;
    for (const neighbour of this.neighbours.byId.values()) {
      if (neighbour.link.nextTimeout() <= now) {
        this.follow(now, neighbour, neighbour.link.timeout(now));
        this.neighbours.touch(neighbour);
      }
    }
    for (const { nodeId, slot } of this.neighbours.expire(now)) {
      this.ports.post({
        type: 'rekey',
        peer: nodeId,
        endpoint: readEndpoint(this.ports.udp.endpoints, slot),
      });
    }
    this.watchSendErrors();
    this.afterInput();
  }

  /** After a refused send our own address may be gone from the host: let the kernel choose again. */
  private watchSendErrors(): void {
    const { udp } = this.ports;
    if (udp.sendErrors.count === this.sendErrors) return;
    this.sendErrors = udp.sendErrors.count;
    for (const { slot } of this.neighbours.byId.values()) forgetLocalAddress(udp, slot);
  }

  // --- the main thread's wishes ---

  private sendDatagram({ bytes, endpoint }: Extract<ToWorker, { type: 'datagram' }>): void {
    const { udp } = this.ports;
    const { adhoc } = this;
    writeEndpoint(udp.endpoints, SLOT_ADHOC, endpoint);
    adhoc.bytes.set(bytes);
    adhoc.count = 1;
    adhoc.offset[0] = 0;
    adhoc.length[0] = bytes.length;
    adhoc.endpoint[0] = SLOT_ADHOC;
    adhoc.trafficClass[0] = 0;
    udp.send(adhoc, Int32Array.of(0), 1);
  }

  private sendMessage(peer: number, bytes: Uint8Array): void {
    const neighbour = this.neighbours.byId.get(peer);
    if (!neighbour) return;
    if (neighbour.link.send(bytes) === 'overflow') this.ports.post({ type: 'stream-lost', peer });
    this.neighbours.touch(neighbour);
  }

  private sendEcho(now: number, message: Extract<ToWorker, { type: 'echo' }>): void {
    const { id, number, destination, ttl } = message;
    const sequence = this.slow.sendEcho(now, destination, id, number, ttl);
    if (sequence < 0) this.ports.post({ type: 'echo-error', id, number, from: this.options.self, code: 1 });
    else {
      this.echoes.set(echoKey(destination, sequence), { id, number });
      for (const old of this.echoes.keys()) {
        if (this.echoes.size <= sizes.ECHOES_KEPT) break;
        this.echoes.delete(old);
      }
    }
  }

  private forget(now: number, peer: number): void {
    const neighbour = this.neighbours.byId.get(peer);
    if (!neighbour) return;
    neighbour.link.close('stopping');
    this.transmit(now, neighbour);
    this.neighbours.remove(neighbour);
    this.routes.resolve();
  }

  private stop(now: number): void {
    const { tun, udp, post } = this.ports;
    for (const neighbour of [...this.neighbours.byId.values()]) {
      this.transmit(now, neighbour);
      this.forget(now, neighbour.nodeId);
    }
    this.timer.close();
    tun.close();
    udp.close();
    post({ type: 'stopped' });
  }

  private report(now: number): {
    links: LinkReport[];
    counters: Record<string, number>;
    drops: Record<string, number>;
  } {
    const links = [...this.neighbours.byId.values()].map((neighbour) => this.reportLink(now, neighbour));
    const counters = {
      ...this.counters.totals(),
      sendErrors: this.ports.udp.sendErrors.count,
      segmentErrors: this.ports.io.segmentErrors,
    };
    return { links, counters, drops: this.counters.drops() };
  }

  private reportLink(now: number, neighbour: NeighbourEntry): LinkReport {
    const { nodeId, name, up, slot, link, since, cipher, sessionSince } = neighbour;
    return {
      peer: nodeId,
      name,
      state: up ? 'up' : 'down',
      endpoint: readEndpoint(this.ports.udp.endpoints, slot),
      rttMicros: link.rtt,
      baseRttMicros: link.baseRtt,
      sinceMicros: now - since,
      cipher,
      sessionAgeMicros: now - sessionSince,
      packetsSent: neighbour.packetsSent,
      bytesSent: neighbour.bytesSent,
      packetsReceived: neighbour.packetsReceived,
      bytesReceived: neighbour.bytesReceived,
    };
  }
}

/** Sequences count per destination. */
function echoKey(destination: number, sequence: number): string {
  return `${destination} ${sequence}`;
}
