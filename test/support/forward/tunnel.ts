/**
 * A link's recovery, whole (`hop-pair.ts`), across a bottleneck that others may share, as a path for inner flows: what they send is queued, paced,
 * recovered and put in order like packets of a TUN device. Inner acknowledgements go back beside all that.
 */
import { PACKET } from '../sim/bottleneck-flow.js';
import type { Bottleneck, Path, SimPacket } from '../sim/bottleneck.js';
import { type End, SimLink } from '../sim/link.js';
import { HopPair } from './hop-pair.js';

/** Inner and routed headers. */
const FRAME = PACKET + 24;

/** Datagrams pass the bottleneck from end 0 to end 1, and nothing but its delay on the way back. */
class BottleneckLink extends SimLink {
  constructor(private readonly path: Bottleneck) {
    super(path.sim);
  }

  override send(end: End, bytes: Uint8Array, size = bytes.length): void {
    if (end === 1) this.path.back(() => this.receivers[0].datagram?.(bytes));
    else {
      const arrive = () => this.receivers[1].datagram?.(bytes);
      this.path.send({ number: 0, bytes: size, sentAt: this.path.now, marked: false, arrive });
    }
  }
}

export class Tunnel {
  readonly pair: HopPair;
  private readonly packets = new Map<number, SimPacket>();
  private count = 0;
  private flows = 0;

  constructor(private readonly path: Bottleneck) {
    this.pair = new HopPair(path.sim, new BottleneckLink(path), 8192);
    this.pair.onDelivered = (sequence) => {
      const packet = this.packets.get(sequence)!;
      this.packets.delete(sequence);
      packet.arrive(packet);
    };
  }

  /** A path for one inner flow, which the link's queue keeps apart from others. */
  flow(): Path {
    const { path } = this;
    const flow = ++this.flows;
    const returning: (() => void)[] = [];
    return {
      get now() {
        return path.now;
      },
      at: (time, run) => path.at(time, run),
      wake: (time, run) => path.at(time, run),
      after: (delay, run) => path.after(delay, run),
      // The other direction keeps their order, as this one does.
      back: (run) => {
        returning.push(run);
        path.back(() => returning.shift()!());
      },
      send: (packet) => {
        if (this.pair.offer(undefined, FRAME, flow)) this.packets.set(++this.count, packet);
      },
    };
  }
}
