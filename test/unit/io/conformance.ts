/**
 * What every implementation of the ports must do, tested through the ports alone. TUN devices need root and a host to
 * change, so they are tested under test/integration.
 */
import { execFile } from 'node:child_process';
import { createCipheriv, type CipherGCMTypes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PACKET_PARTIAL, createBatch, type PacketBatch } from '../../../src/io/batch.js';
import { endpointOf, readEndpoint, writeEndpoint, formatAddress } from '../../../src/io/address.js';
import { segmentBatch } from '../../../src/io/plain/segment.js';
import type { Cipher, Io, UdpOptions, UdpSocket } from '../../../src/io/ports.js';
import { offloadPacket, packetInto, packetsOf } from './batches.js';

const WAIT_MS = 5_000;

export function upTo(n: number): Int32Array {
  return Int32Array.from({ length: n }, (_, i) => i);
}

/** Waits for a condition; fails after five seconds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + WAIT_MS;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited ${WAIT_MS} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

export function ioConformance(name: string, makeIo: () => Io): void {
  describe(`${name} io`, () => {
    udpConformance(makeIo);
    aeadConformance(makeIo);
    segmentConformance(makeIo);
    copyConformance(makeIo);
    timeConformance(makeIo);
    notifyConformance(makeIo);
  });
}

interface Received {
  text: string;
  from: string;
  port: number;
}

function udpConformance(makeIo: () => Io): void {
  describe('UDP', () => {
    let open: UdpSocket[] = [];
    const bind = async (host: string, options: Partial<UdpOptions> = {}): Promise<UdpSocket> => {
      const socket = await makeIo().createUdp({ host, port: 0, mark: 0, slots: 4, ...options });
      open.push(socket);
      return socket;
    };
    afterEach(() => {
      for (const socket of open) socket.close();
      open = [];
    });

    const collect = (socket: UdpSocket, batch = createBatch(1 << 18, 256, 64)): Received[] => {
      const received: Received[] = [];
      socket.onReadable(() => {
        socket.read(batch);
        received.push(...receivedOf(batch));
      });
      return received;
    };
    const send = (socket: UdpSocket, to: string, port: number, ...texts: string[]): number => {
      writeEndpoint(socket.endpoints, 1, endpointOf(to, port)!);
      const batch = createBatch(1 << 18, Math.max(1, texts.length));
      for (const text of texts) packetInto(batch, Buffer.from(text));
      batch.endpoint.fill(1);
      return socket.send(batch, upTo(texts.length), texts.length);
    };

    it.each([
      ['127.0.0.1', '127.0.0.1'],
      ['::1', '::1'],
    ])('carries datagrams of many lengths over %s in order, and names their sender', async (host, text) => {
      const [a, b] = [await bind(host), await bind(host)];
      const received = collect(b);
      const texts = ['one', 'x'.repeat(1400), 'x'.repeat(1400), 'x'.repeat(900), 'last'];
      expect(send(a, host, b.port, ...texts)).toBe(5);
      await until(() => received.length === 5, 'five datagrams');
      expect(received).toEqual(texts.map((body) => ({ text: body, from: text, port: a.port })));
    });

    it('listens to both families on "::" and writes IPv4 senders as mapped addresses', async () => {
      const both = await bind('::');
      const [v4, v6] = [await bind('127.0.0.1'), await bind('::1')];
      const received = collect(both);
      send(v4, '127.0.0.1', both.port, 'four');
      await until(() => received.length === 1, 'the IPv4 datagram');
      send(v6, '::1', both.port, 'six');
      await until(() => received.length === 2, 'the IPv6 datagram');
      expect(received.map(({ text, from }) => [text, from])).toEqual([
        ['four', '127.0.0.1'],
        ['six', '::1'],
      ]);
    });

    it('answers an IPv4 peer from a socket of both families by copying its endpoint', async () => {
      const [both, v4] = [await bind('::'), await bind('127.0.0.1')];
      const answers = collect(v4);
      const batch = createBatch(1 << 18, 8, 8);
      both.onReadable(() => {
        if (both.read(batch) === 0) return;
        both.endpoints.set(batch.endpoints.subarray(0, 10), 0);
        batch.endpoint[0] = 0;
        both.send(batch, upTo(1), 1);
      });
      send(v4, '127.0.0.1', both.port, 'ping');
      await until(() => answers.length === 1, 'the answer');
      expect(answers[0]).toEqual({ text: 'ping', from: '127.0.0.1', port: both.port });
    });

    it('hands over a burst larger than the batch in several reads', async () => {
      const [a, b] = [await bind('127.0.0.1'), await bind('127.0.0.1')];
      const received = collect(b, createBatch(1 << 18, 128, 3));
      const texts = Array.from({ length: 200 }, (_, k) => `datagram ${k}`);
      send(a, '127.0.0.1', b.port, ...texts);
      await until(() => received.length === 200, 'the burst');
      expect(received.map(({ text }) => text)).toEqual(texts);
    });

    it('gets the datagrams behind an empty one', async () => {
      const [a, b] = [await bind('127.0.0.1'), await bind('127.0.0.1')];
      const received = collect(b);
      send(a, '127.0.0.1', b.port, 'before', '', 'after');
      await until(() => received.some(({ text }) => text === 'after'), 'the datagram behind');
      expect(received.map(({ text }) => text).filter((text) => text !== '')).toEqual(['before', 'after']);
    });

    it('counts a datagram that the kernel refuses, and sends those behind it', async () => {
      const [a, b] = [await bind('127.0.0.1'), await bind('127.0.0.1')];
      const received = collect(b);
      expect(send(a, '127.0.0.1', b.port, 'before', 'x'.repeat(65_508), 'after')).toBe(3);
      await until(() => received.length === 2 && a.sendErrors.count === 1, 'two datagrams and an error');
      expect(received.map(({ text }) => text)).toEqual(['before', 'after']);
      expect(a.sendErrors).toEqual({ count: 1, lastCode: 'EMSGSIZE' });
    });

    it('says EADDRINUSE for a port in use', async () => {
      const { port } = await bind('127.0.0.1');
      const second = async (): Promise<UdpSocket> => bind('127.0.0.1', { port });
      await expect(second()).rejects.toMatchObject({ name: 'IoError', code: 'EADDRINUSE' });
    });

    it('says EADDRNOTAVAIL for an address that is not here', async () => {
      const foreign = async (): Promise<UdpSocket> => bind('192.0.2.77');
      await expect(foreign()).rejects.toMatchObject({ name: 'IoError', code: 'EADDRNOTAVAIL' });
    });

    it('calls onWritable once', async () => {
      const socket = await bind('127.0.0.1');
      let calls = 0;
      socket.onWritable(() => calls++);
      await until(() => calls > 0, 'onWritable');
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(calls).toBe(1);
    });

    it('does nothing after close, and is silent', async () => {
      const [a, b] = [await bind('127.0.0.1'), await bind('127.0.0.1')];
      const received = collect(b);
      b.close();
      b.close();
      send(a, '127.0.0.1', b.port, 'late');
      expect(b.read(createBatch(4096, 4, 4))).toBe(0);
      expect(() => send(b, '127.0.0.1', a.port, 'late')).not.toThrow();
      b.onWritable(() => received.push({ text: 'writable', from: '', port: 0 }));
      await new Promise((resolve) => setTimeout(resolve, 30));
      expect(received).toEqual([]);
    });
  });
}

function receivedOf(batch: PacketBatch): Received[] {
  return packetsOf(batch).map((bytes, i) => {
    const { remote, port } = readEndpoint(batch.endpoints, batch.source[i]);
    return { text: Buffer.from(bytes).toString(), from: formatAddress(remote), port };
  });
}

const ciphers: Cipher[] = ['aes-256-gcm', 'chacha20-poly1305'];

/** A record sealed with node:crypto, straight from the definition in ports.ts. */
function sealedByDefinition(cipher: Cipher, key: Uint8Array, header: Uint8Array, body: Uint8Array): Buffer {
  const nonce = Buffer.concat([Buffer.alloc(4), header.subarray(8)]);
  const sealer = createCipheriv(cipher as CipherGCMTypes, key, nonce, { authTagLength: 16 });
  sealer.setAAD(header, { plaintextLength: body.length });
  return Buffer.concat([header, sealer.update(body), sealer.final(), sealer.getAuthTag()]);
}

