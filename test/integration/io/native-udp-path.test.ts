//   namespace a ── veth, MTU 1280 ── namespace b        one agent's socket in each
//
// Datagrams of 1436 bytes (an inner packet of 1380) over an underlay that carries 1280. Needs root.
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { nativeAvailable } from '../../../src/io/native.js';
import { hasRoot, ip, Namespaces } from '../../support/native-namespaces.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const addon = process.env['CAUSEWAY_ADDON'] ?? path.join(root, 'build/Release/causeway.node');
const script = path.join(root, 'test/support/native-udp-peer.mjs');
const ADDRESS = { 4: '00000000000000000000ffffc0000202', 6: 'fd980000000000000000000000000002' };

describe.skipIf(!hasRoot || !nativeAvailable())('UDP of native/ over a path', () => {
  const spaces = new Namespaces();
  afterEach(() => spaces.cleanUp());

  async function link(mtu: number, checksumOffload = true): Promise<[string, string]> {
    const [a, b] = [spaces.add('pa'), spaces.add('pb')];
    ip(`link add cwio0 netns ${a} type veth peer name cwio0 netns ${b}`);
    for (const [space, host] of [
      [a, 1],
      [b, 2],
    ] as const) {
      ip(`-n ${space} addr add 192.0.2.${host}/24 dev cwio0`);
      ip(`-n ${space} addr add fd98::${host}/64 dev cwio0 nodad`);
      ip(`-n ${space} link set cwio0 mtu ${mtu} up`);
      if (!checksumOffload) await spaces.exec(space, 'ethtool -K cwio0 tx off');
    }
    // The neighbour must be known, as the kernel queues only 200 KB for one that isn't.
    for (const target of ['192.0.2.2', 'fd98::2']) await spaces.exec(a, `ping -c 1 -W 10 ${target}`);
    return [a, b];
  }

  async function exchange(a: string, b: string, family: 4 | 6, count: number, rounds: number, how = 'send') {
    const receiver = spaces.start(b, process.execPath, [
      script,
      addon,
      'receive',
      '7000',
      String(count * rounds),
    ]);
    await receiver.ready;
    const words = [process.execPath, script, addon, how, ADDRESS[family], 7000, count, 1436, rounds];
    const sent = JSON.parse(await spaces.exec(a, words.join(' '))) as {
      sent: number;
      errors: number;
      waits?: number;
    };
    const printed = await receiver.output;
    return { sent, lengths: JSON.parse(printed.split('\n')[1]!) as number[] };
  }

  it.each([4, 6] as const)(
    'IPv%s: what is too big for the path arrives in fragments, none is lost',
    async (family) => {
      const [a, b] = await link(1280);
      const { sent, lengths } = await exchange(a, b, family, 30, 4);
      expect(sent).toMatchObject({ sent: 120, errors: 0 });
      expect(lengths).toEqual(new Array(120).fill(1436));
    },
  );

  it.each([4, 6] as const)('IPv%s: a device without checksum offload loses none either', async (family) => {
    const [a, b] = await link(1500, false);
    const { sent, lengths } = await exchange(a, b, family, 30, 4);
    expect(sent).toMatchObject({ sent: 120, errors: 0 });
    expect(lengths).toEqual(new Array(120).fill(1436));
  });

  it('a full buffer ends a send early, onWritable says when to go on, and nothing is lost', async () => {
    const [a, b] = await link(1500);
    await spaces.exec(a, 'tc qdisc replace dev cwio0 root tbf rate 50mbit burst 20k limit 20m');
    const { sent, lengths } = await exchange(a, b, 4, 200, 3, 'patient');
    expect(sent).toMatchObject({ sent: 600, errors: 0 });
    expect(sent.waits).toBeGreaterThan(0);
    expect(lengths).toEqual(new Array(600).fill(1436));
  });
});
