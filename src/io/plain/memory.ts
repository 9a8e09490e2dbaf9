/**
 * Hosts in memory: TUN devices, UDP sockets and time, for tests and the simulator. Nothing here waits, and nothing happens but
 * inside a call of the caller's or an event of its virtual time; the same calls give the same run.
 */
import { ENDPOINT_WORDS, PACKET_PARTIAL, type PacketBatch } from '../batch.js';
import {
  IoError,
  type Io,
  type MicroTimer,
  RAW_SENT,
  type RawSender,
  type TunDevice,
  type TunFeatures,
  type TunOptions,
  type UdpFeatures,
  type UdpOptions,
  type UdpSocket,
} from '../ports.js';
import {
  ADDRESS_BYTES,
  formatAddress,
  isMappedIpv4,
  isUnspecified,
  parseAddress,
  readEndpoint,
  writeEndpoint,
} from '../address.js';
import { PureIo } from './pure.js';
import { DatagramQueue } from './queue.js';
import { Readiness, nextTurn, type Later } from './readiness.js';
import { Troubles } from './troubles.js';
import { PLAIN_TUN_FEATURES, addPlainPacket, checkName, finishChecksum } from './tun.js';

const QUEUE_BYTES = 4 << 20;
const EPHEMERAL_PORT = 32_768;

/** The caller's time. Events of one instant run in the order in which they were scheduled. */
export interface VirtualTime {
  /** Microseconds. */
  now(): number;
  /** Calls back `delayMicros` from now, never within this call. Returns what cancels it. */
  schedule(delayMicros: number, callback: () => void): () => void;
}

export interface MemoryAddress {
  /** Text of an IPv4 or IPv6 address, as `formatAddress` gives it. */
  address: string;
  port: number;
}

export interface MemoryDatagram {
  source: MemoryAddress;
  destination: MemoryAddress;
  /** DSCP and ECN, 0..255. A path may mark congestion here. */
  trafficClass: number;
  bytes: Uint8Array;
}

/** When a datagram arrives: microseconds from now, or undefined if it is lost. May change its traffic class. */
export type MemoryPath = (datagram: MemoryDatagram) => number | undefined;

/** What joins the sockets. `createMemoryNetwork` makes one; a simulator may bring its own. */
export interface MemoryNetwork {
  readonly time: VirtualTime;
  /** Claims an address and port for `deliver`, until the returned function is called; undefined if it is taken. */
  bind(at: MemoryAddress, deliver: (datagram: MemoryDatagram) => void): (() => void) | undefined;
  send(datagram: MemoryDatagram): void;
}

/** A network where each datagram takes `path`; at once, by default. Datagrams to nobody vanish. */
export function createMemoryNetwork(time: VirtualTime, path: MemoryPath = () => 0): MemoryNetwork {
  const bound = new Map<string, (datagram: MemoryDatagram) => void>();
  return {
    time,
    bind(at, deliver) {
      const key = keyOf(at);
      if (bound.has(key)) return undefined;
      bound.set(key, deliver);
      return () => bound.delete(key);
    },
    send(datagram) {
      const delay = path(datagram);
      if (delay === undefined) return;
      time.schedule(delay, () => bound.get(keyOf(datagram.destination))?.(datagram));
    },
  };
}

function keyOf(at: MemoryAddress): string {
  return `${at.address} ${at.port}`;
}

/** Offload fields of an injected packet; absent ones are 0. */
export interface Offload {
  flags?: number;
  gsoType?: number;
  gsoSize?: number;
  headerLength?: number;
  csumStart?: number;
}

interface Injected {
  bytes: Uint8Array;
  offload: Offload;
}

/** The in-memory twin of a TUN device. */
export class MemoryTun implements TunDevice {
  readonly name: string;
  readonly features: TunFeatures;
  /** Packets that were written, oldest first; the caller takes them out. Checksums are complete unless `partial`. */
  readonly output: { bytes: Uint8Array; partial: boolean }[] = [];
  /** Called after each packet was put into `output`. */
  onOutput: (() => void) | undefined;
  closed = false;
  #injected: Injected[] = [];
  readonly #readiness: Readiness;

  /** With `vnetHeader` among its features, partial checksums stay partial. */
  constructor(name: string, features: TunFeatures = PLAIN_TUN_FEATURES, later: Later = nextTurn) {
    this.name = name;
    this.features = features;
    this.#readiness = new Readiness(() => this.#injected.length > 0, later);
  }

  /** Hands a packet to the agent, as the kernel would: the bytes are copied. */
  inject(packet: Uint8Array, offload: Offload = {}): void {
    if (this.closed) return;
    this.#injected.push({ bytes: packet.slice(), offload });
    this.#readiness.check();
  }