function aeadConformance(makeIo: () => Io): void {
  describe.each(ciphers)('AEAD %s', (cipher) => {
    const key = Uint8Array.from({ length: 32 }, (_, i) => i * 7 + 1);
    const header = Uint8Array.from({ length: 16 }, (_, i) => 0xf0 - i);
    const bodies = [0, 1, 15, 16, 17, 63, 64, 65, 1380, 9000].map((n) =>
      Uint8Array.from({ length: n }, (_, i) => (i * 31 + n) & 0xff),
    );

    const sealBatch = (io: Io): { batch: PacketBatch; aead: ReturnType<Io['createAead']> } => {
      const aead = io.createAead(3);
      aead.setKey(1, cipher, key);
      const batch = createBatch(1 << 16, 16);
      for (const body of bodies) packetInto(batch, Buffer.concat([header, body]), 5, 16);
      batch.key.fill(1);
      aead.seal(batch, upTo(bodies.length), bodies.length);
      return { batch, aead };
    };

    it('seals each record as the definition says', () => {
      const { batch } = sealBatch(makeIo());
      const expected = bodies.map((body) => sealedByDefinition(cipher, key, header, body).toString('hex'));
      expect(packetsOf(batch).map((record) => Buffer.from(record).toString('hex'))).toEqual(expected);
    });

    it('opens what it sealed', () => {
      const { batch, aead } = sealBatch(makeIo());
      expect(aead.open(batch, upTo(bodies.length), bodies.length)).toBe(bodies.length);
      expect([...batch.status.subarray(0, bodies.length)]).toEqual(bodies.map(() => 1));
      expect(packetsOf(batch).map((record) => Buffer.from(record.subarray(16)))).toEqual(
        bodies.map((body) => Buffer.from(body)),
      );
    });

    it('works only on the packets that the order names', () => {
      const { batch, aead } = sealBatch(makeIo());
      const lengths = [...batch.length];
      expect(aead.open(batch, Int32Array.of(4, 2), 2)).toBe(2);
      expect([...batch.length]).toEqual(
        lengths.map((length, i) => (i === 4 || i === 2 ? length - 16 : length)),
      );
    });

    it.each(['header', 'nonce', 'body', 'tag'])(
      'rejects a record whose %s was touched, and opens its neighbours',
      (part) => {
        const { batch, aead } = sealBatch(makeIo());
        const at = { header: 0, nonce: 15, body: 16 + 20, tag: batch.length[7] - 1 }[part]!;
        batch.bytes[batch.offset[7] + at] ^= 0x40;
        const before = batch.length[7];
        expect(aead.open(batch, upTo(bodies.length), bodies.length)).toBe(bodies.length - 1);
        expect([...batch.status.subarray(0, bodies.length)]).toEqual(bodies.map((_, i) => (i === 7 ? 0 : 1)));
        expect(batch.length[7]).toBe(before);
      },
    );

    it('fails records of an empty slot, a slot out of range, a cleared key, another key, and short ones', () => {
      const { batch, aead } = sealBatch(makeIo());
      aead.setKey(
        2,
        cipher,
        key.map((byte) => byte ^ 1),
      );
      batch.key.set([0, 77, -1, 2], 0);
      batch.length[4] = 31;
      expect(aead.open(batch, upTo(6), 6)).toBe(1);
      expect([...batch.status.subarray(0, 6)]).toEqual([0, 0, 0, 0, 0, 1]);
      aead.clearKey(1);
      expect(aead.open(batch, Int32Array.of(6), 1)).toBe(0);
      expect(batch.status[6]).toBe(0);
    });

    it('refuses a key of another length', () => {
      expect(() => {
        makeIo().createAead(1).setKey(0, cipher, new Uint8Array(16));
      }).toThrow();
    });
  });
}

