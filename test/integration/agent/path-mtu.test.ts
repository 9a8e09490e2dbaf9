/**
 * Full-size packets through a link that silently loses large datagrams from b to c, as a network without ICMP does: c's interface takes
 * no more than 1280 bytes, and b isn't told.
 *
 *     a 10.77.0.1 ──── 1500 ──── b 10.77.0.2 ──── 1280 ──── c 10.77.0.3
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LinkStatus } from '../../../src/control/api.js';
import { Sandbox } from '../mesh/harness.js';
import { BIN, eventually, usable } from './overlay.js';

const PORT = 5000;
const BYTES = 10_000_000;
const SERVER = `
  const bytes = Buffer.from(Array.from({ length: ${BYTES} }, (_, i) => (i * 2654435761) >>> 24));
  require('node:net').createServer((socket) => socket.end(bytes)).listen(${PORT}, '10.77.0.3');`;
const CLIENT = `
  const hash = require('node:crypto').createHash('sha256');
  require('node:net').connect(${PORT}, '10.77.0.3').on('data', (part) => hash.update(part))
    .on('end', () => console.log(hash.digest('hex')));`;
const sent = Buffer.from(Array.from({ length: BYTES }, (_, i) => (i * 2654435761) >>> 24));

describe.skipIf(!usable)(
  'an underlay of 1280 bytes that says nothing (needs root, /dev/net/tun and a build)',
  () => {
    const sandbox = new Sandbox();
    sandbox.agentProgram = BIN;

    beforeAll(async () => {
      const links = 'links:\n  - {between: [a, b]}\n  - {between: [b, c]}\n';
      await sandbox.well('up', sandbox.file('narrow', `nodes: {a: {}, b: {}, c: {}}\n${links}`));
    });
    afterAll(() => sandbox.clear());

    const exec = (node: string, ...words: string[]): Promise<string> =>
      sandbox.well('exec', node, '--', ...words);
    const resize = (mtu: number) => exec('c', 'ip', 'link', 'set', 'to-b', 'mtu', String(mtu));
    const toC = async (): Promise<LinkStatus> => {
      const { nodes } = await sandbox.status('narrow');
      const text = execFileSync(BIN, ['links', '--json', '-s', nodes['b']!.socket!], { encoding: 'utf8' });
      return (JSON.parse(text) as LinkStatus[]).find(({ peer }) => peer === 'c')!;
    };
    /** Pings with the largest packets that the device takes, which must not be fragmented: how many of ten were answered. */
    const fullPings = async (): Promise<number> => {
      const out = await exec('a', 'sh', '-c', 'ping -c 10 -i 0.05 -W 2 -M do -s 1352 10.77.0.3 || true');
      return Number(/(\d+) received/.exec(out)![1]);
    };

    it('is noticed, and carries full-size packets and 10 MB of TCP all the same', async () => {
      await eventually(async () => expect((await toC()).pathMtu).toBeGreaterThan(1400));
      await resize(1280);
      await eventually(async () => {
        await fullPings();
        expect((await toC()).pathMtu).toBeLessThanOrEqual(1300);
      });
      expect(await fullPings()).toBe(10);
      const server = sandbox.start('exec', 'c', '--', process.execPath, '-e', SERVER);
      try {
        await eventually(async () => {
          expect(await exec('c', 'ss', '-Hltn', `sport = :${PORT}`)).not.toBe('');
        });
        const hash = await exec('a', process.execPath, '-e', CLIENT);
        expect(hash.trim()).toBe(createHash('sha256').update(sent).digest('hex'));
      } finally {
        server.kill();
      }
    }, 60_000);

    it('is used in full again when it has grown', async () => {
      await resize(1500);
      await eventually(async () => {
        await fullPings();
        expect((await toC()).pathMtu).toBeGreaterThan(1400);
      });
    }, 60_000);
  },
);

describe.skipIf(!usable)('the same with links.split off (needs root, /dev/net/tun and a build)', () => {
  const sandbox = new Sandbox();
  sandbox.agentProgram = BIN;

  beforeAll(async () => {
    const links = 'links:\n  - {between: [a, b]}\n  - {between: [b, c]}\n';
    const agent = 'agent: {links: {split: false}}\n';
    await sandbox.well('up', sandbox.file('unsplit', `nodes: {a: {}, b: {}, c: {}}\n${links}${agent}`));
  });
  afterAll(() => sandbox.clear());

  const exec = (node: string, ...words: string[]): Promise<string> =>
    sandbox.well('exec', node, '--', ...words);

  it('tells senders how large packets may be, and carries 10 MB of TCP in such', async () => {
    await exec('c', 'ip', 'link', 'set', 'to-b', 'mtu', '1280');
    const tooLong = /frag needed|message too long|too big|mtu ?= ?1[12]\d\d/i;
    await eventually(async () => {
      const ping = 'ping -c 5 -i 0.05 -W 1 -M do -s 1352 10.77.0.3 2>&1 || true';
      expect(await exec('a', 'sh', '-c', ping)).toMatch(tooLong);
    });
    const route = await exec('a', 'ip', 'route', 'get', '10.77.0.3');
    const mtu = Number(/mtu (\d+)/.exec(route)![1]);
    expect(mtu).toBeGreaterThan(1100);
    expect(mtu).toBeLessThan(1280);
    // What just fits passes, what doesn't is known by then at the sender itself.
    const fits = `ping -c 5 -i 0.05 -W 2 -M do -s ${mtu - 28} 10.77.0.3`;
    expect(await exec('a', 'sh', '-c', fits)).toContain(' 0% packet loss');
    const server = sandbox.start('exec', 'c', '--', process.execPath, '-e', SERVER);
    try {
      await eventually(async () => {
        expect(await exec('c', 'ss', '-Hltn', `sport = :${PORT}`)).not.toBe('');
      });
      const hash = await exec('a', process.execPath, '-e', CLIENT);
      expect(hash.trim()).toBe(createHash('sha256').update(sent).digest('hex'));
    } finally {
      server.kill();
    }
  }, 60_000);
});
