/**
 * A UDP socket over node:dgram: a system call and a copy per datagram, no segmentation offload. The traffic class is neither
 * sent nor received, and a socket bound to all addresses doesn't know which one a datagram came to.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { ENDPOINT_WORDS, type PacketBatch } from '../batch.js';
import { IoError, type UdpFeatures, type UdpOptions, type UdpSocket } from '../ports.js';
import {
  ADDRESS_BYTES,
  formatAddress,
  isLinkLocal,
  isMappedIpv4,
  isUnspecified,
  parseAddress,
  readEndpoint,
  writeEndpoint,
  type Endpoint,
} from '../address.js';
import { descriptorsOf } from './descriptors.js';
import { markSocket } from './perl.js';
import { DatagramQueue } from './queue.js';
import { Readiness } from './readiness.js';
import { Troubles } from './troubles.js';

const RECEIVE_QUEUE_BYTES = 8 << 20;
/** Datagrams that node:dgram may hold when the kernel's buffer is full. */
const MAX_PENDING = 1024;

/** Binds a socket. Rejects with IoError: EADDRINUSE, EADDRNOTAVAIL, EACCES, EINVAL, EPERM (mark). */
export async function createPlainUdp(options: UdpOptions): Promise<UdpSocket> {
  const host = parseAddress(options.host);
  if (!host) throw new IoError(`"${options.host}" is no IPv4 or IPv6 address`, 'EINVAL', 'bind');
  const socket = await bindSocket(options, host);
  try {
    if (options.mark !== 0)
      for (const fd of descriptorsOf(socket.address().port)) markSocket(fd, options.mark);
  } catch (error) {
    socket.close();
    throw error;
  }
  return new PlainUdp(socket, options, isUnspecified(host) ? new Uint8Array(ADDRESS_BYTES) : host);
}

/** Where the host has no IPv6, "::" means IPv4 alone. */
async function bindSocket(options: UdpOptions, host: Uint8Array): Promise<Socket> {
  if (!isIPv6(options.host)) return bindOne(options, 'udp4', options.host);
  try {
    return await bindOne(options, 'udp6', options.host);
  } catch (error) {
    if (!isUnspecified(host) || !(error instanceof IoError) || error.code !== 'EAFNOSUPPORT') throw error;
    return bindOne(options, 'udp4', '0.0.0.0');
  }
}

function bindOne(options: UdpOptions, type: 'udp4' | 'udp6', address: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createSocket({
      type,
      // Addresses are never names here; answering at once keeps each send within its call.
      lookup: (name, _options, callback) => {
        callback(null, name, type === 'udp6' ? 6 : 4);
      },
      ...(options.receiveBuffer === undefined ? {} : { recvBufferSize: options.receiveBuffer }),
      ...(options.sendBuffer === undefined ? {} : { sendBufferSize: options.sendBuffer }),
    });
    socket.once('error', (cause: NodeJS.ErrnoException) => {
      const { code = 'UNKNOWN', syscall = 'bind' } = cause;
      reject(
        new IoError(`UDP ${options.host} port ${options.port} cannot be bound: ${code}`, code, syscall, {
          cause,
        }),
      );
    });
    socket.bind({ address, port: options.port, exclusive: true }, () => {
      socket.removeAllListeners('error');
      resolve(socket);
    });
  });
}

class PlainUdp implements UdpSocket {
  readonly port: number;
  readonly features: UdpFeatures;
  readonly endpoints: Uint32Array;
  readonly sendErrors = { count: 0, lastCode: '' };
  readonly #queue = new DatagramQueue(RECEIVE_QUEUE_BYTES);
  readonly #readiness = new Readiness(() => !this.#queue.empty);
  readonly #troubles = new Troubles();
  readonly #mapped: boolean;
  #pending = 0;
  #writable: (() => void) | undefined;
  #closed = false;

  constructor(
    private readonly socket: Socket,
    options: UdpOptions,
    private readonly local: Uint8Array,
  ) {
    const { port, family } = socket.address();
    this.port = port;
    this.#mapped = family === 'IPv6';
    this.endpoints = new Uint32Array(ENDPOINT_WORDS * options.slots);
    this.features = {
      gso: false,
      gro: false,
      pktinfo: false,
      receiveBuffer: socket.getRecvBufferSize(),
      sendBuffer: socket.getSendBufferSize(),
    };
    socket.on('message', (bytes, info) => {
      this.#receive(bytes, info);
    });
    socket.on('error', (error) => {
      this.#countError(error);
    });
  }

