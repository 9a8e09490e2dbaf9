import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { PacketBatch } from '../../../src/io/batch.js';
import {
  createBatch,
  ENDPOINT_INTERFACE,
  ENDPOINT_LOCAL,
  ENDPOINT_PORT,
  ENDPOINT_WORDS,
} from '../../../src/io/batch.js';
import { loadNative, nativeAvailable } from '../../../src/io/native.js';
import type { UdpOptions, UdpSocket } from '../../../src/io/ports.js';

const MAPPED = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255];
const LOOPBACK = { 4: [...MAPPED, 127, 0, 0, 1], 6: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1] };
const MESSAGES = 8;

const open: UdpSocket[] = [];
function socket(options: Partial<UdpOptions> = {}): UdpSocket {
  const made = loadNative().createUdp({ host: '::', port: 0, mark: 0, slots: 4, ...options }) as UdpSocket;
  open.push(made);
  return made;
}
afterEach(() => {
  for (const each of open.splice(0)) each.close();
});

/** Writes raw address bytes and a port into a slot; `local` is the source address to send from. */
function setEndpoint(from: UdpSocket, slot: number, address: number[], port: number, local?: number[]): void {
  const words = from.endpoints.subarray(slot * ENDPOINT_WORDS, (slot + 1) * ENDPOINT_WORDS).fill(0);
  const raw = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  raw.set(address, 0);
  words[ENDPOINT_PORT] = port;
  if (local !== undefined) raw.set(local, ENDPOINT_LOCAL * 4);
}

function addressAt(words: Uint32Array, from: number): number[] {
  return [...new Uint8Array(words.buffer, words.byteOffset + from * 4, 16)];
}

interface Datagram {
  size: number;
  slot?: number;
  trafficClass?: number;
}

/** A batch of datagrams whose bytes are their index and position, `gap` bytes apart. */
function outgoing(datagrams: Datagram[], gap = 0): { batch: PacketBatch; order: Int32Array } {
  const batch = createBatch(
    datagrams.reduce((sum, { size }) => sum + size + gap, 1),
    datagrams.length,
  );
  let at = 0;
  datagrams.forEach(({ size, slot = 0, trafficClass = 0 }, i) => {
    batch.offset[i] = at;
    batch.length[i] = size;
    batch.endpoint[i] = slot;
    batch.trafficClass[i] = trafficClass;
    for (let k = 0; k < size; k++) batch.bytes[at + k] = (i * 7 + k) & 255;
    at += size + gap;
  });
  return { batch, order: Int32Array.from(datagrams.keys()) };
}

function incoming(): PacketBatch {
  return createBatch(MESSAGES * 65536, MESSAGES * 128, MESSAGES);
}

interface Received {
  bytes: Uint8Array;
  trafficClass: number;
  remotePort: number;
  remote: number[];
  local: number[];
  interface: number;
}

/** Waits for `count` datagrams. */
async function receive(on: UdpSocket, count: number): Promise<Received[]> {
  const batch = incoming();
  const got: Received[] = [];
  await new Promise<void>((resolve) => {
    on.onReadable(() => {
      on.read(batch);
      for (let i = 0; i < batch.count; i++) {
        const words = batch.endpoints.subarray(
          batch.source[i]! * ENDPOINT_WORDS,
          (batch.source[i]! + 1) * ENDPOINT_WORDS,
        );
        got.push({
          bytes: batch.bytes.slice(batch.offset[i], batch.offset[i]! + batch.length[i]!),
          trafficClass: batch.trafficClass[i]!,
          remote: addressAt(words, 0),
          remotePort: words[ENDPOINT_PORT]!,
          local: addressAt(words, ENDPOINT_LOCAL),
          interface: words[ENDPOINT_INTERFACE]!,
        });
      }
      if (got.length >= count) resolve();
    });
  });
  return got;
}

