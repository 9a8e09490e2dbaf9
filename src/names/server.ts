/**
 * The sockets of the name server, at this node's overlay addresses: UDP, and TCP for those who got a truncated answer
 * (RFC 7766). Only the overlay's hosts and this one are answered: an address on a device is reachable from every device of a Linux host,
 * so that a neighbour on the local network could ask too.
 */
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createServer, isIPv4, type Server, type Socket } from 'node:net';
import { prefixContains, parseAddress, type OverlayPrefix } from '../crypto/identity/address.js';
import { TokenBucket } from '../rate-limit/token-bucket.js';
import { answerQuery, type Answered } from './answer.js';
import type { Zone } from './zone.js';

/** Queries a second that are answered, and at once; a host's own resolver caches. */
const RATE = { burst: 2000, intervalMicros: 1000 };
const MAX_CONNECTIONS = 32;
const CONNECTION_IDLE_MS = 5000;
const LENGTH_PREFIX = 2;

export interface NameServerOptions {
  readonly addresses: readonly string[];
  readonly port: number;
  /** Whose questions are answered. */
  readonly overlay: readonly OverlayPrefix[];
  readonly zone: () => Zone;
  /** µs. */
  readonly now: () => number;
  readonly onError: (error: Error) => void;
}

export type NameCounters = Record<Answered['outcome'] | 'foreign' | 'rate', number>;

export class NameServer {
  readonly counters: NameCounters = {
    answered: 0,
    unknown: 0,
    refused: 0,
    malformed: 0,
    foreign: 0,
    rate: 0,
  };
  private readonly udp: UdpSocket[] = [];
  private readonly tcp: Server[] = [];
  private readonly connections = new Set<Socket>();
  private readonly rate: TokenBucket;

  constructor(private readonly options: NameServerOptions) {
    this.rate = new TokenBucket(RATE.burst, RATE.intervalMicros, options.now());
  }

  /** Rejects with the error of the first address that can't be had; nothing stays open then. */
  async listen(): Promise<void> {
    try {
      for (const address of this.options.addresses) {
        await this.listenUdp(address);
        await this.listenTcp(address);
      }
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    for (const connection of this.connections) connection.destroy();
    await Promise.all([
      ...this.udp.splice(0).map((socket) => new Promise<void>((done) => socket.close(() => done()))),
      ...this.tcp.splice(0).map((server) => new Promise<void>((done) => server.close(() => done()))),
    ]);
  }

  private async listenUdp(address: string): Promise<void> {
    const socket = createSocket(isIPv4(address) ? 'udp4' : 'udp6');
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind({ address, port: this.options.port, exclusive: true }, () => {
        socket.off('error', reject);
        socket.on('error', this.options.onError);
        resolve();
      });
    });
    socket.on('message', (bytes, from) => {
      const answer = this.answer(bytes, from.address, 'udp');
      if (answer !== undefined) socket.send(answer, from.port, from.address, () => undefined); // who left hears nothing
    });
    this.udp.push(socket);
  }

  private async listenTcp(address: string): Promise<void> {
    const server = createServer((connection) => this.serve(connection));
    server.maxConnections = MAX_CONNECTIONS;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: address, port: this.options.port, exclusive: true }, () => {
        server.off('error', reject);
        server.on('error', this.options.onError);
        resolve();
      });
    });
    this.tcp.push(server);
  }

  /** Queries one behind the other, each with its length in front. */
  private serve(connection: Socket): void {
    this.connections.add(connection);
    connection.on('close', () => this.connections.delete(connection)).on('error', () => connection.destroy());
    connection.setTimeout(CONNECTION_IDLE_MS, () => connection.destroy());
    let pending: Buffer = Buffer.alloc(0);
    connection.on('data', (chunk) => {
      pending = Buffer.concat([pending, chunk]);
      while (pending.length >= LENGTH_PREFIX) {
        const end = LENGTH_PREFIX + pending.readUInt16BE(0);
        if (pending.length < end) return;
        const answer = this.answer(
          pending.subarray(LENGTH_PREFIX, end),
          connection.remoteAddress ?? '',
          'tcp',
        );
        if (answer === undefined) return void connection.destroy();
        const length = Buffer.alloc(LENGTH_PREFIX);
        length.writeUInt16BE(answer.length);
        connection.write(Buffer.concat([length, answer]));
        pending = pending.subarray(end);
      }
    });
  }

  private answer(bytes: Uint8Array, from: string, transport: 'udp' | 'tcp'): Uint8Array | undefined {
    if (!this.isOurs(from)) {
      this.counters.foreign++;
      return undefined;
    }
    if (!this.rate.take(this.options.now())) {
      this.counters.rate++;
      return undefined;
    }
    const { bytes: answer, outcome } = answerQuery(this.options.zone(), bytes, transport);
    this.counters[outcome]++;
    return answer;
  }

  private isOurs(from: string): boolean {
    const address = parseAddress(from);
    return address !== undefined && this.options.overlay.some((prefix) => prefixContains(prefix, address));
  }
}
