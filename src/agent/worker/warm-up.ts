/**
 * Has V8 compile the packets' way before the first real packet comes. Code that has run a few times only is interpreted, which costs a lone
 * ping some 0.2 ms (`bench/datapath.mjs`, idle ping); an agent that idles would never leave that state. Two forwarding workers are made
 * over devices and sockets that lead nowhere but to each other, and exchange packets for a moment. Nothing of it reaches kernel or network.
 *
 * Devices and sockets are of more classes than V8 specialises for. Code compiled for one class of device would be thrown away at the first
 * packet of the real one.
 */
import { randomBytes } from 'node:crypto';
import { ENDPOINT_WORDS, type PacketBatch } from '../../io/batch.js';
import type { Io, TunDevice, UdpSocket } from '../../io/ports.js';
import { METRICS } from '../../overlay/route/metric.js';
import { PrefixTable } from '../../overlay/route/prefix-table.js';
import { encodeTables } from '../../overlay/route/tables.js';
import { LANES } from '../../overlay/wire/lanes.js';
import type { SessionGrant } from '../messages.js';
import { ForwardingWorker } from './forwarding-worker.js';
import { LIMITS_SMALL } from './sizes.js';

/** Pairs of workers, each worker with classes of its own: V8 specialises a call for four classes at most. */
const PAIRS = 3;
/** Packets each way and pair; V8's optimising compiler takes the innermost functions after some hundreds of calls, the outer after thousands. */
const PACKETS = 1500;
/** Per turn of the event loop, so that real packets wait for a millisecond at most. */
const SLICE = 10;
/** ms between turns: the machine is others' as well. */
const PAUSE = 1;
/** ms that an agent's start has to itself: its first links are worth more than their first packets' speed (`bench/first-ping.mjs`). */
const AFTER = 1000;
/** AEAD slots of a throw-away worker. */
const SLOTS = 32;
const MTU = 1380;

class LoopTun implements TunDevice {
  readonly name = 'warm-up';
  readonly features = { vnetHeader: true, tso: true, uso: true };
  private readable: () => void = () => undefined;
  /** Whether the packet is there to be read. */
  private waits = false;

  constructor(private readonly packet: Uint8Array) {}

  /** Has the worker read one packet. */
  poke(): void {
    this.waits = true;
    this.readable();
  }

  read(batch: PacketBatch): number {
    if (!this.waits) return (batch.count = 0);
    this.waits = false;
    batch.bytes.set(this.packet);
    batch.offset[0] = 0;
    batch.length[0] = this.packet.length;
    batch.flags[0] = 0;
    batch.gsoType[0] = 0;
    return (batch.count = 1);
  }

  write(_batch: PacketBatch, _order: Int32Array, n: number): number {
    return n;
  }

  onReadable(callback: () => void): void {
    this.readable = callback;
  }

  pause(): void {
    // Never full.
  }

  resume(): void {
    // Never paused.
  }

  close(): void {
    this.readable = () => undefined;
  }
}

class LoopUdp implements UdpSocket {
  readonly port = 0;
  readonly features = { gso: true, gro: true, pktinfo: true, receiveBuffer: 0, sendBuffer: 0 };
  readonly endpoints = new Uint32Array(ENDPOINT_WORDS * SLOTS);
  readonly sendErrors = { count: 0, lastCode: '' };
  peer: LoopUdp | undefined;
  private readonly inbox: Uint8Array[] = [];
  private readable: () => void = () => undefined;

  /** Has the worker receive what lies here; whether there was anything. */
  poke(): boolean {
    if (this.inbox.length === 0) return false;
    this.readable();
    return true;
  }

  read(batch: PacketBatch): number {
    let at = 0;
    let count = 0;
    for (const bytes of this.inbox.splice(0)) {
      batch.bytes.set(bytes, at);
      batch.offset[count] = at;
      batch.length[count] = bytes.length;
      batch.source[count] = 0;
      batch.trafficClass[count] = 0;
      at += bytes.length;
      count++;
    }
    return (batch.count = count);
  }

  send(batch: PacketBatch, order: Int32Array, n: number): number {
    for (let k = 0; k < n; k++) {
      const at = batch.offset[order[k]];
      this.peer?.inbox.push(batch.bytes.slice(at, at + batch.length[order[k]]));
    }
    return n;
  }

  takeTroubles(): number {
    return 0;
  }

  sourceFor(): boolean {
    return true;
  }

  keepWhole(): boolean {
    return false;
  }

  onReadable(callback: () => void): void {
    this.readable = callback;
  }

  pause(): void {
    // Never flooded.
  }

  resume(): void {
    // Never paused.
  }

