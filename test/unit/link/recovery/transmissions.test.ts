import { describe, expect, it } from 'vitest';
import { Transmissions } from '../../../../src/overlay/link/recovery/transmissions.js';
import { ackOf, type AckFields } from './acks.js';

const MS = 1000;
const RTT = 20 * MS;
const MAX_ACK_DELAY = 5 * MS;
const START = 1_000_000_000;

class Rig {
  readonly core: Transmissions;
  now = START;

  constructor(o: { handles?: number; ring?: number; epoch?: number } = {}) {
    this.core = new Transmissions({
      handles: o.handles ?? 64,
      ring: o.ring ?? 64,
      epoch: o.epoch ?? 6,
      maxAckDelay: MAX_ACK_DELAY,
    });
  }

  /** Sends handles `interval` µs apart, 1000 bytes each; returns their numbers. */
  send(handles: readonly number[], interval = 10 * MS): number[] {
    return handles.map((handle) => {
      this.now += interval;
      return this.core.send(this.now, handle, 1000);
    });
  }

  ack(numbers: readonly number[], fields: Partial<AckFields> = {}): string {
    const { view, length } = ackOf({ epoch: this.core.epoch, numbers, ...fields });
    return this.core.acknowledge(this.now, view, 3, length);
  }

  get delivered(): number[] {
    const { delivered, deliveredCount } = this.core.settled;
    return [...delivered.slice(0, deliveredCount)];
  }

  get lost(): number[] {
    const { lost, lostCount } = this.core.settled;
    return [...lost.slice(0, lostCount)];
  }

  /** Goes to the next timeout and takes it. */
  timeout(): string {
    this.now = this.core.nextTimeout();
    return this.core.timeout(this.now);
  }
}

/** A rig that knows the round trip: one frame went and was acknowledged after 20 ms. */
function warm(o: ConstructorParameters<typeof Rig>[0] = {}): Rig {
  const rig = new Rig(o);
  rig.send([0]);
  rig.now += RTT;
  expect(rig.ack([0])).toBe('ok');
  return rig;
}

describe('numbers and frames', () => {
  it('count transmissions from 0, and a frame’s own number is that of its first', () => {
    const rig = new Rig();
    const { core } = rig;
    expect([core.firstNumber(3), core.underWay(3)]).toEqual([-1, 0]);
    expect(rig.send([3, 4, 3])).toEqual([0, 1, 2]);
    expect([core.firstNumber(3), core.underWay(3), core.firstNumber(4), core.bytesInFlight]).toEqual([
      0, 2, 1, 3000,
    ]);
    core.release(3);
    expect([core.firstNumber(3), core.underWay(3), core.bytesInFlight]).toEqual([-1, 0, 3000]);
    expect(rig.send([3])).toEqual([3]);
    expect([core.firstNumber(3), core.underWay(3)]).toEqual([3, 1]);
  });

  it('run out of room after a ring of transmissions under way, not before', () => {
    const rig = new Rig({ ring: 4, handles: 8 });
    rig.send([0, 1, 2, 3], 10);
    expect(rig.core.hasRoom()).toBe(false);
    expect(() => rig.send([4])).toThrow(RangeError);
    rig.ack([1, 2]);
    expect(rig.core.hasRoom()).toBe(false);
    rig.ack([0]);
    expect(rig.core.hasRoom()).toBe(true);
    expect(rig.send([4, 5, 6])).toEqual([4, 5, 6]);
    expect(rig.core.hasRoom()).toBe(false);
  });

  it('wrap after 2²¹', () => {
    const rig = new Rig({ ring: 32, handles: 32 });
    for (let n = 0; n < 2 ** 21 - 3; n++) {
      rig.core.send((rig.now += 10), n & 15, 1);
      if ((n & 15) === 15) rig.ack(Array.from({ length: 16 }, (_, i) => n - i));
    }
    rig.now += 1;
    rig.ack(Array.from({ length: 13 }, (_, i) => 2 ** 21 - 4 - i));
    expect(rig.send([20, 21, 22, 23, 24])).toEqual([2 ** 21 - 3, 2 ** 21 - 2, 2 ** 21 - 1, 0, 1]);
    expect(rig.ack([2 ** 21 - 3, 2 ** 21 - 2, 2 ** 21 + 1])).toBe('ok');
    expect([rig.delivered, rig.lost]).toEqual([
      [20, 21, 24],
      [22, 23],
    ]);
  });
});

