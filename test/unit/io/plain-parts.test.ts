import { createSocket } from 'node:dgram';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ENDPOINT_WORDS, createBatch } from '../../../src/io/batch.js';
import {
  endpointOf,
  formatAddress,
  isLinkLocal,
  isUnspecified,
  parseAddress,
  readEndpoint,
  writeEndpoint,
} from '../../../src/io/address.js';
import { createBootClock } from '../../../src/io/plain/clock.js';
import { descriptorsOf } from '../../../src/io/plain/descriptors.js';
import { createPlainIo } from '../../../src/io/plain/index.js';
import { errnoName } from '../../../src/io/plain/perl.js';
import { DatagramQueue } from '../../../src/io/plain/queue.js';
import { Readiness } from '../../../src/io/plain/readiness.js';
import { packetInto, packetsOf } from './batches.js';

const hex = (bytes: Uint8Array | undefined): string | undefined =>
  bytes && Buffer.from(bytes).toString('hex');

describe('addresses', () => {
  it.each([
    ['192.0.2.1', '00000000000000000000ffffc0000201'],
    ['::ffff:192.0.2.1', '00000000000000000000ffffc0000201'],
    ['::', '00000000000000000000000000000000'],
    ['::1', '00000000000000000000000000000001'],
    ['fd77::', 'fd770000000000000000000000000000'],
    ['2001:db8::a00:0:1', '20010db80000000000000a0000000001'],
    ['1:2:3:4:5:6:7:8', '00010002000300040005000600070008'],
  ])('reads %s', (text, expected) => {
    expect(hex(parseAddress(text))).toBe(expected);
  });

  it.each(['', 'example.com', '1.2.3', '1.2.3.256', '1::2::3', 'fe80::1%eth0', ':::'])(
    'knows that "%s" is none',
    (text) => {
      expect(parseAddress(text)).toBeUndefined();
    },
  );

  it('writes any address so that it reads back', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
        const bytes = parseAddress(text)!;
        expect(parseAddress(formatAddress(bytes))).toEqual(bytes);
      }),
    );
  });

  it('keeps an endpoint in its slot, and its neighbours as they were', () => {
    const words = new Uint32Array(3 * ENDPOINT_WORDS).fill(7);
    const endpoint = { ...endpointOf('192.0.2.1', 7100, '2001:db8::1')!, interfaceIndex: 3 };
    writeEndpoint(words, 1, endpoint);
    expect(readEndpoint(words, 1)).toEqual(endpoint);
    expect([...words.subarray(0, 10), ...words.subarray(20)].every((word) => word === 7)).toBe(true);
    expect(endpointOf('name', 1)).toBeUndefined();
  });

  it('tells link-local and unspecified ones', () => {
    expect([isLinkLocal(parseAddress('fe80::1')!), isLinkLocal(parseAddress('fec0::1')!)]).toEqual([
      true,
      false,
    ]);
    expect(['::', '0.0.0.0', '::1', '1.0.0.0'].map((text) => isUnspecified(parseAddress(text)!))).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });
});

describe('the boot clock', () => {
  it('adds a suspended spell within a second, and never goes back', () => {
    const at = { monotonic: 5_000_000, uptime: 65_000_000 };
    const now = createBootClock({ monotonic: () => at.monotonic, uptime: () => at.uptime });
    expect(now()).toBe(65_000_000);
    at.monotonic += 1_000_000;
    at.uptime += 3_601_000_000;
    expect(now()).toBe(65_000_000 + 3_601_000_000);
    at.monotonic += 1_000_000;
    at.uptime -= 3_000_000_000;
    expect(now()).toBe(65_000_000 + 3_602_000_000);
  });

  it('takes no notice of the rounding of /proc/uptime, and does without it', () => {
    const at = { monotonic: 5_000_000, uptime: 5_000_000 as number | undefined };
    const now = createBootClock({ monotonic: () => at.monotonic, uptime: () => at.uptime });
    at.monotonic += 2_000_000;
    at.uptime = 7_010_000;
    expect(now()).toBe(7_000_000);
    at.monotonic += 2_000_000;
    at.uptime = undefined;
    expect(now()).toBe(9_000_000);
  });
});

describe('the scheduling slice and trimmed memory', () => {
  it('are never had without the addon', () => {
    expect(createPlainIo().setSlice(500)).toBe(false);
    expect(createPlainIo().trim()).toBe(false);
  });
});