  read(batch: PacketBatch): number {
    let used = 0;
    let taken = 0;
    batch.count = 0;
    for (const { bytes, offload } of this.#injected) {
      const fits = used + bytes.length <= batch.bytes.length;
      if (batch.count === batch.capacity || (!fits && used > 0)) break;
      taken++;
      if (!fits) continue;
      const i = addPlainPacket(batch, bytes, used);
      for (const [column, value] of Object.entries(offload)) batch[column as keyof Offload][i] = value;
      used += bytes.length;
    }
    this.#injected.splice(0, taken);
    return batch.count;
  }

  write(batch: PacketBatch, order: Int32Array, n: number): number {
    if (this.closed) return 0;
    for (let k = 0; k < n; k++) {
      const i = order[k];
      if (!this.features.vnetHeader) finishChecksum(batch, i);
      const bytes = batch.bytes.slice(batch.offset[i], batch.offset[i] + batch.length[i]);
      this.output.push({ bytes, partial: (batch.flags[i] & PACKET_PARTIAL) !== 0 });
      this.onOutput?.();
    }
    return n;
  }

  onReadable(callback: () => void): void {
    this.#readiness.onReady(callback);
  }

  pause(): void {
    this.#readiness.pause();
  }

  resume(): void {
    this.#readiness.resume();
  }

  close(): void {
    this.closed = true;
    this.#injected = [];
    this.#readiness.close();
  }
}

/** A host's place in a network. */
export interface MemoryHost {
  network: MemoryNetwork;
  /** Its own addresses; a socket bound to "::" has them all, one bound to "0.0.0.0" the IPv4 ones. */
  addresses: string[];
  /** Features of its TUN devices; none by default. */
  tunFeatures?: TunFeatures;
}

export interface MemoryIo extends Io {
  createTun(options: TunOptions): MemoryTun;
  createUdp(options: UdpOptions): UdpSocket;
  /** Devices that are open, by name. */
  readonly tuns: ReadonlyMap<string, MemoryTun>;
  /** Packets that raw senders sent, checksums complete. */
  readonly resent: Uint8Array[];
  /** What `notify` was given; it answers true. */
  readonly notified: readonly string[];
}

class MemoryRaw implements RawSender {
  constructor(private readonly sent: Uint8Array[]) {}

  send(batch: PacketBatch, order: Int32Array, n: number): number {
    for (let k = 0; k < n; k++) {
      const i = order[k];
      finishChecksum(batch, i);
      this.sent.push(batch.bytes.slice(batch.offset[i], batch.offset[i] + batch.length[i]));
      batch.status[i] = RAW_SENT;
    }
    return n;
  }

  close(): void {
    // Nothing is open.
  }
}

/** Ports of one simulated host. Time is the network's. */
export function createMemoryIo(host: MemoryHost): MemoryIo {
  return new HostIo(host);
}

class HostIo extends PureIo implements MemoryIo {
  readonly tuns = new Map<string, MemoryTun>();
  readonly resent: Uint8Array[] = [];
  readonly notified: string[] = [];
  readonly cpu = { aes: true };
  readonly #later: Later;

  constructor(private readonly host: MemoryHost) {
    super();
    this.#later = (callback) => void host.network.time.schedule(0, callback);
  }