describe('an acknowledgement', () => {
  it('delivers what it covers, once, and frees the handles', () => {
    const rig = new Rig();
    rig.send([5, 6, 7]);
    rig.now += RTT;
    rig.ack([0, 1]);
    expect(rig.delivered).toEqual([5, 6]);
    expect([rig.core.bytesInFlight, rig.core.deliveredBytes, rig.core.settled.ackedBytes]).toEqual([
      1000, 2000, 2000,
    ]);
    expect(rig.core.firstNumber(5)).toBe(-1);
    rig.ack([0, 1]);
    expect([rig.delivered, rig.core.settled.ackedBytes, rig.core.settled.newestSentAt]).toEqual([[], 0, -1]);
  });

  it('of any transmission of a frame delivers it, and later ones of its others name nobody', () => {
    const rig = warm();
    rig.send([9, 9, 9]);
    rig.ack([0, 2]);
    expect([rig.delivered, rig.lost]).toEqual([[9], []]);
    rig.core.send(rig.now, 9, 500);
    rig.now += MS;
    rig.ack([0, 2, 3]);
    expect([rig.delivered, rig.lost, rig.core.settled.ackedBytes]).toEqual([[], [], 1000]);
    expect([rig.core.underWay(9), rig.core.bytesInFlight]).toEqual([1, 500]);
  });

  it('gives the round trip less the delay that the peer may take, only if its largest number is news', () => {
    const rig = new Rig();
    rig.send([0, 1, 2], 0);
    rig.now += 20 * MS;
    rig.ack([1], { delay: 4 * MS });
    expect(rig.core.settled.rttSample).toBe(16 * MS);
    rig.ack([0, 1], { delay: 4 * MS });
    expect([rig.delivered, rig.core.settled.rttSample]).toEqual([[0], 0]);
    rig.ack([0, 1, 2], { delay: 1000 * MS });
    expect(rig.core.settled.rttSample).toBe(15 * MS);
  });

  it('tells what had been delivered when its newest was sent, and idle time doesn’t count', () => {
    const rig = new Rig();
    rig.send([0, 1]);
    rig.now += RTT;
    rig.ack([0, 1]);
    const first = rig.now;
    rig.now += 500 * MS;
    const sent = rig.now + 10 * MS;
    rig.send([2]);
    rig.now += RTT;
    rig.send([3]);
    rig.ack([0, 1, 2]);
    expect(rig.core.settled).toMatchObject({ deliveredBefore: 2000, deliveredBeforeAt: sent });
    rig.send([4]);
    const second = rig.now - 10 * MS;
    rig.ack([0, 1, 2, 3, 4]);
    expect(rig.core.settled).toMatchObject({ deliveredBefore: 3000, deliveredBeforeAt: second });
    expect(second).toBeGreaterThan(first);
  });

  it('counts congestion marks by their low 16 bits, never more than its news, and not backward', () => {
    const rig = new Rig({ ring: 128 });
    rig.send(Array.from({ length: 60 }, (_, i) => i));
    const marks = (numbers: number[], ceMarks: number): number => {
      rig.ack(numbers, { ceMarks });
      return rig.core.settled.ceDelta;
    };
    const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
    expect(marks(upTo(10), 3)).toBe(3);
    expect(marks(upTo(12), 9)).toBe(2);
    expect(marks([0, 1, 2, 12], 5)).toBe(0);
    expect(marks(upTo(20), 12)).toBe(3);
    expect(marks(upTo(20), 13)).toBe(0);
  });
});

describe('a forged, stale or absurd acknowledgement changes nothing', () => {
  const snapshot = (rig: Rig): unknown => [
    rig.core.bytesInFlight,
    rig.core.deliveredBytes,
    rig.core.nextTimeout(),
    rig.core.probesInRow,
    rig.core.underWay(1),
    rig.core.firstNumber(1),
    { ...rig.core.rtt },
    { ...rig.core.reordering },
  ];

  it.each<[string, string, number[], Partial<AckFields>]>([
    ['of the next number', 'never-sent', [4], {}],
    ['of the far future', 'never-sent', [1 << 20], {}],
    ['of the past before the epoch', 'never-sent', [2 ** 21 - 1], {}],
    ['reaching back before the epoch', 'never-sent', [2 ** 21 + 2, 2 ** 21 + 1, 2 ** 21, 2 ** 21 - 1], {}],
    ['of the epoch before', 'other-epoch', [1], { epoch: 5 }],
    ['of the epoch after', 'other-epoch', [1], { epoch: 7 }],
    ['of an unknown epoch', 'unknown-value', [1], { epoch: 8 }],
    ['beyond its span', 'inconsistent', [40_000, 1], {}],
  ])('%s', (_, result, numbers, fields) => {
    const rig = warm();
    rig.send([1, 2, 3]);
    const before = snapshot(rig);
    expect(rig.ack(numbers, fields)).toBe(result);
    expect([rig.delivered, rig.lost]).toEqual([[], []]);
    expect(snapshot(rig)).toEqual(before);
    expect(rig.ack([1, 2, 3])).toBe('ok');
    expect(rig.delivered).toEqual([1, 2, 3]);
  });

  it('cut anywhere', () => {
    const rig = warm();
    rig.send([1, 2, 3]);
    const before = snapshot(rig);
    const { view, length } = ackOf({ epoch: 6, numbers: [1] });
    for (let cut = 1; cut <= length; cut++)
      expect(rig.core.acknowledge(rig.now, view, 3, length - cut)).toBe('short');
    expect(snapshot(rig)).toEqual(before);
  });
});

