import { describe, expect, it } from 'vitest';

import { decodeError, ERROR_TOO_BIG } from '../../../src/overlay/wire/error.js';
import { FRAME_ERROR } from '../../../src/overlay/wire/routed.js';
import { frame, readFrame } from '../../support/forward/frames.js';
import { readIcmp } from '../../support/forward/icmp.js';
import { FAR, ForwardRig, NEAR, type Peer, SELF, SIDE } from '../../support/forward/rig.js';
import { MSS_1460, segment, SYN, transportChecksum } from '../../support/intercept/syn.js';
import { buildPacket, UDP } from '../../support/native-packets.js';

/** Around an inner packet: headers of record and routed frame, and the tag. */
const AROUND = 16 + 24 + 16;
const ROOM = 1300;

/** A rig whose links of `narrow` are known to carry inner packets of ROOM bytes and no more. */
function rigOf(splits: boolean, narrow: (rig: ForwardRig) => Peer): ForwardRig {
  const rig = new ForwardRig();
  rig.widths.splits = splits;
  Object.defineProperty(narrow(rig).neighbour.link, 'provenMax', {
    value: ROOM + AROUND,
    configurable: true,
  });
  return rig;
}

function packet(version: 4 | 6, from: number, to: number, length: number, dontFragment = true): Uint8Array {
  const headers = (version === 4 ? 20 : 40) + 8;
  const payload = new Uint8Array(length - headers);
  return buildPacket({ version, protocol: UDP, payload, from, to, checksum: 'whole', dontFragment });
}

const VERSIONS = [4, 6] as const;

describe.each(VERSIONS)('a packet too large for its link, with links.split off, IPv%i', (version) => {
  it('is refused at its entry with the size that would pass', () => {
    const rig = rigOf(false, ({ near }) => near);
    const inner = packet(version, SELF, FAR, ROOM + 1);
    rig.tun.inject(inner);
    rig.settle();
    expect(rig.near.take()).toEqual([]);
    expect(rig.drops()).toEqual({ 'too-big': 1 });
    const { type, code, mtu } = readIcmp(rig.takeTun()[0]);
    expect([type, code, mtu]).toEqual(version === 4 ? [3, 4, ROOM] : [2, 0, ROOM]);
  });

  it('is refused by a relay with an overlay error to its source', () => {
    const rig = rigOf(false, ({ side }) => side);
    rig.near.send([rig.near.seal(frame({ from: NEAR, to: SIDE }, packet(version, NEAR, SIDE, ROOM + 1)))]);
    rig.settle();
    expect(rig.side.take()).toEqual([]);
    const [{ body }] = rig.near.take();
    expect(readFrame(body)).toMatchObject({ type: FRAME_ERROR, from: SELF, to: NEAR });
    const error = decodeError(new DataView(body.buffer, body.byteOffset), 0, body.length);
    expect(error).toMatchObject({ code: ERROR_TOO_BIG, mtu: ROOM, destination: SIDE });
  });

  it('passes where it is just as large as that', () => {
    const rig = rigOf(false, ({ near }) => near);
    rig.tun.inject(packet(version, SELF, FAR, ROOM));
    rig.settle();
    expect(rig.near.take()).toHaveLength(1);
    expect(rig.drops()).toEqual({});
  });

  it('passes with links.split on', () => {
    const rig = rigOf(true, ({ near }) => near);
    rig.tun.inject(packet(version, SELF, FAR, ROOM + 1));
    rig.settle();
    expect(rig.near.take()).toHaveLength(1);
  });
});

it('an IPv4 packet that may be fragmented goes in pieces all the same', () => {
  const rig = rigOf(false, ({ near }) => near);
  rig.tun.inject(packet(4, SELF, FAR, ROOM + 1, false));
  rig.settle();
  expect(rig.near.take()).toHaveLength(1);
});

it('an IPv6 packet of 1280 bytes is never refused', () => {
  const rig = rigOf(false, ({ near }) => near);
  Object.defineProperty(rig.near.neighbour.link, 'provenMax', { value: 1100, configurable: true });
  rig.tun.inject(packet(6, SELF, FAR, 1280));
  rig.settle();
  expect(rig.near.take()).toHaveLength(1);
});

describe.each(VERSIONS)('the segment size that a SYN asks for, IPv%i', (version) => {
  const head = version === 4 ? 20 : 40;
  const mssOf = (bytes: Uint8Array) => (bytes[head + 22]! << 8) | bytes[head + 23]!;

  it.each([true, false])('fits the first link where it enters, links.split %s', (splits) => {
    const rig = rigOf(splits, ({ near }) => near);
    rig.tun.inject(segment(version, SYN, MSS_1460, { from: SELF, to: NEAR }));
    rig.settle();
    const [{ body }] = rig.near.take();
    expect(mssOf(body.subarray(24))).toBe(ROOM - head - 20);
  });

  it.each([true, false])('fits the last link where it leaves, links.split %s', (splits) => {
    const rig = rigOf(splits, ({ near }) => near);
    const syn = segment(version, SYN, MSS_1460, { from: FAR, to: SELF });
    rig.near.send([rig.near.seal(frame({ from: FAR, to: SELF }, syn))]);
    rig.settle();
    const [out] = rig.takeTun();
    expect(mssOf(out)).toBe(ROOM - head - 20);
    expect(transportChecksum(out, version)).toBe(0);
  });

  it('stays where the links carry all', () => {
    const rig = new ForwardRig();
    const syn = segment(version, SYN, MSS_1460, { from: FAR, to: SELF });
    rig.near.send([rig.near.seal(frame({ from: FAR, to: SELF }, syn))]);
    rig.settle();
    expect(mssOf(rig.takeTun()[0])).toBe(1460);
  });
});
