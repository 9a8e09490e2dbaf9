/** Datagrams that arrived and wait for `read()`: bounded, newest dropped first. */
import { ENDPOINT_WORDS, type PacketBatch } from '../batch.js';

export interface QueuedDatagram {
  bytes: Uint8Array;
  /** One endpoint record. */
  endpoint: Uint32Array;
  trafficClass: number;
}

export class DatagramQueue {
  #datagrams: QueuedDatagram[] = [];
  #head = 0;
  #bytes = 0;
  /** Datagrams refused because the queue was full, or larger than the batch they were to be read into. */
  dropped = 0;

  constructor(private readonly maxBytes: number) {}

  get empty(): boolean {
    return this.#head === this.#datagrams.length;
  }

  push(datagram: QueuedDatagram): void {
    if (this.#bytes + datagram.bytes.length > this.maxBytes) {
      this.dropped++;
      return;
    }
    this.#bytes += datagram.bytes.length;
    this.#datagrams.push(datagram);
  }

  /** Moves datagrams into the batch, as `UdpSocket.read` says. Runs of one sender share an endpoint record. */
  read(batch: PacketBatch, most = Infinity): number {
    const messages = Math.min(most, batch.endpoints.length / ENDPOINT_WORDS);
    let message = -1;
    let used = 0;
    batch.count = 0;
    for (let next = this.#peek(); next && batch.count < batch.capacity; next = this.#peek()) {
      if (next.bytes.length > batch.bytes.length) {
        this.#shift(next);
        this.dropped++;
        continue;
      }
      const known = message >= 0 && sameEndpoint(batch.endpoints, message, next.endpoint);
      if (used + next.bytes.length > batch.bytes.length || (!known && message + 1 >= messages)) break;
      if (!known) batch.endpoints.set(next.endpoint, ++message * ENDPOINT_WORDS);
      describe(batch, next, used, message);
      used += next.bytes.length;
      this.#shift(next);
    }
    return batch.count;
  }

  clear(): void {
    this.#datagrams = [];
    this.#head = 0;
    this.#bytes = 0;
  }

  #peek(): QueuedDatagram | undefined {
    return this.#datagrams[this.#head];
  }

  #shift(datagram: QueuedDatagram): void {
    this.#head++;
    const bytes = this.#bytes - datagram.bytes.length;
    if (this.empty) this.clear();
    else if (this.#head > 1024 && this.#head * 2 > this.#datagrams.length) {
      this.#datagrams.splice(0, this.#head);
      this.#head = 0;
    }
    this.#bytes = bytes;
  }
}

function describe(batch: PacketBatch, datagram: QueuedDatagram, used: number, message: number): void {
  const i = batch.count++;
  batch.bytes.set(datagram.bytes, used);
  batch.offset[i] = used;
  batch.length[i] = datagram.bytes.length;
  batch.source[i] = message;
  batch.flags[i] = 0;
  batch.trafficClass[i] = datagram.trafficClass;
}

function sameEndpoint(endpoints: Uint32Array, message: number, endpoint: Uint32Array): boolean {
  const at = message * ENDPOINT_WORDS;
  return endpoint.every((word, k) => endpoints[at + k] === word);
}
