/** `causeway ping TARGET`: echo requests through the overlay, each reply with the nodes it passed. */
import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import type { PingEvent } from '../control/api.js';
import { clientOf, withJson, withSocket } from './context.js';
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
  sent: number;
  received: number;
  lossPercent: number;
  rttMicros: { min: number; median: number; max: number } | null;
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
    runPing(target, options, output),
  );
}

async function runPing(target: string, options: PingOptions, output: Output): Promise<void> {
  const abort = new AbortController();
  const onSignal = (): void => abort.abort();
  process.once('SIGINT', onSignal);
  try {
    const { count, interval, timeout } = options;
    const request = {
      target,
      count,
      intervalMs: Math.round(interval * 1000),
      timeoutMs: Math.round(timeout * 1000),
    };
    const summary = new Summary();
    for await (const event of clientOf(options).ping(request, abort.signal)) {
      summary.add(event);
      output.out(options.json === true ? JSON.stringify(event) : renderPingEvent(event));
    }
    const total = summary.total();
    output.out(options.json === true ? JSON.stringify(total) : renderSummary(target, total));
    if (total.received === 0 && !abort.signal.aborted) throw new CliError(`no answer from ${target}`);
  } finally {
    process.off('SIGINT', onSignal);
  }
}

/** Counts what came back. */
export class Summary {
  private sent = 0;
  private readonly rtts: number[] = [];

  add(event: PingEvent): void {
    if (event.type === 'start') return;
    this.sent++;
    if (event.type === 'reply') this.rtts.push(event.rttMicros);
  }

  total(): PingSummary {
    const { sent, rtts } = this;
    const rttMicros =
      rtts.length === 0 ? null : { min: Math.min(...rtts), median: median(rtts), max: Math.max(...rtts) };
    const lossPercent = sent === 0 ? 0 : (100 * (sent - rtts.length)) / sent;
    return { type: 'summary', sent, received: rtts.length, lossPercent, rttMicros };
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

const way = (nodes: readonly string[]): string => nodes.join(' → ');

function renderSummary(target: string, { sent, received, lossPercent, rttMicros }: PingSummary): string {
  const counts = `${target}: ${sent} sent, ${received} answered, ${lossPercent.toFixed(lossPercent % 1 === 0 ? 0 : 1)} % lost`;
  if (rttMicros === null) return counts;
  return `${counts}; least ${millis(rttMicros.min)}, median ${millis(rttMicros.median)}, most ${millis(rttMicros.max)}`;
}

function wholeNumber(text: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new InvalidArgumentError('Give a whole number.');
  return Number(text);
}

function seconds(text: string): number {
  const value = Number(text);
  if (!/^\d*\.?\d+$/.test(text) || value < 0.01 || value > 60) {
    throw new InvalidArgumentError('Give seconds, 0.01 to 60.');
  }
  return value;
}
