//   namespace a                    this process                     namespace b
//   10.99.0.1, fd99::1 [TUN a] ── read, segment, write ── [TUN b] 10.99.0.2, fd99::2
//
// The devices are made here and moved into the namespaces; their descriptors stay. Needs root.
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import { createBatch, PACKET_PARTIAL } from '../../../src/io/batch.js';
import { loadNative, nativeAvailable } from '../../../src/io/native.js';
import type { Io, TunDevice, TunOptions } from '../../../src/io/ports.js';
import { hasRoot, ip, Namespaces } from '../../support/native-namespaces.js';

const MTU = 1380;
const root = fileURLToPath(new URL('../../../', import.meta.url));
const addon = process.env['CAUSEWAY_ADDON'] ?? path.join(root, 'build/Release/causeway.node');

interface Seen {
  /** Offload packets read, their bytes, segments made of them, and the longest segment. */
  offloaded: number;
  bytes: number;
  segments: number;
  longest: number;
}

/** Carries packets one way, cut to the MTU. */
function carry(io: Io, from: TunDevice, to: TunDevice, seen: Seen): void {
  const read = createBatch(256 * 1024, 256);
  const cut = createBatch(512 * 1024, 2048);
  const order = Int32Array.from({ length: 2048 }, (_, i) => i);
  from.onReadable(() => {
    const n = from.read(read);
    for (let at = 0; at < n;) {
      at += io.segment(read, order.subarray(at, n), n - at, cut, 0, 0);
      for (let i = 0; i < cut.count; i++) seen.longest = Math.max(seen.longest, cut.length[i]!);
      seen.segments += cut.count;
      to.write(cut, order, cut.count);
    }
    for (let i = 0; i < n; i++) {
      seen.bytes += read.length[i]!;
      if (read.gsoType[i] !== 0) seen.offloaded++;
    }
  });
}

