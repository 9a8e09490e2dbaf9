/** Virtual time for tests of what takes it: a list of events, run in order. */
import type { VirtualTime } from '../../../src/io/plain/index.js';

interface Event {
  at: number;
  callback: () => void;
}

export class TestTime implements VirtualTime {
  #now = 0;
  #events: Event[] = [];

  now(): number {
    return this.#now;
  }

  schedule(delayMicros: number, callback: () => void): () => void {
    const event = { at: this.#now + delayMicros, callback };
    const behind = this.#events.findIndex(({ at }) => at > event.at);
    this.#events.splice(behind < 0 ? this.#events.length : behind, 0, event);
    return () => {
      this.#events = this.#events.filter((other) => other !== event);
    };
  }

  /** Runs everything due up to `micros` from now. Throws if there is no end to it. */
  advance(micros: number): void {
    const end = this.#now + micros;
    for (let ran = 0; this.#events.length > 0 && this.#events[0].at <= end; ran++) {
      if (ran > 10_000) throw new Error('events without end');
      const { at, callback } = this.#events.shift()!;
      this.#now = at;
      callback();
    }
    this.#now = end;
  }
}
