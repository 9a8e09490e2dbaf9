/**
 * The TUN device that needs no addon, in a namespace of its own:
 *
 *   test ── cwt… 10.77.9.1/24 (namespace)     ping 10.77.9.2 ──► read(), write(echo reply) ──► ping is content
 */
import { existsSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PACKET_PARTIAL, createBatch } from '../../../src/io/batch.js';
import { createPlainIo } from '../../../src/io/plain/index.js';
import type { TunDevice } from '../../../src/io/ports.js';
import { packetInto, packetsOf } from '../../unit/io/batches.js';
import { buildPacket } from '../../unit/io/packets.js';
import { until } from '../../unit/io/conformance.js';
import { answerPings } from './echo.js';
import { createNamespace, isRoot, moveInto, type Namespace } from './namespace.js';

const NAME = `cwp${process.pid}`;
const usable = isRoot && existsSync('/dev/net/tun');

describe.skipIf(!usable)('a TUN device without the addon (needs root and /dev/net/tun)', () => {
  let namespace: Namespace;
  let tun: TunDevice;

  beforeEach(async () => {
    namespace = await createNamespace();
    tun = createPlainIo().createTun({ name: NAME });
    await moveInto(NAME, namespace);
    await namespace.run('sysctl', '-qw', `net.ipv6.conf.${NAME}.disable_ipv6=1`);
    await namespace.run('ip', 'address', 'add', '10.77.9.1/24', 'dev', NAME);
    await namespace.run('ip', 'link', 'set', NAME, 'up');
  });
  afterEach(async () => {
    tun.close();
    await namespace.remove();
  });

  it('answers ping packet by packet', async () => {
    answerPings(tun);
    const output = await namespace.run('ping', '-c', '5', '-i', '0.05', '-W', '2', '-s', '1000', '10.77.9.2');
    expect(output).toContain('5 packets transmitted, 5 received');
  });

  it('reads every packet of a burst in order, though the batch holds few', async () => {
    const batch = createBatch(4096, 3);
    const sizes: number[] = [];
    tun.onReadable(() => {
      tun.read(batch);
      sizes.push(...packetsOf(batch).map((bytes) => bytes.length));
    });
    const sender = `use Socket; socket(my $s, AF_INET, SOCK_DGRAM, 0); my $to = pack_sockaddr_in(9, inet_aton("10.77.9.2"));
      send($s, "x" x $_, 0, $to) for 1 .. 40;`;
    await namespace.run('perl', '-e', sender);
    await until(() => sizes.length === 40, '40 packets');
    expect(sizes).toEqual(Array.from({ length: 40 }, (_, k) => 29 + k));
  });

  it('completes the checksum of a packet that is written partial', async () => {
    const listener = `use Socket; socket(my $s, AF_INET, SOCK_DGRAM, 0); bind($s, pack_sockaddr_in(5201, inet_aton("10.77.0.2"))) or die;
      $| = 1; print STDERR "."; alarm(10); recv($s, my $m, 100, 0); print $m;`;
    await namespace.run('ip', 'address', 'add', '10.77.0.2/32', 'dev', NAME);
    await namespace.run('ip', 'route', 'add', '10.77.0.1/32', 'dev', NAME);
    const heard = namespace.run('perl', '-e', listener);
    const batch = createBatch(256, 1);
    const { bytes } = buildPacket({
      version: 4,
      protocol: 'udp',
      payload: Buffer.from('partial'),
      partial: true,
    });
    let done = false;
    void heard.finally(() => (done = true));
    packetInto(batch, bytes);
    await until(() => {
      batch.flags[0] = PACKET_PARTIAL;
      batch.bytes.set(bytes);
      tun.write(batch, Int32Array.of(0), 1);
      return done;
    }, 'the listener');
    expect(await heard).toBe('partial');
  });

  it('reads nothing while paused, and everything once resumed', async () => {
    const batch = createBatch(1 << 16, 8);
    let packets = 0;
    tun.onReadable(() => (packets += tun.read(batch)));
    tun.pause();
    await namespace.run('ping', '-c', '1', '-W', '0.1', '10.77.9.2').catch(() => undefined);
    expect(packets).toBe(0);
    tun.resume();
    await until(() => packets === 1, 'the packet');
  });

  it('counts packets that the kernel refuses as not taken', () => {
    const batch = createBatch(64, 2);
    packetInto(batch, Uint8Array.of(0xff, 0, 0));
    expect(tun.write(batch, Int32Array.of(0), 1)).toBe(0);
  });

  it('vanishes with close, which may come twice and ends all else', async () => {
    let calls = 0;
    tun.onReadable(() => calls++);
    tun.close();
    tun.close();
    expect(tun.read(createBatch(64, 1))).toBe(0);
    expect(tun.write(createBatch(64, 1), Int32Array.of(0), 1)).toBe(0);
    await expect.poll(() => namespace.run('ip', 'link'), { timeout: 5_000 }).not.toContain(NAME);
    expect(calls).toBe(0);
  });

  it('says EBUSY for a name that is taken, and what to do', () => {
    expect(() => createPlainIo().createTun({ name: 'lo' })).toThrow(
      expect.objectContaining({
        name: 'IoError',
        code: 'EBUSY',
        message: expect.stringContaining('choose another tun.name') as string,
      }),
    );
  });
});

describe.skipIf(!isRoot)('plain UDP as root', () => {
  it('marks its datagrams', async () => {
    const { execFileSync } = await import('node:child_process');
    const socket = await createPlainIo().createUdp({ host: '127.0.0.1', port: 0, mark: 0xca75, slots: 1 });
    const sockets = execFileSync('ss', ['-unlape', `sport = :${socket.port}`]).toString();
    socket.close();
    expect(sockets).toContain('fwmark:0xca75');
  });
});
