/** `causeway ping TARGET`: echo requests through the overlay, each reply with the nodes it passed. */
import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import type { PingEvent, PingRequest } from '../control/api.js';
import { clientOf, interruptible, withJson, withSocket } from './context.js';
import type { CommonOptions, Output } from './context.js';
import { CliError } from './errors.js';
import { median, millis } from './format.js';

interface PingOptions extends CommonOptions {
  count: number;
  interval: number;
  timeout: number;
}

export interface PingSummary {
  type: 'summary';
  /** How often the way there or back was another than that of the reply before. */
  pathChanges: number;
  sent: number;
  received: number;
  lossPercent: number;
  rttMicros: { min: number; median: number; max: number } | null;
}

/** A reply took another way than the one before it. */
export interface PathChange {
  type: 'path-changed';
  number: number;
  there: { from: readonly string[]; to: readonly string[] };
  back: { from: readonly string[]; to: readonly string[] };
}

export function registerPing(program: Command, output: Output): void {
  const command = program
    .command('ping')
    .description('measure the way to a node through the overlay, hop by hop')
    .argument('<target>', 'node name or overlay address')
    .option('-n, --count <number>', 'how many to send, 0 for no end', wholeNumber, 5)
    .option('-i, --interval <seconds>', 'time between two', seconds, 1)
    .option('-W, --timeout <seconds>', 'how long to wait for each reply', seconds, 2);
  withSocket(withJson(command)).action((target: string, options: PingOptions) =>
    interruptible((signal) => runPing(target, options, output, signal)),
  );
}

/** What `ping` and `trace` ask for. */
export function requestOf(
  target: string,
  { count, interval, timeout }: Pick<PingOptions, 'count' | 'interval' | 'timeout'>,
): PingRequest {
  return {
    target,
    count,
    intervalMs: Math.round(interval * 1000),
    timeoutMs: Math.round(timeout * 1000),
  };
}

async function runPing(
  target: string,
  options: PingOptions,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  const summary = new Summary();
  for await (const event of clientOf(options).ping(requestOf(target, options), signal)) {
    const change = summary.add(event);
    if (change) output.out(options.json === true ? JSON.stringify(change) : renderPathChange(change));
    output.out(options.json === true ? JSON.stringify(event) : renderPingEvent(event));
  }
  const total = summary.total();
  output.out(options.json === true ? JSON.stringify(total) : renderSummary(target, total));
  if (total.received === 0 && !signal.aborted) throw new CliError(`no answer from ${target}`);
}

/** Counts what came back. */
export class Summary {
  private sent = 0;
  private readonly rtts: number[] = [];
  private pathChanges = 0;
  private last: Extract<PingEvent, { type: 'reply' }> | undefined;

  /** Returns how the path changed, if it did. */
  add(event: PingEvent): PathChange | undefined {
    if (event.type === 'start') return undefined;
    this.sent++;
    if (event.type === 'lost') return undefined;
    const { last } = this;
    this.last = event;
    this.rtts.push(event.rttMicros);
    if (!last || (same(last.pathThere, event.pathThere) && same(last.pathBack, event.pathBack)))
      return undefined;
    this.pathChanges++;
    return {
      type: 'path-changed',
      number: event.number,
      there: { from: last.pathThere, to: event.pathThere },
      back: { from: last.pathBack, to: event.pathBack },
    };
  }

  total(): PingSummary {
    const { sent, rtts, pathChanges } = this;
    const rttMicros =
      rtts.length === 0 ? null : { min: Math.min(...rtts), median: median(rtts), max: Math.max(...rtts) };
    const lossPercent = sent === 0 ? 0 : (100 * (sent - rtts.length)) / sent;
    return { type: 'summary', sent, received: rtts.length, lossPercent, rttMicros, pathChanges };
  }
}

export function renderPingEvent(event: PingEvent): string {
  switch (event.type) {
    case 'start':
      return `${event.target === event.node ? event.node : `${event.target}, node ${event.node}`}, through the overlay:`;
    case 'reply':
      return `${event.number}  ${millis(event.rttMicros)}  there: ${way(event.pathThere)}  back: ${way(event.pathBack)}`;
    case 'lost':
      return `${event.number}  lost: ${event.reason}`;
  }
}

/** One line for each direction whose way is another. */
function renderPathChange({ number, there, back }: PathChange): string {
  const changed = ([name, { from, to }]: [string, PathChange['there']]) =>
    same(from, to) ? [] : [`${number}  path ${name} changed: ${way(to)}, was ${way(from)}`];
  return [...changed(['there', there]), ...changed(['back', back])].join('\n');
}

const same = (one: readonly string[], other: readonly string[]): boolean => one.join() === other.join();

const way = (nodes: readonly string[]): string => nodes.join(' → ');

function renderSummary(target: string, summary: PingSummary): string {
  const { sent, received, lossPercent, rttMicros, pathChanges } = summary;
  const counts = `${target}: ${sent} sent, ${received} answered, ${lossPercent.toFixed(lossPercent % 1 === 0 ? 0 : 1)} % lost${pathChanges > 0 ? `; the path changed ${pathChanges === 1 ? 'once' : `${pathChanges} times`}` : ''}`;
  if (rttMicros === null) return counts;
  return `${counts}; least ${millis(rttMicros.min)}, median ${millis(rttMicros.median)}, most ${millis(rttMicros.max)}`;
}

export function wholeNumber(text: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new InvalidArgumentError('Give a whole number.');
  return Number(text);
}

export function seconds(text: string): number {
  const value = Number(text);
  if (!/^\d*\.?\d+$/.test(text) || value < 0.01 || value > 60) {
    throw new InvalidArgumentError('Give seconds, 0.01 to 60.');
  }
  return value;
}