describe('the queue of datagrams', () => {
  const datagram = (text: string, sender = 1) => ({
    bytes: Buffer.from(text),
    endpoint: new Uint32Array(ENDPOINT_WORDS).fill(sender),
    trafficClass: sender,
  });
  const texts = (batch: ReturnType<typeof createBatch>) =>
    packetsOf(batch).map((bytes) => Buffer.from(bytes).toString());

  it('drops the newest when it is full, and takes more once read', () => {
    const queue = new DatagramQueue(10);
    for (const text of ['12345', '67890', 'x']) queue.push(datagram(text));
    const batch = createBatch(64, 8, 8);
    queue.read(batch);
    expect([texts(batch), queue.dropped]).toEqual([['12345', '67890'], 1]);
    queue.push(datagram('abcdefghij'));
    queue.read(batch);
    expect([texts(batch), queue.dropped]).toEqual([['abcdefghij'], 1]);
  });

  it('reads no more senders than the batch has endpoints for, but many datagrams of one', () => {
    const queue = new DatagramQueue(100);
    queue.push(datagram('a', 1));
    queue.push(datagram('b', 1));
    queue.push(datagram('c', 2));
    const batch = createBatch(64, 8, 1);
    expect(queue.read(batch)).toBe(2);
    expect([...batch.source.subarray(0, 2), batch.endpoints[0], batch.trafficClass[1]]).toEqual([0, 0, 1, 1]);
    expect(queue.read(batch)).toBe(1);
    expect([batch.source[0], batch.endpoints[0]]).toEqual([0, 2]);
  });

  it('drops a datagram larger than the arena, and leaves one that has no room now', () => {
    const queue = new DatagramQueue(100);
    for (const text of ['123456789', 'abcde', 'fghij']) queue.push(datagram(text));
    const batch = createBatch(8, 8, 8);
    queue.read(batch);
    expect([texts(batch), queue.dropped]).toEqual([['abcde'], 1]);
    queue.read(batch);
    expect([texts(batch), queue.empty]).toEqual([['fghij'], true]);
  });

  it('keeps the order over thousands of datagrams that are never all read', () => {
    const queue = new DatagramQueue(1 << 20);
    const batch = createBatch(64, 1, 1);
    const read: string[] = [];
    for (let k = 0; k < 4000; k++) {
      queue.push(datagram(String(k)));
      if (k >= 100) {
        queue.read(batch);
        read.push(...texts(batch));
      }
    }
    expect(read).toEqual(Array.from({ length: 3900 }, (_, k) => String(k)));
  });
});

describe('readiness', () => {
  it('calls back once a turn for as long as there is something', () => {
    const due: (() => void)[] = [];
    let left = 3;
    const readiness = new Readiness(
      () => left > 0,
      (callback) => due.push(callback),
    );
    readiness.onReady(() => left--);
    readiness.check();
    const turns: number[] = [];
    while (due.length > 0) {
      turns.push(due.length);
      due.shift()!();
    }
    expect([left, turns]).toEqual([0, [1, 1, 1]]);
  });

  it('calls nobody once paused or closed, though a call was due', () => {
    const due: (() => void)[] = [];
    let calls = 0;
    const readiness = new Readiness(
      () => true,
      (callback) => due.push(callback),
    );
    readiness.onReady(() => calls++);
    readiness.pause();
    due.shift()!();
    expect(calls).toBe(0);
    readiness.resume();
    readiness.close();
    due.shift()!();
    expect([calls, due.length]).toEqual([0, 0]);
  });
});

describe('plain UDP', () => {
  it('says what it cannot do', async () => {
    const socket = await createPlainIo().createUdp({
      host: '127.0.0.1',
      port: 0,
      mark: 0,
      slots: 1,
      receiveBuffer: 65_536,
    });
    const { gso, gro, pktinfo, receiveBuffer, sendBuffer } = socket.features;
    socket.close();
    expect({ gso, gro, pktinfo }).toEqual({ gso: false, gro: false, pktinfo: false });
    expect(receiveBuffer).toBeGreaterThanOrEqual(65_536);
    expect(sendBuffer).toBeGreaterThan(0);
  });

  it('refuses a host name', async () => {
    const socket = async () => createPlainIo().createUdp({ host: 'localhost', port: 0, mark: 0, slots: 1 });
    await expect(socket()).rejects.toMatchObject({
      code: 'EINVAL',
      message: '"localhost" is no IPv4 or IPv6 address',
    });
  });

  it('stops at a bounded number of datagrams that the kernel has not taken, and says when to go on', async () => {
    const socket = await createPlainIo().createUdp({ host: '127.0.0.1', port: 0, mark: 0, slots: 1 });
    writeEndpoint(socket.endpoints, 0, endpointOf('127.0.0.1', 9)!);
    const batch = createBatch(64, 1);
    packetInto(batch, Buffer.from('x'));
    const order = new Int32Array(5000);
    const dealtWith = socket.send(batch, order, order.length);
    expect(dealtWith).toBeGreaterThan(0);
    expect(dealtWith).toBeLessThan(order.length);
    await new Promise<void>((resolve) => {
      socket.onWritable(resolve);
    });
    expect(socket.send(batch, order, 100)).toBe(100);
    socket.close();
  });

  it('finds the descriptor of a bound socket, and none for a port of nobody', async () => {
    const socket = createSocket('udp4');
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    const { port } = socket.address();
    expect(descriptorsOf(port)).toHaveLength(1);
    await new Promise<void>((resolve) => socket.close(resolve));
    expect(descriptorsOf(port)).toHaveLength(0);
  });
});

it('names errno values', () => {
  expect([errnoName(16), errnoName(1), errnoName(9999)]).toEqual(['EBUSY', 'EPERM', 'UNKNOWN']);
});
