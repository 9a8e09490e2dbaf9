/**
 * The queue in front of a link: FQ-CoDel (RFC 8290) over handles of frames that lie elsewhere.
 *
 *   fair-queue   which flow goes next: deficit round robin, flows that have just begun before the others
 *   codel        which packets of a flow are marked or dropped, as they waited too long
 *   fattest      whose packet goes where there is no more room
 *   thin-flows   which frames get copies, behind the queue
 *
 * Way of a packet: enqueue (→ 1 its flow's bucket, 2 behind the bucket's last, 3 overflow) … dequeue (→ 4 the bucket whose turn it is,
 * 5 its first packet, 6 CoDel's verdict). Each step is constant time and allocates nothing. Flows and handles are numbers, bytes aren't seen.
 */
import { CoDel } from './codel.js';
import { Fattest } from './fattest.js';

export const QUEUE_PASS = 0;
/** Set Congestion Experienced and send. */
export const QUEUE_MARK = 1;
/** Drop the payload. */
export const QUEUE_DROP = 2;

export interface FairQueueOptions {
  /** Handles are 0 .. handles-1. */
  handles: number;
  /** Buckets, a power of two, 8 or more; 1024 by default (RFC 8290 §4.1.1). */
  flows?: number;
  /** Bytes that each flow sends in turn; at least the largest packet, so that one turn is enough. */
  quantum: number;
  /** Of CoDel, µs: 5000 and 100 000 (RFC 8289 §4.2, §4.3). */
  target: number;
  interval: number;
  limitBytes: number;
  limitPackets: number;
  /** A random u32, so that nobody can choose flows that share a bucket; 0 by default. */
  perturbation?: number;
}

/** Buckets in which one flow may lie, as CAKE has it: a flow shares one only where all of these are taken. */
const WAYS = 8;

/** Lists of buckets (RFC 8290 §4.1.2). */
const NO_LIST = -1;
const NEW_FLOWS = 0;
const OLD_FLOWS = 1;

export class FairQueue {
  /** What to do with the handle that `dequeue` gave. */
  verdict = QUEUE_PASS;
  bytes = 0;
  packets = 0;
  /** µs that the handle last dequeued had waited. */
  lastSojourn = 0;
  /** The handle that stood behind the one last taken or dropped in its flow's bucket; -1: none. */
  successor = -1;
  /** Packets marked, and packets dropped by CoDel or for want of room. */
  marks = 0;
  drops = 0;
  /** Of the drops, those for want of room. */
  overflows = 0;

  // Of each handle; its size is 0 while it isn't queued.
  private readonly next: Int32Array;
  private readonly size: Int32Array;
  private readonly since: Float64Array;
  private readonly markable: Uint8Array;

  // Of each bucket.
  private readonly flow: Uint32Array;
  private readonly head: Int32Array;
  private readonly tail: Int32Array;
  private readonly backlog: Int32Array;
  private readonly deficit: Int32Array;
  private readonly list: Int8Array;
  private readonly nextBucket: Int32Array;

  // Of NEW_FLOWS and OLD_FLOWS.
  private readonly firstBucket = new Int32Array(2).fill(-1);
  private readonly lastBucket = new Int32Array(2).fill(-1);

  private readonly mask: number;
  private readonly perturbation: number;
  private readonly quantum: number;
  private readonly limitBytes: number;
  private readonly limitPackets: number;
  private readonly codel: CoDel;
  private readonly fattest: Fattest;

  constructor(options: FairQueueOptions) {
    const { handles, flows = 1024, quantum, perturbation = 0 } = options;
    if (flows < WAYS || (flows & (flows - 1)) !== 0) throw new RangeError('flows: a power of two from 8 on');
    if (quantum < 1) throw new RangeError('quantum: a byte or more');
    this.next = new Int32Array(handles);
    this.size = new Int32Array(handles);
    this.since = new Float64Array(handles);
    this.markable = new Uint8Array(handles);
    this.flow = new Uint32Array(flows);
    this.head = new Int32Array(flows).fill(-1);
    this.tail = new Int32Array(flows).fill(-1);
    this.backlog = new Int32Array(flows);
    this.deficit = new Int32Array(flows);
    this.list = new Int8Array(flows).fill(NO_LIST);
    this.nextBucket = new Int32Array(flows);
    this.mask = flows - 1;
    this.perturbation = perturbation;
    this.quantum = quantum;
    this.limitBytes = options.limitBytes;
    this.limitPackets = options.limitPackets;
    this.codel = new CoDel(flows, options.target, options.interval, quantum);
    this.fattest = new Fattest(flows);
  }

  get isEmpty(): boolean {
    return this.packets === 0;
  }

  /**
   * µs that packets may wait before CoDel signals; never less than the constructor's. At low rates 1.5 times the largest packet's
   * serialisation (RFC 8290 §5.2.2), or CoDel would signal the link's own time.
   */
  setTarget(micros: number): void {
    this.codel.setTarget(micros);
  }

