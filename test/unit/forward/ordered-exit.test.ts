import { describe, expect, it } from 'vitest';
import { FLAG_VOID } from '../../../src/overlay/wire/routed.js';
import { LANE_BEST_EFFORT, LANE_REALTIME, LANE_RELIABLE } from '../../../src/overlay/wire/lanes.js';
import { frame } from '../../support/forward/frames.js';
import { ForwardRig, NEAR, type RigOptions, SELF, SIDE } from '../../support/forward/rig.js';
import { buildPacket, TCP } from '../../support/native-packets.js';

const inner = (i: number, length = 100) =>
  buildPacket({
    version: 4,
    protocol: TCP,
    payload: new Uint8Array(length).fill(i),
    from: NEAR,
    to: SELF,
    sequence: i,
    checksum: 'whole',
  });

interface Sent {
  readonly sequence: number;
  readonly distance?: number;
  readonly flow?: number;
  readonly lane?: number;
  readonly service?: number;
  readonly flags?: number;
  readonly length?: number;
  readonly epoch?: number;
}

const SERVICE = { [LANE_BEST_EFFORT]: 0, [LANE_RELIABLE]: 1, [LANE_REALTIME]: 2 } as Record<number, number>;

class Exit {
  readonly rig: ForwardRig;
  private number = 0;

  constructor(options: RigOptions = {}) {
    this.rig = new ForwardRig(options);
  }

  /** NEAR sends packets to this node in one batch; what was delivered of them and before, by sequence. */
  arrive(...all: Sent[]): number[] {
    const { near } = this.rig;
    near.send(
      all.map(
        ({ sequence, distance = 1, flow = 1, lane = LANE_RELIABLE, flags = 0, length, epoch, ...more }) => {
          const { service = SERVICE[lane]! } = more;
          const payload = flags & FLAG_VOID ? new Uint8Array(0) : inner(sequence, length);
          const body = frame(
            { from: NEAR, to: SELF, service, sequence, distance, flow, flags, epoch: epoch ?? 7 },
            payload,
          );
          return lane < LANE_RELIABLE ? near.seal(body, lane) : near.sealNumbered(body, lane, this.number++);
        },
      ),
    );
    this.rig.settle();
    return this.delivered();
  }

  delivered(): number[] {
    return this.rig.takeTun().map((bytes) => {
      const sequence = new DataView(bytes.buffer, bytes.byteOffset).getUint32(24);
      expect(bytes).toEqual(inner(sequence, bytes.length - 40));
      return sequence;
    });
  }
}

describe('reliable packets at the exit', () => {
  it('pass in order, and wait for an earlier one, in one batch and over several', () => {
    const exit = new Exit();
    expect(exit.arrive({ sequence: 1, distance: 0 }, { sequence: 2 })).toEqual([1, 2]);
    expect(exit.arrive({ sequence: 4 }, { sequence: 6 }, { sequence: 3 })).toEqual([3, 4]);
    expect(exit.rig.store.used).toBe(1);
    expect(exit.arrive({ sequence: 7 })).toEqual([]);
    expect(exit.arrive({ sequence: 5 }, { sequence: 8 })).toEqual([5, 6, 7, 8]);
    expect([exit.rig.store.used, exit.rig.drops()]).toEqual([0, {}]);
  });

  it('stay in order among what else the batch brings, each written once', () => {
    const exit = new Exit();
    const other = { flow: 2, lane: LANE_BEST_EFFORT };
    expect(
      exit.arrive(
        { sequence: 1, distance: 0 },
        { sequence: 100, ...other },
        { sequence: 3 },
        { sequence: 101, ...other },
        { sequence: 2 },
        { sequence: 102, ...other },
        { sequence: 4 },
      ),
    ).toEqual([1, 100, 101, 2, 3, 102, 4]);
    const { tunWrittenPackets, tunWrittenBytes } = exit.rig.counters;
    expect([tunWrittenPackets, tunWrittenBytes]).toEqual([7, 7 * 140]);
  });

  it('wait four round trips and thirty milliseconds, then go without the missing one', () => {
    const exit = new Exit();
    exit.arrive({ sequence: 1, distance: 0 });
    exit.arrive({ sequence: 3 });
    exit.rig.run(33_900);
    expect(exit.delivered()).toEqual([]);
    exit.rig.run(200);
    expect(exit.delivered()).toEqual([3]);
    expect(exit.rig.store.used).toBe(0);
    expect(exit.arrive({ sequence: 2 })).toEqual([2]);
    expect(exit.arrive({ sequence: 2 })).toEqual([]);
    expect(exit.rig.counters.duplicates).toBe(1);
  });

  it("don't wait for what was dropped on the way, of which a header tells", () => {
    const exit = new Exit();
    exit.arrive({ sequence: 1, distance: 0 });
    expect(exit.arrive({ sequence: 3 }, { sequence: 4, flags: FLAG_VOID }, { sequence: 5 })).toEqual([]);
    expect(exit.arrive({ sequence: 2, flags: FLAG_VOID })).toEqual([3, 5]);
    expect([exit.rig.store.used, exit.rig.drops()]).toEqual([0, { void: 2 }]);
  });

  it('begin anew with another life of their source', () => {
    const exit = new Exit();
    exit.arrive({ sequence: 1, distance: 0 }, { sequence: 5 });
    expect(exit.arrive({ sequence: 1, distance: 0, epoch: 8 }, { sequence: 2, epoch: 8 })).toEqual([1, 2]);
    exit.rig.run(40_000);
    expect(exit.delivered()).toEqual([5]);
    expect(exit.rig.store.used).toBe(0);
  });

  it('are held as far as there is room, then delivered out of order rather than dropped', () => {
    const exit = new Exit({ limits: { stored: 4 } });
    exit.arrive({ sequence: 1, distance: 0 });
    const behind = [3, 4, 5, 6, 7, 8].map((sequence) => ({ sequence }));
    expect(exit.arrive(...behind)).toEqual([7, 8]);
    expect(exit.arrive({ sequence: 2 })).toEqual([2, 3, 4, 5, 6]);
    exit.rig.run(100_000);
    expect([exit.rig.store.used, exit.rig.drops()]).toEqual([0, {}]);
  });

  it('that are too large to be held are delivered at once', () => {
    const exit = new Exit({ limits: { frameMax: 600 } });
    exit.arrive({ sequence: 1, distance: 0 });
    expect(exit.arrive({ sequence: 3, length: 1200 })).toEqual([3]);
    expect(exit.arrive({ sequence: 2 })).toEqual([2]);
  });

  it('that came best-effort on their last hop, being large, are waited for and known all the same', () => {
    const exit = new Exit();
    exit.arrive({ sequence: 1, distance: 0 });
    const large = { sequence: 2, lane: LANE_BEST_EFFORT, service: 1, length: 1300 };
    expect(exit.arrive({ sequence: 3 })).toEqual([]);
    expect(exit.arrive(large)).toEqual([2, 3]);
    expect(exit.arrive(large, { sequence: 4 })).toEqual([4]);
    expect(exit.rig.counters.duplicates).toBe(1);
  });
});

