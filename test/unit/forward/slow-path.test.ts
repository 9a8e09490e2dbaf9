import { describe, expect, it } from 'vitest';
import {
  ECHO_MAX_HOPS,
  ECHO_MIN_SIZE,
  appendEchoHop,
  decodeEcho,
  turnEcho,
  writeEchoBody,
} from '../../../src/overlay/wire/echo.js';
import {
  ERROR_NO_ROUTE,
  ERROR_PROHIBITED,
  ERROR_TOO_BIG,
  ERROR_TTL_EXCEEDED,
} from '../../../src/overlay/wire/error.js';
import { FRAME_ECHO_REPLY, FRAME_ECHO_REQUEST, writeRoutedHeader } from '../../../src/overlay/wire/routed.js';
import { errorFrame, readFrame } from '../../support/forward/frames.js';
import { overlayAddress, readIcmp } from '../../support/forward/icmp.js';
import { FAR, ForwardRig, LOST, NEAR, SELF, SIDE } from '../../support/forward/rig.js';
import { buildPacket, type PacketSpec, TCP, UDP } from '../../support/native-packets.js';

function arrive(rig: ForwardRig, ...bodies: Uint8Array[]): void {
  rig.near.send(bodies.map((body) => rig.near.seal(body, 0)));
  rig.settle();
}

describe.each([4, 6] as const)('an error frame about an IPv%i packet of ours', (version) => {
  const packet = (more: Partial<PacketSpec> = {}) =>
    buildPacket({
      version,
      protocol: UDP,
      payload: new Uint8Array(200).fill(5),
      from: SELF,
      to: FAR,
      checksum: 'whole',
      ...more,
    });
  const send = (rig: ForwardRig, ...packets: Uint8Array[]): void => {
    for (const each of packets) rig.tun.inject(each);
    rig.settle();
  };

  it.each([
    [ERROR_NO_ROUTE, [3, 1], [1, 3]],
    [ERROR_TTL_EXCEEDED, [11, 0], [3, 0]],
    [ERROR_PROHIBITED, [3, 13], [1, 1]],
    [ERROR_TOO_BIG, [3, 4], [2, 0]],
  ])('of code %i becomes the ICMP error that a router would send, from the reporter', (code, four, sixth) => {
    const rig = new ForwardRig();
    send(rig, packet());
    arrive(rig, errorFrame(NEAR, SELF, code, FAR, 1, code === ERROR_TOO_BIG ? 1300 : 0));
    const [answer] = rig.takeTun();
    const icmp = readIcmp(answer);
    expect([icmp.type, icmp.code]).toEqual(version === 4 ? four : sixth);
    expect(icmp.mtu).toBe(code === ERROR_TOO_BIG ? 1300 : 0);
    expect([icmp.from, icmp.to]).toEqual([overlayAddress(version, NEAR), overlayAddress(version, SELF)]);
    expect(icmp.quoted).toEqual(packet().subarray(0, 96));
    expect(rig.drops()).toEqual({});
  });

  it('quotes the packet that it names and no other, as often as it is named', () => {
    const rig = new ForwardRig();
    send(rig, ...[1, 2, 3].map((sourcePort) => packet({ sourcePort })));
    arrive(rig, ...[2, 3, 2].map((sequence) => errorFrame(NEAR, SELF, 2, FAR, sequence)));
    const at = version === 4 ? 21 : 41;
    expect(rig.takeTun().map((bytes) => readIcmp(bytes).quoted[at])).toEqual([2, 3, 2]);
  });

  it('finds the head of an offloaded packet by any of its segments', () => {
    const rig = new ForwardRig();
    const spec: Partial<PacketSpec> = { protocol: TCP, payload: new Uint8Array(3000), checksum: 'partial' };
    const start = version === 4 ? 20 : 40;
    rig.tun.inject(packet(spec), {
      flags: 1,
      gsoType: version === 4 ? 1 : 4,
      gsoSize: 1000,
      headerLength: start + 20,
      csumStart: start,
    });
    rig.settle();
    arrive(rig, errorFrame(NEAR, SELF, 2, FAR, 3), errorFrame(NEAR, SELF, 2, FAR, 4));
    const [answer, ...more] = rig.takeTun();
    expect(readIcmp(answer).quoted).toEqual(packet(spec).subarray(0, 96));
    expect(more).toEqual([]);
  });

  it('says nothing where the packet is not ours, or was never sent there', () => {
    const rig = new ForwardRig();
    send(rig, packet());
    arrive(
      rig,
      errorFrame(NEAR, SELF, 2, FAR, 2),
      errorFrame(NEAR, SELF, 2, NEAR, 1),
      errorFrame(NEAR, SELF, 2, FAR, 0),
    );
    expect(rig.takeTun()).toEqual([]);
  });

  // The kernel believes no IPv4 packet from outside in one of its own names.
  it(`from a node without an address of the family speaks for ${version === 4 ? "the packet's destination" : 'us'}`, () => {
    const rig = new ForwardRig();
    send(rig, packet());
    arrive(rig, errorFrame(version === 4 ? 4711 : LOST, SELF, 2, FAR, 1));
    expect(readIcmp(rig.takeTun()[0]).from).toEqual(overlayAddress(version, version === 4 ? FAR : SELF));
  });

  it('is turned into ICMP no oftener than the bucket allows', () => {
    const rig = new ForwardRig({ tokens: 4 });
    send(rig, packet());
    arrive(rig, ...Array.from({ length: 10 }, () => errorFrame(NEAR, SELF, 2, FAR, 1)));
    expect(rig.takeTun()).toHaveLength(4);
    expect(rig.drops()).toEqual({ 'error-flood': 6 });
  });
});