  #receive(bytes: Uint8Array, info: RemoteInfo): void {
    const endpoint = new Uint32Array(ENDPOINT_WORDS);
    const sender = senderOf(info, this.local);
    if (!sender) return;
    writeEndpoint(endpoint, 0, sender);
    this.#queue.push({ bytes, endpoint, trafficClass: 0 });
    this.#readiness.check();
  }

  read(batch: PacketBatch, messages?: number): number {
    return this.#queue.read(batch, messages);
  }

  send(batch: PacketBatch, order: Int32Array, n: number): number {
    if (this.#closed) return n;
    for (let k = 0; k < n; k++) {
      if (this.#pending >= MAX_PENDING) return k;
      this.#sendOne(batch, order[k]);
    }
    return n;
  }

  #sendOne(batch: PacketBatch, i: number): void {
    const { remote, port, interfaceIndex } = readEndpoint(this.endpoints, batch.endpoint[i]);
    // dgram may send later than this call, when the batch holds other packets.
    const bytes = Buffer.from(batch.bytes.subarray(batch.offset[i], batch.offset[i] + batch.length[i]));
    const slot = batch.endpoint[i];
    this.#pending++;
    try {
      this.socket.send(bytes, port, destinationText(remote, interfaceIndex, this.#mapped), (error) => {
        this.#sent(error, slot);
      });
    } catch (error) {
      this.#sent(error as Error, slot);
    }
  }

  #sent(error: NodeJS.ErrnoException | null, slot: number): void {
    this.#pending--;
    if (error) this.#countError(error);
    if (error) this.#troubles.note(this.endpoints, slot, error.code ?? '');
    if (this.#pending > MAX_PENDING / 2 || !this.#writable || this.#closed) return;
    const writable = this.#writable;
    this.#writable = undefined;
    writable();
  }

  #countError(error: NodeJS.ErrnoException): void {
    this.sendErrors.count++;
    this.sendErrors.lastCode = error.code ?? 'UNKNOWN';
  }

  takeTroubles(into: Uint32Array): number {
    return this.#troubles.take(into);
  }

  /** Never known here: node:dgram can't look for a way without taking it. */
  sourceFor(_slot: number, address: Uint32Array): boolean {
    address.fill(0, 0, 4);
    return true;
  }

  keepWhole(): boolean {
    return false;
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

  onWritable(callback: () => void): void {
    if (this.#closed) return;
    this.#writable = callback;
    if (this.#pending <= MAX_PENDING / 2)
      setImmediate(() => {
        if (this.#writable === callback && !this.#closed) {
          this.#writable = undefined;
          callback();
        }
      });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#readiness.close();
    this.#queue.clear();
    this.socket.close();
  }
}

function senderOf(info: RemoteInfo, local: Uint8Array): Endpoint | undefined {
  const [address = '', zone] = info.address.split('%');
  const remote = parseAddress(address);
  return (
    remote && {
      remote,
      port: info.port,
      local,
      interfaceIndex: zone === undefined ? 0 : interfaceIndexOf(zone),
    }
  );
}

function destinationText(remote: Uint8Array, interfaceIndex: number, mapped: boolean): string {
  if (isMappedIpv4(remote)) return mapped ? `::ffff:${formatAddress(remote)}` : formatAddress(remote);
  const zone = isLinkLocal(remote) && interfaceIndex !== 0 ? interfaceNameOf(interfaceIndex) : undefined;
  return zone === undefined ? formatAddress(remote) : `${formatAddress(remote)}%${zone}`;
}

/** Link-local peers alone need these two; a link-local IPv6 address carries its interface's index as its scope. */
function interfaceIndexOf(name: string): number {
  return (
    networkInterfaces()[name]?.find((entry) => entry.family === 'IPv6' && entry.scopeid !== 0)?.scopeid ?? 0
  );
}

function interfaceNameOf(index: number): string | undefined {
  const found = Object.entries(networkInterfaces()).find(([, entries]) =>
    entries?.some((entry) => entry.scopeid === index),
  );
  return found?.[0];
}
