/**
 * Whole agents on virtual time: `Agent` and `ForwardingWorker` of each node joined by function calls instead of a thread, over devices and
 * sockets in memory, with real certificates, handshakes and ciphers. Only the underlay is made up.
 *
 *   const mesh = await SimMesh.create(sim, 3, [{ a: 0, b: 1 }, { a: 1, b: 2, loss: 0.05 }])
 *   mesh.startAll()
 *   sim.runUntil(5_000_000)
 *   mesh.send(0, 2)                          // an inner packet; `mesh.received` counts it by its number
 *
 * Node i is called n<i>, owns 10.77.0.<i+1> and fd77::<i+1>, and has the underlay address 192.0.2.<i+1> (or 2001:db8::<i+1> with `underlay: 6`).
 * Datagrams pass only where an edge joins two nodes. Every datagram and every delivery goes into the simulator's trace.
 */
import { pino } from 'pino';
import { Agent } from '../../src/agent/agent.js';
import type { Config, Identity } from '../../src/agent/config/index.js';
import type { FromWorker, ToWorker, WorkerReport } from '../../src/agent/messages.js';
import { ForwardingWorker } from '../../src/agent/worker/forwarding-worker.js';
import { KEY_SLOTS, LIMITS, MAX_NEIGHBOURS } from '../../src/agent/worker/sizes.js';
import { TrustStore } from '../../src/crypto/identity/index.js';
import { DEFAULT_SERVICES } from '../../src/intercept/services.js';
import { formatAddress, parseAddress } from '../../src/io/address.js';
import {
  createMemoryIo,
  type MemoryDatagram,
  type MemoryNetwork,
  type MemoryTun,
} from '../../src/io/plain/index.js';
import type { UdpSocket } from '../../src/io/ports.js';
import { ipv4, ipv6, udp } from '../unit/intercept/packets.js';
import { makeCa, makeNode, request, term } from '../unit/identity/fixture.js';
import { Random } from './sim/random.js';
import type { Simulator } from './sim/simulator.js';

const PORT = 7100;
const VALID_DAYS = 3650;

export interface MeshEdge {
  readonly a: number;
  readonly b: number;
  /** One way, µs, and up to so much more for each datagram on its own, which reorders. */
  latency?: number;
  jitter?: number;
  /** Probabilities, each way. */
  loss?: number;
  duplication?: number;
  /** Bytes a second, each way, and µs that its queue holds; what finds it full is lost. */
  rate?: number;
  queue?: number;
  /** Largest datagram, bytes of UDP payload. */
  mtu?: number;
  /** False swallows everything. */
  up?: boolean;
  /** A node whose datagrams are swallowed. */
  mute?: number | undefined;
}

export interface MeshOptions {
  /** Family of the underlay's addresses; 4 by default. */
  underlay?: 4 | 6;
  /** Which peers a node has in its configuration; all its neighbours by default. */
  configured?: (node: number, neighbour: number) => boolean;
  /** `configured` by default. */
  mesh?: Config['mesh'];
}

const DEFAULT_EDGE = {
  ...{ latency: 2000, jitter: 0, loss: 0, duplication: 0, mtu: 1472, up: true },
  ...{ rate: Infinity, queue: 50_000 },
};
/** IPv4 and UDP headers. */
const UNDERLAY_HEADERS = 28;

export class SimMesh {
  readonly agents: SimAgent[] = [];
  /** How often the packet with that number came out, and where. */
  readonly received = new Map<number, number[]>();
  /** Inner packets that came out and were not sent by `send`: ICMP. */
  readonly other: { node: number; bytes: Uint8Array }[] = [];
  /** Sees every datagram before it is sent; false swallows it. */
  tap: ((datagram: MemoryDatagram) => boolean) | undefined;
  readonly datagrams = { sent: 0, delivered: 0 };
  private readonly bound = new Map<string, (datagram: MemoryDatagram) => void>();
  /** µs when each edge has sent what it took, by direction. */
  private readonly busyUntil = new Map<MeshEdge, [number, number]>();
  private sent = 0;

