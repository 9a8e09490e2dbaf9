/**
 * Meshes come and go. Needs root.
 *
 *   a ═══ b ═══ c      plain links, no agents, except where a test says so
 */
import { existsSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { isAlive, recordOf, waitFor } from '../../../scripts/netns/process.js';
import { isRoot, outcome, Sandbox } from './harness.js';

const row = 'nodes: {a: {}, b: {}, c: {}}\nlinks: [{between: [a, b]}, {between: [b, c]}]\nagent: false';
const ping = (address: string): string[] => ['ping', '-c', '1', '-W', '1', address];

describe.skipIf(!isRoot)('a mesh (needs root)', () => {
  const sandbox = new Sandbox();
  beforeAll(() => sandbox.writeAgent());
  afterEach(async () => {
    for (const name of JSON.parse(await sandbox.well('list', '--json')) as string[])
      await sandbox.mesh('down', name);
    expect(sandbox.remains()).toEqual([]);
  });
  afterAll(() => sandbox.clear());

  it('without agents is routed: every node reaches every other, on both address families', async () => {
    await sandbox.well('up', sandbox.file('row', row));
    await sandbox.well('exec', 'a', '--', ...ping('10.77.0.3'));
    await sandbox.well('exec', 'c', '--', ...ping('fd77::1'));
    const { nodes } = await sandbox.status('row');
    await sandbox.well('exec', 'a', '--', ...ping(nodes['c']!.underlay['b']!.address));
  });

  it('runs commands on its nodes with their input, output and exit code', async () => {
    await sandbox.well('up', sandbox.file('row', row));
    const child = sandbox.start('exec', 'b', '--', 'sh', '-c', 'cat; echo oops >&2; exit 7');
    child.stdin!.end('through');
    expect(await outcome(child)).toEqual({ code: 7, out: 'through', err: 'oops\n' });
    expect((await sandbox.mesh('exec', 'b', '--', 'sh', '-c', 'kill -9 $$')).code).toBe(137);
  });

  it('that is ended takes with it what runs inside, and only that', async () => {
    await sandbox.well('up', sandbox.file('row', row));
    const inside = Number(
      await sandbox.well('exec', 'a', '--', 'sh', '-c', 'sleep 1000 >/dev/null 2>&1 & echo $!'),
    );
    const record = recordOf(inside);
    expect(isAlive(record)).toBe(true);
    await sandbox.well('down');
    expect(isAlive(record)).toBe(false);
  });

  it('can’t come up twice', async () => {
    const file = sandbox.file('row', row);
    await sandbox.well('up', file);
    const { code, err } = await sandbox.mesh('up', file);
    expect(code).toBe(2);
    expect(err).toContain('is up already');
    await sandbox.well('exec', 'a', '--', ...ping('10.77.0.2'));
  });

  it('doesn’t meet another, though both use the same addresses', async () => {
    await sandbox.well('up', sandbox.file('one', row));
    await sandbox.well('up', sandbox.file('two', row));
    expect((await sandbox.mesh('exec', 'a', '--', 'true')).code).toBe(2);
    await sandbox.well('-m', sandbox.name('one'), 'link', 'a', 'b', '--blackhole');
    expect(
      (await sandbox.mesh('exec', '-m', sandbox.name('one'), 'a', '--', ...ping('10.77.0.2'))).code,
    ).toBe(1);
    await sandbox.well('exec', '-m', sandbox.name('two'), 'a', '--', ...ping('10.77.0.2'));
    await sandbox.well('down', sandbox.name('one'));
    await sandbox.well('exec', 'a', '--', ...ping('10.77.0.3'));
  });

  it('has links that go down, fall silent one way, and come back', async () => {
    await sandbox.well('up', sandbox.file('row', row));
    const reaches = async (from: string, address: string): Promise<boolean> =>
      (await sandbox.mesh('exec', from, '--', ...ping(address))).code === 0;

    await sandbox.well('link', 'b', 'c', '--down');
    expect(await sandbox.well('exec', 'c', '--', 'ip', '-o', 'link', 'show', 'to-b')).toContain('state DOWN');
    expect(await reaches('a', '10.77.0.3')).toBe(false);
    expect((await sandbox.status('row')).links.map((link) => link.up)).toEqual([true, false]);
    await sandbox.well('link', 'b', 'c', '--up');
    expect([await reaches('a', '10.77.0.3'), await reaches('c', 'fd77::1')]).toEqual([true, true]);

    await sandbox.well('link', 'a', 'b', '--blackhole', '--oneway');
    expect(await sandbox.well('exec', 'a', '--', 'ip', '-o', 'link', 'show', 'to-b')).toContain('state UP');
    const counting = ['cat', '/sys/class/net/to-a/statistics/rx_packets'];
    const received = async (): Promise<number> => Number(await sandbox.well('exec', 'b', '--', ...counting));
    const before = await received();
    expect(await reaches('a', '10.77.0.2')).toBe(false);
    expect(await received()).toBe(before);
    expect(await reaches('b', '10.77.0.1')).toBe(false);
    await sandbox.well('link', 'a', 'b', '--up');
    expect(await reaches('a', '10.77.0.2')).toBe(true);
  });

  it('starts agents, and stops, kills and starts them one by one', async () => {
    await sandbox.well('up', sandbox.file('agents', 'nodes: {a: {}, b: {}}\nlinks: [{between: [a, b]}]'));
    const first = (await sandbox.status('agents')).nodes['a']!;
    expect(isAlive(recordOf(first.pid!))).toBe(true);
    expect(existsSync(first.config!)).toBe(true);

    await sandbox.well('agent', 'a', 'stop');
    expect((await sandbox.status('agents')).nodes['a']!.pid).toBeNull();
    expect(existsSync(first.socket!)).toBe(false);
    expect((await sandbox.mesh('agent', 'a', 'stop')).code).toBe(1);
    await sandbox.well('agent', 'a', 'start');
    expect((await sandbox.status('agents')).nodes['a']!.pid).not.toBeNull();
    expect((await sandbox.mesh('agent', 'a', 'start')).err).toContain('is running already');
    await sandbox.well('agent', 'b', 'kill');
    expect((await sandbox.status('agents')).nodes['b']!.pid).toBeNull();
  });

  it('whose agent dies at the start says why, and is gone', async () => {
    const file = sandbox.file('agents', 'nodes: {a: {}, bad: {}}\nlinks: [{between: [a, bad]}]');
    const { code, err } = await sandbox.mesh('up', file);
    expect(code).toBe(1);
    expect(err).toBe('mesh: the agent of node bad ended: the sky fell on this agent\n');
    expect(sandbox.remains()).toEqual([]);
  });

  it('that is interrupted on its way up is gone', async () => {
    const child = sandbox.start(
      'up',
      sandbox.file('agents', 'nodes: {a: {}, slow: {}}\nlinks: [{between: [a, slow], delay: 1ms}]'),
    );
    const ended = outcome(child);
    const agentsStarted = async (): Promise<boolean> => {
      const { code, out } = await sandbox.mesh('status', '--json');
      return (
        code === 0 &&
        Object.values((JSON.parse(out) as { nodes: object }).nodes).every((node) => node.pid !== null)
      );
    };
    expect(await waitFor(agentsStarted, 60_000)).toBe(true);
    expect(sandbox.remains()).not.toEqual([]);
    child.kill('SIGINT');
    expect((await ended).code).toBe(130);
    expect(sandbox.remains()).toEqual([]);
  });

  it('is refused with one line and exit code 2 where the request makes no sense', async () => {
    await sandbox.well('up', sandbox.file('row', row));
    const senseless = [
      ['exec', 'x', '--', 'true'],
      ['exec', 'a', '--'],
      ['link', 'a', 'c'],
      ['link', 'a', 'b', '--delay', '10'],
      ['link', 'a', 'b', '--oneway'],
      ['link', 'a', 'b', '--up', '--down'],
      ['agent', 'a', 'start'],
      ['agent', 'a', 'dance'],
      ['down', 'nobody'],
      ['status', '-m', 'nobody'],
      ['up', '/nowhere.yaml'],
      ['fly'],
    ];
    for (const words of senseless) {
      const { code, err } = await sandbox.mesh(...words);
      expect({ words, code }).toEqual({ words, code: 2 });
      expect(err.trim().split('\n')).toHaveLength(1);
    }
  });
});
