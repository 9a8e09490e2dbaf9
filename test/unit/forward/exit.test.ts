import { describe, expect, it } from 'vitest';
import { PACKET_PARTIAL } from '../../../src/io/batch.js';
import { FLAG_GROUP, FLAG_PARTIAL, FLAG_SEALED } from '../../../src/overlay/wire/routed.js';
import { frame } from '../../support/forward/frames.js';
import { FAR, ForwardRig, NEAR, rigTables, SELF, SIDE } from '../../support/forward/rig.js';
import { buildPacket, checksumsHold, type PacketSpec, TCP, UDP } from '../../support/native-packets.js';
import { ipv4, udp } from '../intercept/packets.js';

describe.each([4, 6] as const)('a data frame for this node, IPv%i inside', (version) => {
  const packet = (more: Partial<PacketSpec> = {}) =>
    buildPacket({
      version,
      protocol: UDP,
      payload: Uint8Array.of(1, 2, 3),
      from: FAR,
      to: SELF,
      checksum: 'whole',
      ...more,
    });
  const deliver = (rig: ForwardRig, fields: object, ...packets: Uint8Array[]): void => {
    rig.near.send(packets.map((each) => rig.near.seal(frame({ from: FAR, to: SELF, ...fields }, each))));
    rig.settle();
  };

  it('comes out as it went in where its TTL did not change', () => {
    const rig = new ForwardRig();
    deliver(rig, { ttl: 64 }, packet());
    expect(rig.takeTun()).toEqual([packet()]);
    expect([rig.counters.tunWrittenPackets, rig.counters.tunWrittenBytes]).toEqual([1, packet().length]);
  });

  it("has the frame's TTL written into it, and its checksum stays right", () => {
    const rig = new ForwardRig();
    deliver(rig, { ttl: 61 }, packet());
    const [out] = rig.takeTun();
    expect(out).toEqual(packet({ ttl: 61 }));
    expect(checksumsHold(out)).toBe(true);
  });

  // RFC 6040 §4.2, figure 4: rows are the inner ECN, columns the frame's 00, 01, 10, 11.
  const LOSES = -1;
  it.each([
    [0, [0, 0, 0, LOSES]],
    [1, [1, 1, 1, 3]],
    [2, [2, 1, 2, 3]],
    [3, [3, 3, 3, 3]],
  ])('with inner ECN %i comes out as RFC 6040 says', (inside, expected) => {
    const outcome = [0, 1, 2, 3].map((ecn) => {
      const rig = new ForwardRig();
      deliver(rig, { ecn }, packet({ tos: 0x48 | inside }));
      const [out] = rig.takeTun();
      if (!out) {
        expect(rig.drops()).toEqual({ ecn: 1 });
        return LOSES;
      }
      expect(checksumsHold(out)).toBe(true);
      const trafficClass = version === 4 ? out[1] : ((out[0] & 15) << 4) | (out[1] >> 4);
      expect(trafficClass & 0xfc).toBe(0x48);
      return trafficClass & 3;
    });
    expect(outcome).toEqual(expected);
  });

  it('keeps a partial checksum partial, and says so to the device', () => {
    const rig = new ForwardRig();
    const inner = packet({ protocol: TCP, checksum: 'partial' });
    deliver(rig, { flags: FLAG_PARTIAL }, inner);
    deliver(rig, {}, packet());
    expect(rig.tun.output.map(({ partial }) => partial)).toEqual([true, false]);
    expect(rig.tun.output[0].bytes).toEqual(inner);
  });

  it("is dropped where the inner source is not its sender's", () => {
    const rig = new ForwardRig();
    deliver(rig, {}, packet({ from: SIDE }), packet({ from: SELF }), packet({ from: 99 }), packet());
    expect(rig.drops()).toEqual({ 'foreign-source': 3 });
    expect(rig.takeTun()).toEqual([packet()]);
  });

  it('is dropped where it claims to come from this node itself', () => {
    const rig = new ForwardRig();
    const forged = rig.near.seal(frame({ from: SELF, to: SELF }, packet({ from: SELF })));
    rig.near.send([forged]);
    rig.settle();
    expect(rig.drops()).toEqual({ 'foreign-source': 1 });
    expect(rig.takeTun()).toEqual([]);
  });

  it('is dropped where it is for a group or sealed end to end, which this version cannot deliver', () => {
    const rig = new ForwardRig();
    for (const flags of [FLAG_GROUP, FLAG_SEALED]) deliver(rig, { flags }, packet());
    expect(rig.drops()).toEqual({ 'frame-unknown': 2 });
    expect(rig.takeTun()).toEqual([]);
  });

  it('is judged by the sender anew after one that was good', () => {
    const rig = new ForwardRig();
    const from = (node: number) => rig.near.seal(frame({ from: node, to: SELF }, packet()));
    rig.near.send([from(FAR), from(NEAR), from(FAR)]);
    rig.settle();
    expect(rig.drops()).toEqual({ 'foreign-source': 1 });
    expect(rig.takeTun()).toHaveLength(2);
  });

  it('is judged by the tables of the day', () => {
    const rig = new ForwardRig();
    deliver(rig, {}, packet());
    rig.routes.install(rigTables({ [SELF]: SELF, [NEAR]: NEAR, [SIDE]: SIDE }));
    deliver(rig, {}, packet());
    expect(rig.drops()).toEqual({ 'foreign-source': 1 });
    expect(rig.takeTun()).toHaveLength(1);
  });

  it('is dropped where the inner destination is not ours', () => {
    const rig = new ForwardRig();
    deliver(rig, {}, packet({ to: SIDE }), packet({ to: 99 }), packet());
    expect(rig.drops()).toEqual({ 'foreign-destination': 2 });
    expect(rig.takeTun()).toHaveLength(1);
  });

  it('is dropped where its lengths lie, in either direction', () => {
    const rig = new ForwardRig();
    const lying = packet();
    lying[version === 4 ? 3 : 5] += 1;
    deliver(rig, {}, lying, packet().subarray(0, 20), Uint8Array.of(...packet(), 9, 9, 9), packet());
    const short = version === 4 ? 'inner-total-length' : 'inner-short';
    const lies = { 'inner-total-length': version === 4 ? 3 : 2 };
    expect(rig.drops()).toEqual({ ...lies, [short]: version === 4 ? 3 : 1 });
    expect(rig.takeTun()).toEqual([packet()]);
  });
});

