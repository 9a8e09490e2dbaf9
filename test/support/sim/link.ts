/**
 * A link of a simulated mesh with two ends, 0 and 1. It carries datagrams as a network does (loss, reordering, duplicates, MTU), and,
 * for cores above the link's own recovery, ordered messages that arrive as long as the link isn't cut.
 */
import type { Simulator } from './simulator.js';

export type End = 0 | 1;

export interface LinkOptions {
  /** One way, µs. */
  readonly latency: number;
  /** Up to so much more, µs, each datagram on its own: reorders. */
  readonly jitter: number;
  /** Probabilities, each way. */
  readonly loss: number;
  readonly duplication: number;
  /** Bytes of the largest datagram. */
  readonly mtu: number;
}

const DEFAULTS: LinkOptions = { latency: 1000, jitter: 0, loss: 0, duplication: 0, mtu: 1500 };

export interface LinkReceiver {
  datagram?: (bytes: Uint8Array) => void;
  message?: (bytes: Uint8Array) => void;
}

export class SimLink {
  /** May be changed while it runs. */
  options: LinkOptions;
  /** Datagrams by direction, by sending end: false swallows them. */
  readonly passes: [boolean, boolean] = [true, true];
  readonly counters = { sent: 0, lost: 0, tooBig: 0, delivered: 0, messages: 0 };
  protected readonly receivers: [LinkReceiver, LinkReceiver] = [{}, {}];
  private readonly lastMessage: [number, number] = [0, 0];
  /** Messages of an earlier life of the link never arrive. */
  private life = 0;

  constructor(
    private readonly sim: Simulator,
    options: Partial<LinkOptions> = {},
  ) {
    this.options = { ...DEFAULTS, ...options };
  }

  /** What arrives at `end` goes to `receiver`. */
  attach(end: End, receiver: LinkReceiver): void {
    this.receivers[end] = receiver;
  }

  /** Sends a datagram from `end`, which counts as `size` bytes. The bytes are copied. */
  send(end: End, bytes: Uint8Array, size = bytes.length): void {
    const { latency, jitter, loss, duplication, mtu } = this.options;
    const { random } = this.sim;
    this.counters.sent++;
    if (size > mtu) {
      this.counters.tooBig++;
      return;
    }
    if (!this.passes[end] || random.chance(loss)) {
      this.counters.lost++;
      return;
    }
    const copy = bytes.slice();
    for (let copies = random.chance(duplication) ? 2 : 1; copies > 0; copies--) {
      this.sim.after(latency + random.integer(jitter + 1), () => {
        this.counters.delivered++;
        this.sim.trace(end, copy);
        this.receivers[other(end)].datagram?.(copy.slice());
      });
    }
  }

  /** Sends a message that arrives whole, in order and once. A loss delays it by a round trip. */
  sendMessage(end: End, bytes: Uint8Array): void {
    const { latency, loss } = this.options;
    const { life } = this;
    let time = this.sim.now + latency;
    while (this.sim.random.chance(loss)) time += 2 * latency;
    time = Math.max(time, this.lastMessage[end]);
    this.lastMessage[end] = time;
    this.sim.at(time, () => {
      if (life !== this.life) return;
      this.counters.messages++;
      this.sim.trace(end, bytes);
      this.receivers[other(end)].message?.(bytes);
    });
  }

  /** Messages under way are lost, as when a session ends. */
  cut(): void {
    this.life++;
    this.lastMessage.fill(0);
  }
}

function other(end: End): End {
  return end === 0 ? 1 : 0;
}
