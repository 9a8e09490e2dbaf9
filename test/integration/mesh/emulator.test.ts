/**
 * The mesh's own link emulator, measured from its ends. Needs root. Bounds are what any machine should keep; `bench/mesh-accuracy` prints
 * how exact this one is.
 *
 *   a ──emulated── b
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  arrivalRate,
  delayErrors,
  lossRuns,
  mean,
  quantile,
  sendStream,
  type Stream,
} from '../../../scripts/netns/measure.js';
import type { LinkDetail } from '../../../scripts/netns/status.js';
import { isRoot, Sandbox } from './harness.js';

const payload = 1000;
const frameBits = (payload + 42) * 8;

/** A machine that was busy with something else for a moment may try again. */
const AGAIN = { retry: 2 };

describe.skipIf(!isRoot)('an emulated link (needs root)', AGAIN, () => {
  const sandbox = new Sandbox();
  let a = '';
  let b = '';
  const link = (...words: string[]): Promise<string> => sandbox.well('link', 'a', 'b', ...words);
  const detail = async (): Promise<LinkDetail> => JSON.parse(await link('--json')) as LinkDetail;
  const toB = (
    count: number,
    intervalMs: number,
    during?: () => Promise<void>,
  ): ReturnType<typeof sendStream> =>
    sendStream({ from: a, to: b, address: '10.77.0.2', payload, count, intervalMs } satisfies Stream, during);
  const toA = (count: number, intervalMs: number): ReturnType<typeof sendStream> =>
    sendStream({ from: b, to: a, address: 'fd77::1', payload, count, intervalMs });

  beforeAll(async () => {
    await sandbox.well(
      'up',
      '--seed',
      '7',
      sandbox.file(
        'pair',
        'nodes: {a: {}, b: {}}\nlinks: [{between: [a, b], delay: 10ms, rate: 10mbit}]\nagent: false',
      ),
    );
    const { nodes } = await sandbox.status('pair');
    a = nodes['a']!.namespace;
    b = nodes['b']!.namespace;
  });
  beforeEach(async () => {
    await link(
      '--up',
      '--delay',
      '10ms',
      '--loss',
      '0%',
      '--burst',
      '0',
      '--rate',
      '10mbit',
      '--queue',
      '50ms',
    );
  });
  afterAll(() => sandbox.clear());

  it('delays each frame by its delay and its time at the rate, and never delivers early', async () => {
    const arrivals = await toB(500, 2);
    expect(arrivals).toHaveLength(500);
    const errors = delayErrors(arrivals, payload, 10, 10e6);
    expect(quantile(errors, 0.5)).toBeLessThan(1);
    expect(Math.min(...errors)).toBeGreaterThan(-0.1);
  });

  it('loses the share that was asked for, each frame independently', async () => {
    await link('--rate', 'unlimited', '--delay', '1ms', '--loss', '5%');
    const count = 8000;
    const lost = count - (await toB(count, 0.05)).length;
    const deviation = Math.sqrt(count * 0.05 * 0.95);
    expect(Math.abs(lost - count * 0.05)).toBeLessThan(5 * deviation);
  });

  it('loses in runs of the mean length that was asked for', async () => {
    await link('--rate', 'unlimited', '--delay', '1ms', '--loss', '10%', '--burst', '4');
    const count = 12_000;
    const arrivals = await toB(count, 0.05);
    const runs = lossRuns(arrivals, count);
    // A run's length has mean 4 and standard deviation √12; some 300 runs.
    expect(Math.abs(mean(runs) - 4)).toBeLessThan((5 * Math.sqrt(12)) / Math.sqrt(runs.length));
    expect((count - arrivals.length) / count).toBeGreaterThan(0.06);
    expect((count - arrivals.length) / count).toBeLessThan(0.14);
  });

  it('passes its rate and lets nothing wait longer than its queue', async () => {
    const frameMs = frameBits / 10e3;
    await link('--delay', '0', '--queue', '20ms');
    const arrivals = await toB(4000, frameMs / 2);
    expect(arrivalRate(arrivals, payload, 0) / 10e6).toBeGreaterThan(0.98);
    expect(arrivalRate(arrivals, payload, 0) / 10e6).toBeLessThan(1.02);
    const waits = arrivals.map((arrival) => arrival.arrivedMs - arrival.sentMs);
    expect(quantile(waits, 0.5)).toBeGreaterThan(20 - frameMs);
    expect(quantile(waits, 0.5)).toBeLessThan(20 + frameMs + 0.5);
    const [forward] = (await detail()).directions;
    expect(forward!.counters!.dropped).toBeGreaterThan(1500);
  });

  it('falls silent one way only, or both, without taking an interface down', async () => {
    await link('--blackhole', '--oneway');
    expect([(await toB(20, 1)).length, (await toA(20, 1)).length]).toEqual([0, 20]);
    await link('--blackhole');
    expect([(await toB(20, 1)).length, (await toA(20, 1)).length]).toEqual([0, 0]);
    expect(await sandbox.well('exec', 'a', '--', 'ip', '-o', 'link', 'show', 'to-b')).toContain('state UP');
    await link('--up');
    expect([(await toB(20, 1)).length, (await toA(20, 1)).length]).toEqual([20, 20]);
  });

  it('changes while it carries frames, and loses or reorders none by that', async () => {
    const arrivals = await toB(1500, 2, async () => void (await link('--delay', '30ms', '--oneway')));
    expect(arrivals.map((arrival) => arrival.sequence)).toEqual([...Array(1500).keys()]);
    const delays = arrivals.map((arrival) => arrival.arrivedMs - arrival.sentMs);
    expect(mean(delays.slice(0, 20))).toBeLessThan(20);
    expect(mean(delays.slice(-20))).toBeGreaterThan(30);
    const { directions } = await detail();
    expect(directions.map((direction) => direction.delayMs)).toEqual([30, 10]);
  });

  it('keeps what a change doesn’t name', async () => {
    await link('--loss', '3%', '--oneway');
    const status = await sandbox.status('pair');
    expect(status.links[0]).toEqual({
      between: ['a', 'b'],
      delay_ms: 10,
      loss_pct: 3,
      rate_mbit: 10,
      up: true,
    });
    expect((await detail()).directions.map((direction) => direction.loss)).toEqual([0.03, 0]);
  });

  it('goes down at both ends and comes back with its shape', async () => {
    await link('--down');
    expect((await sandbox.mesh('exec', 'b', '--', 'ping', '-c', '1', '-W', '1', '10.77.0.1')).code).not.toBe(
      0,
    );
    await link('--up');
    const errors = delayErrors(await toB(50, 2), payload, 10, 10e6);
    expect(Math.min(...errors)).toBeGreaterThan(-0.1);
  });

  it('accounts for every frame', async () => {
    for (const { counters } of (await detail()).directions) {
      const { received, passed, lost, dropped, blackholed, failed, held } = counters!;
      expect(received).toBe(passed + lost + dropped + blackholed + failed + held);
      expect(received).toBeGreaterThan(0);
    }
  });

  it('is reported when its emulator dies, and comes back with the next change', async () => {
    const pids = (await sandbox.well('status')).includes('DEAD');
    expect(pids).toBe(false);
    const { execFileSync } = await import('node:child_process');
    const inside = execFileSync('ip', ['netns', 'pids', `cw-${sandbox.name('pair')}--links`]).toString();
    process.kill(Number(inside.trim()), 'SIGKILL');
    await expect
      .poll(() => sandbox.well('status'), { timeout: 10_000 })
      .toContain('THE LINK EMULATOR IS DEAD');
    expect((await sandbox.status('pair')).links[0]!.up).toBe(false);
    await link('--up');
    expect(await toB(20, 1)).toHaveLength(20);
  });

  it('can be made of a plain link that is in use', async () => {
    const file = sandbox.file('plain', 'nodes: {a: {}, b: {}}\nlinks: [{between: [a, b]}]\nagent: false');
    await sandbox.well('up', file);
    const m = ['-m', sandbox.name('plain')];
    await sandbox.well('exec', ...m, 'a', '--', 'ping', '-c', '1', '-W', '1', '10.77.0.2');
    await sandbox.well('link', ...m, 'a', 'b', '--delay', '20ms');
    const { nodes } = await sandbox.status('plain');
    const [from, to] = [nodes['a']!.namespace, nodes['b']!.namespace];
    const arrivals = await sendStream({ from, to, address: 'fd77::2', payload, count: 20, intervalMs: 2 });
    expect(arrivals).toHaveLength(20);
    expect(Math.min(...arrivals.map((arrival) => arrival.arrivedMs - arrival.sentMs))).toBeGreaterThan(19.9);
    await sandbox.well('down', sandbox.name('plain'));
  });
});
