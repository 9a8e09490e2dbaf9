import { beforeEach, describe, expect, it } from 'vitest';
import { PACKET_PARTIAL, createBatch } from '../../../src/io/batch.js';
import { endpointOf, formatAddress, readEndpoint, writeEndpoint } from '../../../src/io/address.js';
import {
  MemoryTun,
  createMemoryIo,
  createMemoryNetwork,
  type MemoryDatagram,
} from '../../../src/io/plain/index.js';
import type { UdpSocket } from '../../../src/io/ports.js';
import { packetInto, packetsOf } from './batches.js';
import { buildPacket, checksumsAreRight } from './packets.js';
import { TestTime } from './virtual-time.js';

let time: TestTime;
let lost: (datagram: MemoryDatagram) => boolean;
let network: ReturnType<typeof createMemoryNetwork>;

beforeEach(() => {
  time = new TestTime();
  lost = () => false;
  network = createMemoryNetwork(time, (datagram) => (lost(datagram) ? undefined : 10_000));
});

const hostOf = (...addresses: string[]) => createMemoryIo({ network, addresses });
const listen = (host: string, port: number) => ({ host, port, mark: 0, slots: 2 });

function collect(socket: UdpSocket): { text: string; from: string; to: string; class: number; at: number }[] {
  const received: ReturnType<typeof collect> = [];
  const batch = createBatch(4096, 2, 1);
  socket.onReadable(() => {
    socket.read(batch);
    packetsOf(batch).forEach((bytes, i) => {
      const { remote, port, local } = readEndpoint(batch.endpoints, batch.source[i]);
      const from = `${formatAddress(remote)} ${port}`;
      received.push({
        text: Buffer.from(bytes).toString(),
        from,
        to: formatAddress(local),
        class: batch.trafficClass[i],
        at: time.now(),
      });
    });
  });
  return received;
}

function send(
  socket: UdpSocket,
  to: string,
  port: number,
  texts: string[],
  trafficClass = 0,
  local?: string,
): void {
  writeEndpoint(socket.endpoints, 0, endpointOf(to, port, local)!);
  const batch = createBatch(4096, 16);
  for (const text of texts) packetInto(batch, Buffer.from(text));
  batch.trafficClass.fill(trafficClass);
  socket.send(batch, Int32Array.from(texts.keys()), texts.length);
}

