/** Measures links from their ends, by `link-probe`; the accuracy bench and the integration tests share it. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { nativeProgram } from './emulator.js';
import { failed } from './errors.js';
import { run } from './process.js';

/** A datagram that arrived; times in milliseconds of one clock, from when the first was sent. */
export interface Arrival {
  readonly sequence: number;
  readonly sentMs: number;
  readonly arrivedMs: number;
}

export interface Stream {
  readonly from: string;
  readonly to: string;
  readonly address: string;
  readonly count: number;
  /** Between datagrams; 0: as fast as the sender can. */
  readonly intervalMs: number;
  /** Bytes of UDP payload. */
  readonly payload: number;
}

/** What counts against a link's rate beside an IPv4 datagram's payload: Ethernet, IP and UDP headers. */
export const headerBytes = 14 + 20 + 8;

const probePort = 9107;

/** Sends a stream between two namespaces and returns what arrived, in order of arrival. `during` runs while it flows. */
export async function sendStream(stream: Stream, during?: () => Promise<void>): Promise<Arrival[]> {
  const probe = await nativeProgram('link-probe');
  const receiver = spawn('ip', ['netns', 'exec', stream.to, probe, 'receive', String(probePort), '1500']);
  const chunks: Buffer[] = [];
  receiver.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  const closed = once(receiver, 'close');
  await Promise.race([
    once(receiver.stderr, 'data'),
    closed.then(() => Promise.reject(failed('link-probe ended early'))),
  ]);
  const { address, count, intervalMs, payload } = stream;
  const words = ['send', address, probePort, count, Math.round(intervalMs * 1000), payload].map(String);
  await Promise.all([run('ip', ['netns', 'exec', stream.from, probe, ...words]), during?.()]);
  await closed;
  return parseArrivals(Buffer.concat(chunks).toString());
}

function parseArrivals(text: string): Arrival[] {
  const rows = text
    .split('\n')
    .filter(Boolean)
    .map((line) => line.split(' ').map(BigInt) as [bigint, bigint, bigint]);
  const first = rows[0]?.[1] ?? 0n;
  const ms = (time: bigint): number => Number(time - first) / 1e6;
  return rows.map(([sequence, sent, arrived]) => ({
    sequence: Number(sequence),
    sentMs: ms(sent),
    arrivedMs: ms(arrived),
  }));
}

/**
 * How far each datagram arrived from when an exact link would have delivered it, in milliseconds: a link that serialises one frame after
 * another at the rate and then delays. Made for streams without loss, where what was sent close together waits for what went before.
 */
export function delayErrors(
  arrivals: readonly Arrival[],
  payload: number,
  delayMs: number,
  rateBps: number,
): number[] {
  const serialisationMs = ((payload + headerBytes) * 8e3) / rateBps;
  let busyUntil = -Infinity;
  return arrivals.map(({ sentMs, arrivedMs }) => {
    busyUntil = Math.max(sentMs, busyUntil) + serialisationMs;
    return arrivedMs - (busyUntil + delayMs);
  });
}

/**
 * The bits per second at which frames came out while more were waiting. A frame counts if it was sent before its predecessor had left, so that
 * a sender that had to wait for a processor doesn't look like a slow link.
 */
export function arrivalRate(arrivals: readonly Arrival[], payload: number, delayMs: number): number {
  let spanMs = 0;
  let frames = 0;
  arrivals.forEach((arrival, index) => {
    const before = arrivals[index - 1];
    if (before === undefined || arrival.sentMs + delayMs >= before.arrivedMs) return;
    spanMs += arrival.arrivedMs - before.arrivedMs;
    frames++;
  });
  return (frames * (payload + headerBytes) * 8e3) / spanMs;
}

/** The lengths of the runs of losses among `count` datagrams. */
export function lossRuns(arrivals: readonly Arrival[], count: number): number[] {
  const arrived = new Set(arrivals.map((arrival) => arrival.sequence));
  const runs: number[] = [];
  let length = 0;
  for (let sequence = 0; sequence <= count; sequence++) {
    if (sequence < count && !arrived.has(sequence)) length++;
    else if (length > 0) {
      runs.push(length);
      length = 0;
    }
  }
  return runs;
}

export const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** The value below which `share` of the values lie. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
}

/** Busy processes, for figures from a loaded machine; end them with the function returned. */
export function loadMachine(processes: number): () => void {
  const children = Array.from({ length: processes }, (): ChildProcess =>
    spawn(process.execPath, ['-e', 'for (;;);']),
  );
  return () => children.forEach((child) => child.kill('SIGKILL'));
}
