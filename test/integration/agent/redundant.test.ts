/**
 * The redundant service on real packets, one of two disjoint paths dying in silence while they flow:
 *
 *          10 ms  ┌─ m1 ─┐  10 ms
 *              a ─┤      ├─ b
 *          15 ms  └─ m2 ─┘  15 ms
 */
import { execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { OutgoingFlow, Status } from '../../../src/control/api.js';
import { Sandbox } from '../mesh/harness.js';
import { BIN, eventually, usable } from './overlay.js';

const MESH = `
nodes: {a: {}, m1: {}, m2: {}, b: {}}
links:
  - {between: [a, m1], delay: 10ms}
  - {between: [m1, b], delay: 10ms}
  - {between: [a, m2], delay: 15ms}
  - {between: [m2, b], delay: 15ms}
agent: {intercept: {rules: [{match: {proto: udp, port: 5006}, do: overlay, service: redundant}]}}
`;
/** One each 5 ms; a path that dies in silence takes a hundred of them along until it is noticed. */
const PACKETS = 800;
/** Sends numbered datagrams to PORT, or prints those that came, in order, when none has for two seconds. */
const PROGRAM = `
import socket, struct, sys, time
role, address, port, tos = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if role == 'send':
    s.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
    begin = time.monotonic()
    for i in range(${PACKETS}):
        s.sendto(struct.pack('!I', i) + bytes(200), (address, port))
        time.sleep(max(0, begin + (i + 1) * 0.005 - time.monotonic()))
else:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    s.bind((address, port))
    s.settimeout(30)
    print('ready', flush=True)
    try:
        while True:
            print(struct.unpack('!I', s.recv(2000)[:4])[0], flush=True)
            s.settimeout(2)
    except socket.timeout:
        pass
`;

describe.skipIf(!usable)('a redundant flow (needs root, /dev/net/tun and a build)', () => {
  const sandbox = new Sandbox();
  sandbox.agentProgram = BIN;
  const program = join(sandbox.directory, 'flow.py');

  beforeAll(async () => {
    writeFileSync(program, PROGRAM);
    await sandbox.well('up', sandbox.file('diamond', MESH));
  });
  afterAll(() => sandbox.clear());

  const ask = async <T>(node: string, ...words: string[]): Promise<T> => {
    const { nodes } = await sandbox.status('diamond');
    const [command, ...rest] = words;
    const args = [command!, '--json', '-s', nodes[node]!.socket!, ...rest];
    return JSON.parse(execFileSync(BIN, args, { encoding: 'utf8' })) as T;
  };
  const flowTo = async (port: number): Promise<OutgoingFlow> => {
    const flows = await ask<OutgoingFlow[]>('a', 'flows', '--outgoing');
    return flows.find(({ destinationPort }) => destinationPort === port)!;
  };
  const link = (...words: string[]): Promise<string> => sandbox.well('link', ...words);
  const bothPaths = async (): Promise<void> => {
    await eventually(async () => {
      for (const node of ['a', 'b']) {
        const links = await ask<{ state: string }[]>(node, 'links');
        expect(links.filter(({ state }) => state === 'up')).toHaveLength(2);
      }
    });
  };

  /** Sends all packets to b; `during` is called halfway. The numbers that arrived, in order of arrival. */
  async function stream(port: number, tos: number, during: () => Promise<unknown>): Promise<number[]> {
    const { nodes } = await sandbox.status('diamond');
    const inside = (node: string, ...words: string[]) =>
      spawn('ip', ['netns', 'exec', nodes[node]!.namespace, 'python3', program, ...words]);
    const receiver = inside('b', 'receive', '10.77.0.4', String(port), '0');
    let text = '';
    const isReady = new Promise<void>((resolve) =>
      receiver.stdout.on('data', (part: Buffer) => {
        text += part.toString();
        if (text.startsWith('ready')) resolve();
      }),
    );
    const isOver = new Promise((resolve) => receiver.on('close', resolve));
    await isReady;
    const sender = inside('a', 'send', '10.77.0.4', String(port), String(tos));
    const isSent = new Promise((resolve) => sender.on('close', resolve));
    await new Promise((resolve) => setTimeout(resolve, PACKETS * 2.5));
    await during();
    await isSent;
    await isOver;
    return text.split('\n').slice(1, -1).map(Number);
  }

  const all = Array.from({ length: PACKETS }, (_, i) => i);

  it('chosen by DSCP loses no packet, and brings none twice, when one path goes silent', async () => {
    await bothPaths();
    let before: OutgoingFlow | undefined;
    const arrived = await stream(5005, 15 << 2, async () => {
      before = await flowTo(5005);
      await link('a', 'm1', '--blackhole', '-m', sandbox.name('diamond'));
    });
    expect(before).toMatchObject({ service: 'redundant', why: 'dscp', redundancy: { kind: 'disjoint' } });
    expect(before!.redundancy!.edges).toEqual([
      ['a', 'm1'],
      ['m1', 'b'],
      ['a', 'm2'],
      ['m2', 'b'],
    ]);
    expect(before!.copies).toBeGreaterThan(100);
    expect([...arrived].sort((x, y) => x - y)).toEqual(all);
    const { counters } = await ask<Status>('b', 'status');
    expect(counters.tunOut.packets).toBeGreaterThanOrEqual(PACKETS);
  });

  it('chosen by a rule takes the only path that is left', async () => {
    const arrived = await stream(5006, 0, async () => {
      expect(await flowTo(5006)).toMatchObject({ service: 'redundant', why: 'rule', via: 'm2', copies: 0 });
      await link('a', 'm1', '--up', '-m', sandbox.name('diamond'));
    });
    expect([...arrived].sort((x, y) => x - y)).toEqual(all);
  });
});
