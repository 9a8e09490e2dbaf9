import { afterEach, describe, expect, it } from 'vitest';
import { createBatch, ENDPOINT_PORT, ENDPOINT_WORDS } from '../../../src/io/batch.js';
import { createMemoryIo, createMemoryNetwork } from '../../../src/io/plain/index.js';
import { loadNative, nativeAvailable } from '../../../src/io/native.js';
import {
  ORIGIN_HOST,
  ORIGIN_NETWORK,
  TROUBLE_ORIGIN,
  TROUBLE_PORT,
  TROUBLE_WORDS,
  type UdpSocket,
} from '../../../src/io/ports.js';
import { parseAddress } from '../../../src/io/address.js';
import { TestTime } from './virtual-time.js';

const open: UdpSocket[] = [];
afterEach(() => {
  for (const socket of open.splice(0)) socket.close();
});

function native(): UdpSocket {
  const socket = loadNative().createUdp({ host: '::', port: 0, mark: 0, slots: 4 }) as UdpSocket;
  open.push(socket);
  return socket;
}

function memory(): UdpSocket {
  const network = createMemoryNetwork(new TestTime());
  const io = createMemoryIo({ network, addresses: ['192.0.2.1'] });
  const socket = io.createUdp({ host: '::', port: 7100, mark: 0, slots: 4 });
  open.push(socket);
  return socket;
}

function setEndpoint({ endpoints }: UdpSocket, slot: number, address: string, port: number): void {
  const words = endpoints.subarray(slot * ENDPOINT_WORDS, (slot + 1) * ENDPOINT_WORDS).fill(0);
  new Uint8Array(words.buffer, words.byteOffset, 16).set(parseAddress(address)!);
  words[ENDPOINT_PORT] = port;
}

/** Sends a datagram of 100 bytes to each slot; returns how many the socket dealt with. */
function send(socket: UdpSocket, ...slots: number[]): number {
  const batch = createBatch(100 * slots.length, slots.length);
  slots.forEach((slot, i) => {
    batch.offset[i] = 100 * i;
    batch.length[i] = 100;
    batch.endpoint[i] = slot;
  });
  return socket.send(batch, Int32Array.from(slots.keys()), slots.length);
}

const into = new Uint32Array(TROUBLE_WORDS * 64);
function troubles(socket: UdpSocket): { address: Uint32Array; port: number; origin: number }[] {
  const count = socket.takeTroubles(into);
  return Array.from({ length: count }, (_, i) => {
    const row = into.slice(i * TROUBLE_WORDS, (i + 1) * TROUBLE_WORDS);
    return { address: row.slice(0, 4), port: row[TROUBLE_PORT]!, origin: row[TROUBLE_ORIGIN]! };
  });
}

const words = (address: string): Uint32Array => new Uint32Array(parseAddress(address)!.slice().buffer);

/** As the worker does: reads whenever the socket wakes it. */
function reading(socket: UdpSocket): { wakes: number } {
  const batch = createBatch(1 << 20, 128, 8);
  const seen = { wakes: 0 };
  socket.onReadable(() => {
    seen.wakes++;
    socket.read(batch);
  });
  return seen;
}

describe.skipIf(!nativeAvailable()).each(['127.0.0.1', '::1'])('ICMP for datagrams to %s', (address) => {
  it('is told with the endpoint that it is about, and leaves the socket quiet', async () => {
    const [closed, socket] = [native(), native()];
    setEndpoint(socket, 1, address, closed.port);
    const { port } = closed;
    closed.close();
    const seen = reading(socket);
    send(socket, 1);
    const all: ReturnType<typeof troubles> = [];
    await expect.poll(() => all.push(...troubles(socket))).toBe(1);
    expect(all).toEqual([{ address: words(address), port, origin: ORIGIN_NETWORK }]);
    const { wakes } = seen;
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(seen.wakes).toBe(wakes);
  });

  it('costs no datagram to anyone else, though the next call of the kernel’s fails with it', async () => {
    const [closed, socket, other] = [native(), native(), native()];
    setEndpoint(socket, 1, address, closed.port);
    setEndpoint(socket, 2, address, other.port);
    closed.close();
    const batch = createBatch(1 << 20, 128, 8);
    let arrived = 0;
    other.onReadable(() => (arrived += other.read(batch)));
    for (let k = 0; k < 20; k++) expect(send(socket, 1, 2)).toBe(2);
    await expect.poll(() => arrived).toBe(20);
    expect(socket.sendErrors.count).toBe(0);
  });
});

describe.each([
  ['native', native],
  ['memory', memory],
] as const)('%s: a datagram that this host has no way for', (kind, make) => {
  it.skipIf(kind === 'native' && !nativeAvailable())('is told once, whoever else is reached', () => {
    const socket = make();
    // Nobody routes it: the discard prefix of RFC 6666, and class E.
    const unreachable = kind === 'native' ? '240.0.0.1' : '2001:db8::9';
    setEndpoint(socket, 1, unreachable, 7100);
    setEndpoint(socket, 2, kind === 'native' ? '127.0.0.1' : '192.0.2.1', 7100);
    if (socket.sourceFor(1, new Uint32Array(4))) return; // a host with a default route has a way
    send(socket, 1, 2);
    send(socket, 1);
    expect(troubles(socket)).toEqual([{ address: words(unreachable), port: 7100, origin: ORIGIN_HOST }]);
    expect(troubles(socket)).toEqual([]);
  });

  it.skipIf(kind === 'native' && !nativeAvailable())(
    'where there is a way, its source address is known',
    () => {
      const socket = make();
      const own = kind === 'native' ? '127.0.0.1' : '192.0.2.1';
      setEndpoint(socket, 0, own, 7100);
      const source = new Uint32Array(4);
      expect(socket.sourceFor(0, source)).toBe(true);
      expect(source).toEqual(words(own));
    },
  );
});
