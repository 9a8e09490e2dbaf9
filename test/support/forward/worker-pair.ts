/**
 * Two forwarding workers without their agents: the test plays both main threads. It hands out matching sessions and tables, and reads
 * what the workers post.
 *
 *      tun ─ worker A (node 1, 192.0.2.1) ──── worker B (node 2, 192.0.2.2, also 198.51.100.2) ─ tun
 */
import { LANES } from '../../../src/overlay/wire/lanes.js';
import {
  createMemoryIo,
  createMemoryNetwork,
  type MemoryDatagram,
  type MemoryTun,
  type MemoryUdp,
} from '../../../src/io/plain/index.js';
import type { FromWorker, SessionGrant, ToWorker, WorkerReport } from '../../../src/agent/messages.js';
import { ForwardingWorker } from '../../../src/agent/worker/forwarding-worker.js';
import { KEY_SLOTS, LIMITS, MAX_NEIGHBOURS } from '../../../src/agent/worker/sizes.js';
import { NOBODY, type OwnedPrefix, PrefixTable } from '../../../src/overlay/route/prefix-table.js';
import { encodeTables } from '../../../src/overlay/route/tables.js';
import { readReceiverIndex, RECORD_FIRST_BYTE } from '../../../src/overlay/wire/record.js';
import { prefixOf } from '../sim/identities.js';
import { Random } from '../sim/random.js';
import { TestTime } from '../../unit/io/virtual-time.js';
import { sameWays } from '../ways.js';

export type Side = 'a' | 'b';
const NODE = { a: 1, b: 2 } as const;
const ADDRESS = { a: '192.0.2.1', b: '192.0.2.2' } as const;
export const OTHER_ADDRESS_OF_B = '198.51.100.2';
const other = (side: Side): Side => (side === 'a' ? 'b' : 'a');

export interface PlayedWorker {
  readonly worker: ForwardingWorker;
  readonly tun: MemoryTun;
  readonly udp: MemoryUdp;
  /** What it posted, oldest first. */
  readonly posted: FromWorker[];
}

export class WorkerPair {
  readonly time = new TestTime();
  /** Every datagram that was sent. */
  readonly sent: MemoryDatagram[] = [];
  /** False swallows a datagram. */
  passes: (datagram: MemoryDatagram) => boolean = () => true;
  /** µs that a datagram takes. */
  delay: (datagram: MemoryDatagram) => number = () => 1000;
  readonly network = createMemoryNetwork(this.time, (datagram) => {
    this.sent.push(datagram);
    return this.passes(datagram) ? this.delay(datagram) : undefined;
  });
  readonly a: PlayedWorker;
  readonly b: PlayedWorker;

  constructor(private readonly limits = LIMITS) {
    this.a = this.open('a');
    this.b = this.open('b');
  }

  private open(side: Side): PlayedWorker {
    const io = createMemoryIo({
      network: this.network,
      addresses: [ADDRESS[side], ...(side === 'b' ? [OTHER_ADDRESS_OF_B] : [])],
    });
    const udp = io.createUdp({ host: '::', port: 7100, mark: 0, slots: MAX_NEIGHBOURS + 1 }) as MemoryUdp;
    const tun = io.createTun({ name: 'cw0' });
    const chance = new Random(NODE[side]);
    const posted: FromWorker[] = [];
    const worker = new ForwardingWorker(
      {
        io,
        tun,
        udp,
        aead: io.createAead(KEY_SLOTS),
        random: () => chance.u32(),
        post: (message) => posted.push(structuredClone(message)),
      },
      {
        self: NODE[side],
        epoch: 1,
        tun: { name: 'cw0', mtu: 1380 },
        listen: { host: '::', port: 7100 },
        mark: 0,
        plain: true,
      },
      this.limits,
    );
    worker.start();
    return { worker, tun, udp, posted };
  }

  /** As a main thread posts: the worker gets a copy of its own. */
  tell(side: Side, message: ToWorker): void {
    this[side].worker.receive(structuredClone(message));
  }

  /** Both ends' halves of a session. `name` counts from 1; `a` is its initiator. */
  grants(name: number, incarnations: { a?: string; b?: string } = {}): Record<Side, SessionGrant> {
    const key = (fill: number) => new Uint8Array(32).fill(fill);
    const lanes = (to: Side) =>
      Array.from({ length: LANES }, (_, lane) => ({
        index: 100 * name + 10 * NODE[to] + lane,
        key: key((16 * name + LANES * NODE[to] + lane) & 255),
      }));
    const half = (side: Side): SessionGrant => ({
      peer: NODE[other(side)],
      name: other(side),
      index: 100 * name + 10 * NODE[side],
      endpoint: { host: ADDRESS[other(side)], port: 7100 },
      incarnation: incarnations[other(side)] ?? 'first',
      initiator: side === 'a',
      cipher: 'aes-256-gcm',
      receive: lanes(side),
      send: lanes(other(side)),
    });
    return { a: half('a'), b: half('b') };
  }

  /** A session at both ends, and tables by which each reaches the other. */
  join(name = 1, incarnations: { a?: string; b?: string } = {}): void {
    const grants = this.grants(name, incarnations);
    for (const side of ['a', 'b'] as const) {
      this.tell(side, { type: 'session', grant: grants[side] });
      this.tell(side, { type: 'tables', buffers: tablesOf(side) });
    }
  }

  report(side: Side): WorkerReport {
    this.tell(side, { type: 'report', id: 1 });
    const last = this[side].posted.pop();
    if (last?.type !== 'report') throw new Error('no report');
    return last.report;
  }

  /** Takes out what a worker posted, of some types where they are given. */
  take<T extends FromWorker['type']>(side: Side, ...types: T[]): Extract<FromWorker, { type: T }>[] {
    const all = this[side].posted.splice(0);
    return all.filter(({ type }) => types.length === 0 || types.includes(type as T)) as Extract<
      FromWorker,
      { type: T }
    >[];
  }
}

/** The lane of a datagram between two workers of a pair; -1: it is no record. */
export function laneOf({ bytes }: MemoryDatagram): number {
  return bytes[0] === RECORD_FIRST_BYTE
    ? readReceiverIndex(new DataView(bytes.buffer, bytes.byteOffset), 0) % 10
    : -1;
}

/** Whether a worker of a pair sent a datagram. */
export function isFrom(side: Side, { source }: MemoryDatagram): boolean {
  return source.address === ADDRESS[side];
}

/** Nodes 1 and 2 own 10.0.0.1 and 10.0.0.2. */
function tablesOf(side: Side): ArrayBuffer[] {
  const nodes = [1, 2].map((nodeId) => ({
    certificate: {
      name: nodeId === 1 ? 'a' : 'b',
      nodeId,
      publicKey: new Uint8Array(32),
      addresses: [prefixOf(`10.0.0.${nodeId}`)],
      routes: [],
      notBefore: 0,
      notAfter: 9e15,
    },
    ways: sameWays(nodeId, 1000, 1),
  }));
  const owned: OwnedPrefix[] = nodes.map(({ certificate }, owner) => ({
    ...certificate.addresses[0],
    owner,
  }));
  const prefixes = PrefixTable.build([{ ...prefixOf('10.0.0.0/16'), owner: NOBODY }, ...owned]);
  return encodeTables(nodes, NODE[side] - 1, prefixes).buffers;
}