  createTun(options: TunOptions): MemoryTun {
    checkName(options.name);
    if (this.tuns.get(options.name)?.closed === false)
      throw new IoError(`an interface named ${options.name} exists already`, 'EBUSY', 'createTun');
    const tun = new MemoryTun(options.name, this.host.tunFeatures, this.#later);
    this.tuns.set(options.name, tun);
    return tun;
  }

  createUdp(options: UdpOptions): UdpSocket {
    return new MemoryUdp(this.host, options, this.#later);
  }

  createRaw(): RawSender {
    return new MemoryRaw(this.resent);
  }

  createTimer(callback: () => void): MicroTimer {
    return createVirtualTimer(this.host.network.time, callback);
  }

  now(): number {
    return this.host.network.time.now();
  }

  setSlice(): boolean {
    return false;
  }

  trim(): boolean {
    return false;
  }

  notify(state: string): boolean {
    this.notified.push(state);
    return true;
  }
}

function createVirtualTimer(time: VirtualTime, callback: () => void): MicroTimer {
  let cancel: (() => void) | undefined;
  let closed = false;
  const disarm = (): void => {
    cancel?.();
    cancel = undefined;
  };
  return {
    arm(delayMicros) {
      disarm();
      if (!closed) cancel = time.schedule(Math.max(0, delayMicros), callback);
    },
    disarm,
    close() {
      closed = true;
      disarm();
    },
  };
}

export class MemoryUdp implements UdpSocket {
  readonly port: number;
  readonly features: UdpFeatures = {
    gso: false,
    gro: false,
    pktinfo: true,
    receiveBuffer: QUEUE_BYTES,
    sendBuffer: QUEUE_BYTES,
  };
  readonly endpoints: Uint32Array;
  readonly sendErrors = { count: 0, lastCode: '' };
  readonly #queue = new DatagramQueue(QUEUE_BYTES);
  readonly #readiness: Readiness;
  readonly #addresses: Uint8Array[];
  /** A test may add what a network would tell. */
  readonly troubles = new Troubles();
  #unbind: (() => void)[] = [];
  #closed = false;

  constructor(
    private readonly host: MemoryHost,
    options: UdpOptions,
    private readonly later: Later,
  ) {
    this.#addresses = listenedTo(host, options.host);
    this.#readiness = new Readiness(() => !this.#queue.empty, later);
    this.endpoints = new Uint32Array(ENDPOINT_WORDS * options.slots);
    this.port = this.#bind(options.port);
  }

  #bind(port: number): number {
    for (let candidate = port || EPHEMERAL_PORT; candidate <= (port || 0xffff); candidate++) {
      const claims = this.#addresses.map((address) => this.#claim(address, candidate));
      this.#unbind = claims.filter((claim) => claim !== undefined);
      if (this.#unbind.length === claims.length) return candidate;
      this.#release();
    }
    throw new IoError(`UDP port ${port} is in use`, 'EADDRINUSE', 'bind');
  }

  #claim(local: Uint8Array, port: number): (() => void) | undefined {
    return this.host.network.bind({ address: formatAddress(local), port }, (datagram) => {
      this.#receive(datagram, local);
    });
  }

  #receive(datagram: MemoryDatagram, local: Uint8Array): void {
    const remote = parseAddress(datagram.source.address);
    if (!remote || this.#closed) return;
    const endpoint = new Uint32Array(ENDPOINT_WORDS);
    writeEndpoint(endpoint, 0, { remote, port: datagram.source.port, local, interfaceIndex: 1 });
    this.#queue.push({ bytes: datagram.bytes, endpoint, trafficClass: datagram.trafficClass });
    this.#readiness.check();
  }

  read(batch: PacketBatch, messages?: number): number {
    return this.#queue.read(batch, messages);
  }

  send(batch: PacketBatch, order: Int32Array, n: number): number {
    if (!this.#closed) for (let k = 0; k < n; k++) this.#sendOne(batch, order[k]);
    return n;
  }

  #sendOne(batch: PacketBatch, i: number): void {
    const { remote, port, local } = readEndpoint(this.endpoints, batch.endpoint[i]);
    const source = this.#sourceFor(remote, local);
    if (!source) {
      this.sendErrors.count++;
      this.sendErrors.lastCode = 'ENETUNREACH';
      this.troubles.note(this.endpoints, batch.endpoint[i], 'ENETUNREACH');
      return;
    }
    this.host.network.send({
      source: { address: formatAddress(source), port: this.port },
      destination: { address: formatAddress(remote), port },
      trafficClass: batch.trafficClass[i],
      bytes: batch.bytes.slice(batch.offset[i], batch.offset[i] + batch.length[i]),
    });
  }

  takeTroubles(into: Uint32Array): number {
    return this.troubles.take(into);
  }

  sourceFor(slot: number, address: Uint32Array): boolean {
    const { remote, local } = readEndpoint(this.endpoints, slot);
    const source = this.#sourceFor(remote, local);
    if (source) new Uint8Array(address.buffer, address.byteOffset, ADDRESS_BYTES).set(source);
    return source !== undefined;
  }

  /** The wanted local address if it is this socket's, else its first of the destination's family. */
  #sourceFor(remote: Uint8Array, local: Uint8Array): Uint8Array | undefined {
    const wanted = this.#addresses.find((address) => address.every((byte, k) => byte === local[k]));
    if (wanted || local.some((byte) => byte !== 0)) return wanted;
    return this.#addresses.find((address) => isMappedIpv4(address) === isMappedIpv4(remote));
  }

  keepWhole(): boolean {
    return true;
  }

  onReadable(callback: () => void): void {
    this.#readiness.onReady(callback);
  }

  pause(): void {
    this.#readiness.pause();
  }

  resume(): void {
    this.#readiness.resume();
  }

  /** `send` never falls short here. */
  onWritable(callback: () => void): void {
    this.later(() => {
      if (!this.#closed) callback();
    });
  }

  close(): void {
    this.#closed = true;
    this.#readiness.close();
    this.#queue.clear();
    this.#release();
  }

  #release(): void {
    for (const unbind of this.#unbind) unbind();
    this.#unbind = [];
  }
}

function listenedTo(host: MemoryHost, text: string): Uint8Array[] {
  const wanted = parseAddress(text);
  const own = host.addresses.map((address) => parseAddress(address) ?? new Uint8Array(ADDRESS_BYTES));
  if (!wanted) throw new IoError(`"${text}" is no IPv4 or IPv6 address`, 'EINVAL', 'bind');
  if (isUnspecified(wanted)) return isMappedIpv4(wanted) ? own.filter(isMappedIpv4) : own;
  const found = own.filter((address) => address.every((byte, k) => byte === wanted[k]));
  if (found.length === 0) throw new IoError(`${text} is no address of this host`, 'EADDRNOTAVAIL', 'bind');
  return found;
}
