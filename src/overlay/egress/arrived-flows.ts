/**
 * Which flows arrive at this node, with the addresses that their packets bear: for those who ask, and for realtime flows the only account
 * there is. Bounded; the flow that was idle longest makes room. Nothing is allocated per packet.
 */
import type { FlowTuple } from '../../intercept/flow-cache.js';
import type { PacketInfo } from '../../intercept/packet.js';
import { FlowTable } from './flow-table.js';

export interface ArrivedFlow {
  readonly source: number;
  readonly label: number;
  readonly service: number;
  readonly tuple: FlowTuple;
  readonly delivered: number;
  readonly duplicates: number;
  /** µs. */
  readonly lastAt: number;
}

export class ArrivedFlows {
  private readonly table: FlowTable;
  /** Nothing is held here: `FlowTable` asks. */
  private readonly held: Int32Array;
  private readonly service: Uint8Array;
  private readonly version: Uint8Array;
  private readonly protocol: Uint8Array;
  private readonly ports: Int32Array;
  /** Four words each of the source's and the destination's address. */
  private readonly words: Uint32Array;
  private readonly delivered: Float64Array;
  private readonly duplicates: Float64Array;
  private lastSource = 0;
  private lastLabel = 0;
  private last = -1;

  /** Room for about `flows`. */
  constructor(flows: number) {
    this.table = new FlowTable(flows);
    const { capacity } = this.table;
    this.held = new Int32Array(capacity);
    this.service = new Uint8Array(capacity);
    this.version = new Uint8Array(capacity);
    this.protocol = new Uint8Array(capacity);
    this.ports = new Int32Array(2 * capacity);
    this.words = new Uint32Array(8 * capacity);
    this.delivered = new Float64Array(capacity);
    this.duplicates = new Float64Array(capacity);
  }

  /** A packet of a flow is delivered; `info` is what its headers say. Runs per packet. */
  arrived(now: number, source: number, label: number, service: number, info: PacketInfo): void {
    let flow = this.find(source, label);
    if (flow < 0) flow = this.add(source, label, info);
    this.service[flow] = service;
    this.delivered[flow]!++;
    this.table.lastAt[flow] = now;
  }

  /** A packet of a flow came again. */
  duplicate(source: number, label: number): void {
    const flow = this.find(source, label);
    if (flow >= 0) this.duplicates[flow]!++;
  }

  /** The addresses of a flow's packets. */
  tuple(source: number, label: number): FlowTuple | undefined {
    const flow = this.find(source, label);
    return flow < 0 ? undefined : this.tupleOf(flow);
  }

  list(): ArrivedFlow[] {
    const { table } = this;
    return Array.from(table.life.keys())
      .filter((flow) => table.life[flow] !== 0)
      .map((flow) => ({
        source: table.life[flow]! >>> 0,
        label: table.label[flow]! >>> 0,
        service: this.service[flow]!,
        tuple: this.tupleOf(flow),
        delivered: this.delivered[flow]!,
        duplicates: this.duplicates[flow]!,
        lastAt: table.lastAt[flow]!,
      }));
  }

  private find(source: number, label: number): number {
    if (label === this.lastLabel && source === this.lastSource && this.last >= 0) return this.last;
    const flow = this.table.find(source | 0, label);
    this.lastSource = source;
    this.lastLabel = label;
    this.last = flow;
    return flow;
  }

  private add(source: number, label: number, info: PacketInfo): number {
    const { table, words } = this;
    const flow = table.placeFor(source | 0, label, this.held);
    table.life[flow] = source | 0;
    table.label[flow] = label | 0;
    this.last = -1;
    this.delivered[flow] = this.duplicates[flow] = 0;
    this.version[flow] = info.version;
    this.protocol[flow] = info.protocol;
    this.ports[2 * flow] = info.sourcePort;
    this.ports[2 * flow + 1] = info.destinationPort;
    words.set([info.src0, info.src1, info.src2, info.src3], 8 * flow);
    words.set([info.dst0, info.dst1, info.dst2, info.dst3], 8 * flow + 4);
    return flow;
  }

  private tupleOf(flow: number): FlowTuple {
    const words = [...this.words.subarray(8 * flow, 8 * flow + 8)];
    return {
      version: this.version[flow]!,
      protocol: this.protocol[flow]!,
      source: words.slice(0, 4),
      destination: words.slice(4),
      sourcePort: this.ports[2 * flow]!,
      destinationPort: this.ports[2 * flow + 1]!,
    } as FlowTuple;
  }
}