function segmentConformance(makeIo: () => Io): void {
  describe('segment', () => {
    it('does to any batch what the naive segmentation does', () => {
      const io = makeIo();
      fc.assert(
        fc.property(
          fc.array(offloadPacket(), { minLength: 1, maxLength: 6 }),
          fc.nat(64),
          fc.nat(32),
          (packets, headroom, tailroom) => {
            const from = createBatch(1 << 20, 8);
            for (const { add } of packets) add(from);
            const order = upTo(packets.length).reverse();
            const [expected, actual] = [createBatch(1 << 18, 256), createBatch(1 << 18, 256)];
            const { consumed } = segmentBatch(from, order, order.length, expected, headroom, tailroom);
            expect(io.segment(from, order, order.length, actual, headroom, tailroom)).toBe(consumed);
            expect(describeBatch(actual, headroom)).toEqual(describeBatch(expected, headroom));
          },
        ),
        { numRuns: 60 },
      );
    });

    it.each(['gsoSize', 'headerLength', 'version'])(
      'skips and counts a packet whose %s makes no sense',
      (field) => {
        const io = makeIo();
        const from = createBatch(1 << 16, 4);
        const [packet] = fc.sample(offloadPacket({ version: 4, protocol: 'tcp', minPayload: 3000 }), {
          numRuns: 1,
          seed: 7,
        });
        packet.add(from);
        packet.add(from);
        if (field === 'gsoSize') from.gsoSize[0] = 0;
        if (field === 'headerLength') from.headerLength[0] = from.length[0] + 1;
        if (field === 'version') from.bytes[from.offset[0]] = 0x95;
        const into = createBatch(1 << 18, 256);
        const before = io.segmentErrors;
        expect(io.segment(from, upTo(2), 2, into, 0, 0)).toBe(2);
        expect(io.segmentErrors - before).toBe(1);
        expect(into.count).toBeGreaterThan(0);
        expect([...into.source.subarray(0, into.count)].every((source) => source === 1)).toBe(true);
      },
    );

    it('consumes whole packets only, and goes on where it stopped', () => {
      const io = makeIo();
      const from = createBatch(1 << 16, 4);
      const [packet] = fc.sample(offloadPacket({ version: 6, protocol: 'tcp', minPayload: 3000 }), {
        numRuns: 1,
        seed: 7,
      });
      const whole = createBatch(1 << 18, 256);
      for (let k = 0; k < 3; k++) packet.add(from);
      io.segment(from, upTo(1), 1, whole, 0, 0);
      const into = createBatch(1 << 18, whole.count * 2 + (whole.count > 1 ? 1 : 0));
      expect(io.segment(from, upTo(3), 3, into, 0, 0)).toBe(2);
      expect(into.count).toBe(whole.count * 2);
      expect(io.segment(from, Int32Array.of(2), 1, into, 0, 0)).toBe(1);
      expect(packetsOf(into).map((bytes) => Buffer.from(bytes))).toEqual(
        packetsOf(whole).map((bytes) => Buffer.from(bytes)),
      );
    });
  });
}