describe('other packets at the exit', () => {
  it('of the realtime service are delivered as they come, once', () => {
    const exit = new Exit();
    const lane = LANE_REALTIME;
    expect(exit.arrive(...[3, 1, 3, 2, 1].map((sequence) => ({ sequence, lane })))).toEqual([3, 1, 2]);
    expect(exit.rig.counters.duplicates).toBe(2);
    expect(exit.arrive({ sequence: 9, lane, flags: FLAG_VOID })).toEqual([]);
    expect(exit.arrive({ sequence: 9, lane })).toEqual([9]);
  });

  it('of best effort are delivered as they come, as often as they come', () => {
    const exit = new Exit();
    const lane = LANE_BEST_EFFORT;
    expect(exit.arrive(...[3, 1, 3].map((sequence) => ({ sequence, lane })))).toEqual([3, 1, 3]);
    expect(exit.arrive({ sequence: 9, lane, flags: FLAG_VOID })).toEqual([]);
  });
});

describe('ECN marks of the outer header', () => {
  const ecn = (bytes: Uint8Array) => bytes[1]! & 3;
  const marked = (lane: number) => {
    const rig = new ForwardRig();
    const packet = buildPacket({
      version: 4,
      protocol: TCP,
      payload: new Uint8Array(9),
      from: NEAR,
      to: SELF,
      tos: 2,
      checksum: 'whole',
    });
    const body = frame({ from: NEAR, to: SELF, service: SERVICE[lane]!, ecn: 2 }, packet);
    const record = lane < LANE_RELIABLE ? rig.near.seal(body, lane) : rig.near.sealNumbered(body, lane, 0);
    rig.near.send([record], { trafficClass: 3 });
    rig.settle();
    return rig;
  };

  it.each([LANE_RELIABLE, LANE_REALTIME])(
    'are the link’s on lane %i: reported to the peer, not to the packet',
    (lane) => {
      const rig = marked(lane);
      expect(rig.takeTun().map(ecn)).toEqual([2]);
      const view = new DataView(new ArrayBuffer(200));
      const { inbound } = rig.near.neighbour.hop!;
      expect(inbound.isDue(rig.time.now())).toBe(true);
      inbound.writeAcks(rig.time.now(), view, 0, 200);
      expect(view.getUint16(3 + 7)).toBe(1);
    },
  );

  it('are the packet’s on the best-effort lane', () => {
    expect(marked(LANE_BEST_EFFORT).takeTun().map(ecn)).toEqual([3]);
  });
});

it('a packet for others is none for this exit', () => {
  const exit = new Exit();
  exit.rig.near.send([
    exit.rig.near.sealNumbered(frame({ from: NEAR, to: SIDE, service: 1 }, inner(1)), LANE_RELIABLE, 0),
  ]);
  exit.rig.settle();
  expect(exit.delivered()).toEqual([]);
  expect(exit.rig.side.take()).toHaveLength(1);
});