describe('a loss', () => {
  it('is found by the first acknowledgement of what was sent a window later', () => {
    const rig = warm();
    rig.send([1, 2], 16 * MS);
    const [oldest, newest] = [rig.now - 16 * MS, rig.now];
    rig.now += RTT;
    rig.ack([0, 2]);
    expect([rig.delivered, rig.lost]).toEqual([[2], [1]]);
    expect(rig.core.settled).toMatchObject({
      lostBytes: 1000,
      oldestLostSentAt: oldest,
      newestLostSentAt: oldest,
      newestSentAt: newest,
    });
    expect([rig.core.bytesInFlight, rig.core.underWay(1), rig.core.firstNumber(1)]).toEqual([0, 0, 1]);
  });

  it('is found by the third later arrival, while the path keeps order', () => {
    const rig = warm();
    rig.send([1, 2, 3, 4], 10);
    rig.now += RTT;
    rig.ack([0, 2, 3]);
    expect(rig.lost).toEqual([]);
    rig.ack([0, 2, 3, 4]);
    expect(rig.lost).toEqual([1]);
  });

  it('is otherwise found a window after the acknowledgement, by the clock', () => {
    const rig = warm();
    rig.send([1, 2], 100);
    rig.now += RTT;
    rig.ack([0, 2]);
    const at = rig.now + rig.core.reordering.window - 100;
    expect([rig.lost, rig.core.nextTimeout()]).toEqual([[], at]);
    expect(rig.core.timeout(at - 1)).toBe('none');
    expect(rig.timeout()).toBe('lost');
    expect(rig.lost).toEqual([1]);
    expect(rig.core.nextTimeout()).toBe(Infinity);
  });

  it('of one transmission among several of a frame loses no frame', () => {
    const rig = warm();
    rig.send([1, 2, 1]);
    rig.ack([0, 2]);
    expect([rig.delivered, rig.lost, rig.core.settled.lostBytes, rig.core.underWay(1)]).toEqual([
      [2],
      [],
      1000,
      1,
    ]);
    rig.send([3]);
    rig.ack([0, 2, 4]);
    expect(rig.lost).toEqual([1]);
  });

  it('of a released frame counts bytes and names nobody', () => {
    const rig = warm();
    rig.send([1, 2]);
    rig.core.release(1);
    rig.core.send(rig.now, 1, 77);
    rig.ack([0, 2]);
    expect([rig.lost, rig.core.settled.lostBytes, rig.core.bytesInFlight]).toEqual([[], 1000, 77]);
  });

  it('that was none widens the window to the lateness seen, and names the frame that was given as lost', () => {
    const rig = warm();
    rig.send([1, 2], 10 * MS);
    rig.now += 10 * MS;
    rig.ack([0, 2]);
    expect(rig.lost).toEqual([1]);
    rig.now += 4 * MS;
    rig.ack([0, 1, 2]);
    expect([rig.delivered, rig.core.settled.spurious, rig.core.settled.ackedBytes]).toEqual([[1], 1, 1000]);
    expect(rig.core.settled.rttSample).toBe(0);
    // 1 was sent 24 ms ago on a path of 18 ms or so.
    expect(rig.core.reordering.window).toBeGreaterThan(4 * MS);
    // A gap of three numbers proves nothing now.
    rig.send([3, 4, 5, 6], 10);
    rig.now += RTT;
    rig.ack([4, 5, 6]);
    expect(rig.lost).toEqual([]);
  });

  it('sent again and then known to have arrived leaves the second transmission nameless', () => {
    const rig = warm();
    rig.send([1, 2], 10 * MS);
    rig.ack([0, 2]);
    expect(rig.lost).toEqual([1]);
    rig.send([1], MS);
    expect(rig.core.firstNumber(1)).toBe(1);
    rig.ack([0, 1, 2]);
    expect(rig.delivered).toEqual([1]);
    rig.send([8]);
    rig.ack([0, 1, 2, 4]);
    expect([rig.delivered, rig.lost, rig.core.settled.lostBytes]).toEqual([[8], [], 1000]);
  });
});