function copyConformance(makeIo: () => Io): void {
  describe('copy', () => {
    const SLOT = 300;
    /** Three packets of 100, 200 and 300 bytes, each row marked in all that a copy takes along and in two columns that it leaves. */
    const threePackets = (): PacketBatch => {
      const from = createBatch(4096, 8);
      for (const length of [100, 200, 300]) {
        const i = packetInto(
          from,
          Uint8Array.from({ length }, (_, b) => (b * 3 + length) & 0xff),
          7,
        );
        from.flags[i] = i + 1;
        from.trafficClass[i] = 40 + i;
        from.key[i] = 9;
      }
      return from;
    };
    const rowOf = (batch: PacketBatch, i: number): number[] => [
      batch.offset[i],
      batch.length[i],
      batch.flags[i],
      batch.trafficClass[i],
    ];
    const bytesOf = (batch: PacketBatch, i: number): string =>
      Buffer.from(batch.bytes.subarray(batch.offset[i], batch.offset[i] + batch.length[i])).toString('hex');

    it('lays each packet into its slot with what belongs to it, and touches nothing else', () => {
      const from = threePackets();
      const into = createBatch(4 * SLOT + 3, 4);
      into.bytes.fill(0xee);
      into.key.fill(5);
      makeIo().copy(from, Int32Array.of(1, 0), 2, into, Int32Array.of(3, 1), 20);
      expect(rowOf(into, 3)).toEqual([3 * SLOT + 20, 200, 2, 41]);
      expect(rowOf(into, 1)).toEqual([SLOT + 20, 100, 1, 40]);
      expect([...into.key]).toEqual([5, 5, 5, 5]);
      expect([rowOf(into, 0), rowOf(into, 2)]).toEqual([
        [0, 0, 0, 0],
        [0, 0, 0, 0],
      ]);
      const expected = Buffer.alloc(4 * SLOT + 3, 0xee);
      expected.set(packetsOf(from)[1], 3 * SLOT + 20);
      expected.set(packetsOf(from)[0], SLOT + 20);
      expect(Buffer.from(into.bytes).equals(expected)).toBe(true);
    });

    it('fills a slot to its last byte, and gives what is longer the length 0 without a byte written', () => {
      const from = threePackets();
      const into = createBatch(3 * SLOT, 3);
      makeIo().copy(from, Int32Array.of(1, 2, 2), 3, into, Int32Array.of(0, 1, 2), 100);
      expect([rowOf(into, 0), rowOf(into, 1)]).toEqual([
        [100, 200, 2, 41],
        [SLOT + 100, 0, 3, 42],
      ]);
      expect(bytesOf(into, 0)).toBe(bytesOf(from, 1));
      expect(into.bytes.subarray(SLOT).every((byte) => byte === 0)).toBe(true);
    });

    it.each([
      ['before its arena', -1, 50],
      ['beyond its arena', 4090, 50],
      ['of no length', 0, 0],
      ['of negative length', 0, -5],
    ])('gives a packet %s the length 0', (_what, offset, length) => {
      const from = threePackets();
      [from.offset[0], from.length[0]] = [offset, length];
      const into = createBatch(2 * SLOT, 2);
      into.length.fill(77);
      makeIo().copy(from, Int32Array.of(0, 1), 2, into, Int32Array.of(0, 1), 0);
      expect([...into.length]).toEqual([0, 200]);
    });

    it('copies between slots of one batch, even where they overlap in a packet', () => {
      const store = createBatch(4 * SLOT, 4);
      const io = makeIo();
      io.copy(threePackets(), upTo(3), 3, store, Int32Array.of(0, 1, 2), 0);
      const before = bytesOf(store, 1);
      io.copy(store, Int32Array.of(1, 1), 2, store, Int32Array.of(1, 3), 50);
      expect([rowOf(store, 1), rowOf(store, 3)]).toEqual([
        [SLOT + 50, 200, 2, 41],
        [3 * SLOT + 50, 200, 2, 41],
      ]);
      expect([bytesOf(store, 1), bytesOf(store, 3)]).toEqual([before, before]);
    });

    it('copies nothing of an empty order', () => {
      const into = createBatch(SLOT, 1);
      makeIo().copy(threePackets(), upTo(3), 0, into, Int32Array.of(0), 0);
      expect([...into.table].every((cell) => cell === 0)).toBe(true);
    });
  });
}