  private constructor(
    readonly sim: Simulator,
    readonly edges: MeshEdge[],
    readonly options: MeshOptions,
  ) {}

  static async create(
    sim: Simulator,
    nodes: number,
    edges: MeshEdge[],
    options: MeshOptions = {},
  ): Promise<SimMesh> {
    const mesh = new SimMesh(sim, edges, options);
    const ca = await makeCa('Sim CA', ['10.77.0.0/16', 'fd77::/48'], term('Sim CA', VALID_DAYS));
    const trust = TrustStore.fromPem(ca.pem);
    for (let i = 0; i < nodes; i++) {
      const name = `n${i}`;
      const addresses = [`10.77.0.${i + 1}`, `fd77::${(i + 1).toString(16)}`];
      const node = await makeNode(ca, request(name, { addresses }), term(name, VALID_DAYS));
      const verified = trust.verify(node.certificate.der, sim.wall);
      if (!verified.ok) throw new Error(verified.text);
      mesh.agents.push(new SimAgent(mesh, i, { trust, verified, key: node.key }));
    }
    return mesh;
  }

  startAll(): void {
    for (const agent of this.agents) agent.start();
  }

  /** As the network in memory writes it. */
  underlayAddress(node: number): string {
    const text = this.options.underlay === 6 ? `2001:db8::${(node + 1).toString(16)}` : `192.0.2.${node + 1}`;
    return formatAddress(parseAddress(text)!);
  }

  neighbours(node: number): number[] {
    return this.edges.filter(({ a, b }) => a === node || b === node).map(({ a, b }) => (a === node ? b : a));
  }

  edge(a: number, b: number): MeshEdge {
    const found = this.edges.find((edge) => (edge.a === a && edge.b === b) || (edge.a === b && edge.b === a));
    if (!found) throw new Error(`no edge ${a} ${b}`);
    return found;
  }

  /** Hands node `from` an inner packet for node `to`; the number by which `received` knows it. */
  send(from: number, to: number, version: 4 | 6 = 4, size = 0): number {
    const number = ++this.sent;
    const word = [24, 16, 8, 0].map((shift) => (number >>> shift) & 255);
    const payload = udp(4000 + from, DATA_PORT, [...word, ...new Array<number>(size).fill(number & 255)]);
    const packet =
      version === 4
        ? ipv4({ source: [10, 77, 0, from + 1], destination: [10, 77, 0, to + 1], payload })
        : ipv6({ source: v6(from), destination: v6(to), next: 17, payload });
    this.agents[from].tun.inject(packet);
    return number;
  }

  /** What came out of node `node`'s device. */
  deliver(node: number, bytes: Uint8Array): void {
    this.sim.trace(node, bytes);
    const at = bytes[0] >> 4 === 4 ? 20 : 40;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const ours = bytes[at === 20 ? 9 : 6] === 17 && view.getUint16(at + 2) === DATA_PORT;
    if (!ours) {
      this.other.push({ node, bytes });
      return;
    }
    const number = view.getUint32(at + 8);
    this.received.set(number, [...(this.received.get(number) ?? []), node]);
  }

  /** The underlay as one life of an agent sees it. */
  network(life: { over: boolean }): MemoryNetwork {
    const { sim, bound } = this;
    return {
      time: {
        now: () => sim.now,
        schedule: (delay, callback) => {
          let cancelled = false;
          sim.after(delay, () => {
            if (!cancelled && !life.over) callback();
          });
          return () => {
            cancelled = true;
          };
        },
      },
      bind: ({ address, port }, deliver) => {
        const key = `${address} ${port}`;
        if (bound.has(key)) return undefined;
        bound.set(key, deliver);
        return () => bound.delete(key);
      },
      send: (datagram) => this.carry(datagram),
    };
  }