describe('a probe', () => {
  it('is due a probe timeout after the last transmission, each one twice as long as the one before', () => {
    const rig = warm();
    const { rtt } = rig.core;
    rig.send([1, 2]);
    const wait = rtt.smoothed + 4 * rtt.variation + MAX_ACK_DELAY;
    expect(rig.core.nextTimeout()).toBe(rig.now + wait);
    expect(rig.core.timeout(rig.now + wait - 1)).toBe('none');
    for (const [times, probes] of [
      [1, 1],
      [2, 2],
      [4, 3],
    ]) {
      const before = rig.now;
      expect([rig.timeout(), rig.now - before, rig.core.probesInRow]).toEqual([
        'probe',
        Math.min(wait * times, 250 * MS),
        probes,
      ]);
      expect(rig.core.oldestUnderWay()).toBe(1);
      rig.core.send(rig.now, 1, 1000);
    }
    rig.now += RTT;
    rig.ack([5]);
    expect([rig.delivered, rig.lost, rig.core.probesInRow]).toEqual([[1], [2], 0]);
    expect(rig.core.nextTimeout()).toBe(Infinity);
  });

  it('that isn’t sent is asked for again, not at once', () => {
    const rig = warm();
    rig.send([1]);
    expect(rig.timeout()).toBe('probe');
    expect(rig.core.nextTimeout()).toBeGreaterThan(rig.now + RTT);
    expect(rig.core.timeout(rig.now)).toBe('none');
  });

  it('never waits longer than a quarter of a second', () => {
    const rig = warm();
    rig.send([1]);
    for (let i = 0; i < 30; i++) expect(rig.timeout()).toBe('probe');
    expect(rig.core.nextTimeout() - rig.now).toBe(250 * MS);
  });

  it('never waits longer than a second, however late the acknowledgements came', () => {
    const rig = warm();
    for (let i = 0; i < 10; i++) {
      const [number] = rig.send([1]);
      rig.now += 8 * 1000 * MS;
      rig.ack([number!]);
    }
    rig.send([1]);
    expect(rig.core.rtt.smoothed).toBeGreaterThan(2 * 1000 * MS);
    expect(rig.core.nextTimeout() - rig.now).toBe(1000 * MS);
  });

  it('isn’t asked for when nothing but given-up frames is under way: their bytes are settled', () => {
    const rig = warm();
    rig.send([1, 2]);
    rig.core.release(1);
    rig.core.release(2);
    expect([rig.timeout(), rig.lost, rig.core.settled.lostBytes]).toEqual(['lost', [], 2000]);
    expect([rig.core.bytesInFlight, rig.core.nextTimeout()]).toEqual([0, Infinity]);
  });

  it('waits by the seeded round trip while there is no sample, and by a guess without', () => {
    const rig = new Rig();
    rig.send([1]);
    expect(rig.core.nextTimeout() - rig.now).toBe(300 * MS);
    rig.core.seedRtt(10 * MS, rig.now);
    expect(rig.core.nextTimeout() - rig.now).toBe(10 * MS + 20 * MS + MAX_ACK_DELAY);
    rig.core.seedRtt(1, rig.now);
    expect(rig.core.rtt.smoothed).toBe(10 * MS);
  });
});

describe('a restart', () => {
  it('begins the next epoch, names all that was under way, and believes no acknowledgement of the old one', () => {
    const rig = warm({ epoch: 7 });
    rig.send([1, 2, 3, 2]);
    rig.core.release(3);
    rig.core.restart();
    expect([rig.core.epoch, rig.lost, rig.core.bytesInFlight, rig.core.nextTimeout()]).toEqual([
      0,
      [1, 2],
      0,
      Infinity,
    ]);
    expect([rig.core.firstNumber(1), rig.core.hasRoom()]).toEqual([-1, true]);
    expect(rig.ack([1, 2], { epoch: 7 })).toBe('other-epoch');
    expect(rig.ack([1, 2])).toBe('never-sent');
    expect(rig.send([2, 1])).toEqual([0, 1]);
    expect(rig.ack([0, 1])).toBe('ok');
    expect(rig.delivered).toEqual([2, 1]);
  });

  it('stays in an epoch that the peer may never have met', () => {
    const rig = new Rig({ epoch: 3 });
    rig.send([1, 2]);
    for (let i = 0; i < 9; i++) rig.core.restart();
    expect([rig.core.epoch, rig.core.firstNumber(1)]).toEqual([3, 0]);
    expect(rig.send([1])).toEqual([2]);
    rig.ack([2]);
    rig.core.restart();
    expect(rig.core.epoch).toBe(4);
  });
});
