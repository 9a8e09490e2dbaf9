/** What ends a command: one line for the user and an exit code. */
import { CommanderError } from 'commander';
import { ConfigError } from '../agent/config/errors.js';
import { ControlError } from '../control/errors.js';

export const EXIT = { done: 0, failed: 1, usage: 2, noAgent: 3 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export class CliError extends Error {
  override readonly name = 'CliError';
  constructor(
    message: string,
    readonly exitCode: ExitCode = EXIT.failed,
  ) {
    super(message);
  }
}

/** Exit code and lines for stderr, without a stack unless `debug`. Commander has printed its own message already. */
export function explainError(error: unknown, debug: boolean): { exitCode: number; lines: string[] } {
  if (error instanceof CommanderError)
    return { exitCode: error.exitCode === 0 ? EXIT.done : EXIT.usage, lines: [] };
  const exitCode = exitCodeOf(error);
  const text = error instanceof Error ? error.message : String(error);
  if (debug && error instanceof Error) return { exitCode, lines: [String(error.stack)] };
  // A configuration has a line per problem; anything else has one line to give.
  const lines = error instanceof ConfigError ? text.split('\n') : [`causeway: ${text.split('\n', 1)[0]}`];
  return { exitCode, lines };
}

function exitCodeOf(error: unknown): number {
  if (error instanceof ConfigError) return EXIT.usage;
  if (error instanceof ControlError && error.code === 'ENOAGENT') return EXIT.noAgent;
  const own = (error as { exitCode?: unknown } | null)?.exitCode;
  return typeof own === 'number' ? own : EXIT.failed;
}