describe('sockets in memory', () => {
  //  a 192.0.2.1 ── 10 ms ── b 192.0.2.2, 2001:db8::2
  it('deliver in order after the path’s time, with sender, destination and traffic class', () => {
    const a = hostOf('192.0.2.1').createUdp(listen('::', 7100));
    const b = hostOf('192.0.2.2', '2001:db8::2').createUdp(listen('::', 7100));
    const received = collect(b);
    send(a, '192.0.2.2', 7100, ['one', 'two', 'three'], 0xb9);
    time.advance(9_999);
    expect(received).toEqual([]);
    time.advance(1);
    const common = { from: '192.0.2.1 7100', to: '192.0.2.2', class: 0xb9, at: 10_000 };
    expect(received).toEqual(['one', 'two', 'three'].map((text) => ({ text, ...common })));
  });

  it('send from the address that the endpoint names, else from one of the destination’s family', () => {
    const a = hostOf('192.0.2.1', '192.0.2.9', '2001:db8::1').createUdp(listen('::', 7100));
    const received = collect(hostOf('192.0.2.2', '2001:db8::2').createUdp(listen('::', 7100)));
    send(a, '192.0.2.2', 7100, ['x'], 0, '192.0.2.9');
    send(a, '192.0.2.2', 7100, ['y']);
    send(a, '2001:db8::2', 7100, ['z']);
    time.advance(20_000);
    expect(received.map(({ from }) => from)).toEqual([
      '192.0.2.9 7100',
      '192.0.2.1 7100',
      '2001:db8::1 7100',
    ]);
  });

  it('count a datagram that no address of theirs could send', () => {
    const a = hostOf('192.0.2.1').createUdp(listen('::', 7100));
    send(a, '2001:db8::2', 7100, ['x']);
    send(a, '192.0.2.2', 7100, ['x'], 0, '192.0.2.7');
    expect(a.sendErrors).toEqual({ count: 2, lastCode: 'ENETUNREACH' });
  });

  it('lose what the path loses, and what nobody listens for', () => {
    const a = hostOf('192.0.2.1').createUdp(listen('::', 7100));
    const received = collect(hostOf('192.0.2.2').createUdp(listen('192.0.2.2', 7100)));
    lost = ({ bytes }) => Buffer.from(bytes).toString() === 'lost';
    send(a, '192.0.2.2', 7100, ['kept', 'lost']);
    send(a, '192.0.2.2', 7101, ['no such port']);
    time.advance(20_000);
    expect(received.map(({ text }) => text)).toEqual(['kept']);
  });

  it('keep the bytes of the moment of sending', () => {
    const a = hostOf('192.0.2.1').createUdp(listen('::', 7100));
    const received = collect(hostOf('192.0.2.2').createUdp(listen('::', 7100)));
    writeEndpoint(a.endpoints, 0, endpointOf('192.0.2.2', 7100)!);
    const batch = createBatch(64, 1);
    packetInto(batch, Buffer.from('first'));
    a.send(batch, Int32Array.of(0), 1);
    batch.bytes.fill(0x7a);
    time.advance(20_000);
    expect(received[0].text).toBe('first');
  });

  it('claim their addresses: taken, foreign and malformed ones are refused, closed ones free again', () => {
    const io = hostOf('192.0.2.1');
    const socket = io.createUdp(listen('::', 7100));
    expect(() => io.createUdp(listen('192.0.2.1', 7100))).toThrow(
      expect.objectContaining({ code: 'EADDRINUSE' }),
    );
    expect(() => io.createUdp(listen('192.0.2.3', 7100))).toThrow(
      expect.objectContaining({ code: 'EADDRNOTAVAIL' }),
    );
    expect(() => io.createUdp(listen('nowhere', 7100))).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(io.createUdp(listen('::', 0)).port).not.toBe(io.createUdp(listen('::', 0)).port);
    socket.close();
    expect(io.createUdp(listen('::', 7100)).port).toBe(7100);
  });

  it('deliver nothing after close', () => {
    const a = hostOf('192.0.2.1').createUdp(listen('::', 7100));
    const b = hostOf('192.0.2.2').createUdp(listen('::', 7100));
    const received = collect(b);
    send(a, '192.0.2.2', 7100, ['x']);
    b.close();
    time.advance(20_000);
    expect(received).toEqual([]);
  });
});

describe('a host in memory', () => {
  it('tells the virtual time and fires timers in it', () => {
    const io = hostOf('192.0.2.1');
    const fired: number[] = [];
    const timer = io.createTimer(() => fired.push(io.now()));
    timer.arm(50);
    timer.arm(1_500);
    time.advance(2_000);
    timer.arm(10);
    timer.disarm();
    timer.close();
    timer.arm(10);
    time.advance(2_000);
    expect(fired).toEqual([1_500]);
    expect(io.now()).toBe(4_000);
  });

  it('hands injected packets to the reader and keeps what is written', () => {
    const io = hostOf('192.0.2.1');
    const tun = io.createTun({ name: 'cw0' });
    const batch = createBatch(4096, 2);
    const seen: number[][] = [];
    tun.onReadable(() => {
      tun.read(batch);
      seen.push(packetsOf(batch).map((bytes) => bytes[0]));
    });
    for (const byte of [1, 2, 3]) tun.inject(Uint8Array.of(byte, 0));
    expect(seen).toEqual([]);
    time.advance(0);
    expect(seen).toEqual([[1, 2], [3]]);
    tun.write(batch, Int32Array.of(0), 1);
    expect(tun.output).toEqual([{ bytes: Uint8Array.of(3, 0), partial: false }]);
    expect(io.tuns.get('cw0')).toBe(tun);
  });

  it('refuses a name that is open and a name that is none', () => {
    const io = hostOf('192.0.2.1');
    const tun = io.createTun({ name: 'cw0' });
    expect(() => io.createTun({ name: 'cw0' })).toThrow(expect.objectContaining({ code: 'EBUSY' }));
    for (const name of ['', 'sixteen-bytes-xx', 'a/b', 'cw%d', 'c w', '..'])
      expect(() => io.createTun({ name })).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    tun.close();
    expect(io.createTun({ name: 'cw0' }).closed).toBe(false);
  });

  it('remembers what it notified', () => {
    const io = hostOf('192.0.2.1');
    expect(io.notify('READY=1')).toBe(true);
    expect(io.notified).toEqual(['READY=1']);
  });
});

