/** What every command shares: where it prints, and how it finds the agent. */
import type { Command } from 'commander';
import { DEFAULT_SOCKET } from '../agent/config/config.js';
import { ControlClient } from '../control/client.js';

export interface Output {
  /** One or more whole lines, without the last line end. */
  out(text: string): void;
  err(text: string): void;
}

export const terminal: Output = {
  out: (text) => void process.stdout.write(`${text}\n`),
  err: (text) => void process.stderr.write(`${text}\n`),
};

export interface CommonOptions {
  json?: boolean;
  socket?: string;
}

/** -s, else CAUSEWAY_SOCKET, else the default. */
export function socketOf(options: CommonOptions): string {
  return options.socket ?? process.env['CAUSEWAY_SOCKET'] ?? DEFAULT_SOCKET;
}

export function clientOf(options: CommonOptions): ControlClient {
  return new ControlClient(socketOf(options));
}

export function withJson(command: Command): Command {
  return command.option('--json', 'print JSON instead of text');
}

export function withSocket(command: Command): Command {
  return command.option('-s, --socket <path>', `control socket of the agent (default: ${DEFAULT_SOCKET})`);
}

/** Runs `work`, whose signal aborts when the command is interrupted or told to end. */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const abort = new AbortController();
  const stop = (): void => abort.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    return await work(abort.signal);
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}

export function json(value: unknown): string {
  return JSON.stringify(value, null, 2);
}
