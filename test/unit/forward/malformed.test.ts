/** Inner packets that no honest host sends, at both ends of the overlay: each is dropped, and counted by what is wrong with it. */
import { describe, expect, it } from 'vitest';
import { frame } from '../../support/forward/frames.js';
import { overlayAddress } from '../../support/forward/icmp.js';
import { FAR, ForwardRig, SELF } from '../../support/forward/rig.js';
import { ipv4, ipv6, udp } from '../intercept/packets.js';

const zeros = (length: number) => new Array<number>(length).fill(0);
/** More extension headers (destination options, each before another) than any honest packet has. */
const chained = Array.from({ length: 9 }, () => [60, 0, 1, 4, ...zeros(4)]).flat();
const FRAGMENT_MORE = 0x2000;

/** Packets from node `from` to node `to`, of which all are dropped for the reason but as many as `pass`. */
interface Case {
  readonly reason: string;
  readonly pass?: number;
  packets(from: number, to: number): Uint8Array[];
}

const four = (from: number, to: number) => ({
  source: overlayAddress(4, from),
  destination: overlayAddress(4, to),
});
const six = (from: number, to: number) => ({
  source: overlayAddress(6, from),
  destination: overlayAddress(6, to),
});

const CASES: readonly Case[] = [
  { reason: 'inner-short', packets: () => [Uint8Array.of(0x45, 0, 0)] },
  { reason: 'inner-version', packets: (a, b) => [ipv4(four(a, b)).with(0, 0x55)] },
  { reason: 'inner-header-length', packets: (a, b) => [ipv4(four(a, b)).with(0, 0x44)] },
  {
    reason: 'inner-total-length',
    packets: (a, b) => [ipv4({ ...four(a, b), payload: udp(1, 2) }).with(3, 200)],
  },
  {
    reason: 'inner-fragment',
    packets: (a, b) => [ipv4({ ...four(a, b), fragment: 0x1fff, payload: zeros(16) })],
  },
  {
    reason: 'inner-extension-header',
    packets: (a, b) => [ipv6({ ...six(a, b), next: 60, payload: [...chained, ...udp(1, 2)] })],
  },
  { reason: 'inner-transport-header', packets: (a, b) => [ipv4({ ...four(a, b), payload: [1, 2, 3] })] },
  {
    // The second lies over the first's end.
    reason: 'inner-overlap',
    pass: 1,
    packets: (a, b) => [
      ipv4({ ...four(a, b), fragment: FRAGMENT_MORE, payload: [...udp(1, 2), ...zeros(24)] }),
      ipv4({ ...four(a, b), fragment: 2, payload: zeros(32) }),
    ],
  },
  {
    reason: 'martian',
    packets: (a, b) => [
      ipv4({ ...four(a, b), source: [224, 0, 0, 1], payload: udp(1, 2) }),
      ipv4({ ...four(a, b), source: [127, 0, 0, 1], payload: udp(1, 2) }),
    ],
  },
  {
    reason: 'foreign-source',
    packets: (a, b) => [ipv4({ ...four(a, b), source: [10, 0, 0, 99], payload: udp(1, 2) })],
  },
];

describe.each(CASES)('$reason', ({ reason, pass = 0, packets }) => {
  it('is what a packet from the device is counted by', () => {
    const rig = new ForwardRig();
    const sent = packets(SELF, FAR);
    for (const packet of sent) rig.tun.inject(packet);
    rig.settle();
    expect(rig.drops()).toEqual({ [reason]: sent.length - pass });
    expect(rig.near.take()).toHaveLength(pass);
  });

  it('is what a packet from the overlay is counted by', () => {
    const rig = new ForwardRig();
    const sent = packets(FAR, SELF);
    rig.near.send(sent.map((packet) => rig.near.seal(frame({ from: FAR, to: SELF }, packet))));
    rig.settle();
    expect(rig.drops()).toEqual({ [reason]: sent.length - pass });
    expect(rig.takeTun()).toHaveLength(pass);
  });
});
