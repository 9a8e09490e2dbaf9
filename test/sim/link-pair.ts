/**
 * Two links over a network of virtual time, from a seed: delay, jitter (which reorders), loss, duplication, blackholes for each direction,
 * and ends that are starved of CPU. Times in µs.
 */
import { Link, LINK_BODY_MAX, type LinkEvent } from '../../src/overlay/link/link.js';

export interface Conditions {
  delay: number;
  /** Up to so much more delay, evenly spread: packets overtake each other. */
  jitter: number;
  loss: number;
  /** Mean length of a run of losses (Gilbert's model); 0: each packet's loss is independent. */
  burst: number;
  duplicate: number;
  blackhole: boolean;
}

export const CLEAN: Conditions = {
  delay: 10_000,
  jitter: 0,
  loss: 0,
  burst: 0,
  duplicate: 0,
  blackhole: false,
};

/** mulberry32: u32 values. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
}

interface Datagram {
  readonly at: number;
  readonly bytes: Uint8Array;
  readonly data: boolean;
}

export class End {
  link: Link;
  readonly log: { at: number; event: LinkEvent }[] = [];
  readonly messages: Uint8Array[] = [];
  /** What this end sends into. */
  out: Conditions = { ...CLEAN };
  inbox: Datagram[] = [];
  starvedUntil = 0;
  /** A run of losses is on. */
  losing = false;
  wakeups = 0;
  recordsSent = 0;
  private readonly buffer = new DataView(new ArrayBuffer(LINK_BODY_MAX));

  constructor(
    readonly name: string,
    private readonly net: LinkPair,
  ) {
    this.link = new Link(net.random, net.now);
  }

  /** A process that died and came back: it remembers nothing. */
  restart(): void {
    this.link = new Link(this.net.random, this.net.now);
    this.flush();
  }

  events(type: LinkEvent['type']): { at: number; event: LinkEvent }[] {
    return this.log.filter((entry) => entry.event.type === type);
  }

  send(message: Uint8Array): string {
    const result = this.link.send(message);
    this.flush();
    return result;
  }

  /** Sends a data record, as forwarding would. */
  sendData(): void {
    this.link.noteData(this.net.now);
    this.net.carry(this, new Uint8Array(1), true);
    this.flush();
  }

  /** When this end next has something to do. */
  nextWake(): number {
    const due = Math.min(this.link.nextTimeout(), this.inbox.length > 0 ? this.inbox[0].at : Infinity);
    return Math.max(due, this.starvedUntil);
  }

  /** Timers run before sockets are read, as in Node's event loop: the order that tempts a link to misjudge silence. */
  wake(): void {
    this.wakeups++;
    for (const event of this.link.timeout(this.net.now)) {
      this.note(event);
      if (event.type !== 'drain') continue;
      this.read();
      for (const judged of this.link.drained(this.net.now)) this.note(judged);
    }
    this.read();
    this.flush();
  }

  private read(): void {
    while (this.inbox.length > 0 && this.inbox[0].at <= this.net.now) {
      const { bytes, data } = this.inbox.shift()!;
      this.link.noteReceived(this.net.now);
      if (data) this.link.noteData(this.net.now);
      else for (const event of this.receive(bytes)) this.note(event);
    }
  }

  private receive(bytes: Uint8Array): LinkEvent[] {
    return this.link.receive(this.net.now, new DataView(bytes.buffer), 0, bytes.length);
  }

  private note(event: LinkEvent): void {
    if (event.type === 'message') this.messages.push(event.bytes);
    this.log.push({ at: this.net.now, event });
  }

  flush(): void {
    for (;;) {
      const length = this.link.transmit(this.net.now, this.buffer, 0, LINK_BODY_MAX);
      if (length === 0) return;
      this.recordsSent++;
      this.net.carry(this, new Uint8Array(this.buffer.buffer.slice(0, length)), false);
    }
  }
}

export class LinkPair {
  now: number;
  readonly random: () => number;
  readonly a: End;
  readonly b: End;

  constructor(seed: number, start = 1_000_000_000) {
    this.random = randomFrom(seed);
    this.now = start;
    this.a = new End('a', this);
    this.b = new End('b', this);
    this.a.flush();
    this.b.flush();
  }

  chance(): number {
    return this.random() / 2 ** 32;
  }

  carry(from: End, bytes: Uint8Array, data: boolean): void {
    const { delay, jitter, duplicate, blackhole } = from.out;
    const to = from === this.a ? this.b : this.a;
    const copies = this.chance() < duplicate ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      if (blackhole || this.loses(from)) continue;
      to.inbox.push({
        at: Math.floor(this.now + delay + this.chance() * jitter),
        bytes: bytes.slice(),
        data,
      });
    }
    to.inbox.sort((x, y) => x.at - y.at);
  }

  private loses(from: End): boolean {
    const { loss, burst } = from.out;
    if (burst <= 1) return this.chance() < loss;
    const begins = loss / (1 - loss) / burst;
    from.losing = from.losing ? this.chance() >= 1 / burst : this.chance() < begins;
    return from.losing;
  }

  /** Both directions. */
  set(conditions: Partial<Conditions>): void {
    Object.assign(this.a.out, conditions);
    Object.assign(this.b.out, conditions);
  }

  /** Runs for `duration` µs, or until `done`. Returns whether `done` came true. */
  run(duration: number, done: () => boolean = () => false): boolean {
    const end = this.now + duration;
    for (let steps = 0; !done(); steps++) {
      if (steps > 5_000_000) throw new Error('the links never rest');
      const next = this.a.nextWake() <= this.b.nextWake() ? this.a : this.b;
      if (next.nextWake() > end) {
        this.now = end;
        return done();
      }
      this.now = Math.max(this.now, next.nextWake());
      next.wake();
    }
    return true;
  }

  /** Runs while both ends send a data record every `interval` µs. */
  runWithData(duration: number, interval = 20_000, from: readonly End[] = [this.a, this.b]): void {
    const end = this.now + duration;
    while (this.now < end) {
      for (const side of from) if (side.starvedUntil <= this.now) side.sendData();
      this.run(Math.min(interval, end - this.now));
    }
  }

  get bothUp(): boolean {
    return this.a.link.isUp && this.b.link.isUp;
  }
}