  private carry(datagram: MemoryDatagram): void {
    const { sim } = this;
    this.datagrams.sent++;
    const from = nodeOf(datagram.source.address);
    const to = nodeOf(datagram.destination.address);
    sim.trace(from * 256 + to, datagram.bytes);
    const edge = this.edges.find(({ a, b }) => (a === from && b === to) || (a === to && b === from));
    if (!edge || this.tap?.(datagram) === false) return;
    const { latency, jitter, loss, duplication, mtu, up } = { ...DEFAULT_EDGE, ...edge };
    if (!up || edge.mute === from || datagram.bytes.length > mtu || sim.random.chance(loss)) return;
    const queued = this.enqueue(edge, edge.a === from ? 0 : 1, datagram.bytes.length + UNDERLAY_HEADERS);
    if (queued === undefined) return;
    for (let copies = sim.random.chance(duplication) ? 2 : 1; copies > 0; copies--) {
      sim.after(queued + latency + sim.random.integer(jitter + 1), () => {
        this.datagrams.delivered++;
        this.bound.get(`${datagram.destination.address} ${datagram.destination.port}`)?.(datagram);
      });
    }
  }

  /** µs until an edge of finite rate has sent so many bytes more; undefined where its queue is full. */
  private enqueue(edge: MeshEdge, direction: 0 | 1, bytes: number): number | undefined {
    const { rate, queue } = { ...DEFAULT_EDGE, ...edge };
    if (rate === Infinity) return 0;
    const busy = this.busyUntil.get(edge) ?? [0, 0];
    const { now } = this.sim;
    const waiting = Math.max(0, busy[direction] - now);
    if (waiting > queue) return undefined;
    busy[direction] = now + waiting + (bytes * 1e6) / rate;
    this.busyUntil.set(edge, busy);
    return busy[direction] - now;
  }
}

const DATA_PORT = 5201;

const v6 = (node: number): number[] => [0xfd, 0x77, ...new Array<number>(13).fill(0), node + 1];

/** The underlay's addresses end in a byte that names the node. */
function nodeOf(address: string): number {
  return parseAddress(address)![15] - 1;
}

/** One node: its agent, started and stopped at will. */
export class SimAgent {
  tun!: MemoryTun;
  agent!: Agent;
  worker!: ForwardingWorker;
  /** Of warnings and worse, all lives. */
  readonly log: Record<string, unknown>[] = [];
  private life = { over: true };
  private epoch = 1000;
  private reports = 0;
  private report: ((report: WorkerReport) => void) | undefined;

  constructor(
    private readonly mesh: SimMesh,
    readonly number: number,
    private readonly identity: Identity,
  ) {}

  get nodeId(): number {
    return this.identity.verified.certificate.nodeId;
  }

  get isRunning(): boolean {
    return !this.life.over;
  }

  start(): void {
    if (this.isRunning) throw new Error(`n${this.number} runs already`);
    const { mesh } = this;
    const { sim } = mesh;
    const life = { over: false };
    this.life = life;
    this.epoch++;
    const chance = new Random(sim.random.u32());
    const network = mesh.network(life);
    const io = createMemoryIo({ network, addresses: [mesh.underlayAddress(this.number)] });
    const socket = io.createUdp({ host: '::', port: PORT, mark: 0, slots: MAX_NEIGHBOURS + 1 }) as UdpSocket;
    const tun = io.createTun({ name: 'cw0' });
    tun.onOutput = () => {
      for (const { bytes } of tun.output.splice(0)) mesh.deliver(this.number, bytes);
    };
    this.tun = tun;
    const config = this.config();
    this.worker = new ForwardingWorker(
      {
        io,
        tun,
        udp: socket,
        aead: io.createAead(KEY_SLOTS),
        random: () => chance.u32(),
        post: (message) => this.later(life, message, (copy) => this.hear(copy)),
      },
      {
        self: this.nodeId,
        epoch: this.epoch & 0xffff,
        tun: config.tun,
        listen: config.listen,
        mark: 0,
        plain: true,
      },
      { ...LIMITS, flows: 1024, inboundFlows: 1024 },
    );
    this.agent = new Agent({
      config,
      identity: this.identity,
      clock: { now: () => sim.now, wall: () => sim.wall, schedule: network.time.schedule },
      log: pino({ level: 'warn', base: null, timestamp: false }, { write: (line) => this.keep(line) }),
      post: (message, transfer) => this.later(life, message, (copy) => this.worker.receive(copy), transfer),
      ciphers: ['aes-256-gcm', 'chacha20-poly1305'],
      random: (size) => chance.bytes(size),
      epoch: this.epoch,
      setRouted: () => undefined,
      hostAddresses: () => [mesh.underlayAddress(this.number)],
    });
    this.worker.start();
    this.agent.start();
  }