  onWritable(): void {
    // Never full.
  }

  close(): void {
    this.readable = () => undefined;
  }
}

interface Side {
  worker: ForwardingWorker;
  tun: LoopTun;
  udp: LoopUdp;
}

/**
 * Begins after AFTER, and ends when the workers have exchanged PACKETS each way, or found that they can't, or at once when what it returns
 * is called.
 */
export function warmUp(io: Io): () => void {
  let pairs: [Side, Side][] = [];
  let left = PACKETS;
  const stop = (): void => {
    clearTimeout(next);
    for (const { worker } of pairs.splice(0).flat()) worker.receive({ type: 'stop' });
  };
  const slice = (): void => {
    for (let k = 0; k < SLICE; k++, left--) for (const pair of pairs) exchange(pair);
    if (left > 0) next = setTimeout(slice, PAUSE);
    else stop();
  };
  let next = setTimeout(() => {
    pairs = Array.from({ length: PAIRS }, () => makePair(io));
    slice();
  }, AFTER);
  return stop;
}

function makePair(io: Io): [Side, Side] {
  const sides = [makeSide(io, 1), makeSide(io, 2)] as [Side, Side];
  sides[0].udp.peer = sides[1].udp;
  sides[1].udp.peer = sides[0].udp;
  grants().forEach((grant, i) => {
    sides[i].worker.receive({ type: 'session', grant });
    sides[i].worker.receive({ type: 'tables', buffers: tables(i) });
  });
  return sides;
}

/** A packet each way, and all that follows from it. */
function exchange(sides: readonly Side[]): void {
  for (const { tun } of sides) tun.poke();
  while (sides.some(({ udp }) => udp.poke())) {
    // Hellos answer hellos until both links are up; then there is only data.
  }
}

function makeSide(io: Io, self: number): Side {
  const tun = new (class extends LoopTun {})(echo(self));
  const udp = new (class extends LoopUdp {})();
  const random = () => randomBytes(4).readUInt32LE();
  const ports = { io, tun, udp, aead: io.createAead(SLOTS), post: () => undefined, random };
  const options = {
    self,
    epoch: 1,
    tun: { name: tun.name, mtu: MTU },
    listen: { host: '::', port: 0 },
    mark: 0,
    plain: false,
  };
  const worker = new ForwardingWorker(ports, options, LIMITS_SMALL);
  worker.start();
  return { worker, tun, udp };
}

/** Address of a side: TEST-NET-1 (RFC 5737). */
const address = (node: number) => Uint8Array.of(192, 0, 2, node);

/** An ICMP echo request of 84 bytes from a side to the other. */
function echo(self: number): Uint8Array {
  const packet = new Uint8Array(84);
  packet.set([0x45, 0, 0, 84, 0, 0, 0, 0, 64, 1]);
  packet.set(address(self), 12);
  packet.set(address(3 - self), 16);
  packet[20] = 8;
  return packet;
}

/** The session that each side would have of a handshake; `grants()[i]` is for node i + 1. */
function grants(): SessionGrant[] {
  const lanes = [0, 1].map((base) =>
    Array.from({ length: LANES }, (_, lane) => ({ index: 16 * (base + 1) + lane, key: randomBytes(32) })),
  );
  const copy = (of: (typeof lanes)[number]) =>
    of.map(({ index, key }) => ({ index, key: Uint8Array.from(key) }));
  return [0, 1].map((i) => ({
    peer: 2 - i,
    name: `warm-up-${2 - i}`,
    index: lanes[i][0].index,
    endpoint: { host: '192.0.2.1', port: 1 },
    incarnation: '',
    initiator: i === 0,
    cipher: 'aes-256-gcm' as const,
    receive: copy(lanes[i]),
    send: copy(lanes[1 - i]),
  }));
}

/** Forwarding tables of side `i`: two nodes, one hop. */
function tables(i: number): ArrayBuffer[] {
  const nodes = [1, 2].map((nodeId) => ({
    certificate: {
      name: `warm-up-${nodeId}`,
      nodeId,
      publicKey: new Uint8Array(32),
      addresses: [{ bytes: address(nodeId) }],
      routes: [],
      notBefore: 0,
      notAfter: 0,
    },
    ways: METRICS.map(() => ({
      ...{ nextHop: nodeId, cost: 1, hops: 1, rtt: 1, loss: 0, price: 0 },
      ...{ second: undefined, isLoopFree: false },
    })),
  }));
  const prefixes = nodes.map((node, owner) => ({
    bytes: address(node.certificate.nodeId),
    length: 32,
    owner,
  }));
  return encodeTables(nodes, i, PrefixTable.build(prefixes)).buffers;
}
