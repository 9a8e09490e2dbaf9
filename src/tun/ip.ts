/** Runs iproute2's `ip` without a shell, and says what it complained of. */
import { execFile } from 'node:child_process';

export type HostErrorCode =
  | 'bad-input' // a value that no command could be made of
  | 'no-iproute2' // `ip` isn't installed
  | 'no-nft' // `nft` isn't installed
  | 'not-permitted' // CAP_NET_ADMIN is missing
  | 'name-taken' // an interface of that name exists, and isn't ours
  | 'no-device' // the interface has gone
  | 'no-family' // the host doesn't do this address family
  | 'exists' // the address, route or rule is there already
  | 'bad-command' // `ip` doesn't understand a line: too old, or our mistake
  | 'failed'; // anything else that the kernel refused

/** What the host refused, in one line that names the command or the value. */
export class HostError extends Error {
  override readonly name = 'HostError';
  constructor(
    readonly code: HostErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

export interface IpResult {
  /** 0 for success. */
  status: number;
  stdout: string;
  stderr: string;
}

/** Runs `ip` with arguments and standard input. Rejects with HostError 'no-iproute2' where it can't be run. */
export type RunIp = (args: readonly string[], stdin?: string) => Promise<IpResult>;

export interface IpOptions {
  /** Name of another network namespace to work in; this process's own if absent. */
  namespace?: string;
  /** The program; `ip` in PATH, /usr/sbin or /sbin by default. */
  program?: string;
}

const MAX_OUTPUT_BYTES = 64 << 20;
const PATIENCE_MS = 20_000;

export function ipRunner(options: IpOptions = {}): RunIp {
  const { namespace, program = 'ip' } = options;
  const words = namespace === undefined ? [program] : [program, '-n', namespace];
  return programRunner(
    words,
    (cause) => new HostError('no-iproute2', 'ip cannot be run: install iproute2', { cause }),
  );
}

/** Runs `words`, a program and its first arguments; rejects with `missing` where it isn't there. */
export function programRunner(words: readonly string[], missing: (cause: Error) => HostError): RunIp {
  const [program, ...prefix] = words;
  const env = { PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin:/usr/bin:/bin`, LC_ALL: 'C' };
  return (args, stdin = '') =>
    new Promise((resolve, reject) => {
      const settings = { env, timeout: PATIENCE_MS, maxBuffer: MAX_OUTPUT_BYTES };
      const child = execFile(program, [...prefix, ...args], settings, (error, stdout, stderr) => {
        if (typeof error?.code === 'string') reject(missing(error));
        else resolve({ status: error ? (error.code ?? 1) : 0, stdout, stderr });
      });
      // A program that refuses its arguments reads no input.
      child.stdin?.on('error', () => undefined);
      child.stdin?.end(stdin);
    });
}

/**
 * Runs lines as one batch, which stops at the first that fails. Rejects with HostError that names that line.
 */
export async function runBatch(
  run: RunIp,
  family: 4 | 6 | undefined,
  lines: readonly string[],
): Promise<void> {
  if (lines.length === 0) return;
  const args = [...(family === undefined ? [] : [`-${family}`]), '-batch', '-'];
  const { status, stderr } = await run(args, `${lines.join('\n')}\n`);
  if (status !== 0) throw explain(stderr, lines);
}

const causes: readonly [RegExp, HostErrorCode][] = [
  [/Operation not permitted/, 'not-permitted'],
  [
    /IPv6 is disabled|IPv6 not enabled|Address family not supported|Permission denied|ipv6.*(not supported|disabled)/i,
    'no-family',
  ],
  [/Cannot find device|No such device/, 'no-device'],
  [/File exists|Address already assigned/, 'exists'],
  [
    /is unknown|is expected|is wrong|is garbage|is invalid|invalid .* value|Not enough information|duplicate/i,
    'bad-command',
  ],
];

/** Makes an error of what `ip` wrote about `lines`. */
export function explain(stderr: string, lines: readonly string[]): HostError {
  const text = stderr
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('Command failed'))
    .map((line) => line.replace(/^(RTNETLINK answers|Error): /, ''))
    .join('; ');
  const code = causes.find(([pattern]) => pattern.test(text))?.[1] ?? 'failed';
  const remedy = code === 'not-permitted' ? '; run as root or with CAP_NET_ADMIN' : '';
  return new HostError(code, `ip ${blamed(stderr, lines)}: ${text || 'failed without a word'}${remedy}`);
}

/** The line that failed: by number, or, where `ip` gave up reading, by the word that it quotes. */
function blamed(stderr: string, lines: readonly string[]): string {
  const number = /^Command failed -:(\d+)/m.exec(stderr);
  if (number) return lines[Number(number[1]) - 1] ?? lines[0];
  const quoted = /"([^"]+)"/.exec(stderr)?.[1];
  return lines.find((line) => quoted !== undefined && line.split(' ').includes(quoted)) ?? lines.join(', ');
}
