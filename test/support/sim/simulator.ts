/**
 * Virtual time. One `Simulator` owns the clock, the chance and the events of a whole mesh; cores run in it as they run in the agent, by being
 * called with `now`. The same seed gives the same run to the last event, which `traceHash` proves.
 *
 *   const sim = new Simulator(seed)
 *   const link = new SimLink(sim, { latency: 10_000, loss: 0.01 })      // link.ts: datagrams and ordered messages
 *   const wake = sim.plug(core)                                          // after each input: wake()
 *   sim.runUntil(5_000_000)
 */
import { EventQueue } from './event-queue.js';
import { Random } from './random.js';

/** Of a core, what time needs to know. Times in µs; Infinity for no timeout. */
export interface TimedCore {
  nextTimeout: () => number;
  timeout: (now: number) => void;
}

const WALL_START = Date.UTC(2030, 0, 1);

export class Simulator {
  readonly random: Random;
  /** µs since the start. */
  now = 0;
  private readonly queue = new EventQueue();
  private hash = 0x811c9dc5;
  events = 0;

  constructor(readonly seed: number) {
    this.random = new Random(seed);
  }

  /** ms since 1970. */
  get wall(): number {
    return WALL_START + this.now / 1000;
  }

  /** Of everything that `trace` was told, in order. */
  get traceHash(): number {
    return this.hash >>> 0;
  }

  /** Runs `run` at `time` µs, or now where that is past. */
  at(time: number, run: () => void): void {
    this.queue.push(Math.max(time, this.now), run);
  }

  after(delay: number, run: () => void): void {
    this.at(this.now + delay, run);
  }

  /** Calls the core's `timeout` when it is due. The returned function is to be called after every other input of the core. */
  plug(core: TimedCore): () => void {
    let armed = Infinity;
    const wake = (): void => {
      const next = core.nextTimeout();
      if (next >= armed) return;
      armed = next;
      this.at(next, () => {
        if (armed !== next) return;
        armed = Infinity;
        if (core.nextTimeout() <= this.now) core.timeout(this.now);
        wake();
      });
    };
    wake();
    return wake;
  }

  /** Runs all that happens until `time` µs, which is `now` afterwards. */
  runUntil(time: number): void {
    while (this.queue.nextTime <= time) {
      const event = this.queue.pop()!;
      this.now = event.time;
      this.events++;
      event.run();
    }
    this.now = time;
  }

  runFor(duration: number): void {
    this.runUntil(this.now + duration);
  }

  /** Adds to the trace: a number and bytes that ought to be the same in each run of this seed. Of many bytes some speak for all. */
  trace(number: number, bytes: Uint8Array): void {
    let hash = this.hash;
    for (const part of [this.now, number, bytes.length]) hash = Math.imul(hash ^ part, 0x01000193);
    const step = 1 + (bytes.length >> 5);
    for (let at = bytes.length - 1; at >= 0; at -= step) hash = Math.imul(hash ^ bytes[at], 0x01000193);
    this.hash = hash;
  }
}

/** The seed of a test: CAUSEWAY_SEED, or `otherwise`. */
export function seedOf(otherwise: number): number {
  const given = process.env['CAUSEWAY_SEED'];
  return given === undefined ? otherwise : Number(given) >>> 0;
}

/** Runs `body` in a simulator; what it throws names the seed that repeats it. */
export function simulate<T>(otherwise: number, body: (sim: Simulator) => T): T {
  const seed = seedOf(otherwise);
  try {
    return body(new Simulator(seed));
  } catch (error) {
    console.error(`the simulation failed; repeat it with CAUSEWAY_SEED=${seed}`);
    throw error;
  }
}
