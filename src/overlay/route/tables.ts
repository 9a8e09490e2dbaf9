/**
 * The forwarding tables, as a finished snapshot: the main thread encodes, transfers the buffers, and the forwarding
 * worker wraps a `ForwardingTables` around them. Nothing is allocated per lookup; a snapshot is never changed.
 *
 * buffers[0] nodes, columns of 32-bit words, `n` each:    words of its head: n, own index, hash slots
 *   node id · next hop by each metric (3) · cost by each, µs (3) · round trip, µs · hops · next hop of the reliable service's alternate · price for bulk of
 *   the best way and of the alternate · first IPv4 · first IPv6 (4) · what there is (1 IPv4, 2 IPv6, 4 exit) · end of name
 *   then `slots` words: node index + 1 by hash of the node id, 0 empty
 * buffers[1] names, UTF-8, one behind the other
 * buffers[2..5] the prefix table
 */
import { readU32 } from './bytes.js';
import { SERVICE_RELIABLE } from '../wire/routed.js';
import type { RouteCertificate } from './identity.js';
import { METRICS, metricOf } from './metric.js';
import { PrefixTable } from './prefix-table.js';
import type { RankedWay, WayColumns } from './ways.js';

export interface TableNode {
  readonly certificate: RouteCertificate;
  /** In the order of METRICS. */
  readonly ways: readonly RankedWay[];
}

export interface TablesSnapshot {
  /** For `ForwardingTables`; all of them may be transferred. */
  readonly buffers: ArrayBuffer[];
}

const HEAD_WORDS = 3;
const NAMED_COLUMNS = [
  'nodeId',
  'nextHop0',
  'nextHop1',
  'nextHop2',
  'cost0',
  'cost1',
  'cost2',
  'rtt',
  'hops',
  'alternate',
  'bulk',
  'alternateBulk',
  'v4',
  'v60',
  'v61',
  'v62',
  'v63',
  'has',
  'nameEnd',
] as const;
const COLUMN = Object.fromEntries(NAMED_COLUMNS.map((name, c) => [name, c])) as Record<
  (typeof NAMED_COLUMNS)[number],
  number
>;
/** Prices are in hundredths of a hop here. */
const PRICE_UNIT = 100;
const HAS_V4 = 1;
const HAS_V6 = 2;
const IS_EXIT = 4;
/** Role of a node that carries others' traffic to the Internet. */
export const ROLE_EXIT = 'exit';
/** Cost of what cannot be reached. */
export const NO_COST = 0xffffffff;

/** `nodes` in ascending order of node id, `own` the index of this node among them, `prefixes` with those indices as owners. */
export function encodeTables(
  nodes: readonly TableNode[],
  own: number,
  prefixes: PrefixTable,
): TablesSnapshot {
  const frame = new TableFrame(
    nodes.map(({ certificate }) => certificate),
    own,
    prefixes,
  );
  return frame.fill(METRICS.map((_, metric) => columnsOf(nodes.map(({ ways }) => ways[metric]))));
}

function columnsOf(ways: readonly RankedWay[]): WayColumns {
  const alternates = ways.map(({ isLoopFree, second }) => (isLoopFree ? second : undefined));
  return {
    nextHop: ways.map(({ nextHop }) => nextHop),
    cost: ways.map(({ cost }) => cost),
    hops: ways.map(({ hops }) => hops),
    rtt: ways.map(({ rtt }) => rtt),
    price: ways.map(({ price }) => price),
    alternate: alternates.map((way) => way?.nextHop ?? 0),
    alternateHops: alternates.map((way) => way?.hops ?? 0),
    alternatePrice: alternates.map((way) => way?.price ?? 0),
  };
}

/** What certificates alone say, to be filled with the ways of each shortest-path run. Arguments as above. */
export class TableFrame {
  private readonly words: Uint32Array<ArrayBuffer>;
  private readonly names: Uint8Array<ArrayBuffer>;

  constructor(
    private readonly certificates: readonly RouteCertificate[],
    own: number,
    private readonly prefixes: PrefixTable,
  ) {
    const n = certificates.length;
    const slots = slotsFor(n);
    this.words = new Uint32Array(HEAD_WORDS + NAMED_COLUMNS.length * n + slots);
    this.words.set([n, own, slots]);
    this.names = this.putNames();
    certificates.forEach((certificate, i) => {
      this.put(this.words, i, COLUMN.nodeId, [certificate.nodeId]);
      this.put(this.words, i, COLUMN.v4, addressWords(certificate));
      insertHash(this.words.subarray(-slots), certificate.nodeId, i);
    });
  }