interface EchoFields {
  type?: number;
  ttl?: number;
  from: number;
  to: number;
  hops?: readonly number[];
  /** Of `hops`, how many are the way there. */
  there?: number;
  sequence?: number;
}

function echo({
  type = FRAME_ECHO_REQUEST,
  ttl = 64,
  from,
  to,
  hops = [],
  there,
  sequence = 3,
}: EchoFields): Uint8Array {
  const view = new DataView(new ArrayBuffer(1200));
  writeRoutedHeader(view, 0, FRAME_ECHO_REQUEST, 0, 0, 0, ttl, from, to, 0, 0, sequence, 0);
  let length = writeEchoBody(view, 0, 11, 22, 1000);
  const append = (node: number): void => {
    length = appendEchoHop(view, 0, length, 1200, node);
  };
  hops.slice(0, there ?? hops.length).forEach(append);
  if (type === FRAME_ECHO_REPLY) turnEcho(view, 0);
  hops.slice(there ?? hops.length).forEach(append);
  return new Uint8Array(view.buffer, 0, length);
}

const decoded = (body: Uint8Array) => decodeEcho(new DataView(body.buffer, body.byteOffset), 0, body.length);

describe('an echo', () => {
  it('for this node comes back to its source, the way there filled in', () => {
    const rig = new ForwardRig();
    arrive(rig, echo({ from: FAR, to: SELF, hops: [NEAR], sequence: 9 }));
    const [{ body, lane }] = rig.near.take();
    expect(lane).toBe(0);
    const { type, from, to, ttl, sequence } = readFrame(body);
    expect([type, from, to, ttl, sequence]).toEqual([FRAME_ECHO_REPLY, SELF, FAR, 64, 9]);
    expect(decoded(body)).toEqual({
      type: 'echo',
      identifier: 11,
      number: 22,
      clock: 1000,
      there: [NEAR, SELF],
      back: [],
    });
  });

  it('passing through has this node appended and one less of TTL, in either direction', () => {
    const rig = new ForwardRig();
    arrive(
      rig,
      echo({ from: FAR, to: SIDE, hops: [NEAR], ttl: 5 }),
      echo({ type: FRAME_ECHO_REPLY, from: FAR, to: SIDE, hops: [7, FAR, NEAR], there: 2, ttl: 6 }),
    );
    const [request, reply] = rig.side.take().map(({ body }) => body);
    expect(decoded(request)).toMatchObject({ there: [NEAR, SELF], back: [] });
    expect(decoded(reply)).toMatchObject({ there: [7, FAR], back: [NEAR, SELF] });
    expect([readFrame(request).ttl, readFrame(reply).ttl]).toEqual([4, 5]);
  });

  it('that finds the socket full is counted', () => {
    const rig = new ForwardRig();
    rig.udp.room = 0;
    arrive(rig, echo({ from: FAR, to: SIDE }));
    expect(rig.drops()).toEqual({ 'queue-full': 1 });
  });

  it('with a full list goes on as it is', () => {
    const rig = new ForwardRig();
    const hops = Array.from({ length: ECHO_MAX_HOPS }, (_, i) => 1000 + i);
    arrive(rig, echo({ from: FAR, to: SIDE, hops }), echo({ from: FAR, to: SELF, hops }));
    expect(decoded(rig.side.take()[0].body)).toMatchObject({ there: hops });
    expect(decoded(rig.near.take()[0].body)).toMatchObject({ there: hops, back: [] });
  });

  it('of ours reaches the mesh, and its answer the one who asked', () => {
    const rig = new ForwardRig();
    rig.settle(500);
    expect(rig.slow.sendEcho(rig.time.now(), FAR, 11, 22, 33)).toBe(1);
    rig.settle();
    const [{ body }] = rig.near.take();
    expect(readFrame(body)).toMatchObject({
      type: FRAME_ECHO_REQUEST,
      from: SELF,
      to: FAR,
      ttl: 33,
      sequence: 1,
    });
    expect(body).toHaveLength(ECHO_MIN_SIZE);
    rig.settle(700);
    arrive(
      rig,
      echo({ type: FRAME_ECHO_REPLY, from: FAR, to: SELF, hops: [NEAR, FAR, NEAR], there: 2, ttl: 63 }),
    );
    const [answer] = rig.answers;
    expect(answer).toMatchObject({
      identifier: 11,
      number: 22,
      from: FAR,
      there: [NEAR, FAR],
      back: [NEAR, SELF],
    });
    expect(answer.ttl).toBe(63);
    expect(answer.rttMicros).toBe(rig.time.now() - 1 - 1000);
  });

  it('of ours that is refused on the way is named by destination and sequence', () => {
    const rig = new ForwardRig();
    rig.slow.sendEcho(0, NEAR, 1, 1, 64);
    rig.slow.sendEcho(0, FAR, 1, 2, 64);
    rig.slow.sendEcho(0, FAR, 1, 3, 64);
    arrive(rig, errorFrame(NEAR, SELF, ERROR_NO_ROUTE, FAR, 2));
    expect(rig.refusals).toEqual([{ destination: FAR, sequence: 2, from: NEAR, code: ERROR_NO_ROUTE }]);
    expect(rig.takeTun()).toEqual([]);
  });

  it('of ours goes nowhere without a path', () => {
    const rig = new ForwardRig();
    expect(rig.slow.sendEcho(0, LOST, 1, 1, 64)).toBe(-1);
    expect(rig.slow.sendEcho(0, 4711, 1, 1, 64)).toBe(-1);
    rig.near.neighbour.up = false;
    expect(rig.slow.sendEcho(0, FAR, 1, 1, 64)).toBe(-1);
  });

  it('whose source cannot be reached gets no answer', () => {
    const rig = new ForwardRig();
    arrive(rig, echo({ from: LOST, to: SELF }));
    expect(rig.drops()).toEqual({ 'no-route': 1 });
    expect(rig.near.take()).toEqual([]);
  });

  it('whose TTL ends here is refused like data', () => {
    const rig = new ForwardRig();
    arrive(rig, echo({ from: FAR, to: SIDE, ttl: 1 }));
    expect(rig.drops()).toEqual({ 'ttl-exceeded': 1 });
    expect(readFrame(rig.near.take()[0].body).to).toBe(FAR);
  });

  it('longer than its list says goes no further', () => {
    const rig = new ForwardRig();
    const long = Uint8Array.of(...echo({ from: FAR, to: SIDE }), 0);
    arrive(rig, long);
    expect(rig.drops()).toEqual({ 'frame-malformed': 1 });
    expect(rig.side.take()).toEqual([]);
  });

  it('or error beyond the size of a control record is not copied onward', () => {
    const rig = new ForwardRig();
    const huge = new Uint8Array(1400);
    huge.set(errorFrame(FAR, SIDE, 1, SIDE, 1));
    arrive(rig, huge);
    expect(rig.drops()).toEqual({ 'frame-malformed': 1 });
  });
});