describe.skipIf(!hasRoot || !nativeAvailable())('TUN devices of native/ between two kernels', () => {
  const spaces = new Namespaces();
  const devices: TunDevice[] = [];
  afterEach(async () => {
    for (const each of devices.splice(0)) each.close();
    await spaces.cleanUp();
  });

  function device(
    label: string,
    host: number,
    offloads?: TunOptions['offloads'],
  ): { tun: TunDevice; space: string } {
    const name = `cwio${label}${process.pid % 100000}`;
    const tun = loadNative().createTun(offloads === undefined ? { name } : { name, offloads });
    devices.push(tun);
    const space = spaces.add(label);
    ip(`link set ${name} netns ${space}`);
    ip(`-n ${space} addr add 10.99.0.${host}/24 dev ${name}`);
    ip(`-n ${space} addr add fd99::${host}/64 dev ${name} nodad`);
    ip(`-n ${space} link set ${name} mtu ${MTU} up`);
    return { tun, space };
  }

  function pair(offloadsA?: TunOptions['offloads'], offloadsB?: TunOptions['offloads']) {
    const io = loadNative();
    const a = device('a', 1, offloadsA);
    const b = device('b', 2, offloadsB);
    const seen: Seen = { offloaded: 0, bytes: 0, segments: 0, longest: 0 };
    carry(io, a.tun, b.tun, seen);
    carry(io, b.tun, a.tun, { ...seen });
    return { io, a, b, seen };
  }

  /** One iperf3 run from a to b; its JSON result. */
  async function iperf(a: string, b: string, target: string, args: string) {
    const server = spaces.start(b, 'iperf3', ['-s', '-1', '--forceflush']);
    await server.ready;
    return JSON.parse(await spaces.exec(a, `iperf3 -c ${target} --json ${args}`)) as {
      end: { sum: { lost_packets: number; packets: number } };
    };
  }

  /** Sends bytes over kernel TCP; what the client sent and what the server got. */
  async function transfer(a: string, b: string, target: string, bytes: number) {
    const script = path.join(root, 'test/support/native-transfer.mjs');
    const server = spaces.start(b, process.execPath, [script, 'server', '7000']);
    await server.ready;
    const sent = await spaces.exec(a, `${process.execPath} ${script} client ${target} 7000 ${bytes}`);
    return {
      sent: JSON.parse(sent) as object,
      got: JSON.parse((await server.output).split('\n')[1]!) as object,
    };
  }

  it.each(['10.99.0.2', 'fd99::2'])(
    'kernel TCP to %s arrives whole, in packets cut from 64 KiB and joined again',
    async (target) => {
      const { io, a, b, seen } = pair();
      const refused = io.segmentErrors;
      const { sent, got } = await transfer(a.space, b.space, target, 20_000_000);
      expect(sent).toMatchObject({ bytes: 20_000_000 });
      expect(got).toEqual(sent);
      expect(io.segmentErrors).toBe(refused);
      expect(seen.longest).toBeLessThanOrEqual(MTU);
      if (a.tun.features.tso) expect(seen.bytes / seen.offloaded).toBeGreaterThan(3 * MTU);
      // The receiver's kernel counts a checksum that is wrong.
      const snmp = await spaces.exec(
        b.space,
        'nstat -az TcpInCsumErrors TcpInErrs Ip6InHdrErrors IpInHdrErrors',
      );
      expect([...snmp.matchAll(/^\w+\s+(\d+)/gm)].map((m) => m[1])).toEqual(['0', '0', '0', '0']);
    },
  );

  it('kernel UDP arrives with right checksums, coalesced on the way into the kernel', async () => {
    const { a, b } = pair();
    for (const [target, args] of [
      ['10.99.0.2', '-u -b 20M -l 64 -t 1'],
      ['fd99::2', '-u -b 100M -l 1300 -t 1'],
    ] as const) {
      const { end } = await iperf(a.space, b.space, target, args);
      expect(end.sum.packets).toBeGreaterThan(1000);
      expect(end.sum.lost_packets).toBeLessThan(end.sum.packets / 2);
    }
    const snmp = await spaces.exec(b.space, 'nstat -az UdpInCsumErrors Udp6InCsumErrors UdpInDatagrams');
    expect(snmp).toMatch(/UdpInCsumErrors\s+0 /);
    expect(snmp).toMatch(/Udp6InCsumErrors\s+0 /);
  });

  it.each(['10.99.0.2', 'fd99::2'])(
    'one UDP_SEGMENT send to %s arrives as the datagrams it stands for',
    async (target) => {
      const { a, b, seen } = pair();
      const receive = `import socket
s=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM); s.bind(('::',7000)); s.settimeout(10); print('bound',flush=True)
print([(len(d),d[0]) for d in (s.recv(9000) for _ in range(11))],flush=True)`;
      const send = `import socket,sys
s=socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET,socket.SOCK_DGRAM); s.setsockopt(17,103,700)
s.sendto(b''.join(bytes([i])*700 for i in range(10))+b'z'*9,(sys.argv[1],7000))`;
      const server = spaces.start(b.space, 'python3', ['-c', receive]);
      await server.ready;
      await spaces.start(a.space, 'python3', ['-c', send, target]).output;
      const expected = Array.from({ length: 10 }, (_, i) => `(700, ${i})`);
      expect((await server.output).trim().split('\n')).toEqual([
        'bound',
        `[${[...expected, '(9, 122)'].join(', ')}]`,
      ]);
      if (a.tun.features.uso) expect(seen.offloaded).toBeGreaterThan(0);
    },
  );

  it.each([
    ['no offload at the sender', { tso: false, uso: false }, undefined],
    ['no vnet header at the sender', { vnetHeader: false }, undefined],
    ['no vnet header at the receiver: checksums are completed', undefined, { vnetHeader: false }],
    ['no segmentation offload at the receiver', undefined, { tso: false, uso: false }],
  ])('%s: TCP and ping still work', async (_name, offloadsA, offloadsB) => {
    const { a, b } = pair(offloadsA, offloadsB);
    if (offloadsA !== undefined) expect(a.tun.features).toMatchObject({ tso: false, uso: false });
    expect(await spaces.exec(a.space, 'ping -c 2 -i 0.1 10.99.0.2')).toContain(' 0% packet loss');
    const { sent, got } = await transfer(a.space, b.space, '10.99.0.2', 3_000_000);
    expect(got).toEqual(sent);
  });

  it('columns say what a ping is: a plain packet, its checksum whole', async () => {
    const { tun, space } = device('a', 1);
    const batch = createBatch(128 * 1024, 16);
    const readable = new Promise<void>((resolve) => tun.onReadable(resolve));
    spaces.start(space, 'ping', ['-c', '1', '-W', '1', '10.99.0.9']);
    await readable;
    const rows: number[][] = [];
    for (let n = tun.read(batch); n > 0 && rows.length === 0; n = tun.read(batch)) {
      for (let i = 0; i < n; i++) {
        if (batch.bytes[batch.offset[i]!] === 0x45)
          rows.push([batch.length[i]!, batch.flags[i]! & PACKET_PARTIAL, batch.gsoType[i]!]);
      }
      if (rows.length === 0) await new Promise<void>((resolve) => tun.onReadable(resolve));
    }
    expect(rows[0]).toEqual([84, 0, 0]);
    expect(batch.offset[0]! % 64).toBe(0);
  });

  it('a paused device is silent until it is resumed', async () => {
    const { tun, space } = device('a', 1);
    const batch = createBatch(128 * 1024, 16);
    let calls = 0;
    tun.onReadable(() => {
      calls++;
      while (tun.read(batch) > 0);
    });
    tun.pause();
    await spaces.exec(space, 'ping -c 1 -W 1 10.99.0.9').catch(() => undefined);
    expect(calls).toBe(0);
    tun.resume();
    await expect.poll(() => calls).toBeGreaterThan(0);
  });

  it('a taken name is EBUSY, a name too long ERANGE, and a vanished device an error of read', async () => {
    const { tun, space } = device('a', 1);
    const io = loadNative();
    const other = io.createTun({ name: `cwiox${process.pid % 100000}` });
    try {
      expect(() => io.createTun({ name: other.name })).toThrow(
        expect.objectContaining({ name: 'IoError', code: 'EBUSY' }),
      );
      expect(() => io.createTun({ name: 'sixteen-bytes-ab' })).toThrow(
        expect.objectContaining({ code: 'ERANGE' }),
      );
    } finally {
      other.close();
    }
    const told = new Promise<void>((resolve) => tun.onReadable(resolve));
    ip(`-n ${space} link del ${tun.name}`);
    await told;
    const batch = createBatch(128 * 1024, 16);
    expect(() => {
      while (tun.read(batch) > 0);
    }).toThrow(expect.objectContaining({ name: 'IoError', code: 'EBADFD' }));
  });

  it('goes with the worker that held it', async () => {
    const name = `cwiow${process.pid % 100000}`;
    const worker = new Worker(path.join(root, 'test/support/native-worker.mjs'), {
      workerData: { addon, tun: name, idle: true },
    });
    await once(worker, 'message');
    expect(existsSync(`/sys/class/net/${name}`)).toBe(true);
    await worker.terminate();
    await expect.poll(() => existsSync(`/sys/class/net/${name}`)).toBe(false);
  });
});
