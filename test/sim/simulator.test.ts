import { describe, expect, it } from 'vitest';

import { SimLink } from '../support/sim/link.js';
import { simulate, Simulator } from '../support/sim/simulator.js';

/** Sends `count` numbered datagrams, one a millisecond, and returns what arrives: [number, µs]. */
function carry(sim: Simulator, link: SimLink, count: number): [number, number][] {
  const arrived: [number, number][] = [];
  link.attach(1, { datagram: (bytes) => arrived.push([bytes[0] * 256 + bytes[1], sim.now]) });
  for (let i = 0; i < count; i++) sim.at(i * 1000, () => link.send(0, Uint8Array.of(i >> 8, i)));
  sim.runFor(count * 1000 + 1_000_000);
  return arrived;
}

describe('a simulated link', () => {
  it('delivers each datagram once, in order and after the latency, when nothing disturbs it', () => {
    simulate(1, (sim) => {
      const arrived = carry(sim, new SimLink(sim, { latency: 10_000 }), 50);
      expect(arrived).toEqual(Array.from({ length: 50 }, (_, i) => [i, i * 1000 + 10_000]));
    });
  });

  it('loses, doubles and reorders about as often as told', () => {
    simulate(2, (sim) => {
      const arrived = carry(sim, new SimLink(sim, { loss: 0.2, duplication: 0.1, jitter: 5_000 }), 4000);
      const numbers = arrived.map(([number]) => number);
      expect(new Set(numbers).size).toBeGreaterThan(3000);
      expect(new Set(numbers).size).toBeLessThan(3400);
      expect(numbers.length - new Set(numbers).size).toBeGreaterThan(200);
      expect(numbers.some((number, i) => i > 0 && number < numbers[i - 1])).toBe(true);
    });
  });

  it('carries no datagram beyond its MTU, nor against a blackhole, and says which', () => {
    simulate(3, (sim) => {
      const link = new SimLink(sim, { mtu: 100 });
      let arrived = 0;
      link.attach(1, { datagram: () => arrived++ });
      link.attach(0, { datagram: () => arrived++ });
      link.send(0, new Uint8Array(100));
      link.send(0, new Uint8Array(101));
      link.passes[0] = false;
      link.send(0, new Uint8Array(1));
      link.send(1, new Uint8Array(1));
      sim.runFor(1_000_000);
      expect(arrived).toBe(2);
      expect(link.counters).toMatchObject({ tooBig: 1, lost: 1 });
    });
  });

  it('keeps messages whole and in order despite loss, and loses them when it is cut', () => {
    simulate(4, (sim) => {
      const link = new SimLink(sim, { loss: 0.3, latency: 5_000 });
      const got: number[] = [];
      link.attach(1, { message: (bytes) => got.push(bytes[0]) });
      for (let i = 0; i < 100; i++) sim.at(i * 100, () => link.sendMessage(0, Uint8Array.of(i)));
      sim.runFor(10_000_000);
      expect(got).toEqual(Array.from({ length: 100 }, (_, i) => i));
      link.sendMessage(0, Uint8Array.of(200));
      link.cut();
      sim.runFor(10_000_000);
      expect(got).not.toContain(200);
    });
  });
});

describe('virtual time', () => {
  it('repeats itself to the last byte from one seed, and differs from another', () => {
    const run = (seed: number): number => {
      const sim = new Simulator(seed);
      carry(sim, new SimLink(sim, { loss: 0.1, jitter: 3_000 }), 500);
      return sim.traceHash;
    };
    expect(run(7)).toBe(run(7));
    expect(run(7)).not.toBe(run(8));
  });

  it('calls a core when its timeout is due, also after an input has moved it', () => {
    simulate(5, (sim) => {
      const calls: number[] = [];
      let next = 5_000;
      const wake = sim.plug({
        nextTimeout: () => next,
        timeout: (now) => {
          calls.push(now);
          next = now + 10_000;
        },
      });
      sim.at(1_000, () => {
        next = 2_000;
        wake();
      });
      sim.at(3_000, () => {
        next = 20_000;
        wake();
      });
      sim.runUntil(31_000);
      expect(calls).toEqual([2_000, 20_000, 30_000]);
    });
  });
});