/** Everything that `segment` promises, headroom's content apart. */
export function describeBatch(batch: PacketBatch, headroom: number): unknown[] {
  return packetsOf(batch).map((bytes, i) => ({
    offset: batch.offset[i],
    source: batch.source[i],
    partial: (batch.flags[i] & PACKET_PARTIAL) !== 0,
    packet: Buffer.from(bytes.subarray(headroom)).toString('hex'),
  }));
}

function timeConformance(makeIo: () => Io): void {
  describe('time', () => {
    it('is the time since boot and never goes back', () => {
      const io = makeIo();
      const uptime = parseFloat(readFileSync('/proc/uptime', 'latin1')) * 1e6;
      const readings = Array.from({ length: 1000 }, () => io.now());
      expect(Math.abs(readings[0] - uptime)).toBeLessThan(1e6);
      expect(
        readings.every((reading, i) => Number.isInteger(reading) && reading >= (readings[i - 1] ?? 0)),
      ).toBe(true);
    });

    it('fires a timer once, not early', async () => {
      const io = makeIo();
      const fired: number[] = [];
      const timer = io.createTimer(() => fired.push(io.now()));
      const start = io.now();
      timer.arm(3_000);
      await until(() => fired.length > 0, 'the timer');
      await new Promise((resolve) => setTimeout(resolve, 20));
      timer.close();
      expect(fired).toHaveLength(1);
      expect(fired[0] - start).toBeGreaterThanOrEqual(2_000);
    });

    it('replaces what was armed, and forgets what was disarmed or closed', async () => {
      const io = makeIo();
      let [replaced, disarmed, closed] = [0, 0, 0];
      const timers = [
        io.createTimer(() => replaced++),
        io.createTimer(() => disarmed++),
        io.createTimer(() => closed++),
      ];
      timers[0].arm(60_000_000);
      for (const timer of timers) timer.arm(1_000);
      timers[1].disarm();
      timers[2].close();
      timers[2].arm(1_000);
      await until(() => replaced > 0, 'the replaced timer');
      await new Promise((resolve) => setTimeout(resolve, 20));
      for (const timer of timers) timer.close();
      expect([replaced, disarmed, closed]).toEqual([1, 0, 0]);
    });
  });
}

