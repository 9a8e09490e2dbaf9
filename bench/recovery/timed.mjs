/** The program that sends timed messages (`timed.c`), and what is said of its messages' delays. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { on, run, sleep } from '../lib/net.mjs';

/** How long datagrams may still be under way after the last was sent. */
const STRAGGLERS_MS = 2000;

let compiled;

/** Compiled once a run, into a folder that goes with it. */
function program() {
  compiled ??= (async () => {
    const directory = mkdtempSync(join(tmpdir(), 'causeway-timed-'));
    process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
    const file = join(directory, 'timed');
    await run('gcc', ['-O2', '-std=gnu11', '-o', file, join(import.meta.dirname, 'timed.c')]);
    return file;
  })();
  return compiled;
}

let nextPort = 9200;

/**
 * Sends `count` messages of `bytes` bytes, one each `intervalUs`, and returns when which arrived: [{sequence, delayMs}], in order of arrival; a
 * datagram that came twice is there twice.
 * @param {{from: object, to: object, address?: string, protocol: 'tcp' | 'udp', count: number, intervalUs: number, bytes: number, dscp?: number, congestion?: string}} stream
 */
export async function sendTimed({
  from,
  to,
  address = to.address,
  protocol,
  count,
  intervalUs,
  bytes,
  ...more
}) {
  const { dscp = 0, congestion = '-' } = more;
  const timed = await program();
  const port = String(nextPort++);
  const receiver = spawn('ip', [
    'netns',
    'exec',
    to.namespace,
    timed,
    'receive',
    protocol,
    port,
    String(bytes),
  ]);
  const output = [];
  receiver.stdout.on('data', (chunk) => output.push(chunk));
  const closed = once(receiver, 'close');
  try {
    await Promise.race([
      once(receiver.stderr, 'data'),
      closed.then(() => Promise.reject(new Error('timed: the receiver ended early'))),
    ]);
    await on(
      from,
      timed,
      'send',
      protocol,
      address,
      port,
      ...[count, intervalUs, bytes, dscp, congestion].map(String),
    );
    if (protocol === 'udp') await sleep(STRAGGLERS_MS).then(() => receiver.kill());
    await closed;
  } finally {
    receiver.kill('SIGKILL');
  }
  return parse(Buffer.concat(output).toString());
}

function parse(text) {
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => {
      const [sequence, due, arrived] = line.split(' ');
      return { sequence: Number(sequence), delayMs: Number(BigInt(arrived) - BigInt(due)) / 1e6 };
    });
}

/** Delays of the messages' first copies, ascending, ms. */
export function delaysOf(arrivals) {
  const first = new Map();
  for (const { sequence, delayMs } of arrivals) if (!first.has(sequence)) first.set(sequence, delayMs);
  return [...first.values()].sort((a, b) => a - b);
}

/** The delay that `share` of `sorted` don't exceed. */
export const quantile = (sorted, share) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];

/** What there is to say of `count` messages sent; shares are of all that were sent, so what was lost is later than anything. */
export function summary(count, arrivals) {
  const delays = delaysOf(arrivals);
  const laterThan = (ms) => 1 - delays.filter((delay) => delay <= ms).length / count;
  return {
    sent: count,
    lost: 1 - delays.length / count,
    duplicates: arrivals.length - delays.length,
    averageMs: delays.reduce((sum, delay) => sum + delay, 0) / delays.length,
    medianMs: quantile(delays, 0.5),
    p99Ms: quantile(delays, 0.99),
    p999Ms: quantile(delays, 0.999),
    maxMs: delays.at(-1),
    laterThan60: laterThan(60),
    laterThan65: laterThan(65),
    laterThan70: laterThan(70),
    laterThan100: laterThan(100),
  };
}