  /** `tables`: by each metric. */
  fill(tables: readonly WayColumns[]): TablesSnapshot {
    const words = this.words.slice();
    const n = this.certificates.length;
    const column = (at: number): Uint32Array =>
      words.subarray(HEAD_WORDS + at * n, HEAD_WORDS + (at + 1) * n);
    tables.forEach(({ nextHop, cost }, metric) => {
      column(COLUMN.nextHop0 + metric).set(nextHop);
      setMicros(column(COLUMN.cost0 + metric), cost);
    });
    const { nextHop, hops, rtt, price, alternate, alternateHops, alternatePrice } =
      tables[metricOf(SERVICE_RELIABLE)];
    column(COLUMN.hops).set(hops);
    column(COLUMN.alternate).set(alternate);
    const rtts = column(COLUMN.rtt);
    setMicros(rtts, rtt);
    const bulk = column(COLUMN.bulk);
    const alternateBulk = column(COLUMN.alternateBulk);
    for (let i = 0; i < n; i++) {
      if (nextHop[i] === 0) rtts[i] = NO_COST;
      bulk[i] = bulkWord(hops[i], price[i]);
      if (alternate[i] !== 0) alternateBulk[i] = bulkWord(alternateHops[i], alternatePrice[i]);
    }
    return { buffers: [words.buffer, this.names.slice().buffer, ...this.prefixes.buffers()] };
  }

  /** Row `i` of the columns from `column` on. */
  private put(words: Uint32Array, i: number, column: number, row: readonly number[]): void {
    const n = this.certificates.length;
    for (let c = 0; c < row.length; c++) words[HEAD_WORDS + (column + c) * n + i] = row[c];
  }

  /** Enters where each name ends. */
  private putNames(): Uint8Array<ArrayBuffer> {
    const encoder = new TextEncoder();
    const names = this.certificates.map(({ name }) => encoder.encode(name));
    const bytes = new Uint8Array(names.reduce((sum, name) => sum + name.length, 0));
    let end = 0;
    names.forEach((name, i) => {
      bytes.set(name, end);
      end += name.length;
      this.put(this.words, i, COLUMN.nameEnd, [end]);
    });
    return bytes;
  }
}

/** Of the columns from `v4` to `has`. */
function addressWords({ addresses, roles }: RouteCertificate): number[] {
  const v4 = addresses.find(({ bytes }) => bytes.length === 4)?.bytes;
  const v6 = addresses.find(({ bytes }) => bytes.length === 16)?.bytes;
  return [
    v4 ? readU32(v4, 0) : 0,
    ...[0, 4, 8, 12].map((at) => (v6 ? readU32(v6, at) : 0)),
    (v4 ? HAS_V4 : 0) | (v6 ? HAS_V6 : 0) | (roles?.includes(ROLE_EXIT) ? IS_EXIT : 0),
  ];
}

function setMicros(column: Uint32Array, micros: ArrayLike<number>): void {
  for (let i = 0; i < column.length; i++) column[i] = Math.min(Math.round(micros[i]), NO_COST);
}

function bulkWord(hops: number, price: number): number {
  return Math.min(Math.round(PRICE_UNIT * (hops + price)), NO_COST);
}

/** A power of two, at most half full. */
function slotsFor(n: number): number {
  let slots = 2;
  while (slots < 2 * n) slots *= 2;
  return slots;
}

/** Fibonacci hashing; node ids are hashes already, but not every test's. */
function slotOf(nodeId: number, mask: number): number {
  return (Math.imul(nodeId, 0x9e3779b1) >>> 7) & mask;
}

function insertHash(hash: Uint32Array, nodeId: number, index: number): void {
  const mask = hash.length - 1;
  let slot = slotOf(nodeId, mask);
  while (hash[slot] !== 0) slot = (slot + 1) & mask;
  hash[slot] = index + 1;
}

type Columns = Record<(typeof NAMED_COLUMNS)[number], Uint32Array>;