describe.skipIf(!nativeAvailable())('UDP in native/', () => {
  it.each([4, 6] as const)(
    'one socket carries IPv%s: addresses, ports and traffic class both ways',
    async (family) => {
      const [a, b] = [socket(), socket()];
      setEndpoint(a, 1, LOOPBACK[family], b.port);
      const { batch, order } = outgoing([
        { size: 100, slot: 1, trafficClass: 0xb9 },
        { size: 0x200, slot: 1, trafficClass: 0 },
        { size: 5, slot: 1, trafficClass: 3 },
      ]);
      expect(a.send(batch, order, 3)).toBe(3);
      const got = await receive(b, 3);
      expect(got.map((d) => [d.bytes.length, d.trafficClass])).toEqual([
        [100, 0xb9],
        [0x200, 0],
        [5, 3],
      ]);
      expect(got[0]!.bytes[99]).toBe(99);
      for (const datagram of got) {
        expect(datagram.remote).toEqual(LOOPBACK[family]);
        expect(datagram.remotePort).toBe(a.port);
        expect(datagram.local).toEqual(LOOPBACK[family]);
        expect(datagram.interface).toBeGreaterThan(0);
      }
    },
  );

  it('an answer leaves from the address that was asked', async () => {
    const [a, b] = [socket(), socket()];
    const asked = [...MAPPED, 127, 9, 8, 7];
    setEndpoint(a, 0, asked, b.port);
    const ask = outgoing([{ size: 10 }]);
    a.send(ask.batch, ask.order, 1);
    const [question] = await receive(b, 1);
    expect(question!.local).toEqual(asked);
    setEndpoint(b, 2, question!.remote, question!.remotePort, question!.local);
    const answer = outgoing([{ size: 11, slot: 2 }]);
    b.send(answer.batch, answer.order, 1);
    expect((await receive(a, 1))[0]!.remote).toEqual(asked);
  });

  it('every datagram arrives whole and in order, however many of them coalesce', async () => {
    const [a, b] = [socket({ receiveBuffer: 4 << 20 }), socket({ receiveBuffer: 4 << 20 })];
    setEndpoint(a, 0, LOOPBACK[4], b.port);
    setEndpoint(a, 1, LOOPBACK[6], b.port);
    const run = fc.record({
      size: fc.integer({ min: 1, max: 1472 }),
      count: fc.integer({ min: 1, max: 70 }),
      slot: fc.nat(1),
    });
    const runs = fc.array(run, { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(runs, fc.constantFrom(0, 56), async (list, gap) => {
        const datagrams = list.flatMap(({ size, count, slot }) =>
          Array.from({ length: count }, () => ({ size, slot })),
        );
        const { batch, order } = outgoing(datagrams, gap);
        expect(a.send(batch, order, order.length)).toBe(order.length);
        const got = await receive(b, datagrams.length);
        // Order holds within a family.
        for (const slot of [0, 1]) {
          const sent = datagrams.flatMap((d, i) =>
            d.slot === slot ? [batch.bytes.slice(batch.offset[i], batch.offset[i]! + d.size)] : [],
          );
          const arrived = got.filter((d) => d.remote[10] === (slot === 0 ? 255 : 0)).map((d) => d.bytes);
          expect(arrived.length).toBe(sent.length);
          sent.forEach((bytes, i) => expect(Buffer.compare(arrived[i]!, bytes)).toBe(0));
        }
      }),
      { numRuns: 25 },
    );
    expect(a.sendErrors.count).toBe(0);
  });

  it('equal datagrams arrive as one coalesced message where the kernel can, contiguous in the arena', async () => {
    const [a, b] = [socket(), socket()];
    if (!a.features.gso || !b.features.gro) return;
    setEndpoint(a, 0, LOOPBACK[6], b.port);
    const { batch, order } = outgoing(
      [...Array.from({ length: 20 }, () => ({ size: 1200 })), { size: 77 }],
      9,
    );
    a.send(batch, order, 21);
    const into = incoming();
    await new Promise<void>((resolve) => b.onReadable(resolve));
    expect(b.read(into)).toBe(21);
    expect([...into.source.subarray(0, 21)]).toEqual(Array.from({ length: 21 }, () => 0));
    for (let i = 1; i < 21; i++) expect(into.offset[i]).toBe(into.offset[i - 1]! + into.length[i - 1]!);
    expect(into.length[20]).toBe(77);
  });

  it('works with every offload off', async () => {
    const offloads = { gso: false, gro: false };
    const [a, b] = [socket({ offloads }), socket({ offloads })];
    expect(a.features).toMatchObject({ gso: false, gro: false, pktinfo: true });
    setEndpoint(a, 0, LOOPBACK[4], b.port);
    const { batch, order } = outgoing(Array.from({ length: 40 }, () => ({ size: 900 })));
    expect(a.send(batch, order, 40)).toBe(40);
    expect(await receive(b, 40)).toHaveLength(40);
  });

  it('an IPv4 host gets an IPv4 socket with mapped addresses', async () => {
    const [a, b] = [socket({ host: '127.0.0.1' }), socket({ host: '127.0.0.1' })];
    setEndpoint(a, 0, LOOPBACK[4], b.port, LOOPBACK[4]);
    setEndpoint(a, 1, LOOPBACK[6], b.port);
    const { batch, order } = outgoing([
      { size: 30, slot: 1 },
      { size: 31, trafficClass: 0x2e },
    ]);
    expect(a.send(batch, order, 2)).toBe(2);
    const [only] = await receive(b, 1);
    expect(only).toMatchObject({ remote: LOOPBACK[4], local: LOOPBACK[4], trafficClass: 0x2e });
    expect(a.sendErrors).toMatchObject({ count: 1, lastCode: 'EAFNOSUPPORT' });
  });

  it('a datagram that cannot go is counted and skipped, the others go', async () => {
    const [a, b] = [socket(), socket()];
    setEndpoint(a, 0, LOOPBACK[4], b.port);
    setEndpoint(a, 1, [...MAPPED, 255, 255, 255, 255], b.port); // broadcast is not allowed
    const { batch, order } = outgoing([
      { size: 10 },
      { size: 11, slot: 1 },
      { size: 12 },
      { size: 13, slot: 3 },
      { size: 14 },
    ]);
    batch.endpoint[3] = 99;
    batch.offset[2] = 1 << 20;
    expect(a.send(batch, order, 5)).toBe(5);
    const got = await receive(b, 2);
    expect(got.map((d) => d.bytes.length)).toEqual([10, 14]);
    expect(a.sendErrors.count).toBe(3);
    expect(['ERANGE', 'EACCES']).toContain(a.sendErrors.lastCode);
  });

  it('forgets a source address that the host does not have, and sends all the same', async () => {
    const [a, b] = [socket(), socket()];
    setEndpoint(a, 0, LOOPBACK[4], b.port, [...MAPPED, 192, 0, 2, 77]);
    const { batch, order } = outgoing([{ size: 10 }, { size: 10 }, { size: 10 }]);
    expect(a.send(batch, order, 3)).toBe(3);
    expect(await receive(b, 3)).toHaveLength(3);
    expect(addressAt(a.endpoints, ENDPOINT_LOCAL)).toEqual(new Array(16).fill(0));
    expect(a.sendErrors.count).toBe(0);
  });

  it('a closed port at the other end, and its ICMP errors, stop nothing', async () => {
    const a = socket();
    const b = socket();
    const dead = socket();
    const deadPort = dead.port;
    dead.close();
    setEndpoint(a, 0, LOOPBACK[4], deadPort);
    setEndpoint(a, 1, LOOPBACK[4], b.port);
    const { batch, order } = outgoing([{ size: 10 }, { size: 20, slot: 1 }]);
    for (let i = 0; i < 5; i++) expect(a.send(batch, order, 2)).toBe(2);
    expect(await receive(b, 5)).toHaveLength(5);
    expect(a.read(incoming())).toBe(0);
  });

  it('onWritable calls once, and only when asked', async () => {
    const a = socket();
    let calls = 0;
    for (let asked = 1; asked <= 2; asked++) {
      await new Promise<void>((resolve) =>
        a.onWritable(() => {
          calls++;
          setTimeout(resolve, 20);
        }),
      );
      expect(calls).toBe(asked);
    }
  });

  it('receives no more messages than the batch has room for, and the rest later', async () => {
    const [a, b] = [
      socket({ offloads: { gso: false, gro: false } }),
      socket({ offloads: { gso: false, gro: false } }),
    ];
    setEndpoint(a, 0, LOOPBACK[4], b.port);
    const { batch, order } = outgoing(Array.from({ length: 5 }, (_, i) => ({ size: 10 + i })));
    a.send(batch, order, 5);
    await new Promise<void>((resolve) => b.onReadable(resolve));
    const two = createBatch(2 * 65536, 16, 2);
    expect([b.read(two), b.read(two), b.read(two), b.read(two)]).toEqual([2, 2, 1, 0]);
    expect(b.read(createBatch(65535, 16, 2))).toBe(0); // less than one message of room
    a.send(batch, order, 3);
    await expect.poll(() => b.read(incoming(), 1)).toBe(1);
    await expect.poll(() => b.read(incoming(), 5)).toBe(2);
  });

  it('is silent while paused, and tells of what came meanwhile once resumed', async () => {
    const [from, to] = [socket(), socket()];
    const batch = incoming();
    let calls = 0;
    to.onReadable(() => {
      calls++;
      to.read(batch);
    });
    to.pause();
    setEndpoint(from, 0, LOOPBACK[4], to.port);
    const sent = outgoing([{ size: 3 }]);
    from.send(sent.batch, sent.order, 1);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(calls).toBe(0);
    to.resume();
    await expect.poll(() => batch.count).toBe(1);
    expect(calls).toBe(1);
  });

  it('after close every call is a no-op', () => {
    const a = socket();
    a.close();
    const { batch, order } = outgoing([{ size: 10 }]);
    expect(a.send(batch, order, 1)).toBe(1);
    expect(a.read(incoming())).toBe(0);
    a.onReadable(() => undefined);
    a.onWritable(() => undefined);
    a.close();
  });

  it.each([
    ['a port in use', (taken: number) => ({ port: taken }), 'EADDRINUSE'],
    ['an address of another host', () => ({ host: '192.0.2.1' }), 'EADDRNOTAVAIL'],
    ['no address', () => ({ host: 'example.com' }), 'EINVAL'],
    ['a port out of range', () => ({ port: 65536 }), 'ERANGE'],
  ])('%s is an IoError that names it', (_name, options, code) => {
    const taken = socket();
    expect(() => socket(options(taken.port))).toThrow(expect.objectContaining({ name: 'IoError', code }));
  });
});