describe('a device that takes nothing', () => {
  it('is counted, packet by packet', () => {
    const rig = new ForwardRig();
    rig.tun.close();
    const inner = ipv4({ source: [10, 0, 0, FAR], destination: [10, 0, 0, SELF], payload: udp(1, 2) });
    rig.near.send([1, 2, 3].map(() => rig.near.seal(frame({ from: FAR, to: SELF }, inner))));
    rig.settle();
    expect(rig.drops()).toEqual({ 'tun-refused': 3 });
    expect(rig.counters.tunWrittenPackets).toBe(0);
  });
});

describe('a packet of a subnet', () => {
  it('may come from the node that owns the subnet, and from no other', () => {
    const rig = new ForwardRig();
    const inner = ipv4({ source: [10, 0, 20, 7], destination: [10, 0, 0, SELF], payload: udp(1, 2) });
    for (const from of [FAR, NEAR]) rig.near.send([rig.near.seal(frame({ from, to: SELF }, inner))]);
    rig.settle();
    expect(rig.takeTun()).toEqual([inner]);
    expect(rig.drops()).toEqual({ 'foreign-source': 1 });
  });

  it('keeps its flags for the device apart from those of other packets of the batch', () => {
    const rig = new ForwardRig();
    const inner = ipv4({ source: [10, 0, 0, FAR], destination: [10, 0, 0, SELF], payload: udp(1, 2) });
    rig.near.send(
      [0, FLAG_PARTIAL, 0].map((flags) => rig.near.seal(frame({ from: FAR, to: SELF, flags }, inner))),
    );
    rig.settle();
    expect(rig.tun.output.map(({ partial }) => Number(partial) * PACKET_PARTIAL)).toEqual([0, 1, 0]);
  });
});
