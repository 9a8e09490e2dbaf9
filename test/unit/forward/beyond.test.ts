/**
 * What doesn't stay in the overlay. Beside its overlay address 10.0.0.N node N has the real address 198.51.100.N; SIDE may be an exit:
 *
 *     SELF ── NEAR ── FAR        LOST: no way there
 *       └──── SIDE (exit)        203.0.113.9: nobody's
 */
import { describe, expect, it } from 'vitest';
import { Access } from '../../../src/intercept/access.js';
import type { Rule } from '../../../src/intercept/rules.js';
import { addressTable } from '../../../src/agent/destinations.js';
import { parseRulePrefix } from '../../../src/agent/config/address.js';
import { frame, readFrame } from '../../support/forward/frames.js';
import { readIcmp } from '../../support/forward/icmp.js';
import { FAR, ForwardRig, LOST, NEAR, type RigOptions, SELF, SIDE } from '../../support/forward/rig.js';
import { ipv4, udp } from '../intercept/packets.js';

const real = (node: number) => [198, 51, 100, node];
const inner = (node: number) => [10, 0, 0, node];
const OUTSIDE = [203, 0, 113, 9];
const packet = (source: number[], destination: number[], port = 2000) =>
  ipv4({ source, destination, ttl: 37, tos: 0x28, payload: udp(1000, port) });

const ruled = (to: string, action: Rule['action']): Rule => {
  const prefix = parseRulePrefix(to);
  if ('refusal' in prefix) throw new Error(prefix.refusal);
  return { match: { to: [prefix] }, action };
};

/** What became of a packet that came by the device. */
function sent(rig: ForwardRig, bytes: Uint8Array) {
  rig.tun.inject(bytes);
  rig.settle();
  return {
    near: rig.near.take().map(({ body }) => readFrame(body)),
    side: rig.side.take().map(({ body }) => readFrame(body)),
    direct: rig.io.resent.splice(0),
    icmp: rig.takeTun().map((answer) => readIcmp(answer)),
  };
}

const FALLBACK: RigOptions = { beyond: { fallback: true } };
const REFUSE: RigOptions = { beyond: { fallback: false } };

describe("a packet to another node's real address", () => {
  it('goes over the overlay as it is, from this node’s real address', () => {
    const bytes = packet(real(SELF), real(FAR));
    const { near, direct } = sent(new ForwardRig(FALLBACK), bytes);
    expect(near.map(({ to, payload }) => [to, payload])).toEqual([[FAR, bytes]]);
    expect(direct).toEqual([]);
  });

  it('goes directly where the overlay has no way, or its source is not ours, if it may', () => {
    for (const bytes of [packet(real(SELF), real(LOST)), packet(OUTSIDE, real(FAR))]) {
      const rig = new ForwardRig(FALLBACK);
      const { near, direct, icmp } = sent(rig, bytes);
      expect([near, direct, icmp]).toEqual([[], [bytes], []]);
      expect(rig.drops()).toEqual({});
    }
  });

  it('is told apart for who looks on: over the overlay, or directly', () => {
    const rig = new ForwardRig(FALLBACK);
    const seen: string[] = [];
    const note = (what: string) => () => void seen.push(what);
    rig.counters.watcher = {
      ...{ entered: note('entered'), left: note('left'), relayed: note('relayed') },
      ...{ dropped: note('dropped'), droppedInside: note('dropped') },
    };
    for (const node of [FAR, LOST]) sent(rig, packet(real(SELF), real(node)));
    expect(seen).toEqual(['entered', 'left']);
  });

  it('is refused there if it may not', () => {
    const rig = new ForwardRig(REFUSE);
    const { direct, icmp } = sent(rig, packet(real(SELF), real(LOST)));
    expect([direct, icmp.length]).toEqual([[], 1]);
    expect(sent(rig, packet(OUTSIDE, real(FAR))).direct).toEqual([]);
    expect(rig.drops()).toEqual({ 'no-path': 1, 'foreign-source': 1 });
  });

  it('goes directly where a rule says so', () => {
    const rig = new ForwardRig({ ...REFUSE, rules: [ruled('198.51.100.0/24', { do: 'direct' })] });
    const bytes = packet(real(SELF), real(FAR));
    expect(sent(rig, bytes).direct).toEqual([bytes]);
  });
});