describe('a TUN device in memory', () => {
  const partialPacket = () =>
    buildPacket({ version: 6, protocol: 'tcp', payload: Uint8Array.of(1, 2, 3), partial: true });
  const write = (tun: MemoryTun): void => {
    const batch = createBatch(256, 1);
    packetInto(batch, partialPacket().bytes);
    batch.flags[0] = PACKET_PARTIAL;
    tun.write(batch, Int32Array.of(0), 1);
  };

  it('completes partial checksums, as a device without a vnet header must', () => {
    const tun = new MemoryTun('cw0');
    write(tun);
    expect(tun.output[0].partial).toBe(false);
    expect(checksumsAreRight(tun.output[0].bytes, 40, false)).toBe(true);
  });

  it('leaves them partial where it has a vnet header', () => {
    const tun = new MemoryTun('cw0', { vnetHeader: true, tso: true, uso: true });
    write(tun);
    expect(tun.output[0]).toEqual({ bytes: partialPacket().bytes, partial: true });
  });

  it('carries offload fields, and none left over from the batch’s last use', () => {
    const tun = new MemoryTun('cw0');
    const batch = createBatch(256, 1);
    tun.inject(Uint8Array.of(1), {
      gsoType: 1,
      gsoSize: 1000,
      headerLength: 40,
      csumStart: 20,
      flags: PACKET_PARTIAL,
    });
    tun.inject(Uint8Array.of(2));
    tun.read(batch);
    expect([
      batch.gsoType[0],
      batch.gsoSize[0],
      batch.headerLength[0],
      batch.csumStart[0],
      batch.flags[0],
    ]).toEqual([1, 1000, 40, 20, 1]);
    tun.read(batch);
    expect([
      batch.gsoType[0],
      batch.gsoSize[0],
      batch.headerLength[0],
      batch.csumStart[0],
      batch.flags[0],
    ]).toEqual([0, 0, 0, 0, 0]);
  });

  it('calls nobody while paused, and again once resumed', () => {
    const due: (() => void)[] = [];
    const tun = new MemoryTun('cw0', undefined, (callback) => due.push(callback));
    const batch = createBatch(256, 4);
    let calls = 0;
    tun.onReadable(() => {
      calls++;
      tun.read(batch);
    });
    tun.pause();
    tun.inject(Uint8Array.of(1));
    expect(due).toHaveLength(0);
    tun.resume();
    due.shift()?.();
    expect([calls, batch.count, due.length]).toEqual([1, 1, 0]);
  });

  it('drops a packet that no read could ever return', () => {
    const tun = new MemoryTun('cw0');
    const batch = createBatch(8, 4);
    tun.inject(new Uint8Array(9));
    tun.inject(Uint8Array.of(5));
    expect(tun.read(batch)).toBe(1);
    expect(batch.bytes[0]).toBe(5);
  });

  it('neither takes nor gives packets once closed', () => {
    const tun = new MemoryTun('cw0');
    tun.inject(Uint8Array.of(1));
    tun.close();
    tun.inject(Uint8Array.of(2));
    write(tun);
    expect(tun.read(createBatch(64, 4))).toBe(0);
    expect(tun.output).toEqual([]);
  });
});
