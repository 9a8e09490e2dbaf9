/**
 * Nonsense, replays and forgeries by the ten-thousand, while honest traffic goes on:
 *
 *     a 10.77.0.1 ──── b 10.77.0.2 ──── x, a stranger who sends to b's port
 *      └ replays a's own datagrams, and altered ones, on a's side of the link
 */
import { createHash, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Host } from '../../support/net.js';
import { type Agent, eventually, Overlay, pair, PORT, SOON, usable } from './overlay.js';

const FLOOD = 27_000;

describe.skipIf(!usable)('an agent under fire (needs root, /dev/net/tun and a build)', () => {
  const overlay = new Overlay();
  let a: Agent;
  let b: Agent;
  let stranger: Host;

  beforeAll(async () => {
    ({ a, b } = await pair(overlay));
    stranger = await overlay.ground.host('x');
    await overlay.ground.join(b.host, stranger);
  });

  const throwAt = (family: 'v4' | 'v6', kind: string, count: number): Promise<string> =>
    stranger.well(
      'python3',
      '-c',
      THROW,
      stranger.port(b.host).peer[family],
      String(PORT),
      kind,
      String(count),
    );
  const dropped = async (reason: string): Promise<number> => (await b.drops())[reason] ?? 0;
  const allDrops = async (): Promise<number> =>
    Object.values(await b.drops()).reduce((sum, count) => sum + count, 0);

  it.each([
    ['an empty datagram', 'empty', 'short'],
    ['one too short for a record', 'short', 'short'],
    ['another version', 'version', 'version'],
    ['a record for no session', 'record', 'no-session'],
    ['a record for no session, as long as can be', 'long', 'no-session'],
  ])('counts %s by its reason', async (_what, kind, reason) => {
    for (const family of ['v4', 'v6'] as const) {
      const before = await dropped(reason);
      await throwAt(family, kind, 20);
      await eventually(async () => expect(await dropped(reason)).toBe(before + 20));
    }
  });

  it.each([['init'], ['response'], ['final'], ['cookie'], ['unknown']])(
    'counts nonsense of the handshake type "%s", and answers none of it',
    async (kind) => {
      const before = await allDrops();
      await throwAt('v4', kind, 20);
      await eventually(async () => expect(await allDrops()).toBe(before + 20));
      const answers = await stranger.well(
        'python3',
        '-c',
        ANSWERS,
        stranger.port(b.host).peer.v4,
        String(PORT),
        kind,
      );
      expect(answers.trim()).toBe('0');
    },
  );

  it('counts replays of real datagrams, and forgeries of them, and lets neither in', async () => {
    const { device } = a.host.port(b.host);
    const replayed = await dropped('replayed');
    const forged = await dropped('forged');
    const arrived = (await b.client.status()).counters.tunOut.packets;
    const thief = a.host.start('python3', '-uc', REPLAY, device, '10');
    await expect.poll(() => thief.out, SOON).toContain('ready');
    expect(await a.pings(b.v4, '-c40', '-i0.02')).toBe(true);
    expect(await thief.ended).toBe(0);
    await eventually(async () => {
      expect(await dropped('replayed')).toBe(replayed + 10);
      expect(await dropped('forged')).toBe(forged + 20);
    });
    expect((await b.client.status()).counters.tunOut.packets).toBe(arrived + 40);
    expect(await a.pings(b.v4)).toBe(true);
  });

  it('carries honest traffic through a flood of all of it, and counts what it threw away', async () => {
    const content = randomBytes(24 << 20);
    writeFileSync(join(overlay.directory, 'content'), content);
    const server = b.host.start(
      ...['python3', '-u', '-m', 'http.server', '8080', '--bind', b.v4, '--directory', overlay.directory],
    );
    await expect.poll(() => server.out, SOON).toContain('Serving');
    const before = await allDrops();
    const kinds = ['short', 'version', 'record', 'long', 'init', 'response', 'final', 'cookie', 'unknown'];
    const flood = Promise.all(kinds.map((kind) => throwAt('v4', kind, FLOOD / kinds.length)));
    const [, sum, ping] = await Promise.all([
      flood,
      a.host.well('sh', '-c', `curl -sS --max-time 60 'http://${b.v4}:8080/content' | sha256sum`),
      a.host.well('ping', '-n', '-q', '-c20', '-i0.05', '-W2', b.v4),
    ]);
    await server.stop();
    expect(sum.split(' ')[0]).toBe(createHash('sha256').update(content).digest('hex'));
    const received = Number(/(\d+) received/.exec(ping)![1]);
    expect(received).toBeGreaterThanOrEqual(18);
    // What the kernel's queue had no room for never came.
    await eventually(async () => expect((await allDrops()) - before).toBeGreaterThan(FLOOD / 2));
    expect(b.program!.running).toBe(true);
    expect(b.program!.err).toBe('');
    expect(b.log.filter(({ level }) => Number(level) >= 50)).toEqual([]);
    expect(b.log.length).toBeLessThan(100);
    expect((await b.client.peers()).map(({ name, state }) => [name, state])).toEqual([['a', 'connected']]);
    const { out } = await b.cli('status');
    for (const reason of ['short', 'version', 'no-session', 'type'])
      expect(out).toMatch(new RegExp(`^${reason} +\\d+$`, 'm'));
  });

  it('lets a known peer in through a flood of calls', async () => {
    const flood = throwAt('v4', 'init', FLOOD);
    await a.stop('SIGKILL');
    a.start();
    await a.ready();
    await a.reaches(b.v4);
    await flood;
  });
});

