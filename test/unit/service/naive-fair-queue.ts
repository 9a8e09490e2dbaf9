/** FQ-CoDel with arrays and a map, one flow a queue, as RFC 8290 §4 and RFC 8289 §5 tell it: the oracle of fair-queue. */
import { CoDel } from '../../../src/overlay/service/codel.js';
import { QUEUE_DROP, QUEUE_MARK, QUEUE_PASS } from '../../../src/overlay/service/fair-queue.js';

interface Packet {
  handle: number;
  bytes: number;
  since: number;
  ecn: boolean;
}

interface Flow {
  packets: Packet[];
  deficit: number;
  codel: CoDel;
}

const sum = (flow: Flow): number => flow.packets.reduce((bytes, packet) => bytes + packet.bytes, 0);

export class NaiveFairQueue {
  private readonly flows = new Map<number, Flow>();
  private fresh: Flow[] = [];
  private old: Flow[] = [];

  constructor(
    private readonly quantum: number,
    private readonly target: number,
    private readonly interval: number,
  ) {}

  get packets(): number {
    return [...this.flows.values()].reduce((count, flow) => count + flow.packets.length, 0);
  }

  get bytes(): number {
    return [...this.flows.values()].reduce((bytes, flow) => bytes + sum(flow), 0);
  }

  enqueue(now: number, handle: number, bytes: number, key: number, ecn: boolean): void {
    const { quantum, target, interval } = this;
    const flow = this.flows.get(key) ?? {
      packets: [],
      deficit: 0,
      codel: new CoDel(1, target, interval, quantum),
    };
    this.flows.set(key, flow);
    flow.packets.push({ handle, bytes, since: now, ecn });
    if (this.fresh.includes(flow) || this.old.includes(flow)) return;
    flow.deficit = quantum;
    this.fresh.push(flow);
  }

  dequeue(now: number): { handle: number; verdict: number; sojourn: number } | undefined {
    for (;;) {
      const list = this.fresh.length > 0 ? this.fresh : this.old;
      if (list.length === 0) return undefined;
      const flow = list[0];
      if (flow.deficit <= 0) {
        flow.deficit += this.quantum;
        list.shift();
        this.old.push(flow);
      } else if (flow.packets.length === 0) {
        list.shift();
        if (list === this.fresh && this.old.length > 0) this.old.push(flow);
      } else {
        return this.take(flow, now);
      }
    }
  }

  private take(flow: Flow, now: number): { handle: number; verdict: number; sojourn: number } {
    const { handle, bytes, since, ecn } = flow.packets.shift()!;
    const sojourn = now - since;
    const signal = flow.codel.judge(0, now, sojourn, sum(flow));
    const verdict = !signal ? QUEUE_PASS : ecn ? QUEUE_MARK : QUEUE_DROP;
    if (verdict !== QUEUE_DROP) flow.deficit -= bytes;
    return { handle, verdict, sojourn };
  }

  largestBacklog(): number {
    return Math.max(...[...this.flows.values()].map(sum));
  }

  /** Bytes of the flow whose first packet is `handle`; NaN if it is nobody's first. */
  backlogOfFirst(handle: number): number {
    const flow = [...this.flows.values()].find(({ packets }) => packets[0]?.handle === handle);
    return flow === undefined ? NaN : sum(flow);
  }

  remove(handle: number): void {
    for (const flow of this.flows.values())
      flow.packets = flow.packets.filter((packet) => packet.handle !== handle);
  }
}