export class ForwardingTables {
  /** Nodes, this one included; indices are 0 .. size-1. */
  readonly size: number;
  /** This node's index. */
  readonly ownIndex: number;
  private readonly columns: Columns;
  private readonly nextHops: readonly Uint32Array[];
  private readonly costs: readonly Uint32Array[];
  private readonly hash: Uint32Array;
  private readonly names: Uint8Array;
  private readonly prefixes: PrefixTable;

  /** `buffers` as `encodeTables` made them. */
  constructor(buffers: readonly ArrayBuffer[]) {
    const words = new Uint32Array(buffers[0]);
    const n = words[0];
    this.size = n;
    this.ownIndex = words[1];
    this.columns = Object.fromEntries(
      NAMED_COLUMNS.map((name, c) => [name, words.subarray(HEAD_WORDS + c * n, HEAD_WORDS + (c + 1) * n)]),
    ) as Columns;
    const { columns } = this;
    this.nextHops = [columns.nextHop0, columns.nextHop1, columns.nextHop2];
    this.costs = [columns.cost0, columns.cost1, columns.cost2];
    this.hash = words.subarray(words.length - words[2]);
    this.names = new Uint8Array(buffers[1]);
    this.prefixes = PrefixTable.from(buffers.slice(2));
  }

  /** Index of a node id, -1 where it is unknown. */
  indexOf(nodeId: number): number {
    const { hash } = this;
    const mask = hash.length - 1;
    for (let slot = slotOf(nodeId, mask); hash[slot] !== 0; slot = (slot + 1) & mask) {
      const index = hash[slot] - 1;
      if (this.columns.nodeId[index] === nodeId) return index;
    }
    return -1;
  }

  /** Node index of an IPv4 address's owner (an unsigned number), NOBODY inside the overlay's prefixes, else NO_OWNER. */
  owner4(address: number): number {
    return this.prefixes.lookup4(address);
  }

  /** As `owner4`, the address as four unsigned words, the most significant first. */
  owner6(w0: number, w1: number, w2: number, w3: number): number {
    return this.prefixes.lookup6(w0, w1, w2, w3);
  }

  nodeId(index: number): number {
    return this.columns.nodeId[index];
  }

  /** Neighbour's node id to send frames of a service to; 0 where the node cannot be reached; the own id for this node. */
  nextHop(index: number, service: number): number {
    return this.nextHops[metricOf(service)][index];
  }

  /** µs, as the service counts; NO_COST where the node cannot be reached. */
  cost(index: number, service: number): number {
    return this.costs[metricOf(service)][index];
  }

  /** Round trip of the reliable service's path, µs, without queues of our own; NO_COST where the node cannot be reached. */
  rtt(index: number): number {
    return this.columns.rtt[index];
  }

  /** Another neighbour that reliable frames may be given, without a loop; 0 where there is none. */
  alternate(index: number): number {
    return this.columns.alternate[index];
  }

  /** What bulk pays for the reliable service's path, but for the first link's queue, in hops. */
  bulk(index: number): number {
    return this.columns.bulk[index] / PRICE_UNIT;
  }

  /** Likewise by the alternate. */
  alternateBulk(index: number): number {
    return this.columns.alternateBulk[index] / PRICE_UNIT;
  }

  /** Of the reliable service's path. */
  hops(index: number): number {
    return this.columns.hops[index];
  }

  hasAddress4(index: number): boolean {
    return (this.columns.has[index] & HAS_V4) !== 0;
  }

  hasAddress6(index: number): boolean {
    return (this.columns.has[index] & HAS_V6) !== 0;
  }

  /** Whether the node's certificate lets it carry others' traffic to the Internet. */
  isExit(index: number): boolean {
    return (this.columns.has[index] & IS_EXIT) !== 0;
  }

  /** The node's first IPv4 address as an unsigned number, 0 where it has none. */
  address4(index: number): number {
    return this.columns.v4[index];
  }

  /** Word `word` (0..3) of the node's first IPv6 address, 0 where it has none. */
  address6(index: number, word: 0 | 1 | 2 | 3): number {
    return this.columns[`v6${word}`][index];
  }

  /** Allocates; not for the packet path. */
  name(index: number): string {
    const start = index === 0 ? 0 : this.columns.nameEnd[index - 1];
    return new TextDecoder().decode(this.names.subarray(start, this.columns.nameEnd[index]));
  }
}
