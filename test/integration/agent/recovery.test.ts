/**
 * Unmodified programs over a link that loses:
 *
 *     a 10.77.0.1 ──── 10 ms, 5 % lost ──── b 10.77.0.2
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FlowStatus, IncomingFlow, LinkStatus } from '../../../src/control/api.js';
import { Sandbox } from '../mesh/harness.js';
import { BIN, eventually, usable } from './overlay.js';

const PORT = 5000;
const BYTES = 2_000_000;
/** Serves BYTES bytes that are all different from their neighbours, to whoever calls. */
const SERVER = `
  const bytes = Buffer.from(Array.from({ length: ${BYTES} }, (_, i) => (i * 2654435761) >>> 24));
  require('node:net').createServer((socket) => socket.end(bytes)).listen(${PORT}, '10.77.0.2');`;
const CLIENT = `
  const hash = require('node:crypto').createHash('sha256');
  require('node:net').connect(${PORT}, '10.77.0.2').on('data', (part) => hash.update(part))
    .on('end', () => console.log(hash.digest('hex')));`;
const sent = Buffer.from(Array.from({ length: BYTES }, (_, i) => (i * 2654435761) >>> 24));

describe.skipIf(!usable)('a lossy link (needs root, /dev/net/tun and a build)', () => {
  const sandbox = new Sandbox();
  sandbox.agentProgram = BIN;

  beforeAll(async () => {
    const links = 'links:\n  - {between: [a, b], delay: 10ms, loss: 5%, rate: 50mbit}\n';
    await sandbox.well('up', sandbox.file('lossy', `nodes: {a: {}, b: {}}\n${links}`));
  });
  afterAll(() => sandbox.clear());

  const exec = (node: string, ...words: string[]): Promise<string> =>
    sandbox.well('exec', node, '--', ...words);
  const ask = async <T>(node: 'a' | 'b', command: string): Promise<T> => {
    const { nodes } = await sandbox.status('lossy');
    const text = execFileSync(BIN, [command, '--json', '-s', nodes[node]!.socket!], { encoding: 'utf8' });
    return JSON.parse(text) as T;
  };

  it('gives TCP its bytes, the lost ones sent again over that link and put in order', async () => {
    const server = sandbox.start('exec', 'b', '--', process.execPath, '-e', SERVER);
    try {
      await eventually(async () => {
        expect(await exec('b', 'ss', '-Hltn', `sport = :${PORT}`)).not.toBe('');
      });
      const hash = await exec('a', process.execPath, '-e', CLIENT);
      expect(hash.trim()).toBe(createHash('sha256').update(sent).digest('hex'));
    } finally {
      server.kill();
    }
    const [link] = await ask<LinkStatus[]>('b', 'links');
    expect(link!.recovery!.retransmissions).toBeGreaterThan(0);
    expect(link!.recovery!.out.before).toBeGreaterThan(0);
    const flows = await ask<FlowStatus[]>('a', 'flows');
    const incoming = flows.find((flow): flow is IncomingFlow => flow.direction === 'in')!;
    expect(incoming.service).toBe('reliable');
    expect(incoming.delivered).toBeGreaterThan(BYTES / 1400);
  });

  it('protects what a socket marks as realtime', async () => {
    // 5 % lost each way: one in ten goes without an answer, but for recovery.
    const out = await exec(
      'a',
      'ping',
      '-n',
      '-Q',
      '0xb8',
      '-c',
      '300',
      '-i',
      '0.02',
      '-W',
      '2',
      '10.77.0.2',
    );
    const received = Number(/(\d+) received/.exec(out)![1]);
    expect(received).toBeGreaterThan(290);
    const flows = await ask<FlowStatus[]>('a', 'flows');
    expect(flows).toContainEqual(
      expect.objectContaining({ protocol: 'icmp', service: 'realtime', why: 'dscp' }),
    );
    const [link] = await ask<LinkStatus[]>('a', 'links');
    expect(link!.recovery!.parity + link!.recovery!.retransmissions).toBeGreaterThan(0);
  });
});