  /**
   * Queues `handle`, of `bytes` ≥ 1, for `flow` (u32). `markable`: its inner packet is ECN-capable.
   * Returns a handle that was dropped to make room, the first of the flow that holds most (which may be `handle` itself), or -1.
   * Where packets differ in size, one may not be enough: `shed` gives the others. Throws RangeError for a handle that is queued already.
   */
  enqueue(now: number, handle: number, bytes: number, flow: number, markable: boolean): number {
    if (this.size[handle] !== 0 || bytes < 1) throw new RangeError(`handle ${handle} can't be queued`);
    this.size[handle] = bytes;
    this.since[handle] = now;
    this.markable[handle] = markable ? 1 : 0;
    const bucket = this.bucketOf(flow >>> 0);
    this.append(bucket, handle, bytes);
    if (this.list[bucket] === NO_LIST) {
      this.deficit[bucket] = this.quantum;
      this.link(bucket, NEW_FLOWS);
    }
    return this.shed();
  }

  /** While the queue is over its limits: a handle dropped from the flow that holds most; else -1. */
  shed(): number {
    if (this.bytes <= this.limitBytes && this.packets <= this.limitPackets) return -1;
    this.drops++;
    this.overflows++;
    return this.takeFirst(this.fattest.find());
  }

  /** The next handle, with `verdict` and `lastSojourn` set; -1: empty. A dropped one costs its flow nothing. */
  dequeue(now: number): number {
    const bucket = this.chooseBucket();
    if (bucket < 0) return -1;
    const bytes = this.size[this.head[bucket]];
    const handle = this.takeFirst(bucket);
    this.lastSojourn = now - this.since[handle];
    this.verdict = QUEUE_PASS;
    if (this.codel.judge(bucket, now, this.lastSojourn, this.backlog[bucket])) this.signal(handle);
    if (this.verdict !== QUEUE_DROP) this.deficit[bucket] -= bytes;
    return handle;
  }

  /** Bytes of what `dequeue` would give; 0: empty. */
  peekBytes(): number {
    const bucket = this.chooseBucket();
    return bucket < 0 ? 0 : this.size[this.head[bucket]];
  }

  /** Empties the queue into `into`, which has room for all handles; returns how many. They don't count as dropped. */
  clear(into: Int32Array): number {
    let count = 0;
    for (let bucket = this.chooseBucket(); bucket >= 0; bucket = this.chooseBucket()) {
      into[count++] = this.takeFirst(bucket);
      this.codel.reset(bucket);
    }
    return count;
  }

  private signal(handle: number): void {
    if (this.markable[handle] === 1) {
      this.verdict = QUEUE_MARK;
      this.marks++;
    } else {
      this.verdict = QUEUE_DROP;
      this.drops++;
    }
  }

  /** The flow's bucket among its eight: its own, else one that nobody uses, else the first, shared. */
  private bucketOf(flow: number): number {
    const first = mix(flow ^ this.perturbation) & this.mask;
    const set = first & -WAYS;
    let unused = -1;
    for (let way = 0; way < WAYS; way++) {
      const bucket = set | ((first + way) & (WAYS - 1));
      if (this.flow[bucket] === flow) return bucket;
      if (unused < 0 && this.list[bucket] === NO_LIST) unused = bucket;
    }
    if (unused < 0) return first;
    this.flow[unused] = flow;
    this.codel.reset(unused);
    return unused;
  }

  private append(bucket: number, handle: number, bytes: number): void {
    const tail = this.tail[bucket];
    if (tail < 0) this.head[bucket] = handle;
    else this.next[tail] = handle;
    this.tail[bucket] = handle;
    this.next[handle] = -1;
    this.bytes += bytes;
    this.packets++;
    this.fattest.set(bucket, (this.backlog[bucket] += bytes));
  }

  private takeFirst(bucket: number): number {
    const handle = this.head[bucket];
    const bytes = this.size[handle];
    const next = this.next[handle];
    this.head[bucket] = next;
    this.successor = next;
    if (next < 0) this.tail[bucket] = -1;
    this.size[handle] = 0;
    this.bytes -= bytes;
    this.packets--;
    this.fattest.set(bucket, (this.backlog[bucket] -= bytes));
    return handle;
  }

  /** The bucket whose turn it is, with something in it (RFC 8290 §4.2); -1: the queue is empty. Asked again, says the same. */
  private chooseBucket(): number {
    for (;;) {
      const list = this.firstBucket[NEW_FLOWS] >= 0 ? NEW_FLOWS : OLD_FLOWS;
      const bucket = this.firstBucket[list];
      if (bucket < 0) return -1;
      const spent = this.deficit[bucket] <= 0;
      if (!spent && this.head[bucket] >= 0) return bucket;
      this.unlinkFirst(list);
      if (spent) this.deficit[bucket] += this.quantum;
      // A new flow that is empty waits its turn among the old ones, lest it be new again at once.
      if (spent || (list === NEW_FLOWS && this.firstBucket[OLD_FLOWS] >= 0)) this.link(bucket, OLD_FLOWS);
      else this.list[bucket] = NO_LIST;
    }
  }

  private link(bucket: number, list: number): void {
    const last = this.lastBucket[list];
    if (last < 0) this.firstBucket[list] = bucket;
    else this.nextBucket[last] = bucket;
    this.lastBucket[list] = bucket;
    this.nextBucket[bucket] = -1;
    this.list[bucket] = list;
  }

  private unlinkFirst(list: number): void {
    const next = this.nextBucket[this.firstBucket[list]];
    this.firstBucket[list] = next;
    if (next < 0) this.lastBucket[list] = -1;
  }
}

/** Spreads u32 over u32: the finisher of MurmurHash3. */
function mix(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
