import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  COUNTER_LIMIT,
  MAX_SESSIONS,
  REKEY_AFTER,
  REKEY_COUNTER,
  SESSION_LIFETIME,
  SessionSet,
} from '../../../src/crypto/session.js';

const SECOND = 1_000_000;
const view = new DataView(new ArrayBuffer(32));
const lanes = (base: number, count = 2) =>
  Array.from({ length: count }, (_, i) => ({ index: base + i, key: base * 10 + i }));

/** Sets a lane's next counter, so that ceilings are reached without 2^28 steps. */
function wind(set: SessionSet, lane: number, counter: number): void {
  (set.current as unknown as { counters: Float64Array }).counters[lane] = counter;
}

describe('a session set', () => {
  it('writes the record header, with the next counter of each lane', () => {
    const set = new SessionSet();
    set.install(0, 7, false, [
      { index: 0xdeadbeef, key: 40 },
      { index: 0xfffffff0, key: 3 },
    ]);
    expect(set.writeHeader(view, 4, 0)).toBe(40);
    expect(set.writeHeader(view, 4, 0)).toBe(40);
    expect(Buffer.from(view.buffer, 4, 16).toString('hex')).toBe('15000000deadbeef0000000000000001');
    expect(set.writeHeader(view, 4, 1)).toBe(3);
    expect(Buffer.from(view.buffer, 4, 16).toString('hex')).toBe('15000000fffffff00000000000000000');
    expect(set.writeHeader(view, 4, 9)).toBe(3);
  });

  it('seals nothing without a session', () => {
    expect(new SessionSet().writeHeader(view, 0, 0)).toBe(-1);
    expect(new SessionSet().nextTimeout()).toBe(Infinity);
  });

  it('as responder seals with the new session at once', () => {
    const set = new SessionSet();
    set.install(0, 1, false, lanes(1));
    set.install(SECOND, 2, false, lanes(2));
    expect(set.current?.id).toBe(2);
  });

  it('as initiator seals with the old one until the new one’s first record', () => {
    const set = new SessionSet();
    set.install(0, 1, true, lanes(1));
    expect(set.current?.id).toBe(1);
    expect(set.received(1)).toBe(true);
    set.install(SECOND, 2, true, lanes(2));
    expect(set.received(1)).toBe(false);
    expect(set.current?.id).toBe(1);
    expect(set.received(2)).toBe(true);
    expect(set.received(2)).toBe(false);
    expect(set.current?.id).toBe(2);
  });

  it('stops a lane at its ceiling, and only that lane', () => {
    const set = new SessionSet();
    set.install(0, 1, false, lanes(1));
    wind(set, 1, COUNTER_LIMIT - 1);
    expect(set.writeHeader(view, 0, 1)).toBe(11);
    expect(view.getUint32(12)).toBe(2 ** 28 - 1);
    expect(set.writeHeader(view, 0, 1)).toBe(-1);
    expect(set.writeHeader(view, 0, 0)).toBe(10);
  });

  it('asks for a successor at 120 s as initiator, and ten seconds later as responder', () => {
    for (const [initiator, due] of [
      [true, REKEY_AFTER],
      [false, REKEY_AFTER + 10 * SECOND],
    ] as const) {
      const set = new SessionSet();
      set.install(5, 1, initiator, lanes(1));
      expect(set.nextTimeout()).toBe(5 + due);
      expect(set.expire(4 + due).rekey).toBe(false);
      expect(set.expire(5 + due).rekey).toBe(true);
      expect(set.expire(6 + due).rekey).toBe(false);
      expect(set.nextTimeout()).toBe(5 + due + 10 * SECOND);
      expect(set.expire(5 + due + 10 * SECOND).rekey).toBe(true);
      set.install(20 * SECOND + due, 2, initiator, lanes(2));
      expect(set.expire(40 * SECOND + due).rekey).toBe(false);
    }
  });

  it('asks for a successor after 2^26 records of any lane', () => {
    const set = new SessionSet();
    set.install(SECOND, 1, true, lanes(1));
    wind(set, 1, REKEY_COUNTER - 1);
    expect(set.expire(2 * SECOND).rekey).toBe(false);
    set.writeHeader(view, 0, 1);
    expect(set.nextTimeout()).toBe(SECOND);
    expect(set.expire(2 * SECOND)).toEqual({ removed: [], rekey: true });
  });

  it('ends a session at 180 s', () => {
    const set = new SessionSet();
    set.install(0, 1, false, lanes(1));
    set.expire(130 * SECOND);
    set.install(131 * SECOND, 2, false, lanes(2));
    expect(set.nextTimeout()).toBe(SESSION_LIFETIME);
    expect(set.expire(SESSION_LIFETIME - 1).removed).toEqual([]);
    expect(set.expire(SESSION_LIFETIME).removed.map((s) => s.id)).toEqual([1]);
    expect(set.all.map((s) => s.id)).toEqual([2]);
    expect(set.expire(131 * SECOND + SESSION_LIFETIME)).toMatchObject({ rekey: true });
    expect(set.writeHeader(view, 0, 0)).toBe(-1);
  });

  it('goes back to what is left when its session is taken out', () => {
    const set = new SessionSet();
    set.install(0, 1, false, lanes(1));
    set.install(1, 2, false, lanes(2));
    expect(set.remove(2)?.id).toBe(2);
    expect(set.remove(2)).toBeUndefined();
    expect(set.current?.id).toBe(1);
    expect(set.clear().map((s) => s.id)).toEqual([1]);
    expect(set.writeHeader(view, 0, 0)).toBe(-1);
  });

  it('holds four sessions at most and keeps the one that seals', () => {
    const set = new SessionSet();
    set.install(0, 1, false, lanes(1));
    const evicted = [2, 3, 4, 5, 6].map((id) => set.install(id, id, true, lanes(id))?.id);
    expect(evicted).toEqual([undefined, undefined, undefined, 2, 3]);
    expect(set.all).toHaveLength(MAX_SESSIONS);
    expect(set.current?.id).toBe(1);
    expect(() => set.install(9, 6, true, lanes(6))).toThrow('installed already');
  });
});