  /** As on SIGTERM: farewells are sent. */
  stop(): void {
    this.agent.stop();
    this.worker.receive({ type: 'stop' });
    this.life.over = true;
  }

  /** As on SIGKILL: nobody hears of it. */
  kill(): void {
    this.life.over = true;
    this.tun.close();
    this.closeSocket();
  }

  /** The worker's numbers; lets a moment of virtual time pass. */
  numbers(): WorkerReport {
    let result: WorkerReport | undefined;
    this.report = (report) => (result = report);
    this.worker.receive({ type: 'report', id: ++this.reports });
    this.mesh.sim.runFor(0);
    if (!result) throw new Error('no report');
    return result;
  }

  /** Names of the nodes that its routing reaches, itself included. */
  reaches(): string[] {
    return this.agent.router.nodes
      .filter(({ ways }) => ways[0].nextHop !== 0)
      .map(({ certificate }) => certificate.name)
      .sort();
  }

  private closeSocket(): void {
    // The kernel closes a killed process's sockets; here the worker holds the only reference.
    (this.worker as unknown as { ports: { udp: UdpSocket } }).ports.udp.close();
  }

  private hear(message: FromWorker): void {
    if (message.type === 'report') this.report?.(message.report);
    else this.agent.receive(message);
  }

  /** As between threads: what arrives is a copy, and arrives later, in order. */
  private later<T extends ToWorker | FromWorker>(
    life: { over: boolean },
    message: T,
    receive: (copy: T) => void,
    transfer: ArrayBuffer[] = [],
  ): void {
    const copy = structuredClone(message, { transfer });
    this.mesh.sim.after(0, () => {
      if (!life.over) receive(copy);
    });
  }

  private keep(line: string): void {
    this.log.push(JSON.parse(line) as Record<string, unknown>);
  }

  private config(): Config {
    const { mesh, number } = this;
    const { configured = () => true } = mesh.options;
    const peers = mesh.neighbours(number).map((other) => {
      const host = mesh.underlayAddress(other);
      const endpoints = configured(number, other) ? [{ host, port: PORT, text: `${host} ${PORT}` }] : [];
      return { name: `n${other}`, endpoints };
    });
    return {
      file: `n${number}.yaml`,
      node: `n${number}`,
      pki: { ca: '', cert: '', key: '' },
      listen: { host: '::', port: PORT },
      tun: { name: 'cw0', mtu: 1380 },
      peers: peers.filter(({ endpoints }) => endpoints.length > 0),
      mesh: mesh.options.mesh ?? 'configured',
      intercept: { mode: 'split', participants: false, fallback: 'refuse', rules: [] },
      services: { default: { ...DEFAULT_SERVICES } },
      names: { enabled: false, zone: 'causeway', port: 53 },
      links: { outerDscp: 0, split: true },
      control: { socket: '' },
      access: { services: {} },
      log: { level: 'warn' },
    };
  }
}