const listenScript = `use Socket; socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die; bind($s, pack_sockaddr_un($ARGV[0])) or die;
  alarm(10); recv($s, my $m, 4096, 0); print $m;`;

function notifyConformance(makeIo: () => Io): void {
  describe('notify', () => {
    let [folder, previous] = ['', process.env['NOTIFY_SOCKET']];
    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), 'cw-notify-'));
      previous = process.env['NOTIFY_SOCKET'];
    });
    afterEach(() => {
      if (previous === undefined) delete process.env['NOTIFY_SOCKET'];
      else process.env['NOTIFY_SOCKET'] = previous;
      rmSync(folder, { recursive: true });
    });

    it('is false where nobody asked to be notified', () => {
      delete process.env['NOTIFY_SOCKET'];
      expect(makeIo().notify('READY=1')).toBe(false);
    });

    it('delivers the state to NOTIFY_SOCKET', async () => {
      const path = join(folder, 'notify');
      const heard = new Promise<string>((resolve) => {
        execFile('perl', ['-e', listenScript, path], (_error, stdout) => {
          resolve(stdout);
        });
      });
      await until(() => existsSync(path), 'the listener');
      process.env['NOTIFY_SOCKET'] = path;
      expect(makeIo().notify('READY=1\nSTATUS=up')).toBe(true);
      expect(await heard).toBe('READY=1\nSTATUS=up');
    });
  });
}