/** Bytes of each kind: version 1 in the high half of the first byte, type in the low one. */
const KINDS = `
import os
kinds = {
    'empty': lambda: b'',
    'short': lambda: b'\\x15' + os.urandom(20),
    'version': lambda: b'\\x25' + os.urandom(60),
    'record': lambda: b'\\x15\\0\\0\\0' + os.urandom(60),
    'long': lambda: b'\\x15\\0\\0\\0' + os.urandom(1400),
    'init': lambda: b'\\x11' + os.urandom(1199),
    'response': lambda: b'\\x12' + os.urandom(500),
    'final': lambda: b'\\x13' + os.urandom(500),
    'cookie': lambda: b'\\x14' + os.urandom(60),
    'unknown': lambda: b'\\x1c' + os.urandom(60),
}
`;
const SOCKET = `
import socket, sys, time
host, port, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
s = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM)
s.connect((host, port))
`;
/** Sends HOST PORT KIND COUNT, a hundred at a time. */
const THROW = `${KINDS}${SOCKET}
for i in range(int(sys.argv[4])):
    s.send(kinds[kind]())
    if i % 100 == 99: time.sleep(0.002)
`;
/** Sends one and prints how many answers came within half a second. */
const ANSWERS = `${KINDS}${SOCKET}
s.settimeout(0.5)
s.send(kinds[kind]())
try: s.recv(5000); print(1)
except TimeoutError: print(0)
`;
/**
 * Takes DEVICE's first COUNT outgoing records of pings from the wire, those that the kernel hasn't yet to cut. Sends each again as it was; once with a later counter; and once with a later
 * counter and another last byte.
 */
const REPLAY = `
import socket, struct, sys
device, count = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind((device, 0))
print('ready', flush=True)
taken = []
while len(taken) < count:
    frame, address = s.recvfrom(65535)
    if address[2] != socket.PACKET_OUTGOING or frame[12:14] != b'\\x08\\x00' or frame[23] != 17: continue
    if frame[42] == 0x15 and 150 < len(frame) < 250: taken.append(frame)
s.close()
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((device, 0))
for frame in taken:
    frame = bytearray(frame)
    frame[40:42] = b'\\0\\0'  # no UDP checksum
    s.send(frame)
    counter, = struct.unpack('>Q', frame[50:58])
    frame[50:58] = struct.pack('>Q', counter + 1000000)
    s.send(frame)
    frame[-1] ^= 1
    s.send(frame)
`;