/**
 * Two ends with a session, and two directions in which everything may overtake everything. Handshakes: the initiator installs, its final
 * travels, the responder installs. A record is lost where its receiver doesn't hold its session when it arrives.
 */
class Ends {
  readonly sets = [new SessionSet(), new SessionSet()] as const;
  readonly wires: { readonly session: number; readonly final: boolean }[][] = [[], []];
  lost = 0;
  arrived = 0;
  private last = 1;

  constructor() {
    for (const set of this.sets) set.install(0, 1, false, lanes(1));
  }

  /** One at a time, and no sooner than what is older has arrived: a link asks every ten seconds at most. */
  rekey(by: 0 | 1): void {
    const { all, current } = this.sets[by];
    const settled = this.wires.every((wire) =>
      wire.every((item) => !item.final && item.session === this.last),
    );
    if (!settled || all.at(-1) !== current) return;
    const id = ++this.last;
    this.sets[by].install(id, id, true, [{ index: id, key: id }]);
    this.wires[by]!.push({ session: id, final: true });
  }

  send(by: 0 | 1): void {
    const key = this.sets[by].writeHeader(view, 0, 0);
    this.wires[by]!.push({ session: key === 10 ? 1 : key, final: false });
  }

  deliver(from: 0 | 1, which: number): void {
    const [item] = this.wires[from]!.splice(which % Math.max(1, this.wires[from]!.length), 1);
    const to = this.sets[1 - from]!;
    if (item === undefined) return;
    if (item.final)
      to.install(item.session, item.session, false, [{ index: item.session, key: item.session }]);
    else if (to.find(item.session) === undefined) this.lost += 1;
    else {
      this.arrived += 1;
      to.received(item.session);
    }
  }

  get rekeys(): number {
    return this.last - 1;
  }
}

describe('a rekey', () => {
  it('loses no record, however handshakes and records interleave', () => {
    let rekeys = 0;
    const what = fc.constantFrom(
      'rekey',
      'rekey',
      'send',
      'send',
      'deliver',
      'deliver',
      'deliver',
      'deliver',
    );
    const step = fc.tuple(what, fc.constantFrom<0 | 1>(0, 1), fc.nat(20));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const ends = new Ends();
        for (const [what, by, which] of steps) {
          if (what === 'rekey') ends.rekey(by);
          else if (what === 'send') ends.send(by);
          else ends.deliver(by, which);
        }
        expect(ends.lost).toBe(0);
        rekeys += ends.rekeys;
      }),
      { numRuns: 500 },
    );
    expect(rekeys).toBeGreaterThan(200);
  });
});
