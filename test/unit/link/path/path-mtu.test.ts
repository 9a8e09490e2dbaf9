import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LEAST_DATAGRAM, PathMtu } from '../../../../src/overlay/link/path/path-mtu.js';

const MS = 1000;
const WANTED = 1452;
const RTT = 20 * MS;

/** A machine over a path that carries datagrams of up to `limit` bytes; every probe is answered a round trip later, or lost. */
class Path {
  readonly mtu: PathMtu;
  now = 1_000_000;
  probes: number[] = [];

  constructor(
    public limit: number,
    private readonly isLost: () => boolean = () => false,
    wanted = WANTED,
  ) {
    this.mtu = new PathMtu(wanted);
    this.mtu.start(this.now);
  }

  /** Runs for `micros`, with data all the time where it is busy. */
  run(micros: number, busy = false): this {
    const end = this.now + micros;
    let answer: { at: number; number: number } | undefined;
    for (let guard = 0; guard < 100_000; guard++) {
      if (busy) this.mtu.noteData(this.now);
      this.mtu.timeout(this.now);
      const size = this.mtu.take(this.now, RTT);
      if (size > 0) {
        this.probes.push(size);
        if (size <= this.limit && !this.isLost()) answer = { at: this.now + RTT, number: this.mtu.number };
      }
      const due = Math.max(this.now + 1, Math.min(this.mtu.nextTimeout(), answer?.at ?? Infinity));
      if (due > end) break;
      this.now = due;
      if (answer && answer.at <= this.now) {
        this.mtu.answered(this.now, answer.number);
        answer = undefined;
      }
    }
    this.now = end;
    return this;
  }
}

describe('the path MTU of a link', () => {
  it('is believed to be the least one until more is proven, by one probe where all passes', () => {
    const path = new Path(1472);
    expect(path.mtu.size).toBe(LEAST_DATAGRAM);
    path.run(100 * MS);
    expect(path.mtu.size).toBe(WANTED);
    expect(path.probes).toEqual([WANTED]);
  });

  it('is proven only where something larger was tried and lost', () => {
    const wide = new Path(1472).run(1000 * MS);
    wide.mtu.want(2000);
    expect(wide.mtu.provenMax).toBe(Infinity);
    const narrow = new Path(1300);
    expect(narrow.mtu.provenMax).toBe(Infinity);
    narrow.run(5000 * MS);
    expect(narrow.mtu.provenMax).toBe(narrow.mtu.size);
    narrow.limit = 1472;
    narrow.run(15_000 * MS, true);
    expect([narrow.mtu.size, narrow.mtu.provenMax]).toEqual([WANTED, Infinity]);
  });

  it('is found by bisection to within eight bytes below what passes, whatever that is', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: LEAST_DATAGRAM, max: 9000 }),
        fc.integer({ min: 1352, max: 8952 }),
        (limit, wanted) => {
          const path = new Path(limit, () => false, wanted).run(60_000 * MS);
          const most = Math.min(limit, wanted);
          expect(path.mtu.size).toBeLessThanOrEqual(most);
          expect(path.mtu.size).toBeGreaterThanOrEqual(most === wanted ? wanted : most - 8);
          expect(path.mtu.isBlocked).toBe(false);
        },
      ),
    );
  });

  it('falls within two seconds of traffic when the path shrinks, and rises again when it grows', () => {
    const path = new Path(1472).run(5000 * MS, true);
    path.limit = 1300;
    path.run(2000 * MS, true);
    expect(path.mtu.size).toBeLessThanOrEqual(1300);
    path.run(5000 * MS, true);
    expect(path.mtu.size).toBeGreaterThan(1290);
    path.limit = 1472;
    path.run(15_000 * MS, true);
    expect(path.mtu.size).toBe(WANTED);
  });

  it('rises also where the path grew by less than what is wanted', () => {
    const path = new Path(1252).run(5000 * MS, true);
    path.limit = 1400;
    path.run(30_000 * MS, true);
    expect(path.mtu.size).toBeGreaterThan(1391);
    expect(path.mtu.size).toBeLessThanOrEqual(1400);
  });

  it('says that a path is blocked that carries small packets only, and recovers with it', () => {
    const path = new Path(600).run(5000 * MS, true);
    expect(path.mtu.isBlocked).toBe(true);
    path.limit = 1472;
    path.run(3000 * MS, true);
    expect(path.mtu).toMatchObject({ isBlocked: false, size: WANTED });
  });

  it('holds through random loss of a tenth', () => {
    let state = 42;
    const lost = () => (state = (state * 1_103_515_245 + 12_345) % 2 ** 31) % 10 === 0;
    const path = new Path(1472, lost).run(5000 * MS, true);
    for (let i = 0; i < 60; i++) expect(path.run(1000 * MS, true).mtu.size).toBe(WANTED);
    expect(path.mtu.takeLost()).toBeGreaterThan(0);
    expect(path.mtu.takeLost()).toBe(0);
  });

  it('sends next to nothing while idle', () => {
    const path = new Path(1472).run(1000 * MS);
    path.probes = [];
    path.run(600_000 * MS);
    expect(path.probes.length).toBeLessThanOrEqual(5);
  });

  it('ignores answers to probes that it did not send, and those of an earlier size', () => {
    const mtu = new PathMtu(WANTED);
    mtu.start(0);
    mtu.answered(0, 0);
    mtu.answered(0, 77);
    expect(mtu.size).toBe(LEAST_DATAGRAM);
  });

  it('neither probes nor splits where nobody said what is wanted', () => {
    const mtu = new PathMtu(0);
    mtu.start(0);
    mtu.want(9000);
    expect(mtu).toMatchObject({ size: Infinity });
    expect(mtu.nextTimeout()).toBe(Infinity);
  });
});