describe('a packet to nobody', () => {
  it('goes directly, with source, TTL and DSCP as they were', () => {
    const rig = new ForwardRig(REFUSE);
    const bytes = packet(OUTSIDE, [203, 0, 113, 7]);
    expect(sent(rig, bytes).direct).toEqual([bytes]);
    expect([rig.counters.directPackets, rig.counters.directBytes]).toEqual([1, bytes.length]);
  });

  it('is refused or dropped where a rule says so', () => {
    const overlay = new ForwardRig({
      ...REFUSE,
      rules: [ruled('203.0.113.0/24', { do: 'overlay', service: 0 })],
    });
    expect(sent(overlay, packet(real(SELF), OUTSIDE))).toMatchObject({ direct: [], icmp: [{}] });
    const drop = new ForwardRig({ ...REFUSE, rules: [ruled('203.0.113.0/24', { do: 'drop' })] });
    expect(sent(drop, packet(real(SELF), OUTSIDE))).toMatchObject({ direct: [], icmp: [] });
    expect(drop.drops()).toEqual({ rule: 1 });
  });

  it('is refused to a user who may not use the overlay, where a rule leads it there, and only there', () => {
    const rig = new ForwardRig({
      ...REFUSE,
      rules: [ruled('203.0.113.9/32', { do: 'overlay', service: 0 })],
    });
    rig.entry.access = new Access({ overlay: { users: [1000], groups: [] }, services: {} });
    // The sender of what is injected isn't known.
    rig.entry.access.isBlind = true;
    expect(sent(rig, packet(real(SELF), OUTSIDE))).toMatchObject({ near: [], direct: [], icmp: [{}] });
    expect(rig.drops()).toEqual({ access: 1 });
    const elsewhere = packet(real(SELF), [203, 0, 113, 7]);
    expect(sent(rig, elsewhere)).toMatchObject({ direct: [elsewhere], icmp: [] });
    expect(rig.refused.length).toBe(1);
  });

  it('is refused where it is known to be a node’s, unless a rule sends it directly', () => {
    const bytes = packet(real(SELF), OUTSIDE);
    const rig = new ForwardRig(REFUSE);
    rig.entry.withheld = addressTable(['203.0.113.9']);
    expect(sent(rig, bytes)).toMatchObject({ direct: [], icmp: [{}] });
    expect(rig.drops()).toEqual({ 'no-path': 1 });
    const ruling = new ForwardRig({ ...REFUSE, rules: [ruled('203.0.113.9/32', { do: 'direct' })] });
    ruling.entry.withheld = addressTable(['203.0.113.9']);
    expect(sent(ruling, bytes)).toMatchObject({ direct: [bytes], icmp: [] });
  });

  it('goes directly if it goes to many, unless a rule drops it', () => {
    const bytes = packet(OUTSIDE, [239, 1, 2, 3]);
    expect(
      sent(new ForwardRig({ ...REFUSE, outside: { through: SIDE, forOthers: false } }), bytes).direct,
    ).toEqual([bytes]);
  });

  it('never leaves by a rule alone where its address is the overlay’s own', () => {
    const rig = new ForwardRig({ ...REFUSE, rules: [ruled('10.0.0.0/8', { do: 'direct' })] });
    expect(sent(rig, packet(inner(SELF), inner(FAR)))).toMatchObject({ direct: [], icmp: [{}] });
    expect(rig.drops()).toEqual({ 'direct-overlay': 1 });
  });
});

describe('an exit', () => {
  const client: RigOptions = { ...REFUSE, outside: { through: SIDE, forOthers: false } };
  const exit: RigOptions = { ...REFUSE, outside: { through: 0, forOthers: true } };
  const deliver = (rig: ForwardRig, peer: 'near' | 'side', from: number, bytes: Uint8Array): Uint8Array[] => {
    rig[peer].send([rig[peer].seal(frame({ from, to: SELF, ttl: 37 }, bytes))]);
    rig.settle();
    return rig.takeTun();
  };

  it('is given what is nobody’s', () => {
    const bytes = packet(inner(SELF), OUTSIDE);
    expect(sent(new ForwardRig(client), bytes).side.map(({ to, payload }) => [to, payload])).toEqual([
      [SIDE, bytes],
    ]);
  });

  it('is no exit without the role', () => {
    const rig = new ForwardRig({ ...REFUSE, outside: { through: NEAR, forOthers: false } });
    expect(sent(rig, packet(inner(SELF), OUTSIDE))).toMatchObject({ near: [], side: [] });
    expect(deliver(rig, 'near', NEAR, packet(OUTSIDE, inner(SELF)))).toEqual([]);
  });

  it('alone may send answers from outside addresses', () => {
    const rig = new ForwardRig(client);
    const answer = packet(OUTSIDE, inner(SELF));
    expect(deliver(rig, 'side', SIDE, answer)).toEqual([answer]);
    expect(deliver(rig, 'near', NEAR, answer)).toEqual([]);
    expect(deliver(rig, 'side', SIDE, packet(inner(FAR), inner(SELF)))).toEqual([]);
    expect(deliver(rig, 'side', SIDE, packet(real(FAR), inner(SELF)))).toEqual([]);
    expect(rig.drops()).toEqual({ 'foreign-source': 3 });
  });

  it('hands others’ packets to the host, but to no address of the link or of many', () => {
    const rig = new ForwardRig(exit);
    const out = packet(inner(FAR), OUTSIDE);
    expect(deliver(rig, 'near', FAR, out)).toEqual([out]);
    for (const destination of [
      [169, 254, 1, 1],
      [224, 0, 0, 5],
      [127, 0, 0, 1],
      [10, 0, 0, 77],
    ])
      expect(deliver(rig, 'near', FAR, packet(inner(FAR), destination))).toEqual([]);
    expect(rig.drops()).toEqual({ 'foreign-destination': 4 });
  });

  it('sends what comes back to whom it is for, and nobody else may', () => {
    const back = packet(OUTSIDE, inner(FAR));
    expect(sent(new ForwardRig(exit), back).near.map(({ to }) => to)).toEqual([FAR]);
    const rig = new ForwardRig();
    expect(sent(rig, back).near).toEqual([]);
    expect(rig.drops()).toEqual({ 'foreign-source': 1 });
  });
});
