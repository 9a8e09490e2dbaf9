/** One thing wrong with a configuration: where, and what to do about it. */
export interface ConfigProblem {
  file: string;
  /** From 1; absent where the problem has no place in the file (a missing file, say). */
  line?: number;
  column?: number;
  /** Dotted key path such as `peers[0].endpoints[1]`, empty for the whole file. */
  key: string;
  message: string;
}

/** The configuration can't be used. `message` has one line per problem: `file:line:column: key: what to do`. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly code = 'ECONFIG';
  constructor(readonly problems: readonly ConfigProblem[]) {
    super(problems.map(formatProblem).join('\n'));
  }
}

export function formatProblem({ file, line, column, key, message }: ConfigProblem): string {
  const place = line === undefined ? file : `${file}:${line}:${column ?? 1}`;
  return key === '' ? `${place}: ${message}` : `${place}: ${key}: ${message}`;
}
