/**
 * `causeway capture` in the middle of a chain and at its end, read by tshark:
 *
 *     a ──── r, which relays ──── b
 */
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Program } from '../../support/net.js';
import { type Agent, BIN, eventually, Overlay, peersOf, startAll, usable } from './overlay.js';

describe.skipIf(!usable)('captures (needs root, /dev/net/tun and a build)', () => {
  const overlay = new Overlay();
  let a: Agent;
  let r: Agent;
  let b: Agent;

  beforeAll(async () => {
    const { ground } = overlay;
    const [hostA, hostR, hostB] = [await ground.host('a'), await ground.host('r'), await ground.host('b')];
    await ground.join(hostA, hostR);
    await ground.join(hostR, hostB);
    const rules = '[{match: {proto: udp, port: 9999}, do: drop}]';
    a = await overlay.agent(hostA, { peers: peersOf(hostA, 'v4', hostR), rules });
    r = await overlay.agent(hostR);
    b = await overlay.agent(hostB, { peers: peersOf(hostB, 'v4', hostR) });
    await startAll(a, r, b);
    await a.connected(r);
    await a.reaches(b.v4);
  });

  /** `causeway capture` on an agent's host while `run` runs; the lines that tshark makes of the file. */
  async function captured(agent: Agent, options: string[], fields: string[], run: () => Promise<unknown>) {
    const file = join(overlay.directory, `${agent.name}-${Math.random()}.pcapng`);
    const program = capture(agent, file, options);
    // The file is there once the agent has begun.
    await eventually(() => agent.host.well('test', '-s', file));
    await run();
    await program.stop('SIGINT');
    const shown = await agent.host.well(
      'tshark',
      ...['-r', file, '-T', 'fields', '-E', 'separator=|', '-E', 'occurrence=f'],
      ...fields.flatMap((field) => ['-e', field]),
    );
    return shown.trim().split('\n');
  }

  function capture(agent: Agent, file: string, options: string[]): Program {
    return agent.host.start(process.execPath, BIN, 'capture', '-s', agent.socket, '-w', file, ...options);
  }

  it('shows packets that enter, leave and are dropped, with node, service and reason', async () => {
    const lines = await captured(
      a,
      ['--decrypted'],
      ['ip.src', 'ip.dst', 'ip.proto', 'frame.comment'],
      async () => {
        expect(await a.pings(b.v4)).toBe(true);
        await a.host.well('python3', '-c', UNWANTED, b.v4);
      },
    );
    expect(lines).toContain(`${a.v4}|${b.v4}|1|to b, best-effort`);
    expect(lines).toContain(`${b.v4}|${a.v4}|1|`);
    expect(lines).toContain(`${a.v4}|${b.v4}|17|dropped: rule`);
  });

  it('shows what a relay passes on, and of a flow both directions and nothing else', async () => {
    const flow = ['--decrypted', '--flow', `icmp * ${b.v4}`];
    const lines = await captured(r, flow, ['ip.src', 'ip.dst', 'frame.comment'], async () => {
      expect(await a.pings(b.v4)).toBe(true);
      expect(await a.pings(r.v4)).toBe(true);
    });
    expect(lines).toEqual([
      `${a.v4}|${b.v4}|relayed from a to b, best-effort`,
      `${b.v4}|${a.v4}|relayed from b to a, best-effort`,
    ]);
  });

  it('shows sealed datagrams of one neighbour, and what a stranger sent with the reason', async () => {
    const underlay = r.host.port(b.host).peer.v4;
    const fields = ['ip.src', 'udp.dstport', 'frame.comment'];
    const lines = await captured(r, ['--node', 'b'], fields, () => a.pings(b.v4));
    expect(lines.length).toBeGreaterThan(1);
    expect(new Set(lines.map((line) => line.split('|')[0]))).toEqual(
      new Set([underlay, r.host.port(b.host).v4]),
    );
    const all = await captured(r, [], fields, () =>
      b.host.run('python3', '-c', JUNK, r.host.port(b.host).v4),
    );
    expect(all).toContain(`${underlay}|7100|dropped: no-session`);
  });

  it('says what is wrong with a wish', async () => {
    const file = join(overlay.directory, 'none.pcapng');
    expect(await a.cli('capture', '-w', file, '--flow', 'tcp * *')).toMatchObject({
      code: 1,
      err: expect.stringContaining('add --decrypted') as unknown,
    });
    expect(await a.cli('capture', '-w', file, '--node', 'nobody')).toMatchObject({
      code: 1,
      err: expect.stringContaining('no node of the overlay is called nobody') as unknown,
    });
  });
});

/** What the rule drops. */
const UNWANTED = `
import socket, sys
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', (sys.argv[1], 9999))
`;

/** A record of a session that isn't. */
const JUNK = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(bytes([0x15]) + bytes(63), (sys.argv[1], 7100))
`;
