/**
 * `causeway trace TARGET`: each hop on the way to a node, with delay and loss. Echo requests go to the target, and others beside them whose TTL ends at
 * each node on the way, which refuses them and so shows itself.
 */
import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import type { PingEvent, PingRequest } from '../control/api.js';
import type { ControlClient } from '../control/client.js';
import { clientOf, interruptible, withJson, withSocket } from './context.js';
import type { CommonOptions, Output } from './context.js';
import { CliError } from './errors.js';
import { median, millis, table } from './format.js';
import { requestOf, seconds, wholeNumber } from './ping.js';

interface TraceOptions extends CommonOptions {
  count: number;
  interval: number;
  timeout: number;
}

export interface TraceHop {
  /** From 1. */
  hop: number;
  /** Who answered, mostly one; more where the path changed meanwhile. */
  nodes: string[];
  /** None of these answered; it is named after the path that replies of the target took, null where there are none. */
  silent: string | null;
  sent: number;
  received: number;
  lossPercent: number;
  rttMicros: { min: number; median: number; max: number } | null;
}

export interface Trace {
  target: string;
  node: string;
  hops: TraceHop[];
  /** Ways that replies of the target took there, in the order of their first use. */
  paths: string[][];
}

export function registerTrace(program: Command, output: Output): void {
  const command = program
    .command('trace')
    .description('show each hop to a node through the overlay, with delay and loss')
    .argument('<target>', 'node name or overlay address')
    .option('-c, --count <number>', 'how many probes for each hop', rounds, 10)
    .option('-i, --interval <seconds>', 'time between two', seconds, 0.2)
    .option('-W, --timeout <seconds>', 'how long to wait for each answer', seconds, 2);
  withSocket(withJson(command)).action((target: string, options: TraceOptions) =>
    interruptible((signal) => runTrace(target, options, output, signal)),
  );
}

async function runTrace(
  target: string,
  options: TraceOptions,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  const trace = await traceTo(clientOf(options), requestOf(target, options), signal);
  output.out(options.json === true ? JSON.stringify(trace) : renderTrace(trace));
  if (trace.hops.at(-1)!.received === 0) throw new CliError(`no answer from ${target}`);
}

/** Probes the whole way; what has been seen until then where `signal` aborts. */
export async function traceTo(
  client: Pick<ControlClient, 'ping'>,
  request: PingRequest,
  signal: AbortSignal,
): Promise<Trace> {
  const others: Promise<HopProbes>[] = [];
  const last = new HopProbes();
  let node = request.target;
  for await (const event of client.ping(request, signal)) {
    last.add(event);
    if (event.type !== 'start') continue;
    node = event.node;
    for (let ttl = 1; ttl < (event.hops ?? 0); ttl++) others.push(probe(client, { ...request, ttl }, signal));
  }
  const probes = [...(await Promise.all(others)), last];
  const [path = []] = last.paths;
  const hops = probes.map((each, i) => each.total(i + 1, path[i] ?? (each === last ? node : null)));
  return { target: request.target, node, hops, paths: last.paths };
}

async function probe(
  client: Pick<ControlClient, 'ping'>,
  request: PingRequest,
  signal: AbortSignal,
): Promise<HopProbes> {
  const probes = new HopProbes();
  for await (const event of client.ping(request, signal)) probes.add(event);
  return probes;
}

/** What became of the probes for one hop. */
class HopProbes {
  readonly paths: string[][] = [];
  private readonly nodes = new Set<string>();
  private readonly rtts: number[] = [];
  private sent = 0;

  add(event: PingEvent): void {
    if (event.type === 'start') return;
    this.sent++;
    if (event.type === 'reply') {
      this.answered(event.pathThere.at(-1) ?? '', event.rttMicros);
      if (!this.paths.some((path) => path.join() === event.pathThere.join()))
        this.paths.push([...event.pathThere]);
    } else if (event.refusal?.code === 'ttl-exceeded')
      this.answered(event.refusal.from, event.refusal.rttMicros);
  }

  private answered(node: string, rttMicros: number): void {
    this.nodes.add(node);
    this.rtts.push(rttMicros);
  }

  total(hop: number, expected: string | null): TraceHop {
    const { sent, rtts } = this;
    return {
      hop,
      nodes: [...this.nodes],
      silent: rtts.length === 0 ? expected : null,
      sent,
      received: rtts.length,
      lossPercent: sent === 0 ? 0 : (100 * (sent - rtts.length)) / sent,
      rttMicros:
        rtts.length === 0 ? null : { min: Math.min(...rtts), median: median(rtts), max: Math.max(...rtts) },
    };
  }
}

export function renderTrace({ target, node, hops, paths }: Trace): string {
  const title = `${target === node ? node : `${target}, node ${node}`}, through the overlay, ${hops.at(-1)?.sent ?? 0} probes for each hop:`;
  const rows = hops.map(({ hop, nodes, silent, lossPercent, rttMicros }) => [
    String(hop),
    nodes.length > 0 ? nodes.join(', ') : `(${silent ?? '?'})`,
    `${lossPercent.toFixed(lossPercent % 1 === 0 ? 0 : 1)} %`,
    millis(rttMicros?.min ?? null),
    millis(rttMicros?.median ?? null),
    millis(rttMicros?.max ?? null),
  ]);
  const changes = paths.slice(1).map((path) => `the path changed: ${path.join(' → ')}`);
  return [
    title,
    table(['hop', 'node', 'lost', 'least', 'median', 'most'], rows, [0, 2, 3, 4, 5]),
    ...changes,
  ].join('\n');
}

function rounds(text: string): number {
  const count = wholeNumber(text);
  if (count === 0) throw new InvalidArgumentError('Give a whole number from 1 on.');
  return count;
}
